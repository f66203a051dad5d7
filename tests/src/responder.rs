//! A program that answers: a thread between a data plane and a function of packets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::program::Program;

/// Answers packets until it is dropped.
#[derive(Debug)]
pub struct Responder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicU64,
}

impl Responder {
    /// Answers with what `answer` makes of each packet.
    pub fn start<P: Program + 'static>(
        program: P,
        answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            while !ours.stop.load(Ordering::Relaxed) {
                let packet = program.receive(Duration::from_millis(50));
                if let Some(reply) = packet.and_then(|packet| answer(&packet)) {
                    // Before it is sent: who has received it counts with it.
                    ours.answered.fetch_add(1, Ordering::Relaxed);
                    program.send(&reply);
                }
            }
        });
        Self { shared, thread: Some(thread) }
    }

    /// How many packets it has answered, the one that it is sending included.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its own panic has been printed, and fails what waits for answers.
            let _ = thread.join();
        }
    }
}
