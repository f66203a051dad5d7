//! The two threads of an interface: one takes what the program writes, the other gives it what comes.
//!
//! Nothing is dropped for want of room: who cannot take a packet is waited for, and so the one behind it
//! is, the program by a full socket (`EAGAIN`, or a write that waits) and the server by a full stream, where it
//! drops by itself. The end goes both ways, too: when the program has closed its last descriptor the
//! connection is ended, and when the server has ended the program reads 0 bytes, unless the server is to be
//! looked for again: then what the program writes is dropped until one is there.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use hypertap_wire::batch::Batch;
use hypertap_wire::offload::Layer;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, Shutdown, recv, shutdown};
use nix::unistd::write;

use super::header::Header;
use super::link::Link;

/// The longest that a program can write: a segment of 64 KiB, and its headers.
const LONGEST: usize = 1 << 16 | 1 << 8;
/// What is sent at once, in bytes and packets: room for a segment that is cut into the smallest packets.
const BYTES: usize = 1 << 20;
const PACKETS: usize = 2048;

/// How long after a server's end, and after each attempt, another is looked for.
const PAUSE: Duration = Duration::from_secs(1);
/// One that ends before this time did not let us in: it may be full, so each time the pause is twice as long,
const STEADY: Duration = Duration::from_secs(5);
/// up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How another server is found when the first has ended.
pub type Reconnect = Box<dyn Fn() -> io::Result<Arc<dyn Link>> + Send>;

/// One interface's threads.
#[derive(Clone)]
pub struct Pump {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    /// The end of the pair that is ours.
    ours: Arc<OwnedFd>,
    header: Header,
    link: RwLock<Option<Arc<dyn Link>>>,
    /// Whether the program has closed the device.
    closed: AtomicBool,
    dropped: AtomicU64,
    /// Whether all that the program wrote is sent, and its place given up.
    ended: Mutex<bool>,
    ends: Condvar,
}

/// Whether nobody holds the other end any more.
pub fn is_closed(ours: &OwnedFd) -> bool {
    is_closed_within(ours, PollTimeout::ZERO)
}

