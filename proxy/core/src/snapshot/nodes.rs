//! How many nodes the cluster has, as far as its EndpointSlices tell: Nodes other than its own nobody
//! watches here. In a real cluster some Service has an endpoint on nearly every node.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::model::EndpointSlice;

/// The nodes that slices name, each with how many endpoints it has.
#[derive(Debug, Default)]
pub(super) struct NamedNodes {
    endpoints: HashMap<Arc<str>, usize, RandomState>,
}

// === impl NamedNodes ===

impl NamedNodes {
    /// There is a slice more.
    pub(super) fn add(&mut self, slice: &EndpointSlice) {
        for node in slice.endpoints.iter().filter_map(|endpoint| endpoint.node.as_ref()) {
            match self.endpoints.get_mut(node) {
                Some(count) => *count += 1,
                None => drop(self.endpoints.insert(Arc::clone(node), 1)),
            }
        }
    }

    /// One that there was is no more.
    pub(super) fn remove(&mut self, slice: &EndpointSlice) {
        for node in slice.endpoints.iter().filter_map(|endpoint| endpoint.node.as_ref()) {
            if let Some(count) = self.endpoints.get_mut(node) {
                *count -= 1;
                if *count == 0 {
                    self.endpoints.remove(node);
                }
            }
        }
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        self.endpoints.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use crate::model::{
        Change, EndpointAddress, EndpointPort, EndpointSlice, Kind, Object, ObjectName,
    };

    fn slice(name: &str, service: &str, nodes: &[&str]) -> Change {
        let endpoint = |node: &&str| EndpointAddress {
            node: (!node.is_empty()).then(|| (*node).into()),
            ..EndpointAddress::new([10, 0, 0, 1].into())
        };
        Change::Apply(Object::EndpointSlice(EndpointSlice {
            name: ObjectName::new("shop", name),
            service: ObjectName::new("shop", service),
            ports: vec![EndpointPort { name: "http".into(), port: 8080 }],
            endpoints: nodes.iter().map(endpoint).collect(),
        }))
    }

    #[test]
    fn nodes_are_counted_once_each_while_a_slice_names_them() {
        let mut store = Store::default();
        let mut after = |change| {
            store.apply(change);
            store.named_nodes()
        };
        assert_eq!(after(slice("a", "web", &["n1", "n1", "n2", ""])), 2);
        assert_eq!(after(slice("b", "db", &["n2", "n3"])), 3);
        assert_eq!(after(slice("a", "web", &["n1", "n1", "n2", ""])), 3, "the same again");
        assert_eq!(after(slice("a", "web", &["n4"])), 3);
        assert_eq!(after(slice("a", "db", &["n4"])), 3, "of another Service now");
        assert_eq!(after(Change::Delete(Kind::EndpointSlice, ObjectName::new("shop", "b"))), 1);
        assert_eq!(after(Change::Delete(Kind::EndpointSlice, ObjectName::new("shop", "a"))), 0);
    }
}
