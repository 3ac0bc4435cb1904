//! A hash map whose copies share what they have in common.
//!
//! A snapshot is immutable and the next one differs in a few entries: only the shards that these fall
//! into are copied.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;

/// With 20 000 entries a shard has 80: what one change copies.
const SHARDS: usize = 256;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Shards<K, V> {
    hasher: RandomState,
    shards: Box<[Arc<HashMap<K, V, RandomState>>]>,
    len: usize,
}

// === impl Shards ===

impl<K: Eq + Hash + Clone, V: Clone> Shards<K, V> {
    #[inline]
    pub(super) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.shards[self.place(key)].get(key)
    }

    /// What was there before.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let place = self.place(&key);
        let before = Arc::make_mut(&mut self.shards[place]).insert(key, value);
        self.len += usize::from(before.is_none());
        before
    }

    /// What was there before.
    pub(super) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let place = self.place(key);
        if !self.shards[place].contains_key(key) {
            return None;
        }
        self.len -= 1;
        Arc::make_mut(&mut self.shards[place]).remove(key)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    #[inline]
    fn place<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        // Bits that the shard's own table does not choose by: it has a hasher of its own.
        usize::from(self.hasher.hash_one(key).to_le_bytes()[0])
    }
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Arc::default()).collect();
        Self { hasher: RandomState::default(), shards, len: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_shares_what_is_not_touched() {
        let mut first: Shards<u32, u32> = Shards::default();
        for i in 0..10_000 {
            assert_eq!(first.insert(i, i), None);
        }
        let mut second = first.clone();
        assert_eq!(second.insert(7, 8), Some(7));
        assert_eq!(second.remove(&9), Some(9));
        assert_eq!(second.remove(&9), None);
        assert_eq!((first.len(), second.len()), (10_000, 9_999));
        assert_eq!((first.get(&7), second.get(&7), second.get(&9)), (Some(&7), Some(&8), None));
        let shared =
            first.shards.iter().zip(&second.shards).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert!(shared >= SHARDS - 2, "{shared}");
        assert_eq!(second.iter().count(), 9_999);
    }
}
