//! The compiled whole: immutable, shared, looked up by address or by name.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::shards::Shards;
use super::{Frontend, PolicyStatus, Problem, RouteKey, RouteStatus};
use crate::model::{Kind, ObjectName, Pod};

/// Everything the data plane needs to know at one moment. No request sees two.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// By address and port; IPv4 always as such.
    pub(super) frontends: Shards<(IpAddr, u16), Arc<Frontend>>,
    /// By Service, its ports.
    pub(super) services: Shards<ObjectName, Arc<[Arc<Frontend>]>>,
    pub(super) pods: Arc<[Arc<Pod>]>,
    pub(super) nodes: usize,
    pub(super) problems: Arc<[Problem]>,
    pub(super) statuses: Shards<RouteKey, Arc<RouteStatus>>,
    pub(super) policies: Arc<BTreeMap<(Kind, ObjectName), Arc<PolicyStatus>>>,
}

// === impl Snapshot ===

impl Snapshot {
    /// Before anything is known: no frontends, no pods.
    pub fn empty() -> Self {
        Self::default()
    }

    /// What is dialled at this address. `::ffff:10.96.0.1` (a dual-stack socket's way to dial IPv4)
    /// is `10.96.0.1`.
    #[inline]
    pub fn frontend(&self, dialled: SocketAddr) -> Option<&Arc<Frontend>> {
        self.frontends.get(&(dialled.ip().to_canonical(), dialled.port()))
    }

    /// A Service's port by name, whether or not the Service has an address.
    pub fn service_port(&self, service: &ObjectName, port: u16) -> Option<&Arc<Frontend>> {
        self.services.get(service)?.iter().find(|f| f.port == port)
    }

    /// A Service's ports.
    pub fn ports(&self, service: &ObjectName) -> &[Arc<Frontend>] {
        self.services.get(service).map_or(&[], |ports| &**ports)
    }

    /// All frontends that have an address, in no order.
    pub fn frontends(&self) -> impl Iterator<Item = (SocketAddr, &Arc<Frontend>)> {
        self.frontends.iter().map(|((ip, port), f)| (SocketAddr::new(*ip, *port), f))
    }

    /// How many frontends have an address.
    pub fn frontend_count(&self) -> usize {
        self.frontends.len()
    }

    /// The pods to enrol on this node, by name.
    pub fn pods(&self) -> &[Arc<Pod>] {
        &self.pods
    }

    /// How many nodes the cluster's EndpointSlices name. It comes with what else has changed: alone it makes
    /// no new snapshot.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// What the status of each route should say, in no order. What has not changed since the last
    /// snapshot is the same `Arc`.
    pub fn route_statuses(&self) -> impl Iterator<Item = (&RouteKey, &Arc<RouteStatus>)> {
        self.statuses.iter()
    }

    /// What the status of this route should say.
    pub fn route_status(&self, route: &RouteKey) -> Option<&Arc<RouteStatus>> {
        self.statuses.get(route)
    }

    /// What the status of this policy, of whatever kind, should say. What has not changed since the last
    /// snapshot is the same `Arc`.
    pub fn policy_status(&self, policy: &(Kind, ObjectName)) -> Option<&Arc<PolicyStatus>> {
        self.policies.get(policy)
    }

    /// What is wrong with the objects taken together, by kind and name.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether it is another than before.
    pub(super) fn set_policy(
        &mut self,
        policy: (Kind, ObjectName),
        status: Option<PolicyStatus>,
    ) -> bool {
        if self.policies.get(&policy).map(|known| &**known) == status.as_ref() {
            return false;
        }
        let policies = Arc::make_mut(&mut self.policies);
        match status {
            None => policies.remove(&policy),
            Some(status) => policies.insert(policy, Arc::new(status)),
        };
        true
    }

    /// Whether it is another than before.
    pub(super) fn set_status(&mut self, key: &RouteKey, status: Option<&Arc<RouteStatus>>) -> bool {
        match status {
            None => self.statuses.remove(key).is_some(),
            Some(status) if self.statuses.get(key).is_some_and(|s| Arc::ptr_eq(s, status)) => false,
            Some(status) => {
                self.statuses.insert(key.clone(), Arc::clone(status));
                true
            }
        }
    }
}
