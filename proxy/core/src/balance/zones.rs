//! Near endpoints before far ones, until the near ones are busier than is good for them.
//!
//! How many of the near ones are usable is the roster's to see; here is what load says. Kubernetes' hints,
//! which say who is near, are shared out by what zones can do, not by what they do: a busy client of a small
//! zone would drown its near endpoints while far ones idle.

use std::sync::Arc;

use super::latency::Mean;
use super::pick::Draw;
use super::roster::Group;
use super::weighted;
use super::{Backend, Endpoint, Millis, Report};

/// So many may be under way with a near endpoint, whatever the far ones do.
const FREE: f32 = 4.0;
/// Beyond that a near endpoint may have so many times what a far one has, each with one more, by weight.
const FACTOR: f32 = 4.0;

/// How long near and far endpoints take on average.
#[derive(Debug, Default)]
pub(super) struct Means {
    near: Mean,
    far: Mean,
}

// === impl Backend ===

impl Backend {
    /// Whether some endpoints come before others.
    #[inline]
    pub(super) fn is_zoned(&self) -> bool {
        self.settings().balancing.zone_aware && self.has_near()
    }

    /// Takes in how long the near ones and the far ones take.
    pub(super) fn hear_of_zones(&self, endpoint: &Endpoint, now: Millis, report: Report) {
        let (Report::Answered { latency: Some(latency), .. } | Report::Connected { latency }) =
            report
        else {
            return;
        };
        let address = |e: &Arc<Endpoint>| e.address.cmp(&endpoint.address);
        let Ok(place) = self.endpoints().binary_search_by(address) else { return };
        let means = &self.lasting().means;
        let mean = if self.is_near(place) { &means.near } else { &means.far };
        mean.observe(latency, now);
    }

    /// How much longer the near ones take: from 1 to [`FACTOR`]. As long as nothing is known of the far ones
    /// they are taken to be like the near ones. What is known of them fades, so that it is found out anew.
    fn delay(&self, now: Millis) -> f32 {
        let means = &self.lasting().means;
        match (means.near.us(now), means.far.us(now)) {
            (Some(near), Some(far)) => (near / far.max(1.0)).clamp(1.0, FACTOR),
            _ => 1.0,
        }
    }
}

// === impl Draw ===

