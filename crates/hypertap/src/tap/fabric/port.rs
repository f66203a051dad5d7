//! A port, as the frames see it that are for it.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use hypertap_engine::switch::PortId;
use hypertap_platform::queue::PacketQueue;
use hypertap_wire::batch::Batch;
use hypertap_wire::frames::Framing;
use hypertap_wire::packet::Tally;

use super::guest::Guest;
use super::modem::ModemLine;
use super::outgoing::{LIMIT, Outgoing};
use super::report::Counters;
use super::{DropReason, Origin, PortReport};

/// A run of frames is written from where it lies when it is as long as this, in bytes; a shorter one is first
/// put with the others of its batch, so that all are one write.
const WORTH_A_WRITE: usize = 16 << 10;
/// What waits for the end of a batch is written before it when it is as much as this, in bytes.
const WRITE_ENOUGH: usize = 128 << 10;
/// How much is held for a client whose framing is not known yet, in bytes.
const HELD: usize = 64 << 10;

/// A port.
pub(super) struct Port {
    pub(super) id: PortId,
    pub(super) origin: Origin,
    pub(super) link: Link,
    pub(super) counters: Counters,
    /// Whether it is on the list of those to flush.
    pub(super) is_dirty: bool,
    /// Whether the poller watches it for room.
    pub(super) is_watched: bool,
}

/// What is at a port's other end.
pub(super) enum Link {
    Host(Box<dyn PacketQueue>),
    Stream(Stream),
    Guest(Box<Guest>),
    Modem(Box<ModemLine>),
}

/// A stream client's outgoing half.
pub(super) struct Stream {
    file: Rc<File>,
    framing: Option<Framing>,
    outgoing: Outgoing,
    /// It takes nothing any more; its end is read soon.
    is_gone: bool,
}

impl Port {
    pub(super) fn new(id: PortId, origin: Origin, link: Link) -> Self {
        Self { id, origin, link, counters: Counters::default(), is_dirty: false, is_watched: false }
    }

    /// What the poller watches.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.link {
            Link::Host(queue) => Some(queue.descriptor()),
            Link::Stream(stream) => Some(stream.file.as_fd()),
            Link::Guest(guest) => guest.descriptor(),
            Link::Modem(line) => Some(line.stream.file.as_fd()),
        }
    }

    /// The length of the header that each of its frames has, where it has one.
    pub(super) fn header_len(&self) -> Option<usize> {
        match &self.link {
            Link::Stream(stream) => stream.framing.map(Framing::header_len),
            Link::Host(_) | Link::Guest(_) | Link::Modem(_) => None,
        }
    }

    /// Whether there is something to flush.
    pub(super) fn is_waiting(&self) -> bool {
        match &self.link {
            Link::Host(_) => false,
            Link::Stream(stream) => stream.is_waiting(),
            Link::Guest(guest) => !guest.outgoing.is_empty(),
            Link::Modem(line) => line.stream.is_waiting(),
        }
    }

    /// Hands over what it takes now of what waits.
    pub(super) fn flush(&mut self) {
        match &mut self.link {
            Link::Host(_) => {}
            Link::Stream(stream) => stream.flush(),
            Link::Guest(guest) => guest.flush(&mut self.counters),
            Link::Modem(line) => line.stream.flush(),
        }
    }

    /// Takes frames of a batch, each of which has `header` bytes of memory before it, or drops and counts them.
    ///
    /// # Errors
    /// Of the host's interface: it is gone for good.
    pub(super) fn deliver(
        &mut self,
        batch: &mut Batch,
        frames: Range<usize>,
        header: usize,
        now: Duration,
    ) -> io::Result<()> {
        match &mut self.link {
            Link::Host(queue) => {
                let mut tally = Tally::default();
                let count = frames.len() as u64;
                let result = queue.send(batch, frames, &mut tally);
                self.counters.send(tally.packets, tally.bytes);
                self.counters.drop(DropReason::Interface, count.saturating_sub(tally.packets));
                result
            }
            Link::Stream(stream) => {
                stream.deliver(batch, frames, header, self.is_watched, &mut self.counters);
                Ok(())
            }
            Link::Guest(guest) => {
                guest.deliver(batch, frames, &mut self.counters);
                Ok(())
            }
            Link::Modem(line) => {
                line.deliver(batch, frames, now, &mut self.counters);
                Ok(())
            }
        }
    }

    /// How many bytes wait to be taken; none where they wait for a framing.
    pub(super) fn queued(&self) -> usize {
        if self.is_waiting() { self.outgoing().map_or(0, Outgoing::len) } else { 0 }
    }

    fn outgoing(&self) -> Option<&Outgoing> {
        match &self.link {
            Link::Host(_) => None,
            Link::Stream(stream) => Some(&stream.outgoing),
            Link::Guest(guest) => Some(&guest.outgoing),
            Link::Modem(line) => Some(&line.stream.outgoing),
        }
    }

    pub(super) fn report(&self) -> PortReport {
        let outgoing = self.outgoing();
        PortReport {
            port: self.origin,
            frames_in: self.counters.frames_in,
            bytes_in: self.counters.bytes_in,
            frames_out: self.counters.frames_out,
            bytes_out: self.counters.bytes_out,
            dropped: self.counters.dropped(),
            queued: outgoing.map_or(0, Outgoing::len),
            queued_most: outgoing.map_or(0, Outgoing::most),
        }
    }
}

