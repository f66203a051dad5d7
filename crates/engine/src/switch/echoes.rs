//! The memory of flooded frames, by which copies are known that a loop brings back.
//!
//! A frame stays remembered as long as it comes again within the window, so that one that goes round slowly
//! is not taken for new, and its source not for moved, at each turn.

use std::collections::HashMap;
use std::time::Duration;

use super::hash::Keys;
use super::limit::RateLimit;
use super::port::{Port, PortId, Ports};

/// How long a flooded frame is remembered that does not come again.
const WINDOW: Duration = Duration::from_millis(500);

/// How many frames of one port are remembered.
const REMEMBERED: usize = 1024;

/// How many echoes a port may send, a second and at once: more than any protocol says the same by two
/// ports, and few enough to bear.
const ECHOES: u32 = 8;

/// How often one frame may come again by its own port within [`WINDOW`].
const REPETITIONS: u32 = 100;

/// A port is told about this often at most.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// A loop, or somebody who feigns one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looping {
    /// The port that first sent the frame.
    pub port: PortId,
    /// The port that its copies come by; the same port when the loop is beyond it.
    pub by: PortId,
    /// How many copies by that port were dropped since the last word on it.
    pub dropped: u64,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is against it.
    New,
    /// It was flooded lately, from another port; it says nothing about where its source is.
    Echo,
    /// A copy too many.
    Drop,
}

/// A frame in its port's list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remembered {
    hash: u64,
    first_at: Duration,
}

#[derive(Debug)]
struct Flooded {
    port: PortId,
    first_at: Duration,
    last_at: Duration,
    repetitions: RateLimit,
}

/// The frames that were flooded lately.
#[derive(Debug)]
pub(super) struct Echoes {
    keys: Keys,
    frames: HashMap<u64, Flooded, Keys>,
    looping: Option<Looping>,
}

/// How many echoes a port may send.
pub(super) fn allowance() -> RateLimit {
    RateLimit::new(ECHOES, ECHOES)
}

impl Echoes {
    pub(super) fn new(keys: Keys) -> Self {
        Self { keys, frames: HashMap::with_hasher(keys), looping: None }
    }

    /// Judges a frame, and remembers it if it is to be flooded.
    pub(super) fn handle_frame(
        &mut self,
        now: Duration,
        from: PortId,
        ports: &mut Ports,
        frame: &[u8],
        floods: bool,
    ) -> Verdict {
        let hash = self.keys.hash_frame(frame);
        let Some(port) = ports.get_mut(from) else { return Verdict::Drop };
        let known = self.frames.get_mut(&hash).filter(|flooded| flooded.is_recent(now));
        let Some(flooded) = known else {
            if floods {
                self.remember(now, from, port, hash);
            }
            return Verdict::New;
        };
        flooded.last_at = now;
        let first = flooded.port;
        let (limit, verdict) = if first == from {
            (&mut flooded.repetitions, Verdict::New)
        } else {
            (&mut port.echoes, Verdict::Echo)
        };
        if limit.try_take(now) {
            return verdict;
        }
        port.looped += 1;
        self.tell(now, first, from, port);
        Verdict::Drop
    }

    pub(super) fn take_looping(&mut self) -> Option<Looping> {
        self.looping.take()
    }

    /// Forgets what a port sent that was removed.
    pub(super) fn forget_port(&mut self, id: PortId, port: &Port) {
        for remembered in &port.remembered {
            self.forget(id, *remembered);
        }
        self.looping.take_if(|looping| looping.port == id || looping.by == id);
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.frames.len()
    }

    fn remember(&mut self, now: Duration, from: PortId, port: &mut Port, hash: u64) {
        while let Some(oldest) = port.remembered.front().copied() {
            let recent = self.frames.get(&oldest.hash).is_some_and(|flooded| {
                flooded.is_recent(now) && flooded.port == from && flooded.first_at == oldest.first_at
            });
            if recent && port.remembered.len() < REMEMBERED {
                break;
            }
            port.remembered.pop_front();
            self.forget(from, oldest);
        }
        port.remembered.push_back(Remembered { hash, first_at: now });
        let per_second = REPETITIONS * 1000 / u32::try_from(WINDOW.as_millis()).unwrap_or(u32::MAX);
        let repetitions = RateLimit::new(per_second, REPETITIONS);
        self.frames.insert(hash, Flooded { port: from, first_at: now, last_at: now, repetitions });
    }

    /// Forgets a frame, unless it has been remembered anew since.
    fn forget(&mut self, port: PortId, remembered: Remembered) {
        let same = |flooded: &Flooded| flooded.port == port && flooded.first_at == remembered.first_at;
        if self.frames.get(&remembered.hash).is_some_and(same) {
            self.frames.remove(&remembered.hash);
        }
    }

    fn tell(&mut self, now: Duration, first: PortId, from: PortId, by: &mut Port) {
        let lately = by.told_at.is_some_and(|told_at| now.saturating_sub(told_at) < TELL_INTERVAL);
        if !lately && self.looping.is_none() {
            by.told_at = Some(now);
            self.looping = Some(Looping { port: first, by: from, dropped: std::mem::take(&mut by.looped) });
        }
    }
}

impl Flooded {
    fn is_recent(&self, now: Duration) -> bool {
        now.saturating_sub(self.last_at) < WINDOW
    }
}
