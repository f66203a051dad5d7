//! The switch with its ports: where frames that came in go out.

use std::io;
use std::mem;
use std::ops::Range;
use std::time::Duration;

use hypertap_engine::switch::{Forward, PortId, Switch, SwitchSettings};
use hypertap_platform::poller::{Poller, Watch};
use hypertap_wire::batch::Batch;
use hypertap_wire::ethernet::{HEADER, MacAddress};
use hypertap_wire::frames::Framing;

use super::guest::Guest;
use super::modem::ModemLine;
use super::port::{Link, Port};
use super::report::Counters;
use super::{DropReason, FrameObserver, Origin, PortReport};

/// The first of the poller's numbers that are ports': the port's slot is added.
pub(super) const PORTS: u64 = 1;

/// With so much that waits for it, in bytes, a port has enough; one more batch of the host's would still fit.
const ENOUGH: usize = 512 << 10;
/// With so little it has not.
const LITTLE: usize = 256 << 10;

/// A switch and its ports.
pub(super) struct Lan {
    pub(super) poller: Poller,
    pub(super) switch: Switch,
    /// By the ids' slots.
    ports: Vec<Option<Port>>,
    /// The slots of those to flush when a batch has been dealt with.
    dirty: Vec<usize>,
    observer: Option<Box<dyn FrameObserver>>,
    /// Since any origin, as of this turn.
    pub(super) now: Duration,
    /// How many frames have come in since somebody set this to none.
    pub(super) frames: usize,
    /// The slot of the host's port, while it is not read from.
    paused: Option<usize>,
    /// The slots of guests and message clients that are no longer there, for whoever removes their ports.
    pub(super) gone: Vec<usize>,
    /// The slots of modem clients whose stations may have frames for the LAN.
    modems: Vec<usize>,
    /// How much memory the host's next frames need before them to be written from where they lie.
    pub(super) host_header: usize,
    /// Why the host's interface took nothing, for whoever removes its port.
    pub(super) host_error: Option<io::Error>,
}

impl Lan {
    pub(super) fn new(poller: Poller, seed: u64, observer: Option<Box<dyn FrameObserver>>) -> Self {
        Self {
            poller,
            switch: Switch::new(&SwitchSettings::new(seed)),
            ports: Vec::new(),
            dirty: Vec::new(),
            observer,
            now: Duration::ZERO,
            frames: 0,
            paused: None,
            gone: Vec::new(),
            modems: Vec::new(),
            host_header: 0,
            host_error: None,
        }
    }

    /// Adds a port and watches it. `address` is the host's.
    ///
    /// # Errors
    /// When it cannot be watched, or there are too many.
    pub(super) fn add(
        &mut self,
        origin: Origin,
        link: Link,
        address: Option<MacAddress>,
    ) -> io::Result<PortId> {
        let id = match address {
            Some(address) => self.switch.add_host_port(address),
            None => self.switch.add_port(),
        };
        let id = id.ok_or_else(|| io::Error::other("the switch has no port left"))?;
        let port = Port::new(id, origin, link);
        if let Some(descriptor) = port.descriptor()
            && let Err(error) = self.poller.add(descriptor, PORTS + id.slot() as u64, Watch::Readable)
        {
            self.switch.remove_port(id);
            return Err(error);
        }
        if self.ports.len() <= id.slot() {
            self.ports.resize_with(id.slot() + 1, || None);
        }
        self.ports[id.slot()] = Some(port);
        self.resume_host();
        Ok(id)
    }

    /// Removes a port with what waits for it.
    pub(super) fn remove(&mut self, slot: usize) -> Option<Port> {
        let port = self.ports.get_mut(slot)?.take()?;
        self.switch.remove_port(port.id);
        if let Some(descriptor) = port.descriptor() {
            self.poller.remove(descriptor);
        }
        if self.paused == Some(slot) {
            self.paused = None;
        }
        self.resume_host();
        Some(port)
    }

    /// Sets a stream's framing, if it was not known, and sends what was held.
    pub(super) fn decide(&mut self, slot: usize, framing: Framing) {
        if let Some(port) = self.port_mut(slot)
            && let Link::Stream(stream) = &mut port.link
            && stream.decide(framing, &mut port.counters)
        {
            self.flush_port(slot);
        }
    }