impl Stream {
    pub(super) fn new(file: Rc<File>, framing: Option<Framing>) -> Self {
        Self { file, framing, outgoing: Outgoing::default(), is_gone: false }
    }

    /// Sets the framing once it is known; what was held goes out in it.
    pub(super) fn decide(&mut self, framing: Framing, counters: &mut Counters) {
        if self.framing.replace(framing).is_some() {
            return;
        }
        let held = mem::take(&mut self.outgoing);
        for frame in held.frames() {
            if let Err(reason) = self.outgoing.push(framing, frame, LIMIT) {
                counters.lose(reason, 1, frame.len() as u64);
            }
        }
    }

    fn is_waiting(&self) -> bool {
        self.framing.is_some() && !self.outgoing.is_empty()
    }

    fn deliver(
        &mut self,
        batch: &mut Batch,
        frames: Range<usize>,
        header: usize,
        is_full: bool,
        counters: &mut Counters,
    ) {
        if self.is_gone {
            return counters.drop(DropReason::Gone, frames.len() as u64);
        }
        if let Some(framing) = self.framing
            && self.outgoing.is_empty()
            && !is_full
            && self.write_in_place(framing, batch, frames.clone(), header, counters)
        {
            return;
        }
        let (framing, limit) = match self.framing {
            Some(framing) => (framing, LIMIT),
            None => (Framing::Be32, HELD),
        };
        for frame in batch.iter().skip(frames.start).take(frames.len()) {
            self.push(framing, frame, limit, counters);
        }
        if self.outgoing.len() >= WRITE_ENOUGH && !is_full && self.framing.is_some() {
            self.flush();
        }
    }

    /// Queues a message, for a client whose messages are no frames of the LAN.
    pub(super) fn push_message(&mut self, message: &[u8]) -> Result<(), DropReason> {
        if self.is_gone {
            return Err(DropReason::Gone);
        }
        self.outgoing.push(self.framing.unwrap_or(Framing::Be32), message, LIMIT).map(|_| ())
    }

    fn push(&mut self, framing: Framing, frame: &[u8], limit: usize, counters: &mut Counters) {
        match self.outgoing.push(framing, frame, limit) {
            Ok(len) => counters.send(1, len as u64),
            Err(reason) => counters.drop(reason, 1),
        }
    }

    /// Writes frames from where they lie, their headers with them; what is not taken then waits. Returns whether
    /// that was done: it takes enough of them, and memory for just these headers between them.
    fn write_in_place(
        &mut self,
        framing: Framing,
        batch: &mut Batch,
        frames: Range<usize>,
        header: usize,
        counters: &mut Counters,
    ) -> bool {
        if framing == Framing::Unframed || framing.header_len() != header {
            return false;
        }
        let is_all = frames.len() == batch.len();
        let memory = batch.with_headers(frames.clone(), header);
        if memory.is_none_or(|memory| !is_all && memory.len() < WORTH_A_WRITE) {
            return false;
        }
        for index in frames.clone() {
            let len = batch.get(index).map_or(0, <[u8]>::len);
            if !batch.header_mut(index, header).is_some_and(|header| framing.write_header(header, len)) {
                return false;
            }
        }
        let Some(memory) = batch.with_headers(frames.clone(), header) else { return false };
        let Some(written) = write(&self.file, memory) else {
            self.is_gone = true;
            counters.drop(DropReason::Gone, frames.len() as u64);
            return true;
        };
        let mut end = 0;
        for (index, len) in frames.clone().zip(batch.lengths().skip(frames.start)) {
            let start = end;
            end += header + len;
            if end <= written {
                counters.send(1, len as u64);
            } else if start < written {
                // It was begun and must be ended before the next.
                self.outgoing.push_rest(&memory[written..end]);
                counters.send(1, len as u64);
            } else {
                self.push(framing, batch.get(index).unwrap_or_default(), LIMIT, counters);
            }
        }
        true
    }

    fn flush(&mut self) {
        while !self.outgoing.is_empty() {
            match write(&self.file, self.outgoing.waiting()) {
                Some(0) => return,
                Some(len) => self.outgoing.take(len),
                None => {
                    self.is_gone = true;
                    self.outgoing.clear();
                }
            }
        }
    }
}

/// Writes what a client takes now. Returns how many bytes that were, or nothing when it takes none any more; what
/// it sent before is still to be read then, and its end is told there.
fn write(mut file: &File, bytes: &[u8]) -> Option<usize> {
    loop {
        match file.write(bytes) {
            Ok(len) => return Some(len),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(0),
            Err(_) => return None,
        }
    }
}