impl<'a> Draw<'a, '_> {
    /// Whether a request that would go to `near` goes to the far ones: if what is under way there is more
    /// than [`FREE`], and, times how much longer near ones take, more than [`FACTOR`] times what is under
    /// way with a far one drawn at random. Each request is judged by itself and each one that goes evens the
    /// two out, so that there is nothing to swing.
    #[inline]
    pub(super) fn spills(
        &self,
        group: &Group,
        near: &Endpoint,
        random: &mut fastrand::Rng,
    ) -> bool {
        let busy = near.active() as f32;
        if group.far.places.is_empty() || group.panic || busy < FREE {
            return false;
        }
        let weight = |endpoint: &Endpoint| self.backend.weight_of(endpoint);
        let Some(far) = weighted::draw(self, &group.far, random) else { return false };
        let (near, far) = ((busy + 1.0) / weight(near), (far.active() as f32 + 1.0) / weight(far));
        near * self.backend.delay(self.now) > FACTOR * far
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;
    use std::time::Duration;

    use super::*;
    use crate::balance::{Caller, EndpointId, Lasting, Member};
    use crate::model::{
        AppProtocol, BackendSettings, Balancing, BalancingAlgorithm as Algorithm, ObjectName,
    };

    const NOW: Millis = Millis(1);
    const CALLER: Caller = Caller { client: 1, family: None, hash: Some(7), relayed: false };
    const ALGORITHMS: [Algorithm; 4] =
        [Algorithm::PeakEwma, Algorithm::LeastRequest, Algorithm::RoundRobin, Algorithm::Random];

    /// So many near ones, then so many far ones.
    fn backend(algorithm: Algorithm, near: u8, far: u8, zone_aware: bool) -> Backend {
        let member = |i: u8| Member {
            endpoint: Arc::new(Endpoint::new(
                EndpointId(i.into()),
                ([10, 0, 0, i], 80).into(),
                None,
            )),
            near: i < near,
            weight: NonZeroU16::MIN,
        };
        let balancing =
            Balancing { algorithm: Some(algorithm), zone_aware, ..Balancing::default() };
        let settings = BackendSettings { balancing, ..BackendSettings::default() };
        let key = (ObjectName::new("ns", "web"), 80);
        Backend::new(Lasting::new(1), key, AppProtocol::Http, None, (0..near + far).map(member))
            .with_settings(Arc::new(settings))
    }

    /// What part of some picks goes far.
    fn far(backend: &Backend, picks: u32) -> f64 {
        let mut random = fastrand::Rng::with_seed(1);
        let near = |_: &u32| {
            let caller = Caller { hash: Some(random.u64(..)), ..CALLER };
            let picked = backend.pick(NOW, &mut random, caller, None).unwrap();
            backend.is_near(usize::try_from(picked.id.0).unwrap())
        };
        let picks = 0..picks;
        let all = picks.len() as f64;
        1.0 - picks.filter(near).count() as f64 / all
    }

    const HASHING: [Algorithm; 2] = [Algorithm::Maglev, Algorithm::RingHash];

    #[test]
    fn near_ones_come_first_unless_nobody_wants_that() {
        for algorithm in ALGORITHMS.into_iter().chain(HASHING) {
            assert_eq!(far(&backend(algorithm, 3, 7, true), 1_000), 0.0, "{algorithm:?}");
            let all = far(&backend(algorithm, 3, 7, false), 10_000);
            assert!((0.6..0.8).contains(&all), "{algorithm:?} {all}");
        }
    }

    #[test]
    fn with_few_near_ones_usable_as_much_goes_far_as_they_cannot_carry() {
        for algorithm in ALGORITHMS.into_iter().chain(HASHING) {
            let backend = backend(algorithm, 10, 20, true);
            let mut left_out = 0;
            for (out, wanted) in [(2, 0.0), (4, 0.16), (6, 0.44), (9, 0.86), (10, 1.0)] {
                for endpoint in &backend.endpoints()[left_out..out] {
                    endpoint.leave_out(Millis(100));
                }
                left_out = out;
                backend.refresh();
                let far = far(&backend, 10_000);
                assert!((far - wanted).abs() < 0.03, "{algorithm:?} {out} {far}");
                assert!(!backend.panicking_at(NOW));
            }
        }
    }

    #[test]
    fn near_ones_that_suffice_are_no_reason_to_panic() {
        let backend = backend(Algorithm::LeastRequest, 4, 16, true);
        backend.endpoints()[4..].iter().for_each(|e| e.leave_out(Millis(100)));
        assert_eq!(far(&backend, 1_000), 0.0);
        assert!(!backend.panicking_at(NOW), "16 of 20 are out, and none of them is needed");
    }

    #[test]
    fn near_ones_never_have_more_than_a_few_times_the_load_of_far_ones() {
        for algorithm in ALGORITHMS {
            let backend = backend(algorithm, 2, 8, true);
            let mut random = fastrand::Rng::with_seed(2);
            let mut under_way = Vec::new();
            let load = |places: std::ops::Range<usize>| {
                let all = &backend.endpoints()[places];
                all.iter().map(|e| f64::from(e.active())).sum::<f64>() / all.len() as f64
            };
            for step in 0..20_000_u32 {
                // It swells to 400 under way, and ebbs away.
                let wanted = if step < 10_000 { step / 25 } else { (20_000 - step) / 25 };
                while under_way.len() > wanted as usize {
                    let ended: Arc<Endpoint> =
                        under_way.swap_remove(random.usize(..under_way.len()));
                    ended.end();
                }
                let picked = backend.pick(NOW, &mut random, CALLER, None).unwrap();
                picked.begin();
                under_way.push(Arc::clone(picked));
                let (near, far) = (load(0..2), load(2..10));
                assert!(near <= 5.0 * (far + 1.0) + 4.0, "{algorithm:?} {step}: {near} {far}");
                assert!(wanted < 8 || near > far, "{algorithm:?} {step}: {near} {far}");
            }
        }
    }

    #[test]
    fn near_ones_that_have_become_slow_get_no_more_than_far_ones() {
        let backend = backend(Algorithm::LeastRequest, 2, 8, true);
        let answered =
            |ms| Report::Answered { status: 200, latency: Some(Duration::from_millis(ms)) };
        for (place, endpoint) in backend.endpoints().iter().enumerate() {
            backend.report(endpoint, NOW, answered(if backend.is_near(place) { 100 } else { 10 }));
        }
        let mut random = fastrand::Rng::with_seed(2);
        for _ in 0..200 {
            backend.pick(NOW, &mut random, CALLER, None).unwrap().begin();
        }
        let most = backend.endpoints().iter().map(|e| e.active()).max();
        assert!(most <= Some(24), "{most:?} of 20 each");
    }
}
