//! Ports come and go, as the thread is told.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use hypertap_engine::modem::ModemSettings;
use hypertap_engine::switch::PortId;
use hypertap_platform::guest_socket::GuestSocket;
use hypertap_platform::poller::Watch;
use hypertap_platform::queue::PacketQueue;
use hypertap_wire::ethernet::MacAddress;
use hypertap_wire::frames::{FrameReader, Framing};

use super::super::command::Command;
use super::super::door::Door;
use super::super::incoming::set_nonblocking;
use super::super::messages::Messages;
use super::super::modem::{MAX_MESSAGE, ModemLine};
use super::super::port::{Link, Stream};
use super::super::{ClientEnd, ClientId, FabricEvent, ListenId, Origin, Place, PortReport, Report};
use super::{DOORS, FRAMES, READ, Source, Thread};

impl Thread {
    /// Does what was asked for.
    pub(super) fn obey(&mut self) {
        self.waker.clear();
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::AttachHost(queue, mac) => self.attach_host(queue, mac),
                Command::AttachStream { client, place, stream, framing } => {
                    self.attach_stream(client, place, stream, framing);
                }
                Command::AttachMessages { client, place, socket } => {
                    self.attach_messages(client, place, socket);
                }
                Command::Detach(client, answer) => {
                    let origin = Origin::Client(client);
                    let port = self.lan.ports().find(|port| port.origin == origin);
                    if let Some(slot) = port.map(|port| port.id.slot()) {
                        let counters = self.lan.report(slot);
                        self.register.remove(slot, &mut self.lan);
                        self.remove(slot);
                        if let Some(counters) = counters {
                            let _ = answer.send(counters);
                        }
                    }
                }
                Command::FreeDead(answer) => {
                    let _ = answer.send(self.register.remove_dead(&mut self.lan));
                }
                Command::Report(answer) => {
                    let _ = answer.send(self.report());
                }
                Command::AttachModem { client, place, stream, settings } => {
                    self.attach_modem(client, place, stream, *settings);
                }
                Command::AttachGuests { listen, socket } => self.attach_guests(listen, socket),
            }
        }
    }

    fn attach_host(&mut self, queue: Box<dyn PacketQueue>, mac: MacAddress) {
        self.detach_host();
        match self.lan.add(Origin::Host, Link::Host(queue.another()), Some(mac)) {
            Ok(id) => {
                self.host = Some(id);
                self.put_source(id, Source::Host(queue));
            }
            Err(error) => self.outbox.tell(FabricEvent::HostGone(error)),
        }
    }

    fn detach_host(&mut self) {
        if let Some(id) = self.host.take() {
            self.remove(id.slot());
        }
    }

    pub(super) fn lose_host(&mut self, error: io::Error) {
        if self.host.is_some() {
            self.detach_host();
            self.outbox.tell(FabricEvent::HostGone(error));
        }
    }

    fn attach_stream(&mut self, client: ClientId, place: Place, stream: OwnedFd, framing: Option<Framing>) {
        let file = Rc::new(File::from(stream));
        let link = Link::Stream(Stream::new(Rc::clone(&file), framing));
        match set_nonblocking(&file).and_then(|()| self.lan.add(Origin::Client(client), link, None)) {
            Ok(id) => {
                let reader = FrameReader::new(framing, self.max_frame, READ, FRAMES);
                self.put_source(id, Source::Stream { client, place, file, reader });
            }
            Err(error) => self.refuse(client, place, error),
        }
    }

    fn attach_modem(&mut self, client: ClientId, place: Place, stream: OwnedFd, settings: ModemSettings) {
        let file = Rc::new(File::from(stream));
        let link = Link::Modem(Box::new(ModemLine::new(Rc::clone(&file), settings)));
        match set_nonblocking(&file).and_then(|()| self.lan.add(Origin::Client(client), link, None)) {
            Ok(id) => {
                let reader = FrameReader::new(Some(Framing::Le16), MAX_MESSAGE, 0, FRAMES);
                self.put_source(id, Source::Modem { client, place, file, reader });
                self.modems += 1;
            }
            Err(error) => self.refuse(client, place, error),
        }
    }

    fn attach_messages(&mut self, client: ClientId, place: Place, socket: GuestSocket) {
        let link = Messages::new(&socket).map(Link::Messages);
        match link.and_then(|link| self.lan.add(Origin::Client(client), link, None)) {
            Ok(id) => self.put_source(id, Source::Messages { client, place, socket }),
            Err(error) => self.refuse(client, place, error),
        }
    }

    /// Tells that a client cannot be a port.
    fn refuse(&self, client: ClientId, place: Place, error: io::Error) {
        let counters = Box::new(PortReport::empty(Origin::Client(client)));
        self.outbox.tell(FabricEvent::ClientEnded { client, end: ClientEnd::Io(error), counters, place });
    }

    fn attach_guests(&mut self, listen: ListenId, socket: GuestSocket) {
        let token = DOORS + self.doors.len() as u64;
        let door = Door::new(listen, socket);
        let door = door.and_then(|door| {
            self.lan.poller.add(door.socket().as_fd(), token, Watch::Readable)?;
            Ok(door)
        });
        match door {
            Ok(door) => self.doors.push(door),
            Err(error) => tracing::error!(%error, "guests cannot come in by a datagram socket"),
        }
    }

    fn put_source(&mut self, id: PortId, source: Source) {
        if self.sources.len() <= id.slot() {
            self.sources.resize_with(id.slot() + 1, || None);
        }
        self.sources[id.slot()] = Some(source);
    }

    /// Removes a port and closes what it was on.
    fn remove(&mut self, slot: usize) -> Option<Source> {
        self.lan.remove(slot);
        let source = self.sources.get_mut(slot)?.take();
        self.modems -= usize::from(matches!(source, Some(Source::Modem { .. })));
        source
    }

    /// Removes a client's port and tells why.
    pub(super) fn end(&mut self, slot: usize, end: ClientEnd) {
        let counters = self.lan.report(slot);
        if let Some(
            Source::Stream { client, place, .. }
            | Source::Modem { client, place, .. }
            | Source::Messages { client, place, .. },
        ) = self.remove(slot)
        {
            let counters = counters.unwrap_or_else(|| PortReport::empty(Origin::Client(client)));
            let counters = Box::new(counters);
            self.outbox.tell(FabricEvent::ClientEnded { client, end, counters, place });
        }
    }

    fn report(&self) -> Report {
        Report {
            ports: self.lan.ports().filter_map(|port| self.lan.report(port.id.slot())).collect(),
            addresses: self.lan.switch.stations(self.lan.now).count(),
            strangers: self.register.strangers,
            cut: self.doors.iter().map(|door| door.socket().cut()).sum(),
        }
    }
}
