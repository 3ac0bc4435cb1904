//! BackendPolicies (`nodeway.dev/v1alpha1`), and what experimental XBackendTrafficPolicies (GEP-1619,
//! GEP-3388) add: how requests are spread over a Service's endpoints, and when one is left alone.
//!
//! Valid by construction: what a manifest leaves out has its default here, and what it says is in bounds.

use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::{EndpointAddress, Policy, SessionPersistence};

/// A BackendPolicy. While its settings cannot be told its last good ones stay in force.
pub type BackendPolicy = Policy<BackendSettings>;

/// An XBackendTrafficPolicy; its targets have no sections. While its settings cannot be told its last good ones
/// stay in force.
pub type TrafficPolicy = Policy<TrafficSettings>;

/// What an XBackendTrafficPolicy asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrafficSettings {
    /// `retryConstraint`; a BackendPolicy's own budget goes first.
    pub retry_budget: Option<RetryBudget>,
    /// `sessionPersistence`: as a route's rule has it, for all requests to the Service; a rule's own goes
    /// first.
    pub session: Option<SessionPersistence>,
}

/// What a BackendPolicy asks for. The default is what holds without any policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackendSettings {
    /// Which endpoint a request goes to.
    pub balancing: Balancing,
    /// Asks endpoints how they are; nobody is asked without.
    pub health_check: Option<HealthCheck>,
    /// Leaves endpoints out that fail.
    pub outliers: OutlierDetection,
    /// How much may be under way at once.
    pub limits: Limits,
    /// How many of the requests may be retries. Without, the default of [`RetryBudget`] holds for retries that
    /// routes ask for.
    pub retry_budget: Option<RetryBudget>,
    /// How long connections live.
    pub connections: ConnectionLife,
}

/// Which endpoint a request goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balancing {
    /// How one is chosen; by what the port speaks if not given.
    pub algorithm: Option<BalancingAlgorithm>,
    /// What consistent hashing goes by: the first of these that a request has. The client's address if it
    /// has none of them.
    pub hash_on: Box<[HashOn]>,
    /// An endpoint's weight is that of the first of these that is about it, else 1.
    pub weights: Box<[EndpointWeight]>,
    /// New endpoints and those that return get their share by and by.
    pub slow_start: Option<SlowStart>,
    /// Whether endpoints whose hints name this node or zone come first.
    pub zone_aware: bool,
    /// With a smaller share of the endpoints usable than this, per cent, all are used: a server that may
    /// fail is better than one that falls under everybody's load. 0: never.
    pub panic_threshold: u8,
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BalancingAlgorithm {
    /// Of two drawn at random, the one with the smaller product of latency (its moving average, which
    /// follows a peak at once) and requests under way.
    PeakEwma,
    /// Of two drawn at random, the one with fewer requests under way.
    LeastRequest,
    /// Each in turn.
    RoundRobin,
    /// By chance.
    Random,
    /// The next on a ring of hashes.
    RingHash,
    /// By Maglev's table.
    Maglev,
}

/// What consistent hashing goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashOn {
    /// A header's first value.
    Header(HeaderName),
    /// A cookie; a client that does not bring it is given one.
    Cookie(HashCookie),
    /// The client's address.
    SourceIp,
    /// The request's path, without the query.
    Path,
}

/// A cookie that clients are given for consistent hashing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashCookie {
    /// Its name, a token (RFC 9110, 5.6.2).
    pub name: Arc<str>,
    /// Its `Path`; `/` if none is given.
    pub path: Arc<str>,
    /// Its `Max-Age`; without, it lives as long as the client's session.
    pub ttl: Option<Duration>,
}

/// The weight of some endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointWeight {
    /// Whose.
    pub of: WeightOf,
    /// From 1 to 128.
    pub weight: NonZeroU16,
}

/// Which endpoints a weight is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WeightOf {
    /// On this node.
    Node(Arc<str>),
    /// In this zone.
    Zone(Arc<str>),
    /// With an address of this network: an address and the length of its prefix, bits.
    Cidr(IpAddr, u8),
}