    pub(super) fn port(&self, slot: usize) -> Option<&Port> {
        self.ports.get(slot)?.as_ref()
    }

    pub(super) fn port_mut(&mut self, slot: usize) -> Option<&mut Port> {
        self.ports.get_mut(slot)?.as_mut()
    }

    /// A guest, and the time.
    pub(super) fn guest_mut(&mut self, slot: usize) -> Option<(&mut Guest, Duration)> {
        let now = self.now;
        match &mut self.port_mut(slot)?.link {
            Link::Guest(guest) => Some((guest, now)),
            _ => None,
        }
    }

    /// A modem client with what counts for it, and the time.
    pub(super) fn modem_mut(&mut self, slot: usize) -> Option<(&mut ModemLine, &mut Counters, Duration)> {
        let now = self.now;
        let port = self.port_mut(slot)?;
        match &mut port.link {
            Link::Modem(line) => Some((line, &mut port.counters, now)),
            _ => None,
        }
    }

    /// Notes that a modem client's station may have frames for the LAN.
    pub(super) fn list_modem(&mut self, slot: usize) {
        if let Some((line, ..)) = self.modem_mut(slot)
            && !mem::replace(&mut line.is_listed, true)
        {
            self.modems.push(slot);
        }
    }

    /// The slot of a modem client whose station may have frames for the LAN.
    pub(super) fn take_modem(&mut self) -> Option<usize> {
        let slot = self.modems.pop()?;
        if let Some((line, ..)) = self.modem_mut(slot) {
            line.is_listed = false;
        }
        Some(slot)
    }

    /// All modem clients.
    pub(super) fn lines(&self) -> impl Iterator<Item = &ModemLine> {
        self.ports().filter_map(|port| match &port.link {
            Link::Modem(line) => Some(&**line),
            _ => None,
        })
    }

    /// A port's counters.
    pub(super) fn report(&self, slot: usize) -> Option<PortReport> {
        let port = self.port(slot)?;
        Some(port.report(self.switch.counters(port.id)?))
    }

