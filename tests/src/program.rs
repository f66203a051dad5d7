//! The program's end of each data plane: packets in and out, nothing else.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, socket};

use crate::packet::is_chatter;
use crate::wait::{TIME, left};

/// One end of a data plane.
pub trait Program: Send + Sync {
    /// Sends one packet into the tunnel.
    fn send(&self, packet: &[u8]);

    /// The next packet out of the tunnel within `limit`; `None` when none came.
    fn receive(&self, limit: Duration) -> Option<Vec<u8>>;

    /// The next packet for which `wanted` holds; others, the kernel's own chatter above all, are passed over.
    #[track_caller]
    fn expect(&self, what: &str, wanted: &dyn Fn(&[u8]) -> bool) -> Vec<u8> {
        let deadline = Instant::now() + TIME;
        let mut others = Vec::new();
        while let Some(time) = left(deadline) {
            match self.receive(time) {
                Some(packet) if wanted(&packet) => return packet,
                Some(packet) if is_chatter(&packet) => {}
                Some(packet) => others.push(packet),
                None => {}
            }
        }
        panic!("no packet that is {what}, but {others:02x?}");
    }
}

impl<P: Program + ?Sized> Program for Box<P> {
    #[track_caller]
    fn send(&self, packet: &[u8]) {
        (**self).send(packet);
    }

    fn receive(&self, limit: Duration) -> Option<Vec<u8>> {
        (**self).receive(limit)
    }
}

/// A datagram a packet.
#[derive(Debug)]
pub struct UdpProgram {
    socket: UdpSocket,
    data: SocketAddr,
}

impl UdpProgram {
    /// At the ports that the protocol fixes.
    #[track_caller]
    pub fn bind() -> Self {
        Self::bind_ports(5501, 5502)
    }

    /// Sends to `data`, receives at `receive`.
    #[track_caller]
    pub fn bind_ports(data: u16, receive: u16) -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", receive)).expect("the port is free");
        Self { socket, data: ([127, 0, 0, 1], data).into() }
    }

    /// The next datagram, with the address that sent it.
    pub fn receive_from(&self, limit: Duration) -> Option<(Vec<u8>, SocketAddr)> {
        let mut bytes = vec![0; 65536];
        self.socket.set_read_timeout(Some(limit.max(Duration::from_millis(1)))).expect("not zero");
        match self.socket.recv_from(&mut bytes) {
            Ok((count, sender)) => {
                bytes.truncate(count);
                Some((bytes, sender))
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            // A wait with a limit is not taken up again after its process was stopped and went on.
            Err(error) if error.kind() == ErrorKind::Interrupted => self.receive_from(limit),
            Err(error) => panic!("cannot receive: {error}"),
        }
    }

    /// Throws away what has come so far.
    pub fn forget(&self) {
        while self.receive_from(Duration::from_millis(1)).is_some() {}
    }
}

impl Program for UdpProgram {
    #[track_caller]
    fn send(&self, packet: &[u8]) {
        self.socket.send_to(packet, self.data).expect("loopback takes it");
    }

    fn receive(&self, limit: Duration) -> Option<Vec<u8>> {
        self.receive_from(limit).map(|(packet, _)| packet)
    }
}

/// Whether a descriptor can be read within `limit`.
fn is_readable(fd: BorrowedFd<'_>, limit: Duration) -> bool {
    let limit = PollTimeout::try_from(limit.max(Duration::from_millis(1))).expect("a test's limit fits");
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], limit).expect("it can be polled") > 0
}

/// A message a packet, over a Unix `SOCK_SEQPACKET` socket.
#[derive(Debug)]
pub struct SeqPacketProgram {
    socket: OwnedFd,
}

impl SeqPacketProgram {
    /// Connects to the path that the reply to `start` gave.
    #[track_caller]
    pub fn connect(path: &str) -> Self {
        let socket =
            socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        let address = UnixAddr::new(Path::new(path)).expect("a path");
        connect(socket.as_raw_fd(), &address).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { socket }
    }
}

impl Program for SeqPacketProgram {
    #[track_caller]
    fn send(&self, packet: &[u8]) {
        let sent = send(self.socket.as_raw_fd(), packet, MsgFlags::MSG_NOSIGNAL);
        assert_eq!(sent.expect("the daemon reads"), packet.len());
    }

    fn receive(&self, limit: Duration) -> Option<Vec<u8>> {
        if !is_readable(self.socket.as_fd(), limit) {
            return None;
        }
        let mut bytes = vec![0; 65536];
        let count = recv(self.socket.as_raw_fd(), &mut bytes, MsgFlags::empty()).expect("the daemon lives");
        assert_ne!(count, 0, "the daemon closed the data plane");
        bytes.truncate(count);
        Some(bytes)
    }
}

/// Packets in a stream, each after its length.
#[derive(Debug)]
pub struct StreamProgram {
    stream: UnixStream,
    begun: Mutex<Vec<u8>>,
}

impl StreamProgram {
    /// Connects to the path that the reply to `start` gave.
    #[track_caller]
    pub fn connect(path: &str) -> Self {
        let stream = UnixStream::connect(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { stream, begun: Mutex::default() }
    }

    /// Writes bytes in any cut.
    #[track_caller]
    pub fn write(&self, bytes: &[u8]) {
        (&self.stream).write_all(bytes).expect("the daemon reads");
    }
}

/// A packet with its length before it.
pub fn framed(packet: &[u8]) -> Vec<u8> {
    let length = u16::try_from(packet.len()).expect("a packet fits");
    [&length.to_be_bytes()[..], packet].concat()
}

impl Program for StreamProgram {
    #[track_caller]
    fn send(&self, packet: &[u8]) {
        self.write(&framed(packet));
    }

    fn receive(&self, limit: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + limit;
        let mut begun = self.begun.lock().expect("no reader panicked");
        loop {
            if let Some((length, rest)) = begun.split_first_chunk::<2>() {
                let length = usize::from(u16::from_be_bytes(*length));
                if let Some(packet) = rest.get(..length).map(<[u8]>::to_vec) {
                    begun.drain(..2 + length);
                    return Some(packet);
                }
            }
            if !is_readable(self.stream.as_fd(), left(deadline)?) {
                return None;
            }
            let mut bytes = vec![0; 65536];
            let count = (&self.stream).read(&mut bytes).expect("the daemon lives");
            assert_ne!(count, 0, "the daemon closed the data plane");
            begun.extend(&bytes[..count]);
        }
    }
}

/// The kernel's device itself.
#[derive(Debug)]
pub struct DeviceProgram {
    device: File,
}

impl DeviceProgram {
    /// The descriptor that came with the reply to `start`.
    pub fn new(device: OwnedFd) -> Self {
        Self { device: device.into() }
    }

    /// Another descriptor of the same device.
    pub fn descriptor(&self) -> OwnedFd {
        self.device.try_clone().expect("a descriptor").into()
    }

    /// Reads once, without waiting for more than `limit`; also shows errors.
    pub fn read(&self, limit: Duration) -> io::Result<Option<Vec<u8>>> {
        if !is_readable(self.device.as_fd(), limit) {
            return Ok(None);
        }
        let mut bytes = vec![0; 70_000];
        match (&self.device).read(&mut bytes) {
            Ok(count) => {
                bytes.truncate(count);
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Program for DeviceProgram {
    #[track_caller]
    fn send(&self, packet: &[u8]) {
        assert_eq!((&self.device).write(packet).expect("the device takes it"), packet.len());
    }

    fn receive(&self, limit: Duration) -> Option<Vec<u8>> {
        self.read(limit).expect("the device lives")
    }
}
