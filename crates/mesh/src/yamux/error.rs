//! Why a stream, an opening or the whole connection failed.

use std::io;
use std::sync::Arc;

use hypertap_wire::yamux::YamuxError;

/// Why the connection ended, and with it all of its streams.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SessionError {
    /// Reading or writing it failed.
    #[error("the connection failed: {0}")]
    Io(Arc<io::Error>),
    /// The peer ended it, or is gone.
    #[error("the peer closed the connection")]
    ClosedByPeer,
    /// This side ended it.
    #[error("the connection was closed on this side")]
    Closed,
    /// The peer says that it cannot go on: 1 that we broke the protocol, 2 that it failed itself.
    #[error("the peer gave the connection up with yamux error {0}")]
    GivenUpByPeer(u32),
    /// The peer broke the protocol.
    #[error("the peer broke the yamux protocol: {0}")]
    Violation(#[from] Violation),
}

impl From<io::Error> for SessionError {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

/// What a peer did that no peer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A header that is none.
    #[error("{0}")]
    Header(#[from] YamuxError),
    /// More data than the stream's window.
    #[error("{length} bytes for stream {stream}, whose window is {window}")]
    AboveWindow {
        /// The stream.
        stream: u32,
        /// The length of the data.
        length: u32,
        /// What the peer might have sent.
        window: u32,
    },
    /// Data for a stream that is no more, and longer than any window.
    #[error("a frame of {0} bytes")]
    TooLong(u32),
    /// A stream opened twice.
    #[error("stream {0} opened while it is open")]
    IdInUse(u32),
    /// A stream opened with an id that only this side opens.
    #[error("stream {0} opened, an id of this side")]
    WrongSide(u32),
    /// A stream's frame without its stream.
    #[error("a frame of a stream for stream 0")]
    NoStream,
    /// A window above 2^32 - 1.
    #[error("the window of stream {0} enlarged beyond 32 bits")]
    WindowOverflow(u32),
    /// Data after the end.
    #[error("data for stream {0} after its end")]
    DataAfterEnd(u32),
    /// More pings than anybody needs.
    #[error("a flood of pings")]
    PingFlood,
    /// Streams opened to be reset.
    #[error("a flood of streams opened and reset before they were accepted")]
    ResetFlood,
    /// What we have to say is not read.
    #[error("it sends, but does not read what is sent to it")]
    DoesNotRead,
}

/// Why a stream could not be opened. The connection goes on, unless it is what ended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// There are as many streams as there may be.
    #[error("there are {0} streams on the connection, as many as there may be")]
    TooMany(usize),
    /// All ids were used once.
    #[error("all stream ids of the connection are used up: connect anew")]
    Exhausted,
    /// The peer takes no more streams.
    #[error("the peer takes no more streams on this connection")]
    PeerGoesAway,
    /// The connection is gone.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// Why a stream cannot be read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StreamError {
    /// The peer ended it both ways at once.
    #[error("the peer reset the stream")]
    Reset,
    /// Written after it was closed for writing.
    #[error("the stream is closed for writing")]
    Closed,
    /// It was never opened.
    #[error("the stream was not opened: {0}")]
    NotOpened(#[source] Arc<OpenError>),
    /// The connection is gone, and what it had brought is read.
    #[error("the stream's connection ended: {0}")]
    Session(#[source] SessionError),
}

impl StreamError {
    /// As an error of a reader: `ConnectionReset`, or `ConnectionAborted` when the connection is gone.
    pub fn into_read_error(self) -> io::Error {
        io::Error::new(self.kind(io::ErrorKind::ConnectionAborted), self)
    }

    /// As an error of a writer: `ConnectionReset`, or `BrokenPipe` when the stream is closed or the
    /// connection gone.
    pub fn into_write_error(self) -> io::Error {
        io::Error::new(self.kind(io::ErrorKind::BrokenPipe), self)
    }

    fn kind(&self, gone: io::ErrorKind) -> io::ErrorKind {
        match self {
            Self::Reset => io::ErrorKind::ConnectionReset,
            Self::Closed => io::ErrorKind::BrokenPipe,
            Self::NotOpened(_) | Self::Session(_) => gone,
        }
    }
}
