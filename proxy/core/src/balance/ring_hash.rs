//! Ring hash: each endpoint has points on a ring, as many as its weight says; a key belongs to the next one.
//!
//! Karger et al., "Consistent Hashing and Random Trees" (STOC 1997), with many points for each endpoint as
//! libketama has them. Less even than Maglev, but if an endpoint goes nobody else's keys move at all.

use super::hashed::{Owner, mixed};

/// Points of an endpoint of weight 1, if there are not too many: shares are within some per cent of even.
const POINTS: u64 = 256;
/// Points of all endpoints together, if that leaves each one [`LEAST`]: what a core's cache holds. Four times
/// as many are found in as few steps, and take ten times as long.
const MOST: u64 = 1 << 16;
/// Points of each endpoint on average, however many there are: shares differ by an eighth (one divided by the
/// root of it). A point takes 20 octets, so a ring of 1 000 endpoints takes 1.3 MB and one of 10 000 takes 13.
const LEAST: u64 = 64;

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
        let most = MOST.max(LEAST * all.len() as u64);
        let points = |owner: &Owner| {
            let owner = *owner;
            (0..points_of(&owner, weight, most))
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

/// How many points an endpoint has, always the first so many of its own: of all together, whose `weight` this
/// is, there may be `most`. So one endpoint more costs the others as small a part of their points as its part
/// of the weight is. At which sum each of them loses its next point is drawn by hash: not all do at once.
fn points_of(owner: &Owner, weight: u64, most: u64) -> u64 {
    let own = u64::from(owner.weight);
    if POINTS * weight <= most {
        return POINTS * own;
    }
    let drawn = u128::from(mixed(owner.hash ^ 0x7261_7265)) * u128::from(weight);
    let points = ((u128::from(own * most) << 64) + drawn) / (u128::from(weight) << 64);
    u64::try_from(points).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(n: u32, weight: u16) -> Vec<Owner> {
        (0..n).map(|place| Owner { place, hash: mixed(!u64::from(place)), weight }).collect()
    }

    /// The part of the ring that each owns.
    fn shares(ring: &Ring, n: usize) -> Vec<f64> {
        let mut shares = vec![0.0; n];
        let mut last = ring.points.last().unwrap().0;
        for (hash, place) in &ring.points {
            shares[*place as usize] += hash.wrapping_sub(last) as f64 / u64::MAX as f64;
            last = *hash;
        }
        shares
    }

    /// The part of the keys that go from one endpoint that stays to another when one more comes.
    fn moved(all: &[Owner]) -> f64 {
        const KEYS: u64 = 20_000;
        let (fewer, more) = (Ring::new(&all[1..]), Ring::new(all));
        let owner = |ring: &Ring, key| ring.owner(ring.entry(mixed(key)));
        let moved = |key: &u64| {
            let after = owner(&more, *key);
            after != Some(0) && after != owner(&fewer, *key)
        };
        (0..KEYS).filter(moved).count() as f64 / KEYS as f64
    }

    #[test]
    fn one_more_of_many_takes_only_its_part_of_the_keys_whatever_their_number() {
        let some = [128, 256, 257, 258, 513, 1_000, 1_025];
        let heavy = [(3, 128), (4, 100), (5, 128), (17, 16), (33, 16)];
        for (n, weight) in some.map(|n| (n, 1)).into_iter().chain(heavy) {
            let moved = moved(&owners(n, weight));
            // A part 1/n of the points goes, and before the next of its own comes another's.
            let most = f64::from(n - 2) / f64::from(n * n);
            assert!(moved < 1.2 * most + 0.004, "{n} of weight {weight}: {moved}");
        }
    }

    #[test]
    fn shares_are_no_less_even_with_many_endpoints() {
        for n in [256, 1_000, 1_025, 4_000] {
            let ring = Ring::new(&owners(n, 1));
            assert!(ring.len() <= 66_000.max(66 * n as usize), "{n}: {}", ring.len());
            let off: f64 = shares(&ring, n as usize)
                .iter()
                .map(|share| (share * f64::from(n) - 1.0).powi(2))
                .sum::<f64>();
            let off = (off / f64::from(n)).sqrt();
            assert!(off < 0.15, "{n}: {off}");
        }
    }

    #[test]
    fn shares_go_by_weight_where_points_are_few() {
        let mut all = owners(2_000, 1);
        all.iter_mut().take(1_000).for_each(|owner| owner.weight = 3);
        let shares = shares(&Ring::new(&all), 2_000);
        let heavy: f64 = shares[..1_000].iter().sum();
        assert!((0.73..0.77).contains(&heavy), "{heavy}");
        assert!(shares.iter().all(|share| *share > 0.0), "each has its point");
        let mut all = owners(2_000, 128);
        all[7].weight = 1;
        assert!(Ring::new(&all).points.iter().any(|(_, place)| *place == 7));
    }
}
