//! Datagrams on their way out.

use hypertap_wire::service_stream::Item;

/// What a box that is empty keeps of its memory, in bytes.
const KEPT: usize = 4096;

/// Datagrams in the form of a service's stream, and how far they are sent.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes that are still to be sent.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Whether nothing is to be sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends an item, unless there would be more than `most` bytes. Returns whether it did. An
    /// empty box takes any.
    pub fn push(&mut self, item: Item<'_>, most: usize) -> bool {
        if !self.is_empty() && self.len() + item.encoded_len() > most {
            return false;
        }
        if self.sent > self.len() {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        item.write(&mut self.bytes);
        true
    }

    /// What is still to be sent.
    pub fn unsent(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// So many bytes are sent.
    pub fn consume(&mut self, len: usize) {
        self.sent = (self.sent + len).min(self.bytes.len());
        if self.is_empty() {
            self.sent = 0;
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
        }
    }

    /// The first item that is still to be sent, of a box of which only whole ones were consumed.
    pub fn front(&self) -> Option<Item<'_>> {
        Item::split(self.unsent()).ok().flatten().map(|(item, _)| item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_box_drops_the_newest_and_keeps_the_rest() {
        let mut outbox = Outbox::new();
        assert!(outbox.push(Item::Datagram(b"longer than the box"), 10), "an empty one takes any");
        assert!(!outbox.push(Item::Datagram(b""), 10));
        outbox.consume(outbox.len());
        assert!(outbox.push(Item::Datagram(b"abc"), 10) && outbox.push(Item::Datagram(b"def"), 10));
        assert!(!outbox.push(Item::Refused, 10));
        assert_eq!(outbox.front(), Some(Item::Datagram(b"abc")));
        outbox.consume(5);
        assert_eq!(outbox.front(), Some(Item::Datagram(b"def")));
    }

    #[test]
    fn an_empty_box_gives_its_memory_back() {
        let mut outbox = Outbox::new();
        outbox.push(Item::Datagram(&vec![0; 60_000]), 1 << 20);
        outbox.consume(usize::MAX);
        assert!(outbox.bytes.capacity() <= KEPT);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(steps in prop::collection::vec((0..30_usize, 0..60_usize), 0..100)) {
            let (mut outbox, mut put, mut got) = (Outbox::new(), Vec::new(), Vec::new());
            for (number, (len, take)) in steps.into_iter().enumerate() {
                let data = vec![u8::try_from(number).unwrap(); len];
                if outbox.push(Item::Datagram(&data), 100) {
                    Item::Datagram(&data).write(&mut put);
                }
                let take = take.min(outbox.len());
                got.extend_from_slice(&outbox.unsent()[..take]);
                outbox.consume(take);
                prop_assert!(outbox.len() <= 100);
            }
            got.extend_from_slice(outbox.unsent());
            prop_assert_eq!(got, put);
        }
    }
}
