//! Maglev: a table of keys in which each endpoint has the same number of entries, or as its weight says.
//!
//! Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016), 3.4: endpoints
//! take turns to claim the next free entry of a permutation of their own. Weights as in Envoy: who has had
//! its part passes. If an endpoint goes, its entries go to others, and few besides move.

use super::hashed::{Owner, mixed};

/// Entries; a prime, so that each step leads through all of them. Envoy's default; the paper wants a
/// hundred times the number of endpoints for an evenness of 1 %.
const SIZE: u32 = 65_537;

/// Which endpoint owns which entry.
#[derive(Debug)]
pub(super) struct Table {
    owners: Box<[u32]>,
}

// === impl Table ===

impl Table {
    pub(super) fn new(all: &[Owner]) -> Self {
        Self::sized(all, SIZE)
    }

    /// With so many entries, a prime.
    pub(super) fn sized(all: &[Owner], entries: u32) -> Self {
        let Some(most) = all.iter().map(|owner| owner.weight).max() else {
            return Self { owners: Box::default() };
        };
        let size = u64::from(entries);
        // By hash, so that each node gives the first turn to the same one.
        let mut all: Vec<(u64, u64, u16, u32)> = all
            .iter()
            .map(|owner| {
                let step = mixed(owner.hash ^ 1) % (size - 1) + 1;
                (owner.hash % size, step, owner.weight, owner.place)
            })
            .collect();
        all.sort_unstable();
        const FREE: u32 = u32::MAX;
        let mut owners = vec![FREE; usize::try_from(entries).unwrap_or(0)].into_boxed_slice();
        let mut left = entries;
        for turn in 1_u64.. {
            for (next, step, weight, place) in &mut all {
                // In each turn of the heaviest the others have a part of one.
                let (most, weight) = (u64::from(most), u64::from(*weight));
                if turn * weight / most == (turn - 1) * weight / most {
                    continue;
                }
                let entry = loop {
                    let entry = usize::try_from(*next).unwrap_or(0);
                    *next = (*next + *step) % size;
                    if let Some(entry) = owners.get_mut(entry).filter(|entry| **entry == FREE) {
                        break entry;
                    }
                };
                *entry = *place;
                left -= 1;
                if left == 0 {
                    return Self { owners };
                }
            }
        }
        Self { owners }
    }

    pub(super) fn len(&self) -> usize {
        self.owners.len()
    }

    #[inline]
    pub(super) fn entry(&self, key: u64) -> usize {
        super::alias::scaled(key >> 32, self.owners.len())
    }

    #[inline]
    pub(super) fn owner(&self, entry: usize) -> Option<u32> {
        self.owners.get(entry).copied()
    }
}
