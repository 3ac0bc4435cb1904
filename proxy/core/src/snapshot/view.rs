//! What the data plane reads.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::{Problem, Rule};
use crate::balance::{Balancer, Endpoint, Millis};
use crate::model::{AppProtocol, ObjectName, Pod};
use crate::route::{RequestHead, Router};

/// Everything that is in force, compiled. Immutable but for the live state of endpoints.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub(super) frontends: HashMap<SocketAddr, Arc<Frontend>, FixedState>,
    pub(super) service_ports: HashMap<(ObjectName, u16), Arc<Frontend>, FixedState>,
    pub(super) pods: Vec<Arc<Pod>>,
    pub(super) problems: Vec<Problem>,
}

/// A Service's port, as clients dial it.
#[derive(Debug)]
pub struct Frontend {
    /// A number of its own among all frontends, backends and rules of its snapshot.
    pub id: u64,
    /// The Service.
    pub service: ObjectName,
    /// The port that is dialled.
    pub port: u16,
    /// What it speaks.
    pub protocol: AppProtocol,
    /// The Service's own endpoints.
    pub backend: Arc<Backend>,
    /// Absent if no route is attached.
    pub(super) router: Option<Router<Rule>>,
}

/// A Service's port, as requests are sent to it.
#[derive(Debug)]
pub struct Backend {
    /// A number of its own among all frontends, backends and rules of its snapshot.
    pub id: u64,
    /// The Service.
    pub service: ObjectName,
    /// Its port.
    pub port: u16,
    /// What it speaks.
    pub protocol: AppProtocol,
    pub(super) balancer: Balancer,
}

/// Where a request goes.
#[derive(Debug)]
pub enum Routed<'a> {
    /// No route is attached: to the Service that was dialled.
    Service(&'a Arc<Backend>),
    /// As this rule says.
    Rule(&'a Rule),
    /// Routes are attached and none matches: 404 (Gateway API, GEP-1294).
    NotFound,
}

// === impl Snapshot ===

impl Snapshot {
    /// Nothing.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The frontend of an address that a client dialled; an IPv4 address in IPv6 form is the same as
    /// the IPv4 address.
    #[inline]
    pub fn frontend(&self, dialled: SocketAddr) -> Option<&Arc<Frontend>> {
        self.frontends.get(&canonical(dialled))
    }

    /// The frontend of a Service's port, whether or not it has an address.
    #[inline]
    pub fn service_port(&self, service: &ObjectName, port: u16) -> Option<&Arc<Frontend>> {
        // The key's clone is two reference counts; plain listeners alone pay it.
        self.service_ports.get(&(service.clone(), port))
    }

    /// All addresses that clients dial.
    pub fn frontends(&self) -> impl Iterator<Item = (SocketAddr, &Arc<Frontend>)> {
        self.frontends.iter().map(|(address, frontend)| (*address, frontend))
    }

    /// The pods of this node that are to be enrolled.
    pub fn pods(&self) -> &[Arc<Pod>] {
        &self.pods
    }

    /// What objects say of each other that cannot be.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(ip) => SocketAddr::new(ip.to_canonical(), address.port()),
        IpAddr::V4(_) => address,
    }
}

// === impl Frontend ===

impl Frontend {
    /// Where a request with this head goes.
    #[inline]
    pub fn route<'a>(&'a self, head: &RequestHead<'_>) -> Routed<'a> {
        let Some(router) = &self.router else { return Routed::Service(&self.backend) };
        router.route(head).map_or(Routed::NotFound, Routed::Rule)
    }

    /// Whether any route is attached.
    pub fn has_routes(&self) -> bool {
        self.router.is_some()
    }
}

// === impl Backend ===

impl Backend {
    /// The endpoints that may be picked.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        self.balancer.endpoints()
    }

    /// The endpoint for one request; see [`Balancer::pick`].
    #[inline]
    pub fn pick(
        &self,
        now: Millis,
        random: &mut fastrand::Rng,
        avoid: Option<&Endpoint>,
    ) -> Option<&Arc<Endpoint>> {
        self.balancer.pick(now, random, avoid)
    }
}
