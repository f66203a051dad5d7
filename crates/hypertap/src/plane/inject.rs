//! The last step of packets from the program: checked, then into the interface.

use std::io;

use hypertap_platform::queue::PacketQueue;
use hypertap_wire::batch::Batch;
use hypertap_wire::packet::{Tally, flow_hash, validate};

/// Injects valid packets, those of one flow always through the same queue, so that the kernel,
/// which answers where it was written to, keeps flows apart.
pub(super) struct Injector {
    queues: Vec<Box<dyn PacketQueue>>,
    mtu: usize,
}

impl Injector {
    pub(super) fn new(queues: &[Box<dyn PacketQueue>], mtu: usize) -> Self {
        Self { queues: queues.iter().map(|queue| queue.another()).collect(), mtu }
    }

    /// Checks and injects the packets of `batch`; of those that are dropped, nothing stays in it.
    ///
    /// # Errors
    /// When the interface is gone for good.
    pub(super) fn inject(&mut self, batch: &mut Batch, tally: &mut Tally) -> io::Result<()> {
        let mtu = self.mtu;
        batch.retain(|_, packet| match validate(packet, mtu) {
            Ok(()) => true,
            Err(cause) => {
                tally.drop(cause, 1);
                false
            }
        });
        if let [only] = &mut self.queues[..] {
            return only.send(batch, 0..batch.len(), tally);
        }
        let mut first = 0;
        while first < batch.len() {
            let queue = self.queue_of(batch.get(first).unwrap_or_default());
            let rest = batch.iter().skip(first + 1);
            let count = 1 + rest.take_while(|packet| self.queue_of(packet) == queue).count();
            if let Some(queue) = self.queues.get_mut(queue) {
                queue.send(batch, first..first + count, tally)?;
            }
            first += count;
        }
        Ok(())
    }

    fn queue_of(&self, packet: &[u8]) -> usize {
        flow_hash(packet) as usize % self.queues.len().max(1)
    }
}
