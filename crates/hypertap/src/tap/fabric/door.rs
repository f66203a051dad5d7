//! A datagram socket that guests come in by, and who they are.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use hypertap_platform::guest_socket::{Answer, GuestName, GuestSocket, NoAnswer, Sender};

use super::guest::Guest;
use super::lan::Lan;
use super::outbox::Outbox;
use super::port::{Link, Port};
use super::{ClientId, FabricEvent, ListenId, Origin, Place, Places};

/// What vfkit and libkrun send first, to be told apart from others.
const GREETING: &[u8] = b"VFKT";
/// How long a sender that is not answered is not looked at again.
pub(super) const REFUSED: Duration = Duration::from_secs(1);
/// How many such senders are remembered.
const MAX_REFUSED: usize = 256;
/// How often dead guests are looked for when there is no place left.
const SEARCH: Duration = Duration::from_secs(1);
/// How often a stranger is worth a line in the log.
const WORTH_A_LINE: Duration = Duration::from_secs(10);

/// A socket that guests send to.
pub(super) struct Door {
    listen: ListenId,
    socket: GuestSocket,
    /// The same once more, for answers.
    ours: Rc<OwnedFd>,
}

impl Door {
    /// A door at a socket.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(super) fn new(listen: ListenId, socket: GuestSocket) -> io::Result<Self> {
        let ours = Rc::new(socket.as_fd().try_clone_to_owned()?);
        Ok(Self { listen, socket, ours })
    }

    pub(super) fn socket(&self) -> &GuestSocket {
        &self.socket
    }

    /// Receives once and forwards what came.
    ///
    /// # Errors
    /// Of the socket; there is none that passes.
    pub(super) fn receive(&mut self, door: usize, register: &mut Register, lan: &mut Lan) -> io::Result<()> {
        match self.socket.recv() {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let (batch, senders) = self.socket.received();
        let mut at = 0;
        while let (Some(sender), Some(first)) = (senders.get(at), batch.get(at)) {
            let is_greeting = first == GREETING;
            let more = batch.iter().zip(senders).skip(at + 1);
            let same =
                more.take_while(|(frame, other)| *other == sender && !is_greeting && *frame != GREETING);
            let run = at..at + 1 + same.count();
            at = run.end;
            match register.find(*sender, (door, &self.ours, self.listen), lan) {
                Some(slot) if !is_greeting => {
                    if let Some(id) = lan.port(slot).map(|port| port.id) {
                        lan.forward_some(id, batch, run, 0);
                    }
                }
                Some(_) => {}
                None => register.strangers += run.len() as u64,
            }
        }
        Ok(())
    }
}

/// Who came in by which door.
pub(super) struct Register {
    /// The slots of the guests' ports.
    guests: HashMap<(usize, GuestName), usize>,
    places: Places,
    outbox: Rc<Outbox>,
    refused: HashMap<GuestName, Duration>,
    searched: Option<Duration>,
    told: Option<Duration>,
    /// Datagrams of senders that are no guests.
    pub(super) strangers: u64,
}

impl Register {
    pub(super) fn new(places: Places, outbox: Rc<Outbox>) -> Self {
        Self {
            guests: HashMap::new(),
            places,
            outbox,
            refused: HashMap::new(),
            searched: None,
            told: None,
            strangers: 0,
        }
    }

    /// The slot of a sender's port, made if it is new.
    fn find(&mut self, sender: Sender, at: (usize, &Rc<OwnedFd>, ListenId), lan: &mut Lan) -> Option<usize> {
        let (door, ours, listen) = at;
        let Some(name) = sender.name else {
            self.tell_stranger(lan.now, || {
                "a sender without a name cannot be answered: bind its socket".to_owned()
            });
            return None;
        };
        let mut before = None;
        if let Some(slot) = self.guests.get(&(door, name)).copied() {
            if lan.guest_mut(slot).is_some_and(|(guest, now)| guest.on_heard(now)) {
                return Some(slot);
            }
            before = self.take_out(slot, lan);
        }
        // The next has the place of the one before it, so that it is never free in between.
        let (place, went) = before.unzip();
        let slot = self.find_new(name, sender, (door, ours, listen), place, lan);
        if let Some(went) = went {
            self.outbox.tell_news(went);
        }
        slot
    }

