//! The tap door's clients: programs that send and get Ethernet frames over a socket.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};

use crate::daemon::{Daemon, Setup};
use crate::frame::{ARP, IPV4, IPV6, Mac, answer, arp_answer, arp_request, is_pong, kind, ping};
use crate::machine::{ip_json, is_link, scratch};
use crate::program::Program;
use crate::responder::Responder;
use crate::wait::{TIME, eventually, left};

/// The host's address unless a test says another.
pub const HOST: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
/// A client's in the same network.
pub const GUEST: (Mac, Ipv4Addr) = ([2, 0, 0, 0, 0, 0x20], Ipv4Addr::new(172, 30, 0, 20));
/// Another's.
pub const OTHER_GUEST: (Mac, Ipv4Addr) = ([2, 0, 0, 0, 0, 0x21], Ipv4Addr::new(172, 30, 0, 21));

/// `hypertap tap` with these words.
pub fn tap<S: AsRef<str>>(args: &[S]) -> Setup {
    let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
    Setup::of("tap").args(&args)
}

/// A server that is ready.
#[track_caller]
pub fn start<S: AsRef<str>>(args: &[S]) -> Daemon {
    tap(args).start()
}

/// A server that is ready at a path, and ends with its client, whose framing is `le16`.
#[track_caller]
pub fn start_le16() -> (Daemon, PathBuf) {
    let path = scratch("tap");
    (start(&[&format!("--listen={}", path.display()), "--framing=le16"]), path)
}

/// How a client tells frames apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// A length of 16 bits before each, low byte first.
    Le16,
    /// A length of 32 bits before each, high byte first.
    Qemu,
    /// By what is in them.
    Unframed,
    /// A datagram each.
    Datagram,
}

/// A client with its own address, as an emulator's adapter is one.
#[derive(Debug)]
pub struct FrameClient {
    socket: OwnedFd,
    wire: Wire,
    /// Bytes of the stream that are no whole frame yet, and frames that were passed over.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    bytes: Vec<u8>,
    /// Whether the other end has closed.
    ended: bool,
    set_aside: VecDeque<Vec<u8>>,
}

impl FrameClient {
    /// Of any connected socket.
    pub fn new(socket: impl Into<OwnedFd>, wire: Wire) -> Self {
        Self { socket: socket.into(), wire, inner: Mutex::default() }
    }

    /// Connects to a path.
    #[track_caller]
    pub fn unix(path: impl AsRef<Path>, wire: Wire) -> Self {
        let path = path.as_ref();
        let stream = UnixStream::connect(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::new(stream, wire)
    }

    /// Connects to a port of the loopback.
    #[track_caller]
    pub fn tcp(port: u16, wire: Wire) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.set_nodelay(true).expect("it is TCP");
        Self::new(stream, wire)
    }

    /// A guest at `ours` that sends to `path`.
    #[track_caller]
    pub fn guest(ours: impl AsRef<Path>, path: impl AsRef<Path>) -> Self {
        let socket = UnixDatagram::bind(ours).expect("the folder is ours");
        socket.connect(path).expect("it is there");
        Self::new(socket, Wire::Datagram)
    }

    /// Writes bytes as they are.
    #[track_caller]
    pub fn write(&self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let sent = send(self.socket.as_raw_fd(), rest, MsgFlags::MSG_NOSIGNAL).expect("it is connected");
            rest = &rest[sent..];
        }
    }

    /// The bytes of a frame in the stream.
    pub fn framed(&self, frame: &[u8]) -> Vec<u8> {
        let len = u16::try_from(frame.len()).expect("it fits");
        match self.wire {
            Wire::Le16 => [&len.to_le_bytes()[..], frame].concat(),
            Wire::Qemu => [&u32::from(len).to_be_bytes()[..], frame].concat(),
            Wire::Unframed | Wire::Datagram => frame.to_vec(),
        }
    }

    /// Ends its sending and goes on reading.
    pub fn shut_down(&self) {
        let socket = self.socket.try_clone().expect("a descriptor");
        let _ = UnixStream::from(socket).shutdown(Shutdown::Write);
    }

    /// The next frame for which `wanted` holds; others are dropped.
    #[track_caller]
    /// Those that it passes over are lost to later calls.
    pub fn expect_frame(&self, what: &str, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let deadline = Instant::now() + TIME;
        let mut others = Vec::new();
        while let Some(time) = left(deadline) {
            match self.receive(time) {
                Some(frame) if wanted(&frame) => return frame,
                Some(frame) => others.push(frame),
                None if self.has_ended() => break,
                None => {}
            }
        }
        panic!("no frame that is {what}, ended: {}; but {others:02x?}", self.has_ended());
    }

    /// Asks for an address, as often as every station does, and yields whose it is.
    #[track_caller]
    pub fn resolve(&self, us: (Mac, Ipv4Addr), wanted: Ipv4Addr) -> Mac {
        let deadline = Instant::now() + TIME;
        while let Some(time) = left(deadline) {
            self.send(&arp_request(us, wanted));
            let again = Instant::now() + time.min(Duration::from_millis(500));
            while let Some(frame) = left(again).and_then(|time| self.receive(time)) {
                if let Some(mac) = arp_answer(&frame, wanted) {
                    return mac;
                }
            }
            assert!(!self.has_ended(), "it was closed");
        }
        panic!("nobody has {wanted}");
    }

    /// Resolves an address and pings it, and must be answered.
    #[track_caller]
    pub fn ping(&self, us: (Mac, Ipv4Addr), wanted: Ipv4Addr) {
        self.ping_at(us, (self.resolve(us, wanted), wanted));
    }

    /// Pings a station whose address is known, and must be answered.
    #[track_caller]
    pub fn ping_at(&self, us: (Mac, Ipv4Addr), (mac, wanted): (Mac, Ipv4Addr)) {
        self.send(&ping(us, (mac, wanted), 7, b"are you there"));
        self.expect_frame("an answer to a ping", |frame| is_pong(frame, 7));
    }

    /// Whether the other end has closed, as far as was read.
    pub fn has_ended(&self) -> bool {
        self.inner().ended
    }

    /// The server must close the connection.
    #[track_caller]
    pub fn expect_closed(&self) {
        let deadline = Instant::now() + TIME;
        while let Some(time) = left(deadline) {
            if self.receive(time).is_none() && self.has_ended() {
                return;
            }
        }
        panic!("it is still connected");
    }

    /// Answers questions for its address and pings, until the responder is dropped.
    pub fn answering(self, us: (Mac, Ipv4Addr)) -> Responder {
        Responder::start(self, move |frame| answer(frame, us))
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads once, when something comes in time.
    fn read(&self, limit: Duration, inner: &mut Inner) -> Option<Vec<u8>> {
        let mut polled = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let time = PollTimeout::try_from(limit.max(Duration::from_millis(1))).expect("short");
        if poll(&mut polled, time).is_ok_and(|ready| ready == 0) {
            return None;
        }
        let mut bytes = vec![0; 70_000];
        match recv(self.socket.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
            Ok(0) if self.wire != Wire::Datagram => inner.ended = true,
            Ok(count) => {
                bytes.truncate(count);
                return Some(bytes);
            }
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => {}
            Err(_) => inner.ended = true,
        }
        None
    }
}

