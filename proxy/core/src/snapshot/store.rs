//! All objects, as their sources last said them.

use std::collections::BTreeMap;

use crate::model::{
    Change, EndpointSlice, HttpRoute, Kind, Namespace, Object, ObjectName, Pod, Service,
};

/// Indexes of all objects. Ordered, so that what is compiled from them does not depend on the order
/// in which they came.
#[derive(Debug, Default)]
pub struct Store {
    pub(super) namespaces: BTreeMap<ObjectName, Namespace>,
    pub(super) services: BTreeMap<ObjectName, Service>,
    pub(super) slices: BTreeMap<ObjectName, EndpointSlice>,
    pub(super) pods: BTreeMap<ObjectName, Pod>,
    pub(super) http_routes: BTreeMap<ObjectName, HttpRoute>,
}

impl Store {
    /// Takes one change; `false` if it changed nothing.
    pub fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Apply(Object::Namespace(o)) => put(&mut self.namespaces, o.name.clone(), o),
            Change::Apply(Object::Service(o)) => put(&mut self.services, o.name.clone(), o),
            Change::Apply(Object::EndpointSlice(o)) => put(&mut self.slices, o.name.clone(), o),
            Change::Apply(Object::Pod(o)) => put(&mut self.pods, o.name.clone(), o),
            // Compiled expressions cannot be compared: a route counts as changed.
            Change::Apply(Object::HttpRoute(o)) => {
                self.http_routes.insert(o.name.clone(), o);
                true
            }
            Change::Delete(Kind::Namespace, name) => self.namespaces.remove(&name).is_some(),
            Change::Delete(Kind::Service, name) => self.services.remove(&name).is_some(),
            Change::Delete(Kind::EndpointSlice, name) => self.slices.remove(&name).is_some(),
            Change::Delete(Kind::Pod, name) => self.pods.remove(&name).is_some(),
            Change::Delete(Kind::HttpRoute, name) => self.http_routes.remove(&name).is_some(),
        }
    }

    /// Forgets all.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

fn put<T: PartialEq>(map: &mut BTreeMap<ObjectName, T>, name: ObjectName, object: T) -> bool {
    if map.get(&name) == Some(&object) {
        return false;
    }
    map.insert(name, object);
    true
}
