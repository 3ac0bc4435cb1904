//! Nodes, as far as routing by topology needs them.

use std::sync::Arc;

use super::ObjectName;

/// A Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name; `ObjectName::namespace` is empty.
    pub name: ObjectName,
    /// Label `topology.kubernetes.io/zone`, if it has one.
    pub zone: Option<Arc<str>>,
}
