//! Consistent hashing: the same key goes to the same endpoint, on every node, whatever else is asked for.
//!
//! How a table of hashes is made stands in `maglev` and `ring_hash`; here, which table a pick looks into and
//! what it does if the owner must not be picked. Tables are made of all endpoints, usable or not, so that
//! an endpoint that is left out loses its own keys and nobody else does; they come back to it when it does.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::pick::Draw;
use super::roster::{Group, Pool, Side};
use super::{Backend, Caller, Endpoint, maglev, ring_hash};
use crate::model::BalancingAlgorithm;

/// So many entries are looked at for one whose owner fits. With every other endpoint left out one in 2^64
/// keys would find none, for neighbours are any two.
const STEPS: usize = 64;

/// A backend's tables, all made with it: that takes milliseconds, which no request shall wait for.
#[derive(Debug)]
pub(super) struct Hashed {
    /// By group.
    tables: Box<[Tables]>,
}

/// The tables of a group.
#[derive(Debug)]
struct Tables {
    /// Far endpoints have none of their own: as a rule they are the most, and one of all will do.
    all: Table,
    /// If some come before others.
    near: Option<Table>,
}

/// Who owns which keys, as places among the backend's endpoints.
#[derive(Debug)]
enum Table {
    Maglev(maglev::Table),
    Ring(ring_hash::Ring),
}

/// An endpoint that a table is made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    /// Its place among the backend's endpoints.
    pub(super) place: u32,
    /// The hash of its address: on every node the same.
    pub(super) hash: u64,
    pub(super) weight: u16,
}

// === impl Hashed ===

impl Hashed {
    /// None, unless `backend` hashes.
    pub(super) fn new(backend: &Backend) -> Option<Box<Self>> {
        backend.hash_on()?;
        let tables = |places: &(usize, usize)| Tables {
            all: Table::new(backend, *places, |_| true),
            near: (backend.is_zoned())
                .then(|| Table::new(backend, *places, |place| backend.is_near(place))),
        };
        Some(Box::new(Self { tables: backend.groups().iter().map(tables).collect() }))
    }

    /// A table with all owners of a side, and maybe others.
    fn table(&self, group: usize, side: Side) -> Option<&Table> {
        let tables = self.tables.get(group)?;
        match side {
            Side::Near => tables.near.as_ref(),
            Side::All | Side::Far => Some(&tables.all),
        }
    }
}

// === impl Table ===

impl Table {
    fn new(backend: &Backend, places: (usize, usize), wanted: impl Fn(usize) -> bool) -> Self {
        let wanted = |place: &usize| wanted(*place);
        let owner = |place: usize| {
            let endpoint = backend.endpoints().get(place)?;
            Some(Owner {
                place: u32::try_from(place).ok()?,
                hash: hash_of(endpoint.address),
                weight: backend.weight(place).get(),
            })
        };
        let owners: Vec<Owner> = (places.0..places.1).filter(wanted).filter_map(owner).collect();
        match backend.algorithm() {
            BalancingAlgorithm::RingHash => Self::Ring(ring_hash::Ring::new(&owners)),
            _ => Self::Maglev(maglev::Table::new(&owners)),
        }
    }

    /// How many entries there are.
    fn len(&self) -> usize {
        match self {
            Self::Maglev(table) => table.len(),
            Self::Ring(ring) => ring.len(),
        }
    }

    /// The entry of a key.
    fn entry(&self, key: u64) -> usize {
        match self {
            Self::Maglev(table) => table.entry(key),
            Self::Ring(ring) => ring.entry(key),
        }
    }

    fn owner(&self, entry: usize) -> Option<u32> {
        match self {
            Self::Maglev(table) => table.owner(entry),
            Self::Ring(ring) => ring.owner(entry),
        }
    }
}

// === the pick ===

/// The owner of the caller's key; the next one that fits, if it does not.
pub(super) fn pick<'a>(
    draw: &Draw<'a, '_>,
    hashed: &Hashed,
    group: &Group,
    caller: Caller,
) -> Option<&'a Arc<Endpoint>> {
    // Numbers that follow each other, as clients' do, are spread most evenly by Fibonacci hashing (Knuth,
    // The Art of Computer Programming 3, 6.4); what is random already stays so.
    let key = caller.hash.unwrap_or(caller.client).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let pool = group.pool(mixed(key) >> 32);
    let table = hashed.table(group.index, pool.side)?;
    let (first, len) = (table.entry(key), table.len().max(1));
    let mut last = None;
    for step in 0..STEPS.min(len) {
        let owner = table.owner((first + step) % len)?;
        if last == Some(owner) {
            continue;
        }
        last = Some(owner);
        let place = usize::try_from(owner).ok()?;
        let endpoint = draw.backend.endpoints().get(place)?;
        if draw.fits(endpoint)
            && (pool.side != Side::Far || !draw.backend.is_near(place))
            && takes(draw, group, endpoint, key)
        {
            return Some(endpoint);
        }
    }
    spare(draw, pool, key)
}

