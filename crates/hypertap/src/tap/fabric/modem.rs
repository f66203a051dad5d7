//! A modem client: a guest on a telephone line, and the Ethernet station that stands for it.

use std::fs::File;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use hypertap_engine::modem::{Modem, ModemDrops, ModemSettings};
use hypertap_wire::batch::Batch;
use hypertap_wire::frames::Framing;

use super::port::Stream;
use super::report::Counters;

/// The longest message that a client may send, in bytes: a PPP frame of which every byte is escaped.
pub(super) const MAX_MESSAGE: usize = 8192;

/// Both halves of a modem client's port.
pub(super) struct ModemLine {
    pub(super) stream: Stream,
    modem: Modem,
    /// Whether its port is on the list of those whose stations may have frames for the LAN.
    pub(super) is_listed: bool,
}

impl ModemLine {
    pub(super) fn new(file: Rc<File>, settings: ModemSettings) -> Self {
        Self { stream: Stream::new(file, Some(Framing::Le16)), modem: Modem::new(settings), is_listed: false }
    }

    /// Takes messages from the client.
    pub(super) fn receive(&mut self, messages: &Batch, now: Duration, counters: &mut Counters) {
        for message in messages.iter() {
            self.modem.handle_stream(now, message);
            self.send_messages(counters);
        }
    }

    /// Takes frames from the LAN.
    pub(super) fn deliver(
        &mut self,
        batch: &Batch,
        frames: Range<usize>,
        now: Duration,
        counters: &mut Counters,
    ) {
        for frame in batch.iter().skip(frames.start).take(frames.len()) {
            counters.send(1, frame.len() as u64);
            self.modem.handle_frame(now, frame);
            self.send_messages(counters);
        }
    }

    /// What the station dropped.
    pub(super) fn drops(&self) -> ModemDrops {
        self.modem.drops()
    }

    /// When [`Self::on_timeout`] is to be called.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.modem.timeout()
    }

    pub(super) fn on_timeout(&mut self, now: Duration, counters: &mut Counters) {
        self.modem.handle_timeout(now);
        self.send_messages(counters);
    }

    /// Appends the frames that the station has for the LAN, as far as there is room. Returns whether there are
    /// any.
    pub(super) fn take_frames(&mut self, batch: &mut Batch) -> bool {
        while batch.packets_left() > 0
            && let Some(frame) = self.modem.poll_frame()
        {
            batch.push(&frame);
        }
        !batch.is_empty()
    }

    fn send_messages(&mut self, counters: &mut Counters) {
        while let Some(message) = self.modem.poll_stream() {
            if let Err(reason) = self.stream.push_message(&message) {
                counters.drop(reason, 1);
            }
        }
    }
}
