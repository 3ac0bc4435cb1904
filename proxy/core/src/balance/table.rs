//! How connections are shared out by somebody who cannot ask: the kernel, from a table of slots.
//!
//! Not which connections those are: that is `snapshot::alone`'s. Who may be picked is as rosters have it, at the
//! moment in which the table is made.

use std::sync::Arc;

use super::alias::Alias;
use super::hashed::{Owner, hash_of};
use super::maglev;
use super::roster::Sides;
use super::{Backend, Endpoint, Family, Millis};
use crate::model::{Amounts, BalancingAlgorithm, ConnectionLife, HashOn};

/// Sizes of tables in which each client has its slot, primes: the first that has a hundred times as many slots
/// as there are endpoints is taken, which is what Maglev's paper wants (3.4).
const SIZES: [u32; 4] = [1_021, 4_093, 16_381, 65_521];

/// Who gets connections, and how many against the others.
#[derive(Debug, Clone)]
pub struct Part {
    /// Who; nobody, if the connections of this part are to be refused.
    pub endpoint: Option<Arc<Endpoint>>,
    /// Of which share it is a part, by its place among the shares.
    pub share: usize,
    /// Its weight against the other parts'; above 0.
    pub weight: f64,
}

/// How parts share connections out, by their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Whether a client has the same slot each time; else slots are drawn by chance.
    pub by_client: bool,
    /// All equally likely.
    pub slots: Vec<Slot>,
}

/// What a slot of a table is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Whose the first part of it is,
    pub own: usize,
    /// of 2^32; the largest number is all of it.
    pub part: u32,
    /// Whose the rest is.
    pub other: usize,
}

// === impl Backend ===

impl Backend {
    /// Why what is wanted of its connections, as they are relayed, needs somebody who looks after each of them;
    /// none if nothing does.
    pub fn needs_somebody(&self) -> Option<&'static str> {
        let settings = self.settings();
        let (limits, life) = (&settings.limits, &settings.connections);
        let unlimited = |amounts: Amounts| amounts.connections.or(amounts.active).is_none();
        let usual = ConnectionLife::default();
        let kept = match settings.balancing.algorithm {
            None | Some(BalancingAlgorithm::Random | BalancingAlgorithm::Maglev) => true,
            Some(
                BalancingAlgorithm::PeakEwma
                | BalancingAlgorithm::LeastRequest
                | BalancingAlgorithm::RoundRobin
                | BalancingAlgorithm::RingHash,
            ) => false,
        };
        let uncounted = unlimited(limits.backend) && unlimited(limits.endpoint);
        [
            (self.tls().is_some(), "a BackendTLSPolicy has it encrypt"),
            (!kept, "the kernel cannot choose by a backend's algorithm"),
            (!uncounted || limits.adaptive.is_some(), "a backend's limits have it count"),
            (life.connect_timeout != usual.connect_timeout, "a backend has a connectTimeout"),
            (life.tcp_keepalive != usual.tcp_keepalive, "a backend has a tcpKeepalive"),
        ]
        .into_iter()
        .find_map(|(needed, why)| needed.then_some(why))
    }

    /// Whether a client's connections are to go to the same endpoint, as long as that is there.
    pub fn keeps_clients(&self) -> bool {
        self.affinity().is_some()
            || self.settings().balancing.algorithm == Some(BalancingAlgorithm::Maglev)
                && self.hash_on().is_none_or(|on| on.is_empty() || on.contains(&HashOn::SourceIp))
    }

    /// Adds who is to get the connections of a share of this weight now, of callers who dial this family. A
    /// caller gets endpoints of its own family only: its socket knows no other.
    pub fn parts(
        &self,
        now: Millis,
        family: Family,
        (share, weight): (usize, f64),
        parts: &mut Vec<Part>,
    ) {
        let nobody = Part { endpoint: None, share, weight };
        let places = self.of_family(family);
        self.settle(now);
        let sides = Sides::new(self, places, now);
        let near = sides.to_near as f64 / 4_294_967_296.0;
        let before = parts.len();
        for (side, part) in [(&sides.near, near), (&sides.far, 1.0 - near)] {
            let all: f64 = side.weights.iter().map(|weight| f64::from(*weight)).sum();
            if part <= 0.0 || all <= 0.0 {
                continue;
            }
            for (place, own) in side.places.iter().zip(&side.weights) {
                let endpoint = usize::try_from(*place).ok().and_then(|at| self.endpoints().get(at));
                let weight = weight * part * f64::from(*own) / all;
                parts.extend(endpoint.map(|endpoint| Part {
                    endpoint: Some(Arc::clone(endpoint)),
                    share,
                    weight,
                }));
            }
        }
        if parts.len() == before {
            parts.push(nobody);
        }
    }
}

