//! Ring hash: each endpoint has points on a ring, as many as its weight says; a key belongs to the next one.
//!
//! Karger et al., "Consistent Hashing and Random Trees" (STOC 1997), with many points for each endpoint as
//! libketama has them. Less even than Maglev, but if an endpoint goes nobody else's keys move at all.

use super::hashed::{Owner, mixed};

/// Points of an endpoint of weight 1, if there are not too many: shares are within some per cent of even.
const POINTS: u64 = 256;
/// Points of all endpoints together, if that leaves each one: what a core's cache holds. Four times as many
/// are found in as few steps, and take ten times as long.
const MOST: u64 = 1 << 16;

/// The points, in order.
#[derive(Debug)]
pub(super) struct Ring {
    /// Hash, and whose.
    points: Box<[(u64, u32)]>,
    /// For each of as many equal parts of the ring as there are points: the first point that is in it or
    /// behind it. So a key's point is found in a step or two, however many there are.
    starts: Box<[u32]>,
}

// === impl Ring ===

impl Ring {
    pub(super) fn new(all: &[Owner]) -> Self {
        let weight: u64 = all.iter().map(|owner| u64::from(owner.weight)).sum();
        // Halved, not divided: an endpoint more or less is no reason to have other points.
        let mut each = POINTS;
        while each > 1 && each * weight > MOST {
            each /= 2;
        }
        let points = |owner: &Owner| {
            let owner = *owner;
            (0..each * u64::from(owner.weight))
                .map(move |i| (mixed(owner.hash ^ mixed(i)), owner.place))
        };
        let mut points: Box<[(u64, u32)]> = all.iter().flat_map(points).collect();
        points.sort_unstable();
        let len = points.len();
        let mut starts = vec![0; len].into_boxed_slice();
        let mut next = 0;
        for (part, start) in starts.iter_mut().enumerate() {
            let part_of = |key: u64| super::alias::scaled(key >> 32, len);
            while points.get(next).is_some_and(|(hash, _)| part_of(*hash) < part) {
                next += 1;
            }
            *start = u32::try_from(next).unwrap_or(0);
        }
        Self { points, starts }
    }

    pub(super) fn len(&self) -> usize {
        self.points.len()
    }

    /// The first point at the key or behind it.
    #[inline]
    pub(super) fn entry(&self, key: u64) -> usize {
        let part = super::alias::scaled(key >> 32, self.points.len());
        let start = self.starts.get(part).map_or(0, |start| usize::try_from(*start).unwrap_or(0));
        let behind = self.points.get(start..).unwrap_or_default();
        let before = behind.iter().take_while(|(hash, _)| *hash < key).count();
        if start + before < self.points.len() { start + before } else { 0 }
    }

    #[inline]
    pub(super) fn owner(&self, entry: usize) -> Option<u32> {
        self.points.get(entry).map(|(_, place)| *place)
    }
}