/// Whether an endpoint that fits has come far enough in its slow start to take this key: an hour of the day for
/// each key, as it were, at which it comes to its owner and stays. All that start at once are as one that does not.
#[inline]
fn takes(draw: &Draw<'_, '_>, group: &Group, endpoint: &Endpoint, key: u64) -> bool {
    let Some(slow_start) = &draw.backend.settings().balancing.slow_start else { return true };
    let ramp = endpoint.ramp(draw.now, slow_start);
    if ramp >= 1.0 || group.panic {
        return true;
    }
    // 24 bits, for so many an `f32` has.
    let hour = (mixed(key ^ hash_of(endpoint.address)) >> 40) as f32 / 16_777_216.0;
    hour * group.fullest < ramp
}

/// One of few that may be picked: the one that has most to do with the key, so that of who stays nobody loses
/// any (Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", IEEE/ACM Transactions on
/// Networking 6(1), 1998); with more than a look at each allows, among some that follow each other.
#[cold]
fn spare<'a>(draw: &Draw<'a, '_>, pool: &Pool, key: u64) -> Option<&'a Arc<Endpoint>> {
    let len = pool.places.len();
    let first = if len > STEPS { super::alias::scaled(key >> 32, len) } else { 0 };
    (0..len.min(STEPS))
        .filter_map(|step| draw.at(pool, (first + step) % len))
        .filter(|endpoint| draw.fits(endpoint))
        .max_by_key(|endpoint| mixed(key ^ hash_of(endpoint.address)))
}

/// The same on every node and in every version: no hasher whose results may change with its crate.
pub(super) fn hash_of(address: SocketAddr) -> u64 {
    let (high, low) = match address.ip() {
        IpAddr::V4(ip) => (0, u64::from(u32::from(ip))),
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
            (1 ^ (bits >> 64) as u64, bits as u64)
        }
    };
    mixed(mixed(mixed(high) ^ low) ^ u64::from(address.port()))
}

