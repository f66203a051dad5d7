//! What a session of Yamux may use.

/// The bounds of one connection. The defaults suit a connection on which whole services run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamuxSettings {
    /// How many streams there may be at once, whoever opened them. One that the peer opens above it is reset.
    pub max_streams: usize,
    /// The most bytes that a stream may hold for a reader, its window when it has grown. At least 256 KiB.
    pub stream_window: u32,
    /// How many bytes the windows of all streams together may have grown beyond their first 256 KiB each.
    pub connection_window: u32,
    /// The most bytes of data in a frame that we send.
    pub max_frame: u32,
    /// How many bytes of frames wait while as many are being written, before writers wait.
    pub outgoing: usize,
}

impl Default for YamuxSettings {
    fn default() -> Self {
        Self {
            max_streams: 65_536,
            stream_window: 16 << 20,
            connection_window: 128 << 20,
            max_frame: 64 << 10,
            outgoing: 128 << 10,
        }
    }
}