/// An endpoint that is new, or has been left out, gets less than its share at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowStart {
    /// How long until it has its share.
    pub window: Duration,
    /// The curve, thousandths: after a part `t` of the window (0 to 1) its share is `t^(1000/this)` of the
    /// whole. 1000: a straight line; more: quick at first.
    pub aggression: NonZeroU32,
    /// It has never less than this part of its share, per cent; 1 to 100.
    pub least: u8,
}

/// How endpoints are asked how they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// Where, if not at the port that requests go to.
    pub port: Option<NonZeroU16>,
    /// From one check to the next, of each endpoint.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Each interval is longer by a part of this, per cent, by chance.
    pub jitter: u8,
    /// So many successes in a row make an endpoint that is out well.
    pub healthy: NonZeroU32,
    /// So many failures in a row take an endpoint out.
    pub unhealthy: NonZeroU32,
}

/// What an endpoint is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Whether it accepts a connection.
    Tcp,
    /// `GET` of a path by HTTP/1.1, or by HTTP/2 where that is what the port speaks.
    Http {
        /// Path and query.
        path: Arc<str>,
        /// `Host`; the Service's name in DNS if not given.
        host: Option<HeaderValue>,
        /// Further headers.
        headers: Box<[(HeaderName, HeaderValue)]>,
        /// Statuses that say it is well, each a first and a last one; 200 to 299 if there are none.
        statuses: Box<[(u16, u16)]>,
    },
    /// `grpc.health.v1.Health/Check` (gRPC health checking protocol).
    Grpc {
        /// The service it is asked about; empty for all of the server.
        service: Arc<str>,
    },
}

/// When an endpoint is left out for failing ("outlier detection", "ejection").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlierDetection {
    /// So many responses in a row with any 5xx status, or none at all. None: not counted.
    pub consecutive_5xx: Option<NonZeroU32>,
    /// So many in a row with 502, 503 or 504, or none at all (reset, cut, garbage, no connection).
    pub consecutive_gateway_errors: Option<NonZeroU32>,
    /// So many attempts to connect in a row that failed.
    pub consecutive_connect_failures: Option<NonZeroU32>,
    /// Whose share of successes is far below that of the others.
    pub success_rate: Option<SuccessRate>,
    /// Who is far slower than the others.
    pub latency: Option<LatencyOutlier>,
    /// How often success rates and latencies are compared; they are those of one such span.
    pub interval: Duration,
    /// How long the first ejection lasts; each further one is twice as long as the one before. Well for long,
    /// it counts as the first again.
    pub base_ejection: Duration,
    /// How long an ejection lasts at most.
    pub max_ejection: Duration,
    /// So large a share of the endpoints may be out at once by this, per cent; one always may, unless this is
    /// 0.
    pub max_ejected: u8,
}

/// Success rates are compared as Envoy does: an endpoint is out if its share of successes is below the
/// mean of all by more than a multiple of their standard deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuccessRate {
    /// So many endpoints must have had enough requests.
    pub endpoints: NonZeroU32,
    /// So many requests in the interval are enough.
    pub requests: NonZeroU32,
    /// The multiple, thousandths.
    pub stdev_factor: u32,
}

/// An endpoint is out if its mean latency in the interval is so many times the median of the others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatencyOutlier {
    /// So many endpoints must have had enough requests.
    pub endpoints: NonZeroU32,
    /// So many requests in the interval are enough.
    pub requests: NonZeroU32,
    /// How many times the median, thousandths; above 1000.
    pub factor: u32,
    /// A latency below this is never too long.
    pub least: Duration,
}

/// How much may be under way at once from this node ("circuit breaker"). None: no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// For all endpoints together.
    pub backend: Amounts,
    /// For each endpoint.
    pub endpoint: Amounts,
    /// The number of requests under way is kept where latency begins to grow.
    pub adaptive: Option<AdaptiveConcurrency>,
    /// Whether who is refused is told so by the header `x-envoy-overloaded: true`.
    pub tell: bool,
}

