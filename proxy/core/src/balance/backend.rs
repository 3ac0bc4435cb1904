//! A Service's port as a place to send requests to: its endpoints and how one is chosen.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::{Endpoint, Millis, least_request, round_robin};
use crate::model::{AppProtocol, ObjectName};

/// How an endpoint is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// The less loaded of two drawn at random.
    LeastRequest,
    /// Each in turn.
    RoundRobin,
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
    endpoints: Box<[Arc<Endpoint>]>,
    /// Whose turn it is; shared with the same backend's earlier and later selves.
    turn: Arc<AtomicUsize>,
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

// === impl Backend ===

impl Backend {
    /// A backend of these endpoints. `turn` is kept from its earlier self, if it had one.
    pub fn new(
        id: u64,
        (service, port): (ObjectName, u16),
        protocol: AppProtocol,
        algorithm: Algorithm,
        endpoints: impl Into<Box<[Arc<Endpoint>]>>,
        turn: Arc<AtomicUsize>,
    ) -> Self {
        Self { id, service, port, protocol, algorithm, endpoints: endpoints.into(), turn }
    }

    /// The endpoints that Kubernetes says may serve now, by address.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// How an endpoint is chosen.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The endpoint for the next request; `None` only if there is no endpoint at all.
    ///
    /// `avoid` is the one that a retry has just failed on (with its pod's other addresses): it is picked only if nothing else that is
    /// not ejected is left. If all are ejected, all are used: a server that may fail is better than a
    /// refusal that is sure.
    #[inline]
    pub fn pick(
        &self,
        now: Millis,
        random: &mut fastrand::Rng,
        avoid: Option<&Endpoint>,
    ) -> Option<&Arc<Endpoint>> {
        match &*self.endpoints {
            [] => None,
            [only] => Some(only),
            _ => {
                let mut choose = |ejected_too: bool, avoided_too: bool| {
                    self.choose(random, |e: &Endpoint| {
                        (avoided_too || avoid.is_none_or(|avoid| !e.falls_with(avoid)))
                            && (ejected_too || !e.ejected(now))
                    })
                };
                choose(false, false)
                    .or_else(|| avoid.and_then(|_| choose(false, true)))
                    .or_else(|| choose(true, false))
                    .or_else(|| choose(true, true))
            }
        }
    }

    fn choose(
        &self,
        random: &mut fastrand::Rng,
        usable: impl Fn(&Endpoint) -> bool,
    ) -> Option<&Arc<Endpoint>> {
        match self.algorithm {
            Algorithm::LeastRequest => least_request::pick(&self.endpoints, random, usable),
            Algorithm::RoundRobin => round_robin::pick(&self.endpoints, &self.turn, usable),
        }
    }
}
