//! Who uses this node's services: each connection is counted, and can be cut.
//!
//! A use begins when a client is granted the service, while the tables are still held, so that a change of them
//! misses nobody whose target is only being connected to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use hypertap_wire::label::Label;
use hypertap_wire::peer_id::PeerId;

/// All uses of this node's services. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Usage(Arc<Mutex<Uses>>);

#[derive(Debug, Default)]
struct Uses {
    next: u64,
    open: HashMap<u64, Open>,
    /// Of the services that there are, and of those whose last uses are about to end.
    totals: HashMap<Label, Arc<Totals>>,
}

#[derive(Debug)]
struct Open {
    service: Label,
    client: PeerId,
    cut: Arc<Cut>,
}

#[derive(Debug, Default)]
struct Cut {
    is_cut: AtomicBool,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct Totals {
    open: AtomicUsize,
    served: AtomicU64,
    to_target: AtomicU64,
    from_target: AtomicU64,
}

/// How much a service is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that there are now, those to targets that have not answered yet among them.
    pub open: usize,
    /// Connections that its target has taken since the node's start.
    pub served: u64,
    /// Bytes that clients sent to the target.
    pub to_target: u64,
    /// Bytes that the target sent to clients.
    pub from_target: u64,
}

/// One client's use of a service; it ends when this is dropped.
#[derive(Debug)]
pub struct Use {
    number: u64,
    usage: Usage,
    totals: Arc<Totals>,
    cut: Arc<Cut>,
}

impl Usage {
    /// A client is granted a service.
    pub fn begin(&self, service: &Label, client: PeerId) -> Use {
        let mut uses = self.uses();
        let number = uses.next;
        uses.next += 1;
        let cut = Arc::<Cut>::default();
        let totals = Arc::clone(uses.totals.entry(service.clone()).or_default());
        totals.open.fetch_add(1, Ordering::Relaxed);
        uses.open.insert(number, Open { service: service.clone(), client, cut: Arc::clone(&cut) });
        Use { number, usage: self.clone(), totals, cut }
    }

    /// How much a service is used.
    pub fn counts(&self, service: &Label) -> Counts {
        self.uses().totals.get(service).map(|totals| totals.counts()).unwrap_or_default()
    }

    /// Cuts the uses that are not to go on, and forgets the counts of services that are gone. Returns how
    /// many were cut.
    pub fn retain(
        &self,
        is_there: impl Fn(&Label) -> bool,
        goes_on: impl Fn(&Label, &PeerId) -> bool,
    ) -> usize {
        let mut uses = self.uses();
        let mut cut = 0;
        for open in uses.open.values() {
            if !goes_on(&open.service, &open.client) && !open.cut.is_cut.swap(true, Ordering::AcqRel) {
                open.cut.waker.wake();
                cut += 1;
            }
        }
        uses.totals.retain(|service, _| is_there(service));
        cut
    }

    fn uses(&self) -> MutexGuard<'_, Uses> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Totals {
    fn counts(&self) -> Counts {
        Counts {
            open: self.open.load(Ordering::Relaxed),
            served: self.served.load(Ordering::Relaxed),
            to_target: self.to_target.load(Ordering::Relaxed),
            from_target: self.from_target.load(Ordering::Relaxed),
        }
    }
}

impl Use {
    /// The target has taken the client.
    pub fn established(&self) {
        self.totals.served.fetch_add(1, Ordering::Relaxed);
    }

    /// So many bytes went to the target.
    pub fn count_to_target(&self, bytes: usize) {
        self.totals.to_target.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// So many bytes came from the target.
    pub fn count_from_target(&self, bytes: usize) {
        self.totals.from_target.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Ready once the use is to end: its service is gone, or no longer for this client. One task at a time
    /// is woken.
    pub fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.cut.is_cut.load(Ordering::Acquire) {
            self.cut.waker.register(cx.waker());
        }
        if self.cut.is_cut.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.totals.open.fetch_sub(1, Ordering::Relaxed);
        self.usage.uses().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn label(text: &str) -> Label {
        Label::new(text).expect("a label")
    }

    fn peer(number: u8) -> PeerId {
        PeerId::from_ed25519(&[number; 32])
    }

    fn is_cut(used: &Use) -> bool {
        used.poll_cut(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_service_counts_its_uses_and_their_bytes() {
        let usage = Usage::default();
        let (one, two) = (usage.begin(&label("web"), peer(1)), usage.begin(&label("web"), peer(2)));
        one.established();
        one.count_to_target(3);
        two.count_from_target(5);
        assert_eq!(usage.counts(&label("web")), Counts { open: 2, served: 1, to_target: 3, from_target: 5 });
        drop((one, two));
        assert_eq!(usage.counts(&label("web")).open, 0);
        assert_eq!(usage.counts(&label("ssh")), Counts::default());
        assert!(usage.uses().open.is_empty());
    }

    #[test]
    fn only_what_does_not_go_on_is_cut() {
        let usage = Usage::default();
        let uses = [("web", 1), ("web", 2), ("ssh", 1)];
        let uses = uses.map(|(service, client)| usage.begin(&label(service), peer(client)));
        let goes_on = |service: &Label, client: &PeerId| *service == label("web") && *client == peer(2);
        assert_eq!(usage.retain(|service| *service == label("web"), goes_on), 2);
        assert_eq!(uses.each_ref().map(is_cut), [true, false, true]);
        assert_eq!(usage.retain(|_| true, goes_on), 0, "they are cut already");
        assert_eq!(usage.counts(&label("ssh")), Counts::default());
        drop(uses);
        assert_eq!(usage.counts(&label("web")).open, 0);
    }
}