fn is_closed_within(ours: &OwnedFd, time: PollTimeout) -> bool {
    let mut ends = [PollFd::new(ours.as_fd(), PollFlags::empty())];
    let polled = poll(&mut ends, time);
    polled.is_ok_and(|count| count > 0)
        && ends[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
}

impl Pump {
    /// Starts to take what the program writes to the other end of `ours`; before there is a link it is
    /// dropped. When the program has closed the device, `at_end` is called, and the link ended.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(
        name: &str,
        ours: Arc<OwnedFd>,
        header: Header,
        at_end: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let inner = Arc::new(Inner {
            name: name.to_owned(),
            ours,
            header,
            link: RwLock::new(None),
            closed: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            ended: Mutex::new(false),
            ends: Condvar::new(),
        });
        let out = Arc::clone(&inner);
        thread::Builder::new().name("shim out".to_owned()).spawn(move || {
            out.take();
            // First, lest the server take the end of its data for a fault.
            at_end();
            if let Some(link) = out.link() {
                link.end();
            }
            *out.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
            out.ends.notify_all();
        })?;
        Ok(Self { inner })
    }

    /// The headers of packets.
    pub fn header(&self) -> &Header {
        &self.inner.header
    }

    /// Whether the program has closed the device, and its place is given up.
    pub fn has_ended(&self) -> bool {
        *self.inner.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for that, until then at the longest.
    pub fn wait_for_end(&self, until: Instant) {
        let ended = self.inner.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let left = until.saturating_duration_since(Instant::now());
        let _ = self.inner.ends.wait_timeout_while(ended, left, |ended| !*ended);
    }

    /// Whether it has a server.
    pub fn is_joined(&self) -> bool {
        self.inner.link().is_some()
    }

    /// Joins the interface to a server, once; and when that has ended to another, if `reconnect` says how.
    ///
    /// # Errors
    /// When there can be no thread; the program reads the end then.
    pub fn join(&self, link: Arc<dyn Link>, reconnect: Option<Reconnect>) -> io::Result<()> {
        if self.is_joined() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let into = Arc::clone(&self.inner);
        self.inner.set(&link);
        thread::Builder::new()
            .name("shim in".to_owned())
            .spawn(move || into.give(link, reconnect.as_ref()))
            .inspect_err(|_| self.inner.shut())?;
        Ok(())
    }
}

impl Inner {
    fn link(&self) -> Option<Arc<dyn Link>> {
        self.link.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, link: &Arc<dyn Link>) {
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(link));
        if self.closed.load(Ordering::Acquire) {
            link.end();
        }
    }

    /// From the program, until it has closed the device.
    fn take(&self) {
        let mut batch = Batch::new(BYTES, PACKETS);
        let (mut packet, mut room) = (vec![0; LONGEST], Vec::new());
        while self.next(&mut packet, &mut batch, MsgFlags::empty()) {
            while batch.left() >= 2 * LONGEST
                && batch.packets_left() >= PACKETS / 2
                && self.next(&mut packet, &mut batch, MsgFlags::MSG_DONTWAIT)
            {}
            let Some(link) = self.link() else {
                batch.clear();
                continue;
            };
            match link.send(&batch, &mut room) {
                Ok(0) => {}
                Ok(dropped) => self.drop_packets(dropped, "a frame that it wrote is longer than the MTU"),
                // The other thread tells of the end.
                Err(error) => tracing::debug!(interface = self.name, %error, "the server takes no packets"),
            }
            batch.clear();
        }
        self.closed.store(true, Ordering::Release);
    }

    /// Takes one packet, if there is one; returns whether to go on.
    fn next(&self, packet: &mut [u8], batch: &mut Batch, flags: MsgFlags) -> bool {
        loop {
            match recv(self.ours.as_raw_fd(), packet, flags) {
                Ok(0) if is_closed(&self.ours) => return false,
                Ok(len) => {
                    if !self.header.take(packet.get(..len).unwrap_or_default(), batch) {
                        self.drop_packets(1, "what it wrote is no packet");
                    }
                    return true;
                }
                Err(Errno::EINTR) => {}
                Err(_) => return false,
            }
        }
    }

    fn drop_packets(&self, count: usize, why: &str) {
        let before = self.dropped.fetch_add(count as u64, Ordering::Relaxed);
        if before == 0 {
            tracing::warn!(interface = self.name, "{why}; it is dropped, and from now on in silence");
        }
    }

    /// To the program, until the server has ended for good.
    fn give(&self, mut link: Arc<dyn Link>, reconnect: Option<&Reconnect>) {
        let mut room = Vec::new();
        let (mut since, mut pause, mut refused) = (Instant::now(), PAUSE, 0);
        loop {
            let ended = link.receive(&mut |packet| self.deliver(packet, &mut room));
            if self.is_over() {
                break;
            }
            if since.elapsed() >= STEADY {
                (pause, refused) = (PAUSE, 0);
            } else {
                refused += 1;
                pause = if refused == 1 { PAUSE } else { LONGEST_PAUSE.min(pause * 2) };
            }
            self.note_end(ended, reconnect.is_some(), refused);
            let Some(next) = reconnect.and_then(|connect| self.next_link(connect, pause)) else { break };
            if refused < 2 {
                tracing::info!(interface = self.name, "a server is there again");
            }
            self.set(&next);
            (link, since) = (next, Instant::now());
        }
        self.shut();
        let dropped = self.dropped.load(Ordering::Relaxed);
        tracing::debug!(interface = self.name, dropped, "an interface has ended");
    }

    /// Lets the program read the end.
    fn shut(&self) {
        let _ = shutdown(self.ours.as_raw_fd(), Shutdown::Both);
    }

    /// Says that a server has ended; of many that do at once, the second says so for all.
    fn note_end(&self, ended: io::Result<()>, is_looked_for: bool, refused: u32) {
        let is_tap = self.header.layer() == Layer::Link;
        let what_now = match (is_looked_for, refused) {
            (false, 1..) if is_tap => {
                "and with it the program's interface, from which it reads 0 bytes now; it ended at once, so it \
                 may have as many clients as it takes (--max-clients of the server)"
            }
            (false, _) => "and with it the program's interface, from which it reads 0 bytes now",
            (true, 0 | 1) => "another is looked for each second",
            (true, 2) => {
                "again at once (it may have as many clients as it takes); tried more and more seldom"
            }
            (true, _) => {
                return tracing::debug!(interface = self.name, refused, "the server has ended at once again");
            }
        };
        match ended {
            Ok(()) => tracing::warn!(interface = self.name, "the server has ended, {what_now}"),
            Err(error) => tracing::warn!(interface = self.name, %error, "the server has ended, {what_now}"),
        }
    }

    /// Another server, unless the program closes the device before there is one. An attempt each `pause`.
    fn next_link(&self, connect: &Reconnect, pause: Duration) -> Option<Arc<dyn Link>> {
        let pause = PollTimeout::try_from(pause).unwrap_or(PollTimeout::MAX);
        while !is_closed_within(&self.ours, pause) {
            match connect() {
                Ok(link) => return Some(link),
                Err(error) => tracing::debug!(interface = self.name, %error, "no server yet"),
            }
        }
        None
    }

    fn is_over(&self) -> bool {
        self.closed.load(Ordering::Acquire) || is_closed(&self.ours)
    }

    fn deliver(&self, packet: &[u8], room: &mut Vec<u8>) -> io::Result<()> {
        let packet = self.header.put(packet, room);
        loop {
            match write(&self.ours, packet) {
                // One that is too long for the socket is lost.
                Ok(_) | Err(Errno::EMSGSIZE | Errno::ENOBUFS) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
