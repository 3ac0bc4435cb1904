//! Consistent hashing: the same key goes to the same endpoint, on every node, whatever else is asked for.
//!
//! How a table of hashes is made stands in `maglev` and `ring_hash`; here, which table a pick looks into and
//! what it does if the owner must not be picked. Tables are made of all endpoints, usable or not, so that
//! an endpoint that is left out loses its own keys and nobody else does; they come back to it when it does.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use super::pick::Draw;
use super::roster::{Group, Pool, Side};
use super::{Backend, Caller, Endpoint, maglev, ring_hash};
use crate::model::BalancingAlgorithm;

/// So many entries are looked at for one whose owner fits. With every other endpoint left out one in 2^64
/// keys would find none, for neighbours are any two.
const STEPS: usize = 64;

/// A backend's tables, each made when it is first needed or, if it is sure to be, before.
#[derive(Debug)]
pub(super) struct Hashed {
    /// By group, three sides each.
    tables: [OnceLock<Table>; 9],
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
    /// None, unless `backend` hashes. What picks will most likely look into is made at once: that takes
    /// milliseconds, which no request shall wait for.
    pub(super) fn new(backend: &Backend) -> Option<Box<Self>> {
        backend.hash_on()?;
        let hashed = Box::new(Self { tables: Default::default() });
        let near = backend.settings().balancing.zone_aware && backend.has_near();
        let side = if near { Side::Near } else { Side::All };
        for (index, places) in backend.groups().iter().enumerate() {
            if index > 0 || backend.groups().len() == 1 {
                hashed.table(backend, index, *places, side);
            }
        }
        Some(hashed)
    }

    fn table(
        &self,
        backend: &Backend,
        group: usize,
        places: (usize, usize),
        side: Side,
    ) -> Option<&Table> {
        let at = match side {
            Side::All => 0,
            Side::Near => 1,
            Side::Far => 2,
        };
        let table = self.tables.get(group * 3 + at)?;
        Some(table.get_or_init(|| Table::new(backend, places, side)))
    }
}

// === impl Table ===

impl Table {
    fn new(backend: &Backend, places: (usize, usize), side: Side) -> Self {
        let wanted = |place: &usize| match side {
            Side::All => true,
            Side::Near => backend.is_near(*place),
            Side::Far => !backend.is_near(*place),
        };
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
    let table = hashed.table(draw.backend, group.index, group.places, pool.side)?;
    let (first, len) = (table.entry(key), table.len().max(1));
    let mut last = None;
    for step in 0..STEPS.min(len) {
        let owner = table.owner((first + step) % len)?;
        if last == Some(owner) {
            continue;
        }
        last = Some(owner);
        let endpoint = draw.backend.endpoints().get(usize::try_from(owner).ok()?)?;
        if draw.fits(endpoint) {
            return Some(endpoint);
        }
    }
    spare(draw, pool, key)
}

/// One of few that may be picked.
#[cold]
fn spare<'a>(draw: &Draw<'a, '_>, pool: &Pool, key: u64) -> Option<&'a Arc<Endpoint>> {
    let len = pool.places.len();
    let first = super::alias::scaled(key >> 32, len);
    (0..len.min(STEPS))
        .filter_map(|step| draw.at(pool, (first + step) % len))
        .find(|endpoint| draw.fits(endpoint))
}

/// The same on every node and in every version: no hasher whose results may change with its crate.
fn hash_of(address: SocketAddr) -> u64 {
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
    use crate::model::{AppProtocol, BackendSettings, Balancing, ObjectName};

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
