//! What takes a client's bytes: one read a turn, and the frames in it that are whole.

use std::fs::File;
use std::io::{self, ErrorKind, Read};

use hypertap_engine::switch::PortId;
use hypertap_platform::guest_socket::GuestSocket;
use hypertap_platform::program::has_hung_up;
use hypertap_wire::frames::{FrameReader, Framing};
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::lan::Lan;
use super::{ClientEnd, DropReason};

/// Reads once from a stream and forwards what is whole. Returns why the client has ended, if it has.
pub(super) fn read_stream(
    lan: &mut Lan,
    from: PortId,
    file: &File,
    reader: &mut FrameReader,
) -> Option<ClientEnd> {
    if let Some(end) = read(file, reader) {
        return Some(end);
    }
    let end = loop {
        // Not known before a first frame, which then goes the longer way.
        let known = reader.framing();
        match reader.next_batch() {
            Ok(Some(batch)) => lan.forward(from, batch, known.map_or(0, Framing::header_len)),
            Ok(None) => break None,
            Err(error) => break Some(ClientEnd::Broke(error)),
        }
    };
    // It may be known before any frame is whole.
    if let Some(framing) = reader.framing() {
        lan.decide(from.slot(), framing);
    }
    end
}

/// Receives once from a client whose messages are frames and forwards them. Returns why it has ended, if it has.
pub(super) fn read_messages(lan: &mut Lan, from: PortId, socket: &mut GuestSocket) -> Option<ClientEnd> {
    let cut = socket.cut();
    let end = socket.recv().err().and_then(end_of);
    let (batch, _) = socket.received();
    let is_empty = batch.is_empty();
    lan.forward(from, batch, 0);
    if let Some(port) = lan.port_mut(from.slot()) {
        port.counters.drop(DropReason::TooLong, socket.cut() - cut);
    }
    // Its end reads as an empty message.
    end.or_else(|| (is_empty && has_hung_up(socket)).then_some(ClientEnd::Closed))
}

/// Reads once from a modem client and takes the messages that are whole. Returns why it has ended, if it has.
pub(super) fn read_modem(
    lan: &mut Lan,
    slot: usize,
    file: &File,
    reader: &mut FrameReader,
) -> Option<ClientEnd> {
    if let Some(end) = read(file, reader) {
        return Some(end);
    }
    loop {
        match reader.next_batch() {
            Ok(Some(messages)) => {
                if let Some((line, counters, now)) = lan.modem_mut(slot) {
                    counters.receive(messages.len() as u64, messages.bytes());
                    line.receive(messages, now, counters);
                    lan.list_modem(slot);
                }
            }
            Ok(None) => return None,
            Err(error) => return Some(ClientEnd::Broke(error)),
        }
    }
}

/// Reads once from a stream. Returns why the client has ended, if it has.
fn read(mut file: &File, reader: &mut FrameReader) -> Option<ClientEnd> {
    match file.read(reader.room()) {
        Ok(0) => Some(ClientEnd::Closed),
        Ok(len) => {
            let error = reader.advance(len).err()?;
            Some(ClientEnd::Io(io::Error::new(ErrorKind::InvalidData, error)))
        }
        Err(error) => end_of(error),
    }
}

/// What a failed read says of the client.
fn end_of(error: io::Error) -> Option<ClientEnd> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted => None,
        // It went with something unread, or at once after it had come.
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionRefused
        | ErrorKind::BrokenPipe
        | ErrorKind::NotConnected => Some(ClientEnd::Closed),
        _ => Some(ClientEnd::Io(error)),
    }
}

/// Sets a descriptor, and whoever shares it, to never block.
pub(super) fn set_nonblocking(file: &File) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    fcntl(file, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}
