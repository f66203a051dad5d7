//! What comes of the peer's bytes, whatever pieces they come in.

use std::mem;
use std::time::Duration;

use hypertap_wire::yamux::{Flags, FrameHeader, FrameType, GoAway, HEADER};

use super::error::{SessionError, Violation};
use super::received::{CHUNK, Chunk};
use super::session::{Session, Side};
use super::stream::{PeerEnd, Stream};

/// How many streams may wait to be accepted: four times what peers open before they are acknowledged.
const ACCEPT_BACKLOG: usize = 1024;

/// Where in a frame the input is.
#[derive(Debug, Default)]
pub(super) struct Input {
    header: [u8; HEADER],
    filled: usize,
    body: Option<Body>,
}

/// The rest of a frame with data.
#[derive(Clone, Copy, Debug)]
struct Body {
    stream: u32,
    /// How many bytes are still to come. Not zero.
    left: u32,
    is_last: bool,
}

impl Session {
    /// Takes bytes of the peer, that were read at `now`. May return a chunk: whoever reads the connection
    /// fills that next, and hands it to [`Session::handle_chunk`], instead of copying the bytes to here.
    ///
    /// # Errors
    /// The peer broke the protocol. The session has ended; what [`Session::poll_transmit`] then yields is
    /// the last that it should be sent.
    pub fn handle_input(&mut self, mut bytes: &[u8], now: Duration) -> Result<Option<Chunk>, SessionError> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        self.now = self.now.max(now);
        // Whatever is to be answered, the caller transmits next.
        self.is_driver_awake = true;
        while !bytes.is_empty() {
            if let Some(body) = self.input.body {
                let (piece, rest) = bytes.split_at(bytes.len().min(body.left as usize));
                self.handle_body(body, piece);
                bytes = rest;
                continue;
            }
            let Input { header, filled, .. } = &mut self.input;
            let vacant = &mut header[*filled..];
            let (piece, rest) = bytes.split_at(bytes.len().min(vacant.len()));
            vacant[..piece.len()].copy_from_slice(piece);
            *filled += piece.len();
            bytes = rest;
            if *filled == HEADER {
                *filled = 0;
                let header = *header;
                let outcome = FrameHeader::parse(&header).map_err(Violation::from);
                outcome.and_then(|header| self.handle_header(header)).map_err(|what| self.violated(what))?;
                if let Some(ended) = &self.ended {
                    return Err(ended.clone());
                }
            }
        }
        if self.is_too_much_unread() {
            return Err(self.violated(Violation::DoesNotRead));
        }
        Ok(self.chunk())
    }

    /// Takes what a chunk of [`Session::handle_input`] was filled with. May return another one.
    pub fn handle_chunk(&mut self, chunk: Chunk, now: Duration) -> Option<Chunk> {
        self.now = self.now.max(now);
        if let Some(body) = self.input.body {
            let length = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            match self.streams.get_mut(&body.stream) {
                Some(stream) if stream.peer_end == PeerEnd::Open => {
                    stream.received.push_chunk(chunk, &mut self.pool);
                    self.wakers.extend(stream.reader.take());
                }
                _ => {
                    self.counters.late_bytes += u64::from(length);
                    self.pool.give_back(chunk);
                }
            }
            self.advance(body, length);
        }
        self.chunk()
    }

    /// A chunk for the rest of a frame, if that is large enough to be worth it.
    fn chunk(&mut self) -> Option<Chunk> {
        let body = self.input.body.filter(|body| body.left as usize >= CHUNK)?;
        self.streams.get(&body.stream).filter(|stream| stream.peer_end == PeerEnd::Open)?;
        Some(self.pool.take(body.left as usize))
    }

    fn handle_body(&mut self, body: Body, piece: &[u8]) {
        let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        match self.streams.get_mut(&body.stream) {
            Some(stream) if stream.peer_end == PeerEnd::Open => {
                stream.received.push(piece, &mut self.pool);
                self.wakers.extend(stream.reader.take());
            }
            _ => self.counters.late_bytes += u64::from(length),
        }
        self.advance(body, length);
    }

    /// `length` bytes of a body are done.
    fn advance(&mut self, body: Body, length: u32) {
        let left = body.left.saturating_sub(length);
        self.input.body = (left > 0).then_some(Body { left, ..body });
        if left == 0 && body.is_last {
            self.handle_end(body.stream);
        }
    }

    fn handle_header(&mut self, header: FrameHeader) -> Result<(), Violation> {
        match header.kind {
            FrameType::Data | FrameType::WindowUpdate => self.handle_stream(header),
            FrameType::Ping => self.handle_ping(header),
            FrameType::GoAway => {
                if header.length == GoAway::Normal as u32 {
                    self.is_peer_going = true;
                    self.wakers.extend(self.opener.take());
                } else {
                    self.end(SessionError::GivenUpByPeer(header.length));
                }
                Ok(())
            }
        }
    }

    fn handle_ping(&mut self, header: FrameHeader) -> Result<(), Violation> {
        if !header.flags.contains(Flags::SYN) {
            return Ok(());
        }
        self.counters.pings += 1;
        if !self.pings.allows(self.now) {
            return Err(Violation::PingFlood);
        }
        self.outgoing.control(FrameType::Ping, Flags::ACK, 0, header.length);
        Ok(())
    }

    fn handle_stream(&mut self, header: FrameHeader) -> Result<(), Violation> {
        let FrameHeader { flags, stream: id, .. } = header;
        if id == 0 {
            return Err(Violation::NoStream);
        }
        if flags.contains(Flags::SYN) {
            self.handle_syn(id)?;
        }
        if flags.contains(Flags::ACK)
            && let Some(stream) = self.streams.get_mut(&id)
            && mem::take(&mut stream.is_unacknowledged)
        {
            self.acknowledged();
        }
        let is_reset = flags.contains(Flags::RST);
        if is_reset {
            self.handle_reset(id)?;
        }
        let length = header.body_length();
        let (stream_window, is_last) = (self.settings.stream_window, flags.contains(Flags::FIN));
        match self.streams.get_mut(&id) {
            Some(stream) if stream.peer_end != PeerEnd::Reset => {
                if header.kind == FrameType::WindowUpdate {
                    stream.send_window =
                        stream.send_window.checked_add(header.length).ok_or(Violation::WindowOverflow(id))?;
                    self.wakers.extend(stream.writer.take());
                }
                if length > 0 && stream.peer_end == PeerEnd::Finished {
                    return Err(Violation::DataAfterEnd(id));
                }
                stream.window.spend(length).map_err(|window| Violation::AboveWindow {
                    stream: id,
                    length,
                    window,
                })?;
            }
            // It may not know yet that the stream is no more.
            _ if length > stream_window => return Err(Violation::TooLong(length)),
            _ => {}
        }
        if length > 0 {
            self.input.body = Some(Body { stream: id, left: length, is_last });
        } else if is_last {
            self.handle_end(id);
        }
        Ok(())
    }

    /// The peer opens a stream.
    fn handle_syn(&mut self, id: u32) -> Result<(), Violation> {
        let is_ours = (id % 2 == 1) == (self.side == Side::Client);
        if is_ours {
            return Err(Violation::WrongSide(id));
        }
        if self.streams.contains_key(&id) {
            return Err(Violation::IdInUse(id));
        }
        self.counters.opened += 1;
        if self.streams.len() >= self.settings.max_streams || self.inbound.len() >= ACCEPT_BACKLOG {
            self.counters.refused += 1;
            self.outgoing.control(FrameType::WindowUpdate, Flags::RST, id, 0);
            return Ok(());
        }
        self.streams.insert(id, Stream::inbound(self.now));
        self.inbound.push_back(id);
        self.wakers.extend(self.accepter.take());
        Ok(())
    }

    /// The peer ends a stream both ways. What it sent before is still read: a target's last words may be in it.
    fn handle_reset(&mut self, id: u32) -> Result<(), Violation> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        if stream.is_unaccepted {
            self.counters.reset_early += 1;
            self.inbound.retain(|waiting| *waiting != id);
            self.remove(id);
            return if self.early_resets.allows(self.now) { Ok(()) } else { Err(Violation::ResetFlood) };
        }
        stream.peer_end = PeerEnd::Reset;
        self.wakers.extend(stream.reader.take());
        self.wakers.extend(stream.writer.take());
        if mem::take(&mut stream.is_unacknowledged) {
            self.acknowledged();
        }
        Ok(())
    }

    /// The peer has sent all of its data for a stream.
    fn handle_end(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.peer_end == PeerEnd::Open
        {
            stream.peer_end = PeerEnd::Finished;
            self.wakers.extend(stream.reader.take());
        }
    }
}
