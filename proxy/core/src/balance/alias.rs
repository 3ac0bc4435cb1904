//! Draws in proportion to weights, in constant time whatever the weights and however many they are.
//!
//! Walker's alias method, the table made as in Vose, "A Linear Algorithm for Generating Random Numbers
//! with a Given Distribution" (IEEE Transactions on Software Engineering 17(9), 1991): as many slots as
//! there are places, all equally likely, each shared by at most two places.

/// A table of slots, as many as weights.
#[derive(Debug)]
pub(super) struct Alias {
    slots: Box<[Slot]>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// So large a part of the slot, of 2^32, is its own place's; the rest is the other's.
    own: u32,
    other: u32,
    /// What one request counts for this place, if it counts 1 for one of mean weight.
    load: f32,
}

// === impl Alias ===

impl Alias {
    /// A table for these weights, which are all above 0; none if they are all the same, for then nobody
    /// needs one.
    pub(super) fn new(weights: &[f32]) -> Option<Self> {
        let first = weights.first()?;
        if weights.iter().all(|weight| weight == first) {
            return None;
        }
        let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let mean = sum / weights.len() as f64;
        // What is left of each place's share, in slots.
        let mut left: Vec<f64> = weights.iter().map(|weight| f64::from(*weight) / mean).collect();
        #[expect(clippy::cast_possible_truncation, reason = "a load of f32's precision will do")]
        let slot =
            |place, share: &f64| Slot { own: u32::MAX, other: place, load: (1.0 / share) as f32 };
        let mut slots: Box<[Slot]> = (0..).zip(&left).map(|(i, share)| slot(i, share)).collect();
        let places = 0..u32::try_from(weights.len()).unwrap_or(u32::MAX);
        let at = |place: u32| usize::try_from(place).unwrap_or(usize::MAX);
        let (mut small, mut large): (Vec<u32>, Vec<u32>) =
            places.partition(|place| left.get(at(*place)).is_some_and(|share| *share < 1.0));
        while let (Some(little), Some(much)) = (small.pop(), large.last().copied()) {
            let (little, rich) = (at(little), at(much));
            if let Some(slot) = slots.get_mut(little) {
                #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
                let own = (left[little] * 4_294_967_296.0) as u32;
                (slot.own, slot.other) = (own, much);
            }
            left[rich] -= 1.0 - left[little];
            if left[rich] < 1.0 {
                large.pop();
                small.push(much);
            }
        }
        // What is left over is 1 but for rounding: such slots are their own place's as a whole.
        Some(Self { slots })
    }

    /// Of each slot, how large a part, of 2^32, is its own place's (the largest number is all of it), and whose
    /// the rest is.
    pub(super) fn slots(&self) -> impl Iterator<Item = (u32, usize)> {
        self.slots.iter().map(|slot| (slot.own, slot.other.try_into().unwrap_or(usize::MAX)))
    }

    /// The place that `chance` falls on.
    #[inline]
    pub(super) fn draw(&self, chance: u64) -> usize {
        let place = scaled(chance >> 32, self.slots.len());
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        let coin = chance as u32;
        match self.slots.get(place) {
            Some(slot) if coin >= slot.own => slot.other.try_into().unwrap_or(place),
            _ => place,
        }
    }

    /// The place whose turn it is. Each slot has its turn once in a round, and its two places take it in
    /// turns as their parts of it want: after any number of rounds a place has had its share but for one
    /// turn for each slot that it has a part in. This is what gRFC A58's static stride scheduler does with a
    /// generation and a stride, but no turn is ever skipped.
    #[inline]
    pub(super) fn turn(&self, turn: usize) -> usize {
        let len = self.slots.len().max(1);
        let (round, place) = (turn / len, turn % len);
        let Some(slot) = self.slots.get(place) else { return place };
        // The slots begin at different points of their cycles, a golden ratio apart, so that not all of
        // them change sides in the same round.
        let begin = scramble(place);
        #[expect(clippy::cast_possible_truncation, reason = "the cycle is 2^32 long")]
        let at = (round as u32).wrapping_mul(slot.own).wrapping_add(begin);
        if at < slot.own || slot.own == u32::MAX {
            place
        } else {
            slot.other.try_into().unwrap_or(place)
        }
    }

    /// What a request counts at `place`, if it counts 1 at one of mean weight.
    #[inline]
    pub(super) fn load(&self, place: usize) -> f32 {
        self.slots.get(place).map_or(1.0, |slot| slot.load)
    }
}

/// `chance`, of 2^32, as a place below `len`.
#[inline]
pub(super) fn scaled(chance: u64, len: usize) -> usize {
    (((chance & 0xffff_ffff) * len as u64) >> 32) as usize
}

fn scramble(place: usize) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "any 32 bits of it will do")]
    let place = place as u32;
    place.wrapping_mul(0x9e37_79b9)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn even_weights_need_no_table() {
        assert!(Alias::new(&[]).is_none());
        assert!(Alias::new(&[3.0; 7]).is_none());
    }

    proptest! {
        #[test]
        fn places_get_what_their_weights_say(weights in prop::collection::vec(1u8..=128, 2..40)) {
            let weights: Vec<f32> = weights.into_iter().map(f32::from).collect();
            let Some(alias) = Alias::new(&weights) else { return Ok(()) };
            let mut shares = vec![0.0; weights.len()];
            for (place, slot) in alias.slots.iter().enumerate() {
                let own = f64::from(slot.own) / f64::from(u32::MAX);
                shares[place] += own;
                shares[usize::try_from(slot.other).unwrap()] += 1.0 - own;
            }
            let mean = f64::from(weights.iter().sum::<f32>()) / shares.len() as f64;
            for (share, weight) in shares.iter().zip(&weights) {
                prop_assert!((share - f64::from(*weight) / mean).abs() < 1e-6);
            }
        }

        #[test]
        fn turns_are_taken_evenly_at_any_time(
            weights in prop::collection::vec(1u8..=128, 2..20),
            rounds in 1usize..200,
        ) {
            let weights: Vec<f32> = weights.into_iter().map(f32::from).collect();
            let Some(alias) = Alias::new(&weights) else { return Ok(()) };
            let mut had = vec![0.0_f64; weights.len()];
            for turn in 0..rounds * weights.len() {
                had[alias.turn(turn)] += 1.0;
            }
            let mean = f64::from(weights.iter().sum::<f32>()) / weights.len() as f64;
            for (place, weight) in weights.iter().enumerate() {
                let wanted = f64::from(*weight) / mean * rounds as f64;
                let shared = |slot: &Slot| usize::try_from(slot.other).unwrap() == place;
                let parts = 1 + alias.slots.iter().filter(|slot| shared(slot)).count();
                prop_assert!((had[place] - wanted).abs() <= parts as f64, "{} for {wanted}", had[place]);
            }
        }
    }
}
