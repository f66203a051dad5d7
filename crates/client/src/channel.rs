//! The program's end of a data plane, none of whose calls wait.
//!
//! One packet is one datagram, one message, or one read or write of the device; in a stream it is a
//! frame, and there the two directions each have a buffer behind a lock of its own, so that one
//! thread can receive while another sends. A frame that the socket took half of stays in the
//! outgoing buffer and goes before everything else: whoever sends next, or flushes, sends its rest.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hypertap_wire::framing::{Deframer, FRAME_HEADER};
use rustix::io::{ioctl_fionbio, read, write};
use rustix::net::{RecvFlags, recv, send};

use crate::system::{SEND, receive_packet, send_packets};

/// How much of a stream is read, and gathered for a write, at once, in bytes.
const STREAM_BUFFER: usize = 256 << 10;
/// The longest packet in bytes: what the header's length fields can say, and a frame's.
const MAX_LENGTH: usize = u16::MAX as usize;

/// The program's end of a data plane.
#[derive(Debug)]
pub(crate) struct Channel {
    descriptor: OwnedFd,
    kind: Kind,
}

/// How packets are told apart.
#[derive(Debug)]
pub(crate) enum Kind {
    /// UDP.
    Datagrams,
    /// Unix, `SOCK_SEQPACKET`.
    Messages,
    /// Unix, stream.
    Frames(Box<Frames>),
    /// The TUN device.
    Device,
}

/// The buffers of a stream.
#[derive(Debug)]
pub(crate) struct Frames {
    incoming: Mutex<Deframer>,
    outgoing: Mutex<Outgoing>,
}

/// Frames of which nothing, or not all, was sent.
#[derive(Debug, Default)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

impl Kind {
    /// A stream that has not begun.
    pub(crate) fn frames() -> Self {
        // One packet a batch: each is handed out by itself.
        let incoming = Mutex::new(Deframer::new(STREAM_BUFFER, 1));
        Self::Frames(Box::new(Frames { incoming, outgoing: Mutex::default() }))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing below can panic half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The error of a peer that closed.
fn ended() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the daemon closed the data plane")
}

/// Yields the length of a packet that was received, or says that it was too long.
fn fitting(length: usize, room: usize) -> io::Result<usize> {
    if length <= room {
        return Ok(length);
    }
    let text = format!("a packet of {length} bytes was lost: the buffer has room for {room}");
    Err(io::Error::new(ErrorKind::InvalidInput, text))
}

impl Channel {
    /// Takes a descriptor, and sets it to not block.
    pub(crate) fn new(descriptor: OwnedFd, kind: Kind) -> io::Result<Self> {
        ioctl_fionbio(&descriptor, true)?;
        Ok(Self { descriptor, kind })
    }

    /// Receives one packet and returns its length.
    ///
    /// # Errors
    /// `WouldBlock` when none is there, `UnexpectedEof` once the daemon closed, `InvalidInput` when
    /// the packet did not fit, and what the machine says.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.kind {
            Kind::Device => Ok(read(&self.descriptor, buffer)?),
            Kind::Frames(frames) => frames.receive(&self.descriptor, buffer),
            Kind::Datagrams | Kind::Messages => loop {
                let room = buffer.len();
                match receive_packet(&self.descriptor, &mut *buffer)? {
                    0 if matches!(self.kind, Kind::Messages) => return Err(ended()),
                    0 => {} // An empty datagram is no packet.
                    length => return fitting(length, room),
                }
            },
        }
    }

    /// The same, of packets that need no system call any more.
    #[cfg(feature = "async")]
    pub(crate) fn receive_buffered(&self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        match &self.kind {
            Kind::Frames(frames) => take(&mut lock(&frames.incoming), buffer).transpose(),
            _ => None,
        }
    }

    /// Sends the first of `packets`, as many as there is room for, and returns how many. They may
    /// not all have left yet: [`Self::flush`].
    ///
    /// # Errors
    /// `WouldBlock` when there is room for none, `InvalidInput` for a first packet that is empty or
    /// longer than 65,535 bytes, `BrokenPipe` once the daemon closed, and what the machine says.
    pub(crate) fn send(&self, packets: &[&[u8]]) -> io::Result<usize> {
        let Some(first) = packets.first() else { return Ok(0) };
        if let Kind::Device = self.kind {
            return Ok(write(&self.descriptor, first).map(|_| 1)?);
        }
        let is_sendable = |packet: &&[u8]| (1..=MAX_LENGTH).contains(&packet.len());
        let sendable = packets.iter().take_while(|packet| is_sendable(packet)).count();
        let packets = packets.get(..sendable).filter(|packets| !packets.is_empty()).ok_or_else(|| {
            let text = format!("a packet has 1 to {MAX_LENGTH} bytes, not {}", first.len());
            io::Error::new(ErrorKind::InvalidInput, text)
        })?;
        match (&self.kind, packets) {
            (Kind::Frames(frames), _) => lock(&frames.outgoing).send(&self.descriptor, packets),
            (_, [packet]) => Ok(send(&self.descriptor, packet, SEND).map(|_| 1)?),
            _ => send_packets(&self.descriptor, packets),
        }
    }

    /// Sends what was taken and has not left.
    ///
    /// # Errors
    /// `WouldBlock` when not all of it could leave, and what the machine says.
    pub(crate) fn flush(&self) -> io::Result<()> {
        match &self.kind {
            Kind::Frames(frames) => lock(&frames.outgoing).flush(&self.descriptor),
            _ => Ok(()),
        }
    }

    /// The descriptor, with what a stream had buffered lost.
    pub(crate) fn into_descriptor(self) -> OwnedFd {
        self.descriptor
    }
}

/// Takes the next packet that is whole and not empty.
fn take(incoming: &mut Deframer, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    while let Some(batch) = incoming.next_batch() {
        let packet = batch.get(0).unwrap_or_default();
        if !packet.is_empty() {
            let length = fitting(packet.len(), buffer.len())?;
            buffer.iter_mut().zip(packet).for_each(|(to, from)| *to = *from);
            return Ok(Some(length));
        }
    }
    Ok(None)
}

impl Frames {
    fn receive(&self, socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
        let mut incoming = lock(&self.incoming);
        loop {
            if let Some(length) = take(&mut incoming, buffer)? {
                return Ok(length);
            }
            let (length, _) = recv(socket, incoming.room(), RecvFlags::DONTWAIT)?;
            if length == 0 {
                return Err(ended());
            }
            incoming.advance(length).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
    }
}

impl Outgoing {
    fn send(&mut self, socket: &OwnedFd, packets: &[&[u8]]) -> io::Result<usize> {
        self.flush(socket)?;
        let mut taken = 0;
        for packet in packets {
            let length = u16::try_from(packet.len()).map_err(|_| ErrorKind::InvalidInput)?;
            if taken > 0 && self.bytes.len() + FRAME_HEADER + packet.len() > STREAM_BUFFER {
                break;
            }
            self.bytes.extend_from_slice(&length.to_be_bytes());
            self.bytes.extend_from_slice(packet);
            taken += 1;
        }
        match self.flush(socket) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            // They are taken, and go before whatever comes next.
            _ => Ok(taken),
        }
    }

    fn flush(&mut self, socket: &OwnedFd) -> io::Result<()> {
        while let Some(rest) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match send(socket, rest, SEND).map_err(io::Error::from) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes.clear();
        self.sent = 0;
        Ok(())
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

#[cfg(test)]
mod tests;
