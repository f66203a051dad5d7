//! What a [`Tcp`] is made with.

use std::time::Duration;

use ipnet::IpNet;

#[cfg(doc)]
use super::Tcp;

/// What a [`Tcp`] is made with.
#[derive(Clone, Debug)]
pub struct TcpSettings {
    /// Destinations that are answered. Packets to others are dropped. Empty: all are.
    pub prefixes: Vec<IpNet>,
    /// The device's MTU in bytes, from which our MSS follows.
    pub mtu: usize,
    /// Whether packets go to the device with a virtio-net header in the batch's prefix, as segments that
    /// it splits, with checksums that it completes.
    pub offload: bool,
    /// The secret behind sequence numbers and the table. It must be random.
    pub secret: [u64; 2],
    /// Sizes in bytes of the receive and of the send buffer, which grow from one to the next.
    pub buffers: [usize; 3],
    /// The most bytes of all buffers together.
    pub max_buffered: usize,
    /// The most flows, of whatever state.
    pub max_flows: usize,
    /// The most flows whose handshake is not done.
    pub max_half_open: usize,
    /// How long a SYN waits for [`Tcp::accept`] or [`Tcp::refuse`], before it is refused as unreachable.
    pub answer_within: Duration,
    /// Idle flows that keep their socket nevertheless, for the next packet.
    pub warm_flows: usize,
    /// How long an idle flow keeps its socket.
    pub warm_for: Duration,
    /// How long after the program's last packet it is asked whether it is there, how long after that again,
    /// and how often at most. The flow is then reset. `None`: never.
    pub keep_alive: Option<KeepAlive>,
    /// How long the program may be silent while something is to be acknowledged.
    pub user_timeout: Duration,
    /// How long no bytes may pass. `None`: for ever.
    pub idle_timeout: Option<Duration>,
    /// How long TIME-WAIT lasts.
    pub time_wait: Duration,
    /// The most resets and challenge acknowledgements a second, taken together.
    pub answers_per_second: u32,
}

/// When a silent program is asked whether it is there (RFC 9293, section 3.8.4).
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    /// After its last packet.
    pub after: Duration,
    /// After the last question.
    pub every: Duration,
    /// How many questions stay without an answer.
    pub probes: u8,
}

impl TcpSettings {
    /// The usual settings, for a TUN of 64 KiB with a virtio-net header. `secret` must be random.
    pub fn new(secret: [u64; 2]) -> Self {
        Self {
            prefixes: Vec::new(),
            mtu: 65_535,
            offload: true,
            secret,
            buffers: [16 << 10, 128 << 10, 1 << 20],
            max_buffered: 512 << 20,
            max_flows: 1 << 17,
            max_half_open: 4096,
            answer_within: Duration::from_secs(10),
            warm_flows: 256,
            warm_for: Duration::from_secs(1),
            keep_alive: Some(KeepAlive {
                after: Duration::from_secs(120),
                every: Duration::from_secs(15),
                probes: 8,
            }),
            user_timeout: Duration::from_secs(120),
            idle_timeout: None,
            time_wait: Duration::from_secs(10),
            answers_per_second: 1000,
        }
    }
}
