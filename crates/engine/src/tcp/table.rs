//! The flows, found by their four numbers or by the id that the outside has.
//!
//! A slot may outlast its key: what the program sent last is still to be read while the same four
//! numbers already name another connection. An id names a slot and how often it was taken, so an
//! id of a flow that is gone finds nothing.

use std::collections::HashMap;
use std::hash::{BuildHasher, DefaultHasher, Hasher};

use super::segment::Key;

/// The name of a flow. It is never given twice, within 2³² uses of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId {
    index: u32,
    generation: u32,
}

/// Hashes with a secret, so that nobody outside can choose numbers that collide.
#[derive(Clone, Copy, Debug)]
pub(super) struct Secret(pub [u64; 2]);

impl BuildHasher for Secret {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0[0]);
        hasher.write_u64(self.0[1]);
        hasher
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

#[derive(Debug)]
pub(super) struct Table<T> {
    by_key: HashMap<Key, FlowId, Secret>,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Table<T> {
    pub fn new(secret: Secret) -> Self {
        Self { by_key: HashMap::with_hasher(secret), slots: Vec::new(), free: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub fn find(&self, key: &Key) -> Option<FlowId> {
        self.by_key.get(key).copied()
    }

    /// Enters a flow. The key must not be there.
    pub fn insert(&mut self, key: Key, value: T) -> FlowId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, value: None });
            u32::try_from(self.slots.len() - 1).expect("the number of flows is bounded far below 2³²")
        });
        let slot = &mut self.slots[index as usize];
        slot.value = Some(value);
        let id = FlowId { index, generation: slot.generation };
        self.by_key.insert(key, id);
        id
    }

    pub fn get(&self, id: FlowId) -> Option<&T> {
        let slot = self.slots.get(id.index as usize)?;
        slot.value.as_ref().filter(|_| slot.generation == id.generation)
    }

    pub fn get_mut(&mut self, id: FlowId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.value.as_mut().filter(|_| slot.generation == id.generation)
    }

    /// Frees the four numbers, if they still name this flow.
    pub fn forget_key(&mut self, key: &Key, id: FlowId) {
        if self.by_key.get(key) == Some(&id) {
            self.by_key.remove(key);
        }
    }

    /// Frees the slot.
    pub fn remove(&mut self, id: FlowId) -> Option<T> {
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_a_flow_that_is_gone_finds_nothing() {
        let key = Key { local: [1; 16], remote: [2; 16], local_port: 1, remote_port: 2 };
        let mut table = Table::new(Secret([1, 2]));
        let first = table.insert(key, "first");
        table.forget_key(&key, first);
        let second = table.insert(key, "second");
        table.forget_key(&key, first);
        assert_eq!((table.find(&key), table.len()), (Some(second), 2));
        assert_eq!(table.remove(first), Some("first"));
        let third = table.insert(Key { local_port: 3, ..key }, "third");
        assert_eq!((table.get(first), table.get(third)), (None, Some(&"third")));
        assert_eq!(table.remove(first), None);
        assert_eq!(table.len(), 2);
    }
}