/// How much of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Connections that are open or being made.
    pub connections: Option<NonZeroU32>,
    /// Requests that wait for a connection; see [`Amounts::pending`].
    pub pending: Option<u32>,
    /// Requests, or connections that are relayed as they are, under way.
    pub active: Option<NonZeroU32>,
}

/// The gradient algorithm: the limit is moved by the ratio of the latency without load to the latency now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdaptiveConcurrency {
    /// The limit is never below this,
    pub least: NonZeroU32,
    /// nor above this.
    pub most: NonZeroU32,
    /// Latency may grow so much before the limit falls, per cent.
    pub tolerance: u16,
}

/// How many retries there may be (GEP-3388).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// So many per cent of the requests, ...
    pub percent: u8,
    /// ... counted over so long; as a share of those under way, if none is given.
    pub interval: Option<Duration>,
    /// Retries that are always allowed: so many ...
    pub least: u32,
    /// ... in so long; at once, if none is given.
    pub least_interval: Option<Duration>,
}

/// How long connections to endpoints live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLife {
    /// Takes no more requests after so long.
    pub max_age: Option<Duration>,
    /// Takes no more requests after so many.
    pub max_requests: Option<NonZeroU32>,
    /// Is closed after so long without a request.
    pub idle: Duration,
    /// How the kernel finds out that a peer has vanished.
    pub tcp_keepalive: TcpKeepalive,
    /// How HTTP/2 finds out; it does not without.
    pub http2_keepalive: Option<Http2Keepalive>,
    /// How long an endpoint may take to accept a connection.
    pub connect_timeout: Duration,
    /// How long what is under way with an endpoint that is gone may go on. As long as it likes without.
    pub drain: Option<Duration>,
    /// Idle HTTP/1.1 connections that are kept ready for each client and endpoint; 0: made when needed.
    pub prewarm: u16,
}

/// TCP keepalive (tcp(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpKeepalive {
    /// Of silence before the first probe.
    pub idle: Duration,
    /// Between probes.
    pub interval: Duration,
    /// Unanswered, they end the connection.
    pub probes: NonZeroU16,
}

/// PING (RFC 9113, 6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2Keepalive {
    /// Of silence before one is sent.
    pub interval: Duration,
    /// Unanswered for so long, the connection is closed.
    pub timeout: Duration,
}

// === impl Balancing ===

impl Default for Balancing {
    fn default() -> Self {
        Self {
            algorithm: None,
            hash_on: Box::default(),
            weights: Box::default(),
            slow_start: None,
            zone_aware: true,
            panic_threshold: 50,
        }
    }
}

impl Balancing {
    /// The weight of an endpoint.
    pub fn weight(&self, endpoint: &EndpointAddress) -> NonZeroU16 {
        let known = self.weights.iter().find(|weight| weight.of.is(endpoint));
        known.map_or(NonZeroU16::MIN, |known| known.weight)
    }
}

// === impl Limits ===

impl Limits {
    /// Whether there is a limit on connections.
    #[inline]
    pub fn has_connections(&self) -> bool {
        self.backend.connections.is_some() || self.endpoint.connections.is_some()
    }
}

// === impl WeightOf ===

impl WeightOf {
    /// Whether it is about this endpoint.
    fn is(&self, endpoint: &EndpointAddress) -> bool {
        match self {
            Self::Node(node) => endpoint.node.as_ref() == Some(node),
            Self::Zone(zone) => endpoint.zone.as_ref() == Some(zone),
            Self::Cidr(network, length) => is_in(endpoint.address, *network, *length),
        }
    }
}

/// Whether an address is in a network of which so many bits are given.
fn is_in(address: IpAddr, network: IpAddr, length: u8) -> bool {
    let (differs, bits) = match (address.to_canonical(), network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits() ^ b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits(), 128),
        _ => return false,
    };
    differs.checked_shr(bits - u32::from(length).min(bits)).unwrap_or(0) == 0
}

// === impl HealthCheck ===

impl HealthCheck {
    /// Asked like this, and the rest as the policy has it that says no more: two successes bring an endpoint
    /// back, three failures take it out.
    pub fn of(probe: Probe) -> Self {
        let two = NonZeroU32::MIN.saturating_add(1);
        Self {
            probe,
            port: None,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            jitter: 10,
            healthy: two,
            unhealthy: two.saturating_add(1),
        }
    }
}

