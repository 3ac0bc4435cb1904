//! The objects as the source says them, indexed by what asks for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::RouteKey;

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
    pods: BTreeMap<ObjectName, Arc<Pod>>,
    routes: BTreeMap<RouteKey, Route>,
    refused: BTreeMap<RouteKey, RefusedRoute>,
    nodes: BTreeMap<Arc<str>, Node>,
    grants: BTreeMap<ObjectName, ReferenceGrant>,
}

// === impl Store ===

impl Store {
    /// Takes in one change; whether anything is different now.
    pub fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Apply(Object::Namespace(o)) => {
                put(&mut self.namespaces, Arc::clone(&o.name.name), o)
            }
            Change::Apply(Object::Service(o)) => put(&mut self.services, o.name.clone(), o),
            Change::Apply(Object::EndpointSlice(o)) => self.put_slice(o),
            Change::Apply(Object::Pod(o)) => put(&mut self.pods, o.name.clone(), Arc::new(o)),
            Change::Apply(Object::Route(o)) => {
                let key = (o.kind, o.name.clone());
                let mended = self.refused.remove(&key).is_some();
                put(&mut self.routes, key, o) || mended
            }
            Change::Apply(Object::Node(o)) => put(&mut self.nodes, Arc::clone(&o.name.name), o),
            Change::Apply(Object::ReferenceGrant(o)) => put(&mut self.grants, o.name.clone(), o),
            Change::Refuse(o) => put(&mut self.refused, (o.kind, o.name.clone()), o),
            Change::Delete(Kind::Namespace, name) => self.namespaces.remove(&name.name).is_some(),
            Change::Delete(Kind::Service, name) => self.services.remove(&name).is_some(),
            Change::Delete(Kind::EndpointSlice, name) => self.remove_slice(&name),
            Change::Delete(Kind::Pod, name) => self.pods.remove(&name).is_some(),
            Change::Delete(kind @ (Kind::HttpRoute | Kind::GrpcRoute), name) => {
                let key = (kind, name);
                let refused = self.refused.remove(&key).is_some();
                self.routes.remove(&key).is_some() || refused
            }
            Change::Delete(Kind::Node, name) => self.nodes.remove(&name.name).is_some(),
            Change::Delete(Kind::ReferenceGrant, name) => self.grants.remove(&name).is_some(),
        }
    }

    /// Forgets everything: the source starts anew.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    fn put_slice(&mut self, slice: EndpointSlice) -> bool {
        let filed = self.slice_service.get(&slice.name);
        if filed.is_some_and(|service| *service != slice.service) {
            self.remove_slice(&slice.name.clone());
        }
        self.slice_service.insert(slice.name.clone(), slice.service.clone());
        let slices = self.slices.entry(slice.service.clone()).or_default();
        put(slices, slice.name.clone(), slice)
    }

    fn remove_slice(&mut self, name: &ObjectName) -> bool {
        let Some(service) = self.slice_service.remove(name) else { return false };
        if let Some(slices) = self.slices.get_mut(&service) {
            slices.remove(name);
            if slices.is_empty() {
                self.slices.remove(&service);
            }
        }
        true
    }

    pub(super) fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.get(name)
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

    pub(super) fn pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.values()
    }

    pub(super) fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.values()
    }
}

fn put<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, V>, key: K, value: V) -> bool {
    if map.get(&key) == Some(&value) {
        return false;
    }
    map.insert(key, value);
    true
}
