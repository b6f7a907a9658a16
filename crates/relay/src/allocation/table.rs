//! All allocations of one relay: slots plus an index by five-tuple.

use ahash::RandomState;
use hashbrown::HashTable;

use crate::address::{ClientPath, FiveTuple};
use crate::allocation::{Allocation, AllocationId};
use crate::slots::Slots;

pub(crate) struct Table {
    slots: Slots<Allocation>,
    /// Keyed, since client addresses are chosen by strangers.
    hasher: RandomState,
    by_five_tuple: HashTable<Entry>,
}

struct Entry {
    packed: [u64; 5],
    index: u32,
}

impl Table {
    pub(crate) fn new(hash_seeds: [u64; 4]) -> Self {
        Self::with_slots(hash_seeds, Slots::new())
    }

    pub(crate) fn with_slots(hash_seeds: [u64; 4], slots: Slots<Allocation>) -> Self {
        let [a, b, c, d] = hash_seeds;
        let mut table = Self {
            slots: Slots::new(),
            hasher: RandomState::with_seeds(a, b, c, d),
            by_five_tuple: HashTable::new(),
        };
        for (index, allocation) in slots.iter() {
            table.index(index, allocation.path.five_tuple);
            if let Some(next) = allocation.next_path() {
                table.index(index, next.five_tuple);
            }
        }
        table.slots = slots;
        table
    }

    #[inline]
    pub(crate) fn find(&self, five_tuple: &FiveTuple) -> Option<AllocationId> {
        let packed = five_tuple.packed();
        self.by_five_tuple
            .find(self.hasher.hash_one(packed), |e| e.packed == packed)
            .map(|e| AllocationId(e.index))
    }

    #[inline]
    pub(crate) fn get(&self, id: AllocationId) -> Option<&Allocation> {
        self.slots.get(id.0)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: AllocationId) -> Option<&mut Allocation> {
        self.slots.get_mut(id.0)
    }

    /// The id that the next [`insert`](Self::insert) gives.
    pub(crate) fn next_id(&self) -> Option<AllocationId> {
        self.slots.next_index().map(AllocationId)
    }

    pub(crate) fn insert(&mut self, allocation: Allocation) {
        if let Some(id) = self.next_id() {
            self.index(id.0, allocation.path.five_tuple);
            self.slots.insert(allocation);
        }
    }

    pub(crate) fn remove(&mut self, id: AllocationId) -> Option<Allocation> {
        let allocation = self.slots.remove(id.0)?;
        self.forget(&allocation.path.five_tuple);
        if let Some(next) = allocation.next_path() {
            self.forget(&next.five_tuple);
        }
        Some(allocation)
    }

    /// Makes the allocation known by a second five-tuple, which is not in use.
    pub(crate) fn set_next_path(&mut self, id: AllocationId, path: ClientPath) {
        let Some(mobility) = self.get_mut(id).and_then(|a| a.mobility.as_mut()) else {
            return;
        };
        let before = mobility.next.replace(path);
        if let Some(before) = before {
            self.forget(&before.five_tuple);
        }
        self.index(id.0, path.five_tuple);
    }

    /// The second five-tuple becomes the only one. Returns the first.
    pub(crate) fn move_to(&mut self, id: AllocationId, path: ClientPath) -> Option<ClientPath> {
        let allocation = self.get_mut(id)?;
        allocation.mobility.as_mut()?.next.take()?;
        let from = core::mem::replace(&mut allocation.path, path);
        self.forget(&from.five_tuple);
        Some(from)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (AllocationId, &Allocation)> {
        self.slots.iter().map(|(i, a)| (AllocationId(i), a))
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) const fn slots(&self) -> &Slots<Allocation> {
        &self.slots
    }

    /// Panics if slots and index disagree.
    pub(crate) fn check_invariants(&self) {
        let mut known = self.slots.len();
        for (id, allocation) in self.iter() {
            assert_eq!(self.find(&allocation.path.five_tuple), Some(id));
            if let Some(next) = allocation.next_path() {
                assert_eq!(self.find(&next.five_tuple), Some(id));
                known = known.saturating_add(1);
            }
        }
        assert_eq!(self.by_five_tuple.len(), known);
    }

    fn forget(&mut self, five_tuple: &FiveTuple) {
        let packed = five_tuple.packed();
        let hash = self.hasher.hash_one(packed);
        if let Ok(entry) = self.by_five_tuple.find_entry(hash, |e| e.packed == packed) {
            entry.remove();
        }
    }

    fn index(&mut self, index: u32, five_tuple: FiveTuple) {
        let packed = five_tuple.packed();
        let hasher = &self.hasher;
        self.by_five_tuple
            .insert_unique(hasher.hash_one(packed), Entry { packed, index }, |e| {
                hasher.hash_one(e.packed)
            });
    }
}
