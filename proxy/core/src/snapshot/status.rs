//! What a route's status says: one verdict for each parent that is ours.
//!
//! Not how it is written to the API: `nodeway::status` does that.

use std::sync::Arc;

use crate::model::{ObjectName, ParentRef, RefFault};

/// The verdicts on one route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteStatus {
    /// The spec they are about (`observedGeneration`).
    pub generation: i64,
    /// One for each parent of kind Service, in the order of the spec.
    pub parents: Vec<ParentStatus>,
}

/// The verdict on a route at one parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentStatus {
    /// The parent.
    pub parent: ParentRef,
    /// Condition `Accepted`.
    pub accepted: Result<(), (NotAccepted, Arc<str>)>,
    /// Condition `ResolvedRefs`: the first reference that is not usable, and why, for people.
    pub resolved_refs: Result<(), (RefFault, Arc<str>)>,
}

/// Why a parent does not take a route: the reasons of condition `Accepted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NotAccepted {
    /// There is no such Service or port, or none that a route can attach to.
    NoMatchingParent,
    /// A route of another kind, or an older one of the same, has the port (GEP-1294).
    Conflicted,
    /// A value in the route is not supported. The whole route has no effect; or if it is a filter of a kind
    /// that we do not have, its share is answered with 500 and the rest is in force.
    UnsupportedValue,
}

/// A route's kind and name.
pub type RouteKey = (crate::model::Kind, ObjectName);
