//! One choice among a Service port's endpoints.

use std::sync::Arc;

use super::least_request::least_request;
use super::round_robin::RoundRobin;
use super::{Endpoint, Millis};

/// How often a random choice may fall on an endpoint that is left out before all are looked at.
const TRIES: usize = 4;

/// How endpoints are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Of two at random the one with fewer requests under way: for requests, whose number per
    /// connection and whose cost nobody knows beforehand.
    LeastRequest,
    /// Each in turn: for connections that are relayed as they are, where the number under way says
    /// little about load.
    RoundRobin,
}

/// Endpoints, and the way to choose among them.
#[derive(Debug)]
pub struct Balancer {
    endpoints: Box<[Arc<Endpoint>]>,
    /// Absent for least request.
    turn: Option<RoundRobin>,
}

impl Balancer {
    /// Chooses among `endpoints` (all of them ready) by `algorithm`.
    pub fn new(endpoints: Vec<Arc<Endpoint>>, algorithm: Algorithm) -> Self {
        let turn = (algorithm == Algorithm::RoundRobin).then(RoundRobin::default);
        Self { endpoints: endpoints.into(), turn }
    }

    /// The endpoints.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// An endpoint that is not left out at `now`, and not `avoid` (the one that has just failed), if
    /// there is such a one; else any: with all of them failing, refusing would help nobody. `None`
    /// only without endpoints. Costs O(1) while few are left out, and allocates nothing.
    pub fn pick(
        &self,
        now: Millis,
        random: &mut fastrand::Rng,
        avoid: Option<&Endpoint>,
    ) -> Option<&Arc<Endpoint>> {
        let well = |endpoint: &Endpoint| {
            !endpoint.ejected(now) && avoid.is_none_or(|avoid| avoid.id != endpoint.id)
        };
        for _ in 0..TRIES {
            let endpoint = self.endpoints.get(self.choose(random)?)?;
            if well(endpoint) {
                return Some(endpoint);
            }
        }
        self.first_well_from(random, well)
    }

    fn choose(&self, random: &mut fastrand::Rng) -> Option<usize> {
        match &self.turn {
            Some(turn) => turn.next(self.endpoints.len()),
            None => least_request(&self.endpoints, random),
        }
    }

    /// The first one that is well from a random place on; if none is, one that is not left out, or
    /// else the one at that place.
    fn first_well_from(
        &self,
        random: &mut fastrand::Rng,
        well: impl Fn(&Endpoint) -> bool,
    ) -> Option<&Arc<Endpoint>> {
        if self.endpoints.is_empty() {
            return None;
        }
        let (before, from) = self.endpoints.split_at(random.usize(..self.endpoints.len()));
        from.iter().chain(before).find(|endpoint| well(endpoint)).or_else(|| from.first())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::balance::FAILURES_TO_EJECT;

    fn endpoints(n: u8) -> Vec<Arc<Endpoint>> {
        (0..n).map(|i| Arc::new(Endpoint::new(([10, 0, 0, i], 80).into(), None))).collect()
    }

    fn eject(endpoint: &Endpoint, now: Millis) {
        for _ in 0..FAILURES_TO_EJECT {
            endpoint.failed(now);
        }
    }

    #[test]
    fn round_robin_is_exact() {
        let balancer = Balancer::new(endpoints(3), Algorithm::RoundRobin);
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..300 {
            balancer.pick(Millis(1), &mut random, None).unwrap().begin();
        }
        let active: Vec<u32> = balancer.endpoints().iter().map(|e| e.active()).collect();
        assert_eq!(active, [100, 100, 100]);
    }

    #[test]
    fn least_request_stays_even_and_shuns_the_busy_one() {
        let balancer = Balancer::new(endpoints(10), Algorithm::LeastRequest);
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..10_000 {
            balancer.pick(Millis(1), &mut random, None).unwrap().begin();
        }
        for endpoint in balancer.endpoints() {
            assert!((970..=1030).contains(&endpoint.active()), "{}", endpoint.active());
        }
    }

    #[test]
    fn when_all_are_left_out_all_are_used() {
        let balancer = Balancer::new(endpoints(3), Algorithm::LeastRequest);
        balancer.endpoints().iter().for_each(|e| eject(e, Millis(1)));
        assert!(balancer.pick(Millis(2), &mut fastrand::Rng::with_seed(1), None).is_some());
        let none = Balancer::new(Vec::new(), Algorithm::LeastRequest);
        assert!(none.pick(Millis(2), &mut fastrand::Rng::with_seed(1), None).is_none());
    }

    proptest! {
        #[test]
        fn nobody_left_out_is_picked_while_another_is_well(
            n in 1u8..12,
            out in proptest::collection::vec(any::<bool>(), 12),
            avoid in proptest::option::of(0usize..12),
            seed: u64,
            round_robin: bool,
        ) {
            let algorithm =
                if round_robin { Algorithm::RoundRobin } else { Algorithm::LeastRequest };
            let all = endpoints(n);
            let balancer = Balancer::new(all.clone(), algorithm);
            for (endpoint, _) in all.iter().zip(&out).filter(|(_, out)| **out) {
                eject(endpoint, Millis(1));
            }
            let avoid = avoid.and_then(|i| all.get(i));
            let well = all.iter().enumerate().any(|(i, e)| {
                !out[i] && avoid.is_none_or(|avoid| avoid.id != e.id)
            });
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..20 {
                let picked = balancer.pick(Millis(2), &mut random, avoid.map(|e| &**e)).unwrap();
                prop_assert!(all.iter().any(|e| e.id == picked.id));
                if well {
                    prop_assert!(!picked.ejected(Millis(2)));
                    prop_assert!(avoid.is_none_or(|avoid| avoid.id != picked.id));
                }
            }
        }
    }
}
