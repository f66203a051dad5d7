//! Where an interface's packets go: a tap server, or a tunnel.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use hypertap_client::blocking::DataSocket;
use hypertap_wire::batch::Batch;
use hypertap_wire::ethernet;
use hypertap_wire::frames::{FrameReader, Framing};
use nix::sys::socket::{Shutdown, shutdown};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::cli::tap::Place;

/// How long a server may take to accept a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
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

    /// Ends both directions, of whatever thread.
    fn end(&self);
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
    /// Of connecting.
    pub fn connect(place: &Place, mtu: usize) -> io::Result<Arc<Self>> {
        let (domain, address) = match place {
            Place::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
            Place::Tcp(address) => (Domain::for_address(*address), SockAddr::from(*address)),
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.connect_timeout(&address, CONNECT_TIME)?;
        if matches!(place, Place::Tcp(_)) {
            socket.set_tcp_nodelay(true)?;
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
        let link = TapLink::connect(&Place::Unix(path), 100).expect("it listens");
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
        link.end();
        let mut sent = Vec::new();
        server.accept().expect("it connected").0.read_to_end(&mut sent).expect("it ends");
        let framed = |frame: &Vec<u8>| {
            [&u16::try_from(frame.len()).expect("short").to_le_bytes(), &frame[..]].concat()
        };
        assert_eq!(sent, good.iter().map(framed).collect::<Vec<_>>().concat());
    }
}