/// Each bit of the result depends on all of `bits` (the finalizer of SplitMix64: Steele, Lea and Flood,
/// "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
pub(super) fn mixed(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::balance::{EndpointId, Lasting, Member, Millis};
    use crate::model::{AppProtocol, BackendSettings, Balancing, ObjectName, SlowStart};

    const NOW: Millis = Millis(1);
    const BOTH: [BalancingAlgorithm; 2] =
        [BalancingAlgorithm::Maglev, BalancingAlgorithm::RingHash];
    const KEYS: u64 = 100_000;

    fn endpoints(n: u8) -> Vec<Arc<Endpoint>> {
        let new = |i: u8| Endpoint::new(EndpointId(i.into()), ([10, 0, 0, i], 80).into(), None);
        (0..n).map(|i| Arc::new(new(i))).collect()
    }

    fn backend(
        algorithm: BalancingAlgorithm,
        all: impl IntoIterator<Item: Into<Member>>,
    ) -> Backend {
        let balancing = Balancing { algorithm: Some(algorithm), ..Balancing::default() };
        let key = (ObjectName::new("ns", "web"), 80);
        Backend::new(Lasting::new(1), key, AppProtocol::Http, None, all)
            .with_settings(Arc::new(BackendSettings { balancing, ..BackendSettings::default() }))
    }

    /// The endpoint of each key.
    fn owners(backend: &Backend) -> Vec<usize> {
        let mut random = fastrand::Rng::with_seed(1);
        let mut owner = |hash| {
            let caller = Caller { client: 7, family: None, hash: Some(hash), relayed: false };
            let id = backend.pick(NOW, &mut random, caller, None).unwrap().id.0;
            usize::try_from(id).unwrap()
        };
        (0..KEYS).map(&mut owner).collect()
    }

    fn shares(owners: &[usize], n: usize) -> Vec<f64> {
        let mut shares = vec![0.0; n];
        owners.iter().for_each(|owner| shares[*owner] += 1.0 / owners.len() as f64);
        shares
    }

    #[test]
    fn keys_are_spread_evenly() {
        for (algorithm, slack) in BOTH.into_iter().zip([0.01, 0.25]) {
            let shares = shares(&owners(&backend(algorithm, endpoints(10))), 10);
            let off = |share: &f64| (share * 10.0 - 1.0).abs();
            assert!(shares.iter().all(|share| off(share) < slack), "{algorithm:?} {shares:?}");
        }
    }

    #[test]
    fn weights_are_kept() {
        for (algorithm, slack) in BOTH.into_iter().zip([0.01, 0.25]) {
            let weighted = endpoints(5).into_iter().enumerate().map(|(i, endpoint)| Member {
                weight: NonZeroU16::new([1, 2, 3, 4, 10][i]).unwrap(),
                ..endpoint.into()
            });
            let shares = shares(&owners(&backend(algorithm, weighted)), 5);
            for (share, weight) in shares.iter().zip([0.05, 0.1, 0.15, 0.2, 0.5]) {
                assert!((share / weight - 1.0).abs() < slack, "{algorithm:?} {shares:?}");
            }
        }
    }

    #[test]
    fn who_goes_takes_only_his_own_keys_along_and_who_comes_takes_only_his() {
        for (algorithm, others) in BOTH.into_iter().zip([0.03, 0.0]) {
            let all = endpoints(10);
            let more = owners(&backend(algorithm, &all));
            let fewer = owners(&backend(algorithm, all.iter().filter(|e| e.id.0 != 3)));
            let kept = more.iter().zip(&fewer).filter(|(more, _)| **more != 3);
            let moved = kept.filter(|(more, fewer)| more != fewer).count();
            assert!(moved as f64 / KEYS as f64 <= others, "{algorithm:?} {moved}");
        }
    }

    #[test]
    fn who_is_left_out_loses_his_keys_to_all_others_and_gets_them_back() {
        for algorithm in BOTH {
            let all = endpoints(10);
            let backend = backend(algorithm, &all);
            let before = owners(&backend);
            all[4].leave_out(Millis(100));
            for _ in 0..2 {
                let without = owners(&backend);
                let mut heirs = [0; 10];
                for (before, without) in before.iter().zip(&without) {
                    assert!(before == without || *before == 4);
                    heirs[*without] += usize::from(*before == 4);
                }
                assert_eq!(heirs[4], 0);
                assert!(heirs.iter().filter(|keys| **keys > 300).count() == 9, "{heirs:?}");
                backend.refresh();
            }
            all[4].leave_out(NOW);
            backend.refresh();
            assert_eq!(owners(&backend), before);
        }
    }

    #[test]
    fn if_few_are_left_they_have_all_keys() {
        for algorithm in BOTH {
            let all = endpoints(200);
            let balancing = Balancing {
                algorithm: Some(algorithm),
                panic_threshold: 1,
                ..Balancing::default()
            };
            let settings = BackendSettings { balancing, ..BackendSettings::default() };
            let backend = backend(algorithm, &all).with_settings(Arc::new(settings));
            all.iter().filter(|e| e.id.0 % 100 != 9).for_each(|e| e.leave_out(Millis(100)));
            let left = owners(&backend);
            let first = left.iter().filter(|owner| **owner == 9).count();
            assert!(left.iter().all(|owner| [9, 109].contains(owner)));
            assert!((30_000..70_000).contains(&first), "{first}");
            assert_eq!(left, owners(&backend), "the same keys to the same ones");
        }
    }

    #[test]
    fn who_starts_slowly_gets_more_and_more_of_his_keys_and_each_comes_once() {
        use std::time::Duration;
        for algorithm in BOTH {
            let slow_start = SlowStart {
                window: Duration::from_secs(10),
                aggression: 1_000.try_into().unwrap(),
                least: 10,
            };
            let balancing = Balancing {
                algorithm: Some(algorithm),
                slow_start: Some(slow_start),
                ..Balancing::default()
            };
            let all = endpoints(5);
            let settings = BackendSettings { balancing, ..BackendSettings::default() };
            let backend = backend(algorithm, &all).with_settings(Arc::new(settings));
            let mut random = fastrand::Rng::with_seed(1);
            let mut owners = |now| {
                let mut owner = |hash| {
                    let caller =
                        Caller { client: 7, family: None, hash: Some(hash), relayed: false };
                    backend.pick(Millis(now), &mut random, caller, None).unwrap().id.0
                };
                (0..10_000).map(&mut owner).collect::<Vec<u64>>()
            };
            let settled = owners(1);
            all[2].leave_out(Millis(1_000));
            backend.refresh();
            let without = owners(900);
            all[2].joins();
            let mut last = owners(1_001);
            assert!(without.iter().zip(&last).all(|(out, back)| out == back || *back == 2));
            for seconds in 2..=11 {
                let now = owners(1_000 * seconds);
                let of = |owners: &[u64]| owners.iter().filter(|owner| **owner == 2).count() as f64;
                let part = of(&now) / of(&settled);
                let wanted = ((seconds - 1) as f64 / 10.0).max(0.1);
                assert!((part - wanted).abs() < 0.03, "{algorithm:?} {seconds} s: {part}");
                let kept = last.iter().zip(&now).all(|(last, now)| last == now || *now == 2);
                assert!(kept, "{algorithm:?} {seconds} s: others' keys have moved");
                last = now;
            }
            assert_eq!(last, settled, "{algorithm:?}");
            // All at once are as one that does not.
            all.iter().for_each(|endpoint| endpoint.joins());
            backend.refresh();
            assert_eq!(owners(32_000), settled, "{algorithm:?}");
        }
    }

    #[test]
    fn far_ones_that_help_and_all_in_panic_need_no_table_that_is_not_there() {
        for algorithm in BOTH {
            let near = |i: usize| i < 4;
            let members = endpoints(20).into_iter().enumerate();
            let backend = backend(
                algorithm,
                members.map(|(i, endpoint)| Member { near: near(i), ..endpoint.into() }),
            );
            let near_ones = owners(&backend);
            assert!(near_ones.iter().all(|owner| near(*owner)));
            backend.endpoints()[..4].iter().for_each(|e| e.leave_out(Millis(100)));
            backend.refresh();
            let far = owners(&backend);
            let shares = shares(&far, 20);
            assert!(shares[..4].iter().all(|share| *share == 0.0), "{shares:?}");
            assert!(shares[4..].iter().all(|share| *share > 0.03), "{algorithm:?} {shares:?}");
            backend.endpoints()[19].leave_out(Millis(100));
            backend.refresh();
            let kept = far.iter().zip(owners(&backend)).all(|(far, now)| *far == 19 || *far == now);
            assert!(kept, "{algorithm:?}: only who has gone loses keys");
        }
    }

    #[test]
    fn of_few_far_ones_each_keeps_its_keys_when_another_goes() {
        for algorithm in BOTH {
            let members = endpoints(200).into_iter().enumerate();
            let backend = backend(
                algorithm,
                members.map(|(i, endpoint)| Member { near: i < 197, ..endpoint.into() }),
            );
            backend.endpoints()[..197].iter().for_each(|e| e.leave_out(Millis(100)));
            let balancing =
                Balancing { panic_threshold: 0, ..backend.settings().balancing.clone() };
            let settings = BackendSettings { balancing, ..BackendSettings::default() };
            let backend = backend.with_settings(Arc::new(settings));
            let far = owners(&backend);
            assert!(shares(&far, 200)[197..].iter().all(|share| *share > 0.2));
            backend.endpoints()[198].leave_out(Millis(100));
            backend.refresh();
            let now = owners(&backend);
            let kept = far.iter().zip(&now).all(|(far, now)| *far == 198 || far == now);
            assert!(kept, "{algorithm:?}");
        }
    }

    #[test]
    fn a_request_without_a_key_goes_by_its_client() {
        for algorithm in BOTH {
            let backend = backend(algorithm, endpoints(10));
            let mut random = fastrand::Rng::with_seed(1);
            let mut of = |client| {
                let caller = Caller { client, family: None, hash: None, relayed: false };
                backend.pick(NOW, &mut random, caller, None).unwrap().id.0
            };
            let owners: std::collections::BTreeSet<u64> = (0..100).map(&mut of).collect();
            assert_eq!(owners.len(), 10);
            assert!((0..100).all(|client| of(client) == of(client)));
        }
    }

    #[test]
    fn each_family_has_a_table_of_its_own() {
        for algorithm in BOTH {
            let v6 = |i: u8| {
                let address = ([0xfd00, 0, 0, 0, 0, 0, 0, i.into()], 80).into();
                Arc::new(Endpoint::new(EndpointId(100 + u64::from(i)), address, None))
            };
            let all = endpoints(10).into_iter().chain((0..5).map(v6));
            let backend = backend(algorithm, all);
            let mut random = fastrand::Rng::with_seed(1);
            for hash in 0..1_000 {
                for (family, v4) in
                    [(super::super::Family::V4, true), (super::super::Family::V6, false)]
                {
                    let caller = Caller {
                        client: 0,
                        family: Some(family),
                        hash: Some(hash),
                        relayed: false,
                    };
                    let picked = backend.pick(NOW, &mut random, caller, None).unwrap();
                    assert_eq!(picked.address.is_ipv4(), v4);
                }
            }
        }
    }
}
