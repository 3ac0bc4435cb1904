//! How a backend picks: who may be drawn is the roster's to say, who is drawn the algorithm's.
//!
//! Here stands what they have in common: whom a draw must not end with, and what is done then.

use std::sync::Arc;

use super::roster::{Group, Pool, Side};
use super::{
    Backend, Caller, Endpoint, Family, Millis, hashed, least_request, peak_ewma, round_robin,
    weighted,
};
use crate::model::{BalancingAlgorithm, Limits};

/// So often it is drawn again if a draw ends with somebody unfit; then all are looked at. Only right after
/// many have been left out, or to avoid one of very few, does the first draw or the second not do.
const DRAWS: usize = 4;

/// What an algorithm draws from, and for whom.
#[derive(Clone, Copy)]
pub(super) struct Draw<'a, 'v> {
    pub(super) backend: &'a Backend,
    pub(super) now: Millis,
    /// The one that a retry has just failed on.
    avoid: Option<&'v Endpoint>,
    /// Everybody is used.
    panic: bool,
    /// If endpoints may be full.
    limits: Option<&'a Limits>,
    algorithm: BalancingAlgorithm,
}

// === impl Backend ===

impl Backend {
    /// The endpoint for the next request; `None` if there is no endpoint at all, or none that is usable and
    /// the policy wants no panic.
    ///
    /// `avoid` is the one that a retry has just failed on (with its pod's other addresses): it is picked
    /// only if nothing else that is usable is left.
    #[inline]
    pub fn pick(
        &self,
        now: Millis,
        random: &mut fastrand::Rng,
        caller: Caller,
        avoid: Option<&Endpoint>,
    ) -> Option<&Arc<Endpoint>> {
        match self.endpoints() {
            [] => return None,
            [only] if only.usable(now) => return Some(only),
            _ => {}
        }
        let roster = self.roster(now);
        let group = roster.as_ref()?.group(caller.family)?;
        let limits =
            Some(&self.settings().limits).filter(|limits| limits.endpoint.active.is_some());
        let algorithm = self.algorithm_for(caller);
        let draw = Draw { backend: self, now, avoid, panic: group.panic, limits, algorithm };
        let Some(timeout) = self.affinity() else { return draw.choose(group, random, caller) };
        self.lasting().affinity.pick(
            caller.client,
            u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            now,
            self.endpoints().get(group.places.0..group.places.1)?,
            |endpoint| draw.is_well(endpoint),
            || draw.choose(group, random, caller),
        )
    }

    /// Whether a request of somebody who dialled this family may stay with `endpoint`, one of its own that
    /// it has been with before: it is usable, or too few are and everybody is used.
    #[inline]
    pub fn keeps(&self, endpoint: &Endpoint, now: Millis, family: Option<Family>) -> bool {
        endpoint.usable(now) || self.panics_for(family, now)
    }

    /// Whether so few of the endpoints that callers who dial this family get are usable now that all of them
    /// are used, also if nobody asks for one. Not for the common path.
    pub fn panics_for(&self, family: Option<Family>, now: Millis) -> bool {
        match self.endpoints() {
            // Picks need no roster as long as it is well.
            [only] => self.panics() && !only.usable(now),
            _ => {
                self.roster(now).as_ref().and_then(|all| all.group(family)).is_some_and(|g| g.panic)
            }
        }
    }

    /// Whether everybody is used if too few are usable.
    fn panics(&self) -> bool {
        self.settings().balancing.panic_threshold > 0
    }
}

// === impl Draw ===

impl<'a> Draw<'a, '_> {
    /// Whether a request may go to this one without second thoughts.
    #[inline]
    pub(super) fn fits(&self, endpoint: &Endpoint) -> bool {
        self.is_well(endpoint) && self.limits.is_none_or(|limits| !endpoint.is_full(limits))
    }

    /// The same, but for how much is under way there.
    #[inline]
    fn is_well(&self, endpoint: &Endpoint) -> bool {
        (self.panic || endpoint.usable(self.now))
            && self.avoid.is_none_or(|avoid| !endpoint.falls_with(avoid))
    }

    /// The endpoint at a place of a pool.
    #[inline]
    pub(super) fn at(&self, pool: &Pool, place: usize) -> Option<&'a Arc<Endpoint>> {
        let place = *pool.places.get(place)?;
        self.backend.endpoints().get(usize::try_from(place).ok()?)
    }

    #[inline]
    fn choose(
        &self,
        group: &Group,
        random: &mut fastrand::Rng,
        caller: Caller,
    ) -> Option<&'a Arc<Endpoint>> {
        if let Some(hashed) = self.backend.hashed() {
            let owner = hashed::pick(self, hashed, group, caller);
            return owner.or_else(|| self.search(group, random));
        }
        for _ in 0..DRAWS {
            let pool = group.pool(group.chance(random));
            let Some(drawn) = self.draw(pool, random) else { continue };
            if pool.side == Side::Near && self.spills(group, drawn, random) {
                return self.draw(&group.far, random).or(Some(drawn));
            }
            return Some(drawn);
        }
        self.search(group, random)
    }

    /// One that fits, unless chance, or turns, will have it otherwise.
    #[inline]
    fn draw(&self, pool: &Pool, random: &mut fastrand::Rng) -> Option<&'a Arc<Endpoint>> {
        match self.algorithm {
            BalancingAlgorithm::PeakEwma => peak_ewma::draw(self, pool, random),
            BalancingAlgorithm::LeastRequest => least_request::draw(self, pool, random),
            BalancingAlgorithm::RoundRobin => {
                round_robin::draw(self, pool, &self.backend.lasting().turn)
            }
            BalancingAlgorithm::Random
            | BalancingAlgorithm::RingHash
            | BalancingAlgorithm::Maglev => weighted::draw(self, pool, random),
        }
    }

    /// The best that there is, from anywhere on: who fits; else who is usable, full or at last
    /// avoided; else, if the policy lets us
    /// panic, any other than the avoided one; else that one.
    #[cold]
    fn search(&self, group: &Group, random: &mut fastrand::Rng) -> Option<&'a Arc<Endpoint>> {
        let all = self.backend.endpoints().get(group.places.0..group.places.1)?;
        let (behind, before) = all.split_at(random.usize(..all.len().max(1)).min(all.len()));
        let mut best: Option<(u8, &Arc<Endpoint>)> = None;
        for endpoint in before.iter().chain(behind) {
            let avoided = self.avoid.is_some_and(|avoid| endpoint.falls_with(avoid));
            let rank = match (endpoint.usable(self.now), avoided) {
                (true, false) if self.fits(endpoint) => return Some(endpoint),
                (true, false) => 4,
                (false, _) if !self.backend.panics() => continue,
                (false, false) if self.panic => 3,
                (true, true) => 2,
                (false, false) => 1,
                (false, true) => 0,
            };
            if best.is_none_or(|(known, _)| rank > known) {
                best = Some((rank, endpoint));
            }
        }
        best.map(|(_, endpoint)| endpoint)
    }
}
