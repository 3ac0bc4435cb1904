//! A Service's port as a place to send requests to: its endpoints and how one is chosen.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use arc_swap::Guard;

use super::affinity::Affinity;
use super::hashed::Hashed;
use super::outlier::Outliers;
use super::roster::{self, Roster};
use super::zones::Means;
use super::{BackendTls, Endpoint, Millis, Report, Telling, UnderWay};
use crate::model::{AppProtocol, BackendSettings, BalancingAlgorithm, HashOn, ObjectName};

/// Who wants an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Its number among this node's clients, for session affinity.
    pub client: u64,
    /// The address family that it dialled, if any: endpoints of that family come first, for a pod may
    /// have no route to the other.
    pub family: Option<Family>,
    /// What its request goes by where the algorithm hashes: the hash of what the policy names, or of its
    /// address.
    pub hash: Option<u64>,
    /// Whether its connection is relayed as it is, whatever the port is declared to speak.
    pub relayed: bool,
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4, also as `::ffff:a.b.c.d`.
    V4,
    /// IPv6.
    V6,
}

/// What a backend keeps while its endpoints come and go.
#[derive(Debug)]
pub struct Lasting {
    id: u64,
    /// Whose turn it is.
    pub(super) turn: AtomicUsize,
    pub(super) affinity: Affinity,
    /// How long near and far endpoints take.
    pub(super) means: Means,
    outliers: Outliers,
    under_way: Arc<UnderWay>,
    pub(super) telling: Telling,
}

/// An endpoint as one backend sees it.
#[derive(Debug, Clone)]
pub struct Member {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Whether it is meant for clients of this node, more than others.
    pub near: bool,
    /// Its part of the requests, against the others'.
    pub weight: NonZeroU16,
}

/// A Service's port with the endpoints that may serve it now.
#[derive(Debug)]
pub struct Backend {
    /// Its identity, for caches of metrics: the same Service and port have the same number in every
    /// snapshot, and no frontend, backend or rule ever has the number of another.
    pub id: u64,
    /// The Service.
    pub service: ObjectName,
    /// The Service's port (not the endpoints').
    pub port: u16,
    /// What the port is declared to speak.
    pub protocol: AppProtocol,
    algorithm: BalancingAlgorithm,
    /// How long a client stays with its endpoint, if it does.
    affinity: Option<Duration>,
    /// By address: IPv4 first.
    endpoints: Box<[Arc<Endpoint>]>,
    /// All of them, those of IPv4 and those of IPv6: from and up to which place.
    groups: [(usize, usize); 3],
    /// Which of them are near and what they weigh; none if all are alike.
    standings: Option<Box<[(bool, NonZeroU16)]>>,
    /// Whether any of them is near.
    has_near: bool,
    /// How they are spoken to, if not in the clear.
    tls: Option<Arc<BackendTls>>,
    settings: Arc<BackendSettings>,
    lasting: Arc<Lasting>,
    roster: roster::Kept,
    /// If it hashes.
    hashed: Option<Box<Hashed>>,
}

// === impl Member ===

impl From<Arc<Endpoint>> for Member {
    /// Like all others.
    fn from(endpoint: Arc<Endpoint>) -> Self {
        Self { endpoint, near: false, weight: NonZeroU16::MIN }
    }
}

impl From<&Arc<Endpoint>> for Member {
    fn from(endpoint: &Arc<Endpoint>) -> Self {
        Arc::clone(endpoint).into()
    }
}

// === impl Family ===