// === impl Part ===

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        let id = |part: &Self| part.endpoint.as_ref().map(|endpoint| endpoint.id);
        (id(self), self.share, self.weight) == (id(other), other.share, other.weight)
    }
}

// === impl Table ===

impl Table {
    /// Connections go to parts by chance, by their weights.
    pub fn by_chance(parts: &[Part]) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "as precise as the roster's")]
        let weights: Vec<f32> = parts.iter().map(|part| part.weight as f32).collect();
        let slots = match Alias::new(&weights) {
            Some(alias) => alias
                .slots()
                .enumerate()
                .map(|(own, (part, other))| Slot { own, part, other })
                .collect(),
            None => (0..parts.len()).map(Slot::of).collect(),
        };
        Self { by_client: false, slots }
    }

    /// Each client has a part of its own, and when a part goes only its clients go elsewhere, but for few.
    pub fn by_client(parts: &[Part]) -> Self {
        let most = parts.iter().map(|part| part.weight).fold(0.0, f64::max);
        let owner = |(place, part): (u32, &Part)| {
            let hash = part.endpoint.as_ref().map_or(0, |endpoint| hash_of(endpoint.address));
            #[expect(clippy::cast_possible_truncation, reason = "from 1 to 1000")]
            #[expect(clippy::cast_sign_loss, reason = "weights are above 0")]
            let weight = (part.weight / most * 1_000.0).clamp(1.0, 1_000.0) as u16;
            Owner { place, hash, weight }
        };
        let owners: Vec<Owner> = (0..).zip(parts).map(owner).collect();
        let wanted = parts.len().saturating_mul(100);
        let fits = |size: &u32| usize::try_from(*size).is_ok_and(|size| size >= wanted);
        let size = SIZES.into_iter().find(fits).unwrap_or(SIZES[3]);
        let table = maglev::Table::sized(&owners, size);
        let owner = |entry| usize::try_from(table.owner(entry)?).ok();
        let slots = (0..table.len()).filter_map(owner).map(Slot::of).collect();
        Self { by_client: true, slots }
    }
}

// === impl Slot ===

