//! The objects as the source says them, indexed by what asks for them, and what has changed since it
//! was asked last.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::RouteKey;
use super::backend_policies::BackendPolicies;
use super::nodes::NamedNodes;
use super::policies::Policies;
use crate::model::{
    Change, EndpointSlice, Kind, Namespace, Node, Object, ObjectName, Pod, ReferenceGrant,
    RefusedRoute, Route, Service,
};

/// All objects. Three verbs: apply, delete (both by [`Store::apply`]) and [`Store::reset`].
///
/// Ordered maps: what is compiled of the same objects is the same, whatever order they came in.
#[derive(Debug, Default)]
pub struct Store {
    /// By the Namespace's own name.
    namespaces: BTreeMap<Arc<str>, Namespace>,
    services: BTreeMap<ObjectName, Service>,
    /// By Service, then by slice.
    slices: BTreeMap<ObjectName, BTreeMap<ObjectName, EndpointSlice>>,
    /// The Service that each slice is filed under.
    slice_service: BTreeMap<ObjectName, ObjectName>,
    named_nodes: NamedNodes,
    pods: BTreeMap<ObjectName, Arc<Pod>>,
    routes: BTreeMap<RouteKey, Route>,
    refused: BTreeMap<RouteKey, RefusedRoute>,
    nodes: BTreeMap<Arc<str>, Node>,
    grants: BTreeMap<ObjectName, ReferenceGrant>,
    pub(super) tls: Policies,
    pub(super) backends: BackendPolicies,
    dirty: Dirty,
}

/// What has to be looked at again.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    /// Services that have changed, or whose slices have.
    pub(super) services: BTreeSet<ObjectName>,
    pub(super) routes: BTreeSet<RouteKey>,
    /// Namespaces whose grants have changed.
    pub(super) grants: BTreeSet<Arc<str>>,
    /// Policies of any kind that have changed, or whose bundles have.
    pub(super) policies: BTreeSet<(Kind, ObjectName)>,
    /// Pods or Namespaces.
    pub(super) pods: bool,
    /// Nodes.
    pub(super) nodes: BTreeSet<Arc<str>>,
}

// === impl Store ===

impl Store {
    /// Takes in one change; whether anything is different now.
    pub fn apply(&mut self, change: Change) -> bool {
        let dirty = &mut self.dirty;
        match change {
            Change::Apply(Object::Namespace(o)) => {
                let changed = put(&mut self.namespaces, Arc::clone(&o.name.name), o);
                dirty.pods |= changed;
                changed
            }
            Change::Apply(Object::Pod(o)) => {
                let changed = put(&mut self.pods, o.name.clone(), Arc::new(o));
                dirty.pods |= changed;
                changed
            }
            Change::Apply(Object::Service(o)) => {
                let name = o.name.clone();
                note(put(&mut self.services, name.clone(), o), &mut dirty.services, name)
            }
            Change::Apply(Object::EndpointSlice(o)) => self.put_slice(o),
            Change::Apply(Object::Route(o)) => {
                let key = (o.kind, o.name.clone());
                let mended = self.refused.remove(&key).is_some();
                let changed = put(&mut self.routes, key.clone(), o) || mended;
                note(changed, &mut dirty.routes, key)
            }
            Change::Refuse(o) => {
                let key = (o.kind, o.name.clone());
                note(put(&mut self.refused, key.clone(), o), &mut dirty.routes, key)
            }
            Change::Apply(Object::Node(o)) => {
                let name = Arc::clone(&o.name.name);
                note(put(&mut self.nodes, Arc::clone(&name), o), &mut dirty.nodes, name)
            }
            Change::Apply(Object::ReferenceGrant(o)) => {
                let namespace = Arc::clone(&o.name.namespace);
                note(put(&mut self.grants, o.name.clone(), o), &mut dirty.grants, namespace)
            }
            Change::Apply(Object::TlsPolicy(o)) => self.tls.put(o, dirty),
            Change::Apply(Object::CaBundle(o)) => self.tls.put_bundle(o, dirty),
            Change::Apply(Object::BackendPolicy(o)) => self.backends.own.put(o, dirty),
            Change::Apply(Object::TrafficPolicy(o)) => self.backends.traffic.put(o, dirty),
            Change::Delete(kind, name) => self.delete(kind, name),
        }
    }

    fn delete(&mut self, kind: Kind, name: ObjectName) -> bool {
        let dirty = &mut self.dirty;
        match kind {
            Kind::Namespace => {
                let gone = self.namespaces.remove(&name.name).is_some();
                dirty.pods |= gone;
                gone
            }
            Kind::Pod => {
                let gone = self.pods.remove(&name).is_some();
                dirty.pods |= gone;
                gone
            }
            Kind::BackendTlsPolicy => self.tls.remove(&name, dirty),
            Kind::ConfigMap => self.tls.remove_bundle(&name, dirty),
            Kind::BackendPolicy => self.backends.own.remove(&name, dirty),
            Kind::BackendTrafficPolicy => self.backends.traffic.remove(&name, dirty),
            Kind::Service => note(self.services.remove(&name).is_some(), &mut dirty.services, name),
            Kind::EndpointSlice => self.remove_slice(&name),
            Kind::HttpRoute | Kind::GrpcRoute | Kind::TlsRoute | Kind::TcpRoute => {
                let key = (kind, name);
                let refused = self.refused.remove(&key).is_some();
                let gone = self.routes.remove(&key).is_some() || refused;
                note(gone, &mut dirty.routes, key)
            }
            Kind::Node => {
                note(self.nodes.remove(&name.name).is_some(), &mut dirty.nodes, name.name)
            }
            Kind::Mesh => false,
            Kind::ReferenceGrant => {
                note(self.grants.remove(&name).is_some(), &mut dirty.grants, name.namespace)
            }
        }
    }