impl Family {
    /// The family that `address` is dialled in.
    pub fn of(address: IpAddr) -> Self {
        if address.to_canonical().is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

// === impl Lasting ===

impl Lasting {
    /// Of a backend with this number.
    pub fn new(id: u64) -> Arc<Self> {
        let (turn, affinity, means, outliers, under_way, telling) = <_>::default();
        Arc::new(Self { id, turn, affinity, means, outliers, under_way, telling })
    }

    /// Of another backend of the same Service's port, with this number: what is under way, limits and budgets
    /// are of both together. Whom it leaves out it decides by its own endpoints.
    pub fn beside(&self, id: u64) -> Arc<Self> {
        let under_way = Arc::clone(&self.under_way);
        let (turn, affinity, means, outliers, telling) = <_>::default();
        Arc::new(Self { id, turn, affinity, means, outliers, under_way, telling })
    }

    /// What is under way with it.
    #[inline]
    pub fn under_way(&self) -> &Arc<UnderWay> {
        &self.under_way
    }
}

// === impl Backend ===

impl Backend {
    /// A backend of these endpoints, in any order; what lasts is its earlier self's, if it had one.
    pub fn new(
        lasting: Arc<Lasting>,
        (service, port): (ObjectName, u16),
        protocol: AppProtocol,
        affinity: Option<Duration>,
        endpoints: impl IntoIterator<Item: Into<Member>>,
    ) -> Self {
        let mut members: Vec<Member> = endpoints.into_iter().map(Into::into).collect();
        members.sort_by_key(|member| member.endpoint.address);
        let standing = |member: &Member| (member.near, member.weight);
        let alike = members.iter().all(|member| standing(member) == (false, NonZeroU16::MIN));
        let has_near = members.iter().any(|member| member.near);
        let standings = (!alike).then(|| members.iter().map(standing).collect());
        let endpoints: Box<[_]> = members.into_iter().map(|member| member.endpoint).collect();
        let v4 = endpoints.partition_point(|endpoint| endpoint.address.is_ipv4());
        let all = endpoints.len();
        let settings: Arc<BackendSettings> = Arc::default();
        Self {
            id: lasting.id,
            service,
            port,
            protocol,
            algorithm: algorithm(&settings, protocol),
            affinity,
            endpoints,
            groups: [(0, all), (0, v4), (v4, all)],
            standings,
            has_near,
            tls: None,
            settings,
            lasting,
            roster: roster::Kept::default(),
            hashed: None,
        }
    }

    /// The same, under these settings.
    pub fn with_settings(self, settings: Arc<BackendSettings>) -> Self {
        let algorithm = algorithm(&settings, self.protocol);
        let made = Self { algorithm, settings, ..self };
        let hashed = Hashed::new(&made);
        Self { hashed, ..made }
    }

    /// The same, spoken to like this.
    pub fn with_tls(self, tls: Option<Arc<BackendTls>>) -> Self {
        Self { tls, ..self }
    }

    /// How its endpoints are spoken to, if not in the clear.
    #[inline]
    pub fn tls(&self) -> Option<&Arc<BackendTls>> {
        self.tls.as_ref()
    }

    /// What its policies ask for, and the defaults of the rest.
    #[inline]
    pub fn settings(&self) -> &Arc<BackendSettings> {
        &self.settings
    }

    /// What requests go by, if its algorithm hashes.
    #[inline]
    pub fn hash_on(&self) -> Option<&[HashOn]> {
        matches!(self.algorithm, BalancingAlgorithm::RingHash | BalancingAlgorithm::Maglev)
            .then_some(&self.settings.balancing.hash_on)
    }

    /// Takes in how quick an endpoint is, where that matters.
    #[inline]
    pub(super) fn hear(&self, endpoint: &Endpoint, now: Millis, report: Report) {
        // How long a connection takes to make says how far away a server is, and nothing of its requests.
        if matches!(report, Report::Connected { .. }) && may_be_http(self.protocol) {
            return;
        }
        if self.algorithm == BalancingAlgorithm::PeakEwma {
            endpoint.heard(now, report);
        }
        if self.is_zoned() {
            self.hear_of_zones(endpoint, now, report);
        }
    }

    /// What it remembers of outliers.
    #[inline]
    pub(super) fn outliers(&self) -> &Outliers {
        &self.lasting.outliers
    }

    /// What it keeps while its endpoints come and go.
    pub fn lasting(&self) -> &Arc<Lasting> {
        &self.lasting
    }

    /// The endpoints that Kubernetes says may serve now, by address.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// The endpoint at `address`, if it may serve now.
    pub fn at(&self, address: SocketAddr) -> Option<&Arc<Endpoint>> {
        let place = self.endpoints.binary_search_by(|e| e.address.cmp(&address)).ok()?;
        self.endpoints.get(place)
    }

    /// How an endpoint is chosen; what is relayed as it is goes in turn if the policy names none.
    #[inline]
    pub fn algorithm(&self) -> BalancingAlgorithm {
        self.algorithm
    }

    /// How an endpoint is chosen for this caller.
    #[inline]
    pub(super) fn algorithm_for(&self, caller: Caller) -> BalancingAlgorithm {
        match self.settings.balancing.algorithm {
            None if caller.relayed => BalancingAlgorithm::RoundRobin,
            _ => self.algorithm,
        }
    }

    /// How long a client stays with its endpoint, if it does.
    #[inline]
    pub fn affinity(&self) -> Option<Duration> {
        self.affinity
    }

    /// The endpoints that callers of one family or another may get, each from and up to a place of
    /// [`Self::endpoints`]: all; and if there are both, those of IPv4 and those of IPv6.
    pub(super) fn groups(&self) -> &[(usize, usize)] {
        match self.groups {
            [_, v4, v6] if v4.1 > v4.0 && v6.1 > v6.0 => &self.groups,
            _ => &self.groups[..1],
        }
    }

    /// From and up to which place of [`Self::endpoints`] those of a family are.
    pub(super) fn of_family(&self, family: Family) -> (usize, usize) {
        let [_, v4, v6] = self.groups;
        match family {
            Family::V4 => v4,
            Family::V6 => v6,
        }
    }

    /// Its tables, if it hashes.
    #[inline]
    pub(super) fn hashed(&self) -> Option<&Hashed> {
        self.hashed.as_deref()
    }

    /// Whether these, by address, are its endpoints, as near and of the same weights.
    pub fn has(&self, members: &[Member]) -> bool {
        self.endpoints.len() == members.len()
            && self.endpoints.iter().zip(members).enumerate().all(|(place, (endpoint, member))| {
                Arc::ptr_eq(endpoint, &member.endpoint)
                    && self.standing(place) == (member.near, member.weight)
            })
    }

    /// Whether any of them is nearer than others.
    #[inline]
    pub(super) fn has_near(&self) -> bool {
        self.has_near
    }

    /// Whether the endpoint at this place of [`Self::endpoints`] is meant for clients of this node, more than
    /// others.
    pub fn is_near(&self, place: usize) -> bool {
        self.standing(place).0
    }

    /// The part of the requests that the endpoint at this place is to have, against the others'.
    pub fn weight(&self, place: usize) -> NonZeroU16 {
        self.standing(place).1
    }

    /// The part of the requests that this endpoint is to have, against the others'.
    pub(super) fn weight_of(&self, endpoint: &Endpoint) -> f32 {
        if self.standings.is_none() {
            return 1.0;
        }
        let place = self.endpoints.binary_search_by(|e| e.address.cmp(&endpoint.address));
        f32::from(place.map_or(NonZeroU16::MIN, |place| self.weight(place)).get())
    }

    fn standing(&self, place: usize) -> (bool, NonZeroU16) {
        let known = self.standings.as_ref().and_then(|all| all.get(place));
        known.copied().unwrap_or((false, NonZeroU16::MIN))
    }

    /// Who may be picked now, as picks see it.
    #[inline]
    pub(super) fn roster(&self, now: Millis) -> Guard<Option<Arc<Roster>>> {
        self.roster.get(self, now)
    }

    /// An endpoint's health is another than it was: picks look anew.
    pub fn refresh(&self) {
        self.roster.refresh();
    }

    /// How many of the endpoints are usable now.
    pub fn usable(&self, now: Millis) -> usize {
        self.endpoints.iter().filter(|endpoint| endpoint.usable(now)).count()
    }
}

/// What the policy wants; else HTTP, declared or not, by latency and load, and the rest in turn.
fn algorithm(settings: &BackendSettings, protocol: AppProtocol) -> BalancingAlgorithm {
    settings.balancing.algorithm.unwrap_or(match may_be_http(protocol) {
        true => BalancingAlgorithm::PeakEwma,
        false => BalancingAlgorithm::RoundRobin,
    })
}

/// Whether requests may be seen at a port that is declared to speak this.
fn may_be_http(protocol: AppProtocol) -> bool {
    match protocol {
        AppProtocol::Detect | AppProtocol::Http | AppProtocol::Http1 | AppProtocol::Http2 => true,
        AppProtocol::Tls | AppProtocol::Tcp => false,
    }
}