// === impl OutlierDetection ===

impl Default for OutlierDetection {
    /// What says that the server is ill, not that it said no: a run of five.
    fn default() -> Self {
        let five = NonZeroU32::MIN.saturating_add(4);
        Self {
            consecutive_5xx: None,
            consecutive_gateway_errors: Some(five),
            consecutive_connect_failures: Some(five),
            success_rate: None,
            latency: None,
            interval: Duration::from_secs(10),
            base_ejection: Duration::from_secs(10),
            max_ejection: Duration::from_secs(300),
            max_ejected: 50,
        }
    }
}

// === impl Amounts ===

/// Envoy's default (`max_pending_requests` of its circuit breakers).
const PENDING: u32 = 1_024;

impl Amounts {
    /// How many requests may wait for a connection: who limits connections makes them wait, and without an end
    /// that would be memory and time without an end. HTTP/2 alone, without such a limit, has others wait
    /// for a stream; that ends with the requests before them.
    pub fn pending(&self) -> Option<u32> {
        self.pending.or(self.connections.map(|_| PENDING))
    }
}

// === impl RetryBudget ===

impl Default for RetryBudget {
    /// Envoy's share, and a floor under which one client's bad luck is no storm.
    fn default() -> Self {
        Self { percent: 20, interval: None, least: 10, least_interval: None }
    }
}

// === impl ConnectionLife ===

impl Default for ConnectionLife {
    fn default() -> Self {
        Self {
            max_age: None,
            max_requests: None,
            // Shorter than the idle limits of the servers that people run most (nginx 75 s), so that we
            // close first.
            idle: Duration::from_secs(60),
            tcp_keepalive: TcpKeepalive::default(),
            http2_keepalive: None,
            // Linux sends its first SYN again after 1 s and the second after 3 s: room for both to be lost.
            connect_timeout: Duration::from_secs(5),
            drain: None,
            prewarm: 0,
        }
    }
}

// === impl TcpKeepalive ===

impl Default for TcpKeepalive {
    /// A peer that has vanished without a word is noticed within two minutes.
    fn default() -> Self {
        let (idle, interval) = (Duration::from_secs(60), Duration::from_secs(10));
        Self { idle, interval, probes: NonZeroU16::MIN.saturating_add(5) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_the_weight_of_the_first_that_is_about_it() {
        let weight = |of, weight| EndpointWeight { of, weight: NonZeroU16::new(weight).unwrap() };
        let cidr = |ip: &str, length| WeightOf::Cidr(ip.parse().unwrap(), length);
        let balancing = Balancing {
            weights: [
                weight(WeightOf::Node("n1".into()), 2),
                weight(WeightOf::Zone("a".into()), 3),
                weight(cidr("10.1.0.0", 16), 4),
                weight(cidr("fd00::", 64), 5),
                weight(cidr("0.0.0.0", 0), 6),
            ]
            .into(),
            ..Balancing::default()
        };
        let of = |ip: &str, node: &str, zone: &str| {
            let address = EndpointAddress {
                node: Some(node.into()),
                zone: Some(zone.into()),
                ..EndpointAddress::new(ip.parse().unwrap())
            };
            balancing.weight(&address).get()
        };
        assert_eq!(of("10.1.2.3", "n1", "a"), 2);
        assert_eq!(of("10.1.2.3", "n2", "a"), 3);
        assert_eq!(of("10.1.255.255", "n2", "b"), 4);
        assert_eq!(of("::ffff:10.1.0.1", "n2", "b"), 4);
        assert_eq!(of("10.2.0.0", "n2", "b"), 6);
        assert_eq!(of("fd00::1", "n2", "b"), 5);
        assert_eq!(of("fd00:0:0:1::1", "n2", "b"), 1);
        assert_eq!(
            Balancing::default().weight(&EndpointAddress::new([10, 0, 0, 1].into())).get(),
            1
        );
    }
}