impl Slot {
    /// One that is a part's as a whole.
    fn of(own: usize) -> Self {
        Self { own, part: u32::MAX, other: own }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;
    use std::time::Duration;

    use super::*;
    use crate::balance::{EndpointId, Lasting, Member};
    use crate::model::{AppProtocol, BackendSettings, Balancing, Limits, ObjectName, TcpKeepalive};

    const NOW: Millis = Millis(1);

    fn endpoints(n: u8) -> Vec<Arc<Endpoint>> {
        let v4 = (1..=n).map(|i| std::net::SocketAddr::from(([10, 0, 0, i], 80)));
        let new = |a: std::net::SocketAddr| {
            let last = a.to_string().split(['.', ':']).nth(3).unwrap().parse().unwrap();
            Arc::new(Endpoint::new(EndpointId(last), a, None))
        };
        v4.map(new).collect()
    }

    fn backend(all: impl IntoIterator<Item: Into<Member>>, settings: BackendSettings) -> Backend {
        let key = (ObjectName::new("ns", "db"), 5432);
        Backend::new(Lasting::new(1), key, AppProtocol::Tcp, None, all)
            .with_settings(settings.into())
    }

    fn parts(backend: &Backend) -> Vec<Part> {
        let mut parts = Vec::new();
        backend.parts(NOW, Family::V4, (0, 1.0), &mut parts);
        parts
    }

    /// What each part gets of all connections.
    fn shares(table: &Table, parts: usize) -> Vec<f64> {
        let mut shares = vec![0.0; parts];
        for slot in &table.slots {
            let own = match slot.part {
                u32::MAX => 1.0,
                part => f64::from(part) / 4_294_967_296.0,
            };
            shares[slot.own] += own / table.slots.len() as f64;
            shares[slot.other] += (1.0 - own) / table.slots.len() as f64;
        }
        shares
    }

    #[test]
    fn connections_are_shared_out_by_weight() {
        let weighted = |weights: [u16; 3]| {
            let member = |(endpoint, weight)| Member {
                weight: NonZeroU16::new(weight).unwrap(),
                ..Member::from(endpoint)
            };
            backend(endpoints(3).into_iter().zip(weights).map(member), BackendSettings::default())
        };
        for (weights, wanted) in [([1, 1, 1], [1.0 / 3.0; 3]), ([1, 2, 5], [0.125, 0.25, 0.625])] {
            let parts = parts(&weighted(weights));
            for (table, slack) in
                [(Table::by_chance(&parts), 1e-6), (Table::by_client(&parts), 0.01)]
            {
                let shares = shares(&table, 3);
                let off = shares.iter().zip(wanted).map(|(is, wanted)| (is - wanted).abs());
                assert!(off.fold(0.0, f64::max) < slack, "{weights:?}: {shares:?}");
            }
        }
    }

    #[test]
    fn who_is_left_out_gets_nothing_and_if_nobody_is_left_connections_are_refused() {
        let all = endpoints(4);
        let backend = backend(&all, BackendSettings::default());
        all[1].leave_out(Millis(100));
        let ids = |parts: &[Part]| -> Vec<Option<u64>> {
            parts.iter().map(|part| part.endpoint.as_ref().map(|e| e.id.0)).collect()
        };
        assert_eq!(ids(&parts(&backend)), [Some(1), Some(3), Some(4)]);
        all[2..].iter().for_each(|endpoint| endpoint.leave_out(Millis(100)));
        assert_eq!(parts(&backend).len(), 4, "with so few left all are used");
        let mut none = Vec::new();
        backend.parts(NOW, Family::V6, (0, 1.0), &mut none);
        assert_eq!(ids(&none), [None], "no socket reaches another family");
    }

    #[test]
    fn clients_stay_when_others_endpoints_go() {
        let all = endpoints(5);
        let with = |all: &[Arc<Endpoint>]| {
            let parts = parts(&backend(all, BackendSettings::default()));
            let table = Table::by_client(&parts);
            let id = |slot: &Slot| parts[slot.own].endpoint.as_ref().unwrap().id.0;
            table.slots.iter().map(id).collect::<Vec<u64>>()
        };
        let (before, after) = (with(&all), with(&all[1..]));
        assert_eq!(before.len(), after.len());
        let moved = before.iter().zip(&after).filter(|(a, b)| **a != 1 && a != b).count();
        assert!((moved as f64) < 0.06 * before.len() as f64, "{moved} of {}", before.len());
    }

    #[test]
    fn what_somebody_must_look_after_is_told() {
        let with = |settings| backend(endpoints(2), settings).needs_somebody().is_none();
        let usual = BackendSettings::default;
        assert!(with(usual()));
        let balanced = |algorithm| BackendSettings {
            balancing: Balancing { algorithm: Some(algorithm), ..Balancing::default() },
            ..usual()
        };
        assert!(with(balanced(BalancingAlgorithm::Random)));
        assert!(with(balanced(BalancingAlgorithm::Maglev)));
        assert!(!with(balanced(BalancingAlgorithm::LeastRequest)));
        assert!(!with(balanced(BalancingAlgorithm::RoundRobin)));
        let two = std::num::NonZeroU32::new(2);
        for (backend, endpoint) in [
            (Amounts { connections: two, ..Amounts::default() }, Amounts::default()),
            (Amounts::default(), Amounts { active: two, ..Amounts::default() }),
        ] {
            let limits = Limits { backend, endpoint, ..Limits::default() };
            assert!(!with(BackendSettings { limits, ..usual() }));
        }
        let patient =
            ConnectionLife { connect_timeout: Duration::from_secs(1), ..ConnectionLife::default() };
        assert!(!with(BackendSettings { connections: patient, ..usual() }));
        let tcp_keepalive =
            TcpKeepalive { idle: Duration::from_secs(1), ..TcpKeepalive::default() };
        let watched = ConnectionLife { tcp_keepalive, ..ConnectionLife::default() };
        assert!(!with(BackendSettings { connections: watched, ..usual() }));
    }
}