    fn find_new(
        &mut self,
        name: GuestName,
        sender: Sender,
        (door, ours, listen): (usize, &Rc<OwnedFd>, ListenId),
        place: Option<Place>,
        lan: &mut Lan,
    ) -> Option<usize> {
        if self.refused.get(&name).is_some_and(|until| *until > lan.now) {
            return None;
        }
        match self.admit(name, sender, (door, ours), place, lan) {
            Ok((slot, guest)) => {
                self.outbox.tell_news(FabricEvent::GuestCame { listen, guest, name: name.to_string() });
                Some(slot)
            }
            Err(reason) => {
                // One that sent before credentials were asked for sends others, and one that has gone may come again.
                if !matches!(reason, NotAdmitted::NoAnswer(NoAnswer::UnknownSender | NoAnswer::Gone)) {
                    self.refuse(name, lan.now);
                }
                self.tell_stranger(lan.now, || format!("the guest at {name} is not served: {reason}"));
                None
            }
        }
    }

    fn refuse(&mut self, name: GuestName, now: Duration) {
        if self.refused.len() >= MAX_REFUSED {
            self.refused.retain(|_, until| *until > now);
        }
        if self.refused.len() < MAX_REFUSED {
            self.refused.insert(name, now + REFUSED);
        }
    }

    fn admit(
        &mut self,
        name: GuestName,
        sender: Sender,
        (door, ours): (usize, &Rc<OwnedFd>),
        place: Option<Place>,
        lan: &mut Lan,
    ) -> Result<(usize, ClientId), NotAdmitted> {
        let answer = Answer::open(&name, sender.uid)?;
        let mut place = place.or_else(|| self.places.take());
        if place.is_none() {
            self.remove_dead(lan);
            place = self.places.take();
        }
        let place = place.ok_or(NotAdmitted::NoPlace(self.places.all()))?;
        let client = ClientId::next();
        let guest = Guest::new(name, sender, (door, Rc::clone(ours)), answer, lan.now, place);
        let id = lan.add(Origin::Client(client), Link::Guest(Box::new(guest)), None)?;
        self.guests.insert((door, name), id.slot());
        Ok((id.slot(), client))
    }

    /// Looks for guests whose sockets are gone, once in a while. Returns how long it is until the next look, if
    /// none was taken now for that.
    pub(super) fn remove_dead(&mut self, lan: &mut Lan) -> Option<Duration> {
        if self.guests.is_empty() {
            return None;
        }
        let wait = self.searched.map_or(Duration::ZERO, |at| (at + SEARCH).saturating_sub(lan.now));
        if !wait.is_zero() {
            return Some(wait);
        }
        self.searched = Some(lan.now);
        let is_dead = |slot: &usize| lan.guest_mut(*slot).is_none_or(|(guest, _)| guest.is_dead());
        let dead: Vec<usize> = self.guests.values().copied().filter(is_dead).collect();
        for slot in dead {
            self.remove(slot, lan);
        }
        None
    }

    /// Removes a guest's port.
    pub(super) fn remove(&mut self, slot: usize, lan: &mut Lan) {
        if let Some((place, went)) = self.take_out(slot, lan) {
            drop(place);
            self.outbox.tell_news(went);
        }
    }

    /// Removes a guest's port. Returns its place, and what is to be told.
    fn take_out(&mut self, slot: usize, lan: &mut Lan) -> Option<(Place, FabricEvent)> {
        let (guest, now) = lan.guest_mut(slot)?;
        let (key, takes_nothing) = ((guest.door, guest.name), guest.takes_nothing);
        self.guests.remove(&key);
        if takes_nothing {
            self.refuse(key.1, now);
        }
        let counters = Box::new(lan.report(slot)?);
        match lan.remove(slot)? {
            Port { origin: Origin::Client(guest), link: Link::Guest(gone), .. } => {
                Some((gone.place, FabricEvent::GuestWent { guest, counters }))
            }
            _ => None,
        }
    }

    fn tell_stranger(&mut self, now: Duration, what: impl Fn() -> String) {
        if self.told.is_none_or(|at| now.saturating_sub(at) >= WORTH_A_LINE) {
            self.told = Some(now);
            tracing::warn!("{}; its frames are dropped", what());
        }
    }
}

/// Why a sender is no guest.
#[derive(Debug, thiserror::Error)]
enum NotAdmitted {
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    #[error("all {0} places are taken (--max-clients)")]
    NoPlace(usize),
    #[error(transparent)]
    Io(#[from] io::Error),
}
