//! A rtnetlink(7) socket that asks and waits.
//!
//! The kernel works on a rtnetlink request inside `send` and has the answer queued when `send`
//! returns, so there is nothing to await: plain blocking calls are exact, cannot be cancelled
//! half-way, and work in a `Drop` too. (Events, which do come by themselves, are elsewhere.)
//!
//! A socket belongs for good to the network namespace it was opened in.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

/// Requests in one `send`: their acknowledgements, below 1 KiB each in the kernel's book-keeping,
/// stay well within a socket's default receive buffer of 208 KiB.
const BATCH: usize = 64;
/// No datagram of the kernel's is larger (a dump's pages are at most 32 KiB).
const DATAGRAM: usize = 64 * 1024;
/// How often a dump that changed while it was taken is taken again.
const DUMP_TRIES: usize = 8;

/// A rtnetlink socket.
pub(crate) struct Netlink {
    socket: Socket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens one in the calling thread's network namespace. Needs no right.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        // The three below are newer than rtnetlink itself; without them there is more to read.
        let _ = socket.set_rx_buf_sz(1_i32 << 20);
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        // An answer that the kernel dropped for want of memory must not hold us for ever.
        setsockopt(&socket.as_fd(), sockopt::ReceiveTimeout, &TimeVal::seconds(5))?;
        Ok(Self { socket, port, sequence: 0, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// Its address, which the kernel's announcements of changes made through it carry.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// Sends one request with `flags` beside `NLM_F_REQUEST | NLM_F_ACK` and waits for the outcome.
    pub(crate) fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.pipeline(std::iter::once((message, flags)))?.pop().flatten().map_or(Ok(()), Err)
    }

    /// Sends many requests, several a system call, and returns each one's error. The kernel works
    /// on them in order, and goes on after one that failed.
    ///
    /// # Errors
    /// When the socket itself fails; what became of the requests is unknown then.
    pub(crate) fn pipeline(
        &mut self,
        requests: impl Iterator<Item = (RouteNetlinkMessage, u16)>,
    ) -> io::Result<Vec<Option<io::Error>>> {
        let mut outcomes = Vec::new();
        let mut requests = requests.peekable();
        while requests.peek().is_some() {
            let first = self.sequence.wrapping_add(1);
            let mut batch = Vec::new();
            let mut count = 0;
            for (message, flags) in requests.by_ref().take(BATCH) {
                self.encode(message, flags | NLM_F_ACK, &mut batch);
                count += 1;
            }
            self.send(&batch)?;
            outcomes.extend(self.acknowledgements(first, count)?);
        }
        Ok(outcomes)
    }

    /// Sends a question and collects what comes back. Messages that cannot be parsed are another
    /// program's and newer than our parser: they are left out.
    pub(crate) fn query(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut request = Vec::new();
        self.encode(message, flags | NLM_F_ACK, &mut request);
        self.send(&request)?;
        let mut found = Vec::new();
        loop {
            self.receive()?;
            for message in messages(&self.buffer) {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                if message.header.flags & NLM_F_DUMP_INTR != 0 {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => found.push(inner),
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        return Err(io::Error::from_raw_os_error(-done.code));
                    }
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    NetlinkPayload::Done(_) | NetlinkPayload::Error(_) => return Ok(found),
                    _ => {}
                }
            }
        }
    }

    /// Takes a dump, again when the kernel says that it changed meanwhile.
    pub(crate) fn dump(&mut self, message: &RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut outcome = Ok(Vec::new());
        for _ in 0..DUMP_TRIES {
            outcome = self.query(message.clone(), NLM_F_DUMP);
            match &outcome {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => return outcome,
            }
        }
        outcome
    }

    /// The number of the socket's network namespace, never used again until the machine restarts;
    /// `None` before Linux 5.14.
    pub(crate) fn namespace_cookie(&self) -> Option<u64> {
        let mut cookie = 0_u64;
        let mut length: libc::socklen_t = 8;
        // SAFETY: both pointers are to live locals, and the kernel writes at most `length` bytes,
        // which is the size of `cookie`.
        let outcome = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_NETNS_COOKIE,
                (&raw mut cookie).cast(),
                &raw mut length,
            )
        };
        (outcome == 0 && length == 8).then_some(cookie)
    }

    fn encode(&mut self, message: RouteNetlinkMessage, flags: u16, batch: &mut Vec<u8>) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags | NLM_F_REQUEST;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let start = batch.len();
        batch.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut batch[start..]);
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.drain();
        loop {
            match self.socket.send(bytes, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(_) => return Ok(()),
            }
        }
    }

    /// Reads one datagram into the buffer.
    fn receive(&mut self) -> io::Result<()> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
                }
                Err(error) => return Err(error),
                Ok(_) => return Ok(()),
            }
        }
    }

    /// Throws away what an exchange that failed left unread.
    fn drain(&mut self) {
        loop {
            self.buffer.clear();
            if self.socket.recv(&mut self.buffer, libc::MSG_DONTWAIT).is_err() {
                return;
            }
        }
    }

    fn acknowledgements(&mut self, first: u32, count: usize) -> io::Result<Vec<Option<io::Error>>> {
        let mut outcomes: Vec<Option<io::Error>> = std::iter::repeat_with(|| None).take(count).collect();
        let mut left = count;
        while left > 0 {
            self.receive()?;
            for message in messages(&self.buffer) {
                let NetlinkPayload::Error(error) = message.payload else { continue };
                let place = message.header.sequence_number.wrapping_sub(first) as usize;
                if let Some(outcome) = outcomes.get_mut(place) {
                    *outcome = error.code.is_some().then(|| error.to_io());
                    left = left.saturating_sub(1);
                }
            }
        }
        Ok(outcomes)
    }
}

/// The messages of a datagram that can be parsed.
fn messages(datagram: &[u8]) -> impl Iterator<Item = NetlinkMessage<RouteNetlinkMessage>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = NetlinkBuffer::new_checked(rest).ok()?.length() as usize;
        let message = rest.get(..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(NetlinkMessage::deserialize(message))
    })
    .filter_map(|message| match message {
        Ok(message) => Some(message),
        Err(error) => {
            tracing::debug!(%error, "left out a netlink message that cannot be parsed");
            None
        }
    })
}

/// Whether an error says that the machine, or the interface, has no IPv6.
pub(crate) fn is_no_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP | libc::EPFNOSUPPORT))
}

/// Whether an error says that the thing is not there (any more).
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH | libc::ENODEV | libc::ENXIO))
}

/// `Ok` where the thing to be removed was gone already, or is of a family that is not there.
pub(crate) fn gone_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if is_absent(&error) || is_no_family(&error) => Ok(()),
        other => other,
    }
}