impl Program for FrameClient {
    #[track_caller]
    fn send(&self, frame: &[u8]) {
        let bytes = self.framed(frame);
        if self.wire == Wire::Datagram {
            send(self.socket.as_raw_fd(), &bytes, MsgFlags::empty()).expect("it is there");
        } else {
            self.write(&bytes);
        }
    }

    fn receive(&self, limit: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + limit;
        let mut inner = self.inner();
        loop {
            if let Some(frame) = inner.set_aside.pop_front() {
                return Some(frame);
            }
            if let Some(len) = whole(self.wire, &inner.bytes) {
                let header = header_len(self.wire);
                let frame = inner.bytes[header..header + len].to_vec();
                inner.bytes.drain(..header + len);
                return Some(frame);
            }
            if inner.ended {
                return None;
            }
            match self.read(left(deadline)?, &mut inner) {
                Some(frame) if self.wire == Wire::Datagram => return Some(frame),
                Some(bytes) => inner.bytes.extend(bytes),
                None if inner.ended => return None,
                None => {}
            }
        }
    }
}

fn header_len(wire: Wire) -> usize {
    match wire {
        Wire::Le16 => 2,
        Wire::Qemu => 4,
        Wire::Unframed | Wire::Datagram => 0,
    }
}

/// The length of the first frame, when it is whole.
fn whole(wire: Wire, bytes: &[u8]) -> Option<usize> {
    let (header, rest) = bytes.split_at_checked(header_len(wire))?;
    let len = match (wire, header) {
        (Wire::Le16, [low, high]) => usize::from(u16::from_le_bytes([*low, *high])),
        (Wire::Qemu, [a, b, c, d]) => u32::from_be_bytes([*a, *b, *c, *d]) as usize,
        (Wire::Unframed, _) => sized(rest)?,
        _ => return None,
    };
    (rest.len() >= len).then_some(len)
}

/// The length of a bare frame, of the kinds that a kernel sends.
fn sized(bytes: &[u8]) -> Option<usize> {
    let field = |at: usize| Some(usize::from(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?)));
    if bytes.len() < 14 {
        return None;
    }
    Some(
        14 + match kind(bytes) {
            IPV4 => field(16)?,
            IPV6 => 40 + field(18)?,
            ARP => 28,
            other => {
                panic!("the kernel sends EtherType {other:#06x}, or the stream is out of step: {bytes:02x?}")
            }
        },
    )
}

/// Waits until the interface is up.
#[track_caller]
pub fn wait_until_up(name: &str) {
    eventually("the interface is up", || is_link(name) && is_up(name));
}

fn is_up(name: &str) -> bool {
    let link = &ip_json(&format!("addr show dev {name}"))[0];
    let flags = link["flags"].as_array().into_iter().flatten();
    flags.into_iter().any(|flag| flag == "LOWER_UP")
}

/// Reads until the end, for who only wants to know that it came.
pub fn drain(mut stream: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    bytes
}

/// Writes bytes one at a time, each in a packet of its own.
#[track_caller]
pub fn dribble(mut stream: impl Write, bytes: &[u8]) {
    for byte in bytes {
        stream.write_all(std::slice::from_ref(byte)).expect("it is connected");
    }
}
