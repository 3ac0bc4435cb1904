//! Policies as they are attached to Services, of whatever kind (GEP-2648, "Direct Policy Attachment").
//!
//! Not what they ask for.

use std::sync::Arc;

use super::ObjectName;

/// A policy with at least one target of kind Service, that asks for `S`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy<S> {
    /// Namespace and name.
    pub name: ObjectName,
    /// `metadata.generation`: which version of the spec this is; 0 where nobody counts.
    pub generation: i64,
    /// `metadata.creationTimestamp`, seconds since the epoch; older policies win. Absent counts as newest.
    pub created: Option<i64>,
    /// What it is for, each target once.
    pub targets: Vec<PolicyTarget>,
    /// What it asks for, or why that cannot be told.
    pub settings: Result<Arc<S>, Arc<str>>,
}

/// A Service of the policy's namespace, or one port of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyTarget {
    /// The Service.
    pub service: ObjectName,
    /// `sectionName`: only the port of this name.
    pub section: Option<Arc<str>>,
}