    /// Forgets everything: the source starts anew.
    pub fn reset(&mut self) {
        let mut dirty = std::mem::take(self).everything();
        dirty.pods = true;
        self.dirty = dirty;
    }

    fn put_slice(&mut self, slice: EndpointSlice) -> bool {
        let filed = self.slice_service.get(&slice.name);
        if filed.is_some_and(|service| *service != slice.service) {
            self.remove_slice(&slice.name.clone());
        }
        self.slice_service.insert(slice.name.clone(), slice.service.clone());
        let service = slice.service.clone();
        let slices = self.slices.entry(service.clone()).or_default();
        self.named_nodes.add(&slice);
        if let Some(former) = slices.get(&slice.name) {
            self.named_nodes.remove(former);
        }
        let changed = put(slices, slice.name.clone(), slice);
        note(changed, &mut self.dirty.services, service)
    }

    fn remove_slice(&mut self, name: &ObjectName) -> bool {
        let Some(service) = self.slice_service.remove(name) else { return false };
        if let Some(slices) = self.slices.get_mut(&service) {
            if let Some(former) = slices.remove(name) {
                self.named_nodes.remove(&former);
            }
            if slices.is_empty() {
                self.slices.remove(&service);
            }
        }
        note(true, &mut self.dirty.services, service)
    }

    /// What has changed since this was called last.
    pub(super) fn take_dirty(&mut self) -> Dirty {
        std::mem::take(&mut self.dirty)
    }

    /// As if all that is there had changed.
    pub(super) fn everything(&self) -> Dirty {
        let dirty = &self.dirty;
        Dirty {
            services: self.services.keys().chain(&dirty.services).cloned().collect(),
            routes: self
                .routes
                .keys()
                .chain(self.refused.keys())
                .chain(&dirty.routes)
                .cloned()
                .collect(),
            grants: BTreeSet::new(),
            policies: self.policies().chain(dirty.policies.iter().cloned()).collect(),
            pods: true,
            nodes: self.nodes.keys().chain(&dirty.nodes).cloned().collect(),
        }
    }

    /// The policies of all kinds.
    fn policies(&self) -> impl Iterator<Item = (Kind, ObjectName)> {
        self.tls.keys().chain(self.backends.own.keys()).chain(self.backends.traffic.keys())
    }

    /// The policies of all kinds that target the Service.
    pub(super) fn policies_of(
        &self,
        service: &ObjectName,
    ) -> impl Iterator<Item = (Kind, ObjectName)> {
        let (own, traffic) = (&self.backends.own, &self.backends.traffic);
        self.tls.of(service).chain(own.of(service)).chain(traffic.of(service))
    }

    pub(super) fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.get(name)
    }

    pub(super) fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name)
    }

    pub(super) fn service(&self, name: &ObjectName) -> Option<&Service> {
        self.services.get(name)
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    pub(super) fn slices(&self, service: &ObjectName) -> impl Iterator<Item = &EndpointSlice> {
        self.slices.get(service).into_iter().flat_map(BTreeMap::values)
    }

    /// How many nodes slices name.
    pub(super) fn named_nodes(&self) -> usize {
        self.named_nodes.count()
    }

    pub(super) fn pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.values()
    }

    pub(super) fn route(&self, key: &RouteKey) -> Option<&Route> {
        self.routes.get(key)
    }

    pub(super) fn routes(&self) -> impl Iterator<Item = (&RouteKey, &Route)> {
        self.routes.iter()
    }

    /// The Pod of this name.
    pub fn pod(&self, name: &ObjectName) -> Option<&Arc<Pod>> {
        self.pods.get(name)
    }

    pub(super) fn refused(&self, key: &RouteKey) -> Option<&RefusedRoute> {
        self.refused.get(key)
    }

    /// The ReferenceGrants of a namespace.
    pub(super) fn grants(&self, namespace: &Arc<str>) -> impl Iterator<Item = &ReferenceGrant> {
        let first = ObjectName::new(Arc::clone(namespace), "");
        let namespace = Arc::clone(namespace);
        self.grants
            .range((Bound::Included(first), Bound::Unbounded))
            .map(|(_, grant)| grant)
            .take_while(move |grant| grant.name.namespace == namespace)
    }
}

fn put<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, V>, key: K, value: V) -> bool {
    if map.get(&key) == Some(&value) {
        return false;
    }
    map.insert(key, value);
    true
}

fn note<K: Ord>(changed: bool, dirty: &mut BTreeSet<K>, key: K) -> bool {
    if changed {
        dirty.insert(key);
    }
    changed
}
