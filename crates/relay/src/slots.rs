//! A vector with stable indices. Which index a new entry gets depends on nothing but the entries' history,
//! and that survives a snapshot.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Slots<T> {
    entries: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
        }
    }

    /// The index that the next [`insert`](Self::insert) will use; `None` when indices have run out.
    pub(crate) fn next_index(&self) -> Option<u32> {
        match self.free.last() {
            Some(&index) => Some(index),
            None => u32::try_from(self.entries.len()).ok(),
        }
    }

    /// Fills the slot that [`next_index`](Self::next_index) named.
    pub(crate) fn insert(&mut self, value: T) {
        match self.free.pop() {
            Some(index) => {
                if let Some(entry) = self.entries.get_mut(index as usize) {
                    *entry = Some(value);
                }
            }
            None => self.entries.push(Some(value)),
        }
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let value = self.entries.get_mut(index as usize)?.take()?;
        self.free.push(index);
        Some(value)
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.entries.get(index as usize)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entries.get_mut(index as usize)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..)
            .zip(&self.entries)
            .filter_map(|(i, e)| Some((i, e.as_ref()?)))
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len().saturating_sub(self.free.len())
    }

    /// The same slots with each entry replaced.
    pub(crate) fn map<U>(&self, f: impl Fn(&T) -> U) -> Slots<U> {
        Slots {
            entries: self.entries.iter().map(|e| e.as_ref().map(&f)).collect(),
            free: self.free.clone(),
        }
    }

    /// The same slots with each entry replaced; `None` where an entry could not be.
    pub(crate) fn try_map<U, E>(
        &self,
        mut f: impl FnMut(u32, &T) -> Result<U, E>,
    ) -> Result<Slots<U>, E> {
        let mut entries = Vec::with_capacity(self.entries.len());
        for (index, entry) in (0..).zip(&self.entries) {
            entries.push(match entry {
                Some(value) => Some(f(index, value)?),
                None => None,
            });
        }
        Ok(Slots {
            entries,
            free: self.free.clone(),
        })
    }
}
