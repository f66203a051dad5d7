//! Where an interface's packets go: a tap server, or a tunnel.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hypertap_client::Address;
use hypertap_client::blocking::{DataSocket, connect_stream};
use hypertap_platform::peer::unix_peer;
use hypertap_platform::process::effective_uid;
use hypertap_wire::batch::Batch;
use hypertap_wire::ethernet;
use hypertap_wire::frames::{FrameReader, Framing};
use nix::sys::socket::{Shutdown, shutdown};
use socket2::Socket;

use crate::cli::tap::Place;

/// How long a server may take to accept a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long a server may take to see the end of what it was sent.
pub(super) const END_TIME: Duration = Duration::from_secs(1);
/// What is read from a server at once, in bytes and in frames.
const BUFFER: usize = 256 * 1024;
const FRAMES: usize = 256;
/// The longest packet that any server sends, in bytes.
const LONGEST: usize = 65_535;

/// The longest header that a server allows besides its MTU, in bytes: with two tags.
const LONGEST_HEADER: usize = ethernet::HEADER + 2 * ethernet::TAG;

/// Packets towards the server, from one thread, and back, to another.
pub trait Link: Send + Sync {
    /// Sends packets, waiting for room. `room` is memory to be used again. Returns how many were too
    /// long for the server, and dropped.
    ///
    /// # Errors
    /// When the server is gone.
    fn send(&self, batch: &Batch, room: &mut Vec<u8>) -> io::Result<usize>;

    /// Gives each packet that comes to `deliver`, until the server has ended or `deliver` fails.
    ///
    /// # Errors
    /// Why it ended, unless in good order.
    fn receive(&self, deliver: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()>;

    /// Ends both directions, of whatever thread, once the server has seen the end of this one, or took its time.
    /// What it sends meanwhile is lost.
    fn end(&self);
}

/// Where the tap server is.
#[derive(Clone, Debug)]
pub struct TapServer {
    pub place: Place,
    /// Whether the user named it, and so chose whose it is. Else it must be the user's own, or root's.
    pub is_named: bool,
}

/// Frames to a tap server, each after its length in 16 bits.
#[derive(Debug)]
pub struct TapLink {
    socket: Socket,
    /// The longest payload of a frame, in bytes.
    mtu: usize,
}

impl TapLink {
    /// Connects.
    ///
    /// # Errors
    /// Of connecting; and `PermissionDenied` when it is another user's, and nobody named it.
    pub fn connect(server: &TapServer, mtu: usize) -> io::Result<Arc<Self>> {
        let address = match &server.place {
            Place::Unix(path) => Address::Unix(path.clone()),
            Place::Tcp(address) => Address::Tcp(*address),
        };
        let socket = Socket::from(connect_stream(&address, CONNECT_TIME)?);
        socket.set_nonblocking(false)?;
        if !server.is_named {
            let whose = unix_peer(&socket)?;
            if ![0, effective_uid()].contains(&whose) {
                let text =
                    format!("user {whose} listens there, and not this user or root; --tap may name it");
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
            }
        }
        Ok(Arc::new(Self { socket, mtu }))
    }
}

impl Link for TapLink {
    fn send(&self, batch: &Batch, room: &mut Vec<u8>) -> io::Result<usize> {
        room.clear();
        let mut dropped = 0;
        for frame in batch.iter() {
            let header = ethernet::header_len(frame).map(|len| len.min(LONGEST_HEADER));
            let fits = header.is_some_and(|header| frame.len() <= header + self.mtu);
            let mut length = [0; 2];
            if fits && Framing::Le16.write_header(&mut length, frame.len()) {
                room.extend_from_slice(&length);
                room.extend_from_slice(frame);
            } else {
                dropped += 1;
            }
        }
        (&self.socket).write_all(room)?;
        Ok(dropped)
    }