    pub(super) fn ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().flatten()
    }

    /// Takes the frames of a batch where the switch sends them; before each there are `header` bytes of memory
    /// that may be written.
    pub(super) fn forward(&mut self, from: PortId, batch: &mut Batch, header: usize) {
        self.forward_some(from, batch, 0..batch.len(), header);
    }

    /// The same for some frames of a batch.
    pub(super) fn forward_some(
        &mut self,
        from: PortId,
        batch: &mut Batch,
        frames: Range<usize>,
        header: usize,
    ) {
        let Some(port) = self.ports.get_mut(from.slot()).and_then(Option::as_mut) else { return };
        let lengths = batch.lengths().skip(frames.start).take(frames.len());
        port.counters.receive(frames.len() as u64, lengths.sum::<usize>() as u64);
        self.frames += frames.len();
        let origin = port.origin;
        let is_host = origin == Origin::Host;
        if let Some(observer) = &mut self.observer {
            let frames = batch.iter().skip(frames.start).take(frames.len());
            frames.for_each(|frame| observer.frame(origin, frame));
        }
        let mut at = frames.start;
        while at < frames.end
            && let Some(frame) = batch.get(at)
        {
            match self.switch.handle_frame(self.now, from, frame) {
                Forward::To(to) => {
                    let run = at..run_end(batch, at).min(frames.end);
                    at = run.end;
                    if is_host && let Some(header) = self.port(to.slot()).and_then(Port::header_len) {
                        self.host_header = header;
                    }
                    self.deliver(to.slot(), batch, run, header);
                }
                Forward::Flood => {
                    for slot in 0..self.ports.len() {
                        if slot != from.slot() {
                            self.deliver(slot, batch, at..at + 1, header);
                        }
                    }
                    at += 1;
                }
                Forward::Drop(cause) => {
                    if let Some(port) = self.port_mut(from.slot()) {
                        port.counters.drop(DropReason::from(cause), 1);
                    }
                    at += 1;
                }
            }
        }
    }

    fn deliver(&mut self, slot: usize, batch: &mut Batch, frames: Range<usize>, header: usize) {
        let Some(port) = self.ports.get_mut(slot).and_then(Option::as_mut) else { return };
        if let Err(error) = port.deliver(batch, frames, header, self.now) {
            self.host_error = Some(error);
        }
        if let Link::Modem(line) = &mut port.link
            && !mem::replace(&mut line.is_listed, true)
        {
            self.modems.push(slot);
        }
        if !port.is_dirty && port.is_waiting() && !port.is_watched {
            port.is_dirty = true;
            self.dirty.push(slot);
        }
    }

    /// Hands over what waits, as far as it is taken, after a batch.
    pub(super) fn flush(&mut self) {
        while let Some(slot) = self.dirty.pop() {
            self.flush_port(slot);
        }
    }

    /// Hands over what waits for one port, and watches it for room as long as something does.
    pub(super) fn flush_port(&mut self, slot: usize) {
        let Some(port) = self.ports.get_mut(slot).and_then(Option::as_mut) else { return };
        port.is_dirty = false;
        port.flush();
        let (is_gone, is_reopened) = match &mut port.link {
            Link::Guest(guest) => (guest.is_gone, mem::take(&mut guest.is_reopened)),
            Link::Messages(messages) => (messages.is_gone, false),
            _ => (false, false),
        };
        if is_gone {
            self.gone.push(slot);
        }
        if is_reopened {
            // What was watched before is closed.
            port.is_watched = false;
            if let Some(descriptor) = port.descriptor()
                && self.poller.add(descriptor, PORTS + slot as u64, Watch::Readable).is_err()
            {
                self.gone.push(slot);
            }
        }
        let wanted = port.is_waiting();
        let watch = if wanted { Watch::Both } else { Watch::Readable };
        if wanted != port.is_watched
            && let Some(descriptor) = port.descriptor()
            && self.poller.change(descriptor, PORTS + slot as u64, watch).is_ok()
        {
            port.is_watched = wanted;
        }
        self.resume_host();
    }

    /// Stops reading from the host while all others have enough that waits: what comes next would be read only to be
    /// dropped, while the kernel can hold it back, and so slow down who sends it. As long as one of them
    /// could take something, the host is read from.
    pub(super) fn pause_host(&mut self, host: PortId) {
        if !self.others_have(host.slot(), ENOUGH) {
            return;
        }
        if let Some(Some(port)) = self.ports.get(host.slot())
            && let Some(descriptor) = port.descriptor()
            && self.poller.change(descriptor, PORTS + host.slot() as u64, Watch::End).is_ok()
        {
            self.paused = Some(host.slot());
        }
    }

    /// Whether the host is not read from, for now.
    pub(super) fn is_host_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Has the poller look at the host again, if it is not read from: whether it is still there.
    pub(super) fn watch_paused_host(&mut self) {
        if let Some(slot) = self.paused
            && let Some(Some(port)) = self.ports.get(slot)
            && let Some(descriptor) = port.descriptor()
        {
            let _ = self.poller.change(descriptor, PORTS + slot as u64, Watch::End);
        }
    }

    /// Whether there are other ports than the one in `slot`, and for each of them so many bytes wait.
    fn others_have(&self, slot: usize, bytes: usize) -> bool {
        let mut others = self.ports().filter(|port| port.id.slot() != slot).peekable();
        others.peek().is_some() && others.all(|port| port.queued() >= bytes)
    }

    fn resume_host(&mut self) {
        let Some(slot) = self.paused else { return };
        if self.others_have(slot, LITTLE) {
            return;
        }
        if let Some(Some(port)) = self.ports.get(slot)
            && let Some(descriptor) = port.descriptor()
            && self.poller.change(descriptor, PORTS + slot as u64, Watch::Readable).is_ok()
        {
            self.paused = None;
        }
    }
}

/// The end of the run of frames that begins at `at`: those with the same two addresses.
fn run_end(batch: &Batch, at: usize) -> usize {
    const ADDRESSES: usize = 12;
    let mut frames = batch.iter().skip(at);
    let Some(first) = frames.next().and_then(|frame| frame.first_chunk::<ADDRESSES>()) else { return at + 1 };
    let same = |frame: &&[u8]| frame.len() >= HEADER && frame.first_chunk() == Some(first);
    at + 1 + frames.take_while(same).count()
}
