//! A Service's port as a place to send requests to: its endpoints and how one is chosen.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::affinity::Affinity;
use super::outlier::Outliers;
use super::{BackendTls, Endpoint, Millis, least_request, round_robin};
use crate::model::{
    AppProtocol, BackendSettings, Balancing, BalancingAlgorithm, HashOn, ObjectName,
};

/// How an endpoint is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// The less loaded of two drawn at random.
    LeastRequest,
    /// Each in turn.
    RoundRobin,
}

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
    turn: AtomicUsize,
    affinity: Affinity,
    outliers: Outliers,
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
    algorithm: Algorithm,
    /// How long a client stays with its endpoint, if it does.
    affinity: Option<Duration>,
    /// By address: IPv4 first.
    endpoints: Box<[Arc<Endpoint>]>,
    /// How many of them are IPv4.
    v4: usize,
    /// How they are spoken to, if not in the clear.
    tls: Option<Arc<BackendTls>>,
    settings: Arc<BackendSettings>,
    lasting: Arc<Lasting>,
}

// === impl Algorithm ===

impl Algorithm {
    /// HTTP, declared or not, by least request; connections that are relayed as they are, in turn.
    pub fn for_protocol(protocol: AppProtocol) -> Self {
        match protocol {
            AppProtocol::Detect | AppProtocol::Http | AppProtocol::Http1 | AppProtocol::Http2 => {
                Self::LeastRequest
            }
            AppProtocol::Tls | AppProtocol::Tcp => Self::RoundRobin,
        }
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
        let (turn, affinity, outliers) = <_>::default();
        Arc::new(Self { id, turn, affinity, outliers })
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
        endpoints: impl Into<Box<[Arc<Endpoint>]>>,
    ) -> Self {
        let mut endpoints = endpoints.into();
        endpoints.sort_by_key(|endpoint| endpoint.address);
        let v4 = endpoints.partition_point(|endpoint| endpoint.address.is_ipv4());
        let (id, algorithm) = (lasting.id, Algorithm::for_protocol(protocol));
        let (tls, settings) = (None, Arc::default());
        Self {
            id,
            service,
            port,
            protocol,
            algorithm,
            affinity,
            endpoints,
            v4,
            tls,
            settings,
            lasting,
        }
    }

    /// The same, under these settings.
    pub fn with_settings(self, settings: Arc<BackendSettings>) -> Self {
        Self { settings, ..self }
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
        let Balancing { algorithm, hash_on, .. } = &self.settings.balancing;
        matches!(algorithm, Some(BalancingAlgorithm::RingHash | BalancingAlgorithm::Maglev))
            .then_some(hash_on)
    }

    /// Who may be picked has changed.
    pub fn refresh(&self) {}

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

    /// How an endpoint is chosen.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// How long a client stays with its endpoint, if it does.
    pub fn affinity(&self) -> Option<Duration> {
        self.affinity
    }

    /// The endpoint for the next request; `None` only if there is no endpoint at all.
    ///
    /// `avoid` is the one that a retry has just failed on (with its pod's other addresses): it is picked
    /// only if nothing else that is not ejected is left. If all are ejected, all are used: a server that
    /// may fail is better than a refusal that is sure.
    #[inline]
    pub fn pick(
        &self,
        now: Millis,
        random: &mut fastrand::Rng,
        caller: Caller,
        avoid: Option<&Endpoint>,
    ) -> Option<&Arc<Endpoint>> {
        let endpoints = self.of_family(caller.family);
        match endpoints {
            [] => None,
            [only] => Some(only),
            _ => match self.affinity {
                None => self.choose(endpoints, now, random, avoid),
                Some(timeout) => self.lasting.affinity.pick(
                    caller.client,
                    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
                    now,
                    endpoints,
                    |e| avoid.is_none_or(|avoid| !e.falls_with(avoid)) && e.usable(now),
                    || self.choose(endpoints, now, random, avoid),
                ),
            },
        }
    }

    /// Those of the family, or all if there are none of it.
    fn of_family(&self, family: Option<Family>) -> &[Arc<Endpoint>] {
        let (v4, v6) = self.endpoints.split_at(self.v4);
        match family {
            Some(Family::V4) if !v4.is_empty() => v4,
            Some(Family::V6) if !v6.is_empty() => v6,
            _ => &self.endpoints,
        }
    }

    fn choose<'a>(
        &self,
        endpoints: &'a [Arc<Endpoint>],
        now: Millis,
        random: &mut fastrand::Rng,
        avoid: Option<&Endpoint>,
    ) -> Option<&'a Arc<Endpoint>> {
        let mut among = |ejected_too: bool, avoided_too: bool| {
            let usable = |e: &Endpoint| {
                (avoided_too || avoid.is_none_or(|avoid| !e.falls_with(avoid)))
                    && (ejected_too || e.usable(now))
            };
            match self.algorithm {
                Algorithm::LeastRequest => least_request::pick(endpoints, random, usable),
                Algorithm::RoundRobin => round_robin::pick(endpoints, &self.lasting.turn, usable),
            }
        };
        among(false, false)
            .or_else(|| avoid.and_then(|_| among(false, true)))
            .or_else(|| among(true, false))
            .or_else(|| among(true, true))
    }
}
