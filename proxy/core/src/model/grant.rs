//! ReferenceGrants (Gateway API, GEP-709): which namespaces' routes may name which Services here.

use std::sync::Arc;

use super::{Kind, ObjectName};

/// A ReferenceGrant. Anyone of `from` may name any of `to` in this object's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceGrant {
    /// Namespace and name.
    pub name: ObjectName,
    /// Kinds of routes of ours, each with the namespace it is trusted from.
    pub from: Vec<(Kind, Arc<str>)>,
    /// The Services that may be named: this one, or all (`None`).
    pub to: Vec<Option<Arc<str>>>,
}