    fn receive(&self, deliver: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut reader = FrameReader::new(Some(Framing::Le16), LONGEST, BUFFER, FRAMES);
        loop {
            while let Some(batch) = reader.next_batch().map_err(io::Error::other)? {
                batch.iter().try_for_each(&mut *deliver)?;
            }
            match (&self.socket).read(reader.room()) {
                Ok(0) => return Ok(()),
                Ok(len) => reader.advance(len).map_err(io::Error::other)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn end(&self) {
        self.end_within(END_TIME);
    }
}

impl TapLink {
    /// Ends the connection, and waits so long at most until the server has seen that.
    fn end_within(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
        let mut lost = [0; 4096];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // Whoever else reads has it no longer than we.
            if left.is_zero() || self.socket.set_read_timeout(Some(left)).is_err() {
                break;
            }
            match (&self.socket).read(&mut lost) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

/// Packets to a tunnel's daemon.
#[derive(Debug)]
pub struct TunnelLink(pub DataSocket);

impl Link for TunnelLink {
    fn send(&self, batch: &Batch, _room: &mut Vec<u8>) -> io::Result<usize> {
        let packets: Vec<&[u8]> = batch.iter().collect();
        self.0.send_batch(&packets).map(|()| 0)
    }

    fn receive(&self, deliver: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut packet = vec![0; LONGEST];
        loop {
            match self.0.recv(&mut packet, None) {
                Ok(Some(len)) => deliver(packet.get(..len).unwrap_or_default())?,
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn end(&self) {
        use std::os::fd::AsRawFd;
        let _ = shutdown(self.0.as_fd().as_raw_fd(), Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_frame_that_the_server_would_end_the_connection_for_is_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("server");
        let server = UnixListener::bind(&path).expect("the folder is ours");
        let link = TapLink::connect(&TapServer { place: Place::Unix(path), is_named: false }, 100)
            .expect("it listens");
        let frame = |tags: usize, payload: usize| {
            [vec![2; 12], [0x81, 0, 0, 1].repeat(tags), vec![8, 6], vec![7; payload]].concat()
        };
        let good = [frame(0, 100), frame(1, 100), frame(2, 100), frame(0, 0)];
        let bad = [frame(0, 101), frame(1, 101), frame(3, 100), vec![2; 13]];
        let mut batch = Batch::new(4096, 16);
        for frame in good.iter().chain(&bad) {
            assert!(batch.push(frame));
        }
        assert_eq!(link.send(&batch, &mut Vec::new()).expect("sent"), bad.len());
        let ending = std::thread::spawn(move || link.end());
        let mut sent = Vec::new();
        let (mut connection, _) = server.accept().expect("it connected");
        connection.read_to_end(&mut sent).expect("it ends");
        drop(connection);
        ending.join().expect("no panic");
        let framed = |frame: &Vec<u8>| {
            [&u16::try_from(frame.len()).expect("short").to_le_bytes(), &frame[..]].concat()
        };
        assert_eq!(sent, good.iter().map(framed).collect::<Vec<_>>().concat());
    }

    #[test]
    fn an_end_waits_until_the_server_has_seen_it_but_not_for_long() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("server");
        let server = UnixListener::bind(&path).expect("the folder is ours");
        let to = TapServer { place: Place::Unix(path), is_named: true };
        let link = TapLink::connect(&to, 100).expect("it listens");
        let (mut connection, _) = server.accept().expect("it connected");
        let ending = std::thread::spawn({
            let link = Arc::clone(&link);
            move || link.end_within(Duration::from_secs(100))
        });
        assert_eq!(connection.read(&mut [0]).expect("it ends"), 0);
        connection.write_all(&vec![7; 100_000]).expect("it is still taken");
        assert!(!ending.is_finished());
        drop(connection);
        ending.join().expect("no panic");
        let link = TapLink::connect(&to, 100).expect("it listens");
        let before = Instant::now();
        let limit = Duration::from_millis(100);
        link.end_within(limit);
        assert!((limit..100 * limit).contains(&before.elapsed()));
    }

    #[test]
    fn a_full_queue_of_connections_is_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("server");
        let server = Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a socket");
        server.bind(&socket2::SockAddr::unix(&path).expect("short")).expect("the folder is ours");
        server.listen(0).expect("it is bound");
        let to = TapServer { place: Place::Unix(path), is_named: true };
        let first = TapLink::connect(&to, 100).expect("there is room for one");
        let second = std::thread::spawn(move || TapLink::connect(&to, 100).map(drop));
        assert!(!second.is_finished());
        server.accept().expect("it connected");
        second.join().expect("no panic").expect("there is room again");
        drop(first);
    }
}
