//! What takes packets from a connected program: messages, or frames in a stream.

use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use hypertap_platform::datagram::Receiver;
use hypertap_platform::program::has_hung_up;
use hypertap_wire::framing::Deframer;
use hypertap_wire::packet::Tally;

use super::PlaneEnd;
use super::connection::Framing;
use super::inject::Injector;

/// How much of a stream is read at once, in bytes.
const STREAM_BUFFER: usize = 256 << 10;
/// Packets of a stream that are injected as one batch.
const STREAM_PACKETS: usize = 2048;

/// What takes packets from a connection.
pub(super) enum Incoming {
    Messages(Receiver),
    Frames(Deframer),
}

impl Incoming {
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Messages => Self::Messages(Receiver::connected()),
            Framing::Frames => Self::Frames(Deframer::new(STREAM_BUFFER, STREAM_PACKETS)),
        }
    }

    /// Takes and injects what waits. Returns whether more may wait.
    ///
    /// # Errors
    /// That the program went away or does not speak in frames, that the interface is gone, or what the
    /// socket says (`WouldBlock` when nothing waits).
    pub(super) fn receive(
        &mut self,
        socket: &UnixStream,
        injector: &mut Injector,
        tally: &mut Tally,
    ) -> Result<bool, PlaneEnd> {
        match self {
            Self::Messages(receiver) => {
                let more = receiver.recv(socket.as_fd()).map_err(PlaneEnd::Program)?;
                let (batch, _) = receiver.received();
                // The end reads as an empty message, over and over; an empty message ends nothing.
                let has_empty = batch.lengths().any(|len| len == 0);
                if has_empty && has_hung_up(socket) {
                    batch.retain(|_, packet| !packet.is_empty());
                    injector.inject(batch, tally).map_err(PlaneEnd::Device)?;
                    return Err(PlaneEnd::ProgramGone);
                }
                injector.inject(batch, tally).map_err(PlaneEnd::Device)?;
                Ok(more)
            }
            Self::Frames(deframer) => {
                let room = deframer.room();
                let wanted = room.len();
                let len = (&*socket).read(room).map_err(PlaneEnd::Program)?;
                if len == 0 {
                    return Err(PlaneEnd::ProgramGone);
                }
                let broken = |error| PlaneEnd::Program(io::Error::new(ErrorKind::InvalidData, error));
                deframer.advance(len).map_err(broken)?;
                while let Some(batch) = deframer.next_batch() {
                    injector.inject(batch, tally).map_err(PlaneEnd::Device)?;
                }
                Ok(len == wanted)
            }
        }
    }
}
