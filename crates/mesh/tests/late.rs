//! A node whose own task has not noted a connection yet on which the peer speaks already.

mod fixture;

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fixture::{NEW, PATIENCE, QUIC, TCP, id, settings, start};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// How often a task was held up.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// A log that holds up the first node's task when that says that the second is up, which is before it notes it.
struct Holding;

/// What an event says.
#[derive(Default)]
struct Said {
    message: String,
    peer: String,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "peer" => self.peer = format!("{value:?}"),
            _ => {}
        }
    }
}

impl Subscriber for Holding {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("hypertap_mesh")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut said = Said::default();
        event.record(&mut said);
        if said.message == "connection is up" && said.peer == id(2).to_string() {
            HELD.fetch_add(1, Ordering::Relaxed);
            // What the task has started runs on other threads meanwhile.
            tokio::task::block_in_place(|| std::thread::sleep(Duration::from_millis(500)));
        }
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_has_a_peers_stream_can_open_one_to_it() {
    tracing::subscriber::set_global_default(Holding).expect("there is no other");
    for listen in [TCP, QUIC] {
        let mut one = start(settings(1, &[listen], &[2])).await;
        let before = HELD.load(Ordering::Relaxed);
        let mut two = settings(2, &[], &[]);
        two.peers = vec![one.as_peer()];
        let two = start(two).await;
        assert!(two.mesh.wait_connected(&one.id, PATIENCE).await);
        let (theirs, arrived) = futures::join!(two.mesh.open(&one.id, &[NEW]), one.inbound.recv());
        theirs.expect("it is agreed upon");
        let opened = one.mesh.open(&arrived.expect("it arrives").peer, &[NEW]).await;
        assert!(opened.is_ok(), "{listen}: {:?}", opened.map(drop));
        assert_eq!(HELD.load(Ordering::Relaxed), before + 1, "{listen}: nobody was held up");
    }
}
