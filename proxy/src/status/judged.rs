//! The verdicts on one object, whatever its kind, and how its status has them. Pure.

use std::sync::Arc;

use nodeway_core::model::{Kind, ObjectName};
use nodeway_core::snapshot::{PolicyStatus, RouteKey, RouteStatus, Snapshot};

use super::parents::Wanted;
use super::{policy, verdict};

/// The verdicts on one object.
#[derive(Debug, Clone)]
pub(super) enum Judged {
    Route(Arc<RouteStatus>),
    Policy(Arc<PolicyStatus>),
}

/// How a kind's status says of what each entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `status.parents` (`RouteStatus`).
    Parents,
    /// `status.ancestors` (`PolicyStatus`).
    Ancestors,
}

// === impl Judged ===

impl Judged {
    pub(super) fn of(snapshot: &Snapshot, key: &RouteKey) -> Option<Self> {
        match key.0 {
            kind if kind.is_policy() => snapshot.policy_status(key).cloned().map(Self::Policy),
            _ => snapshot.route_status(key).cloned().map(Self::Route),
        }
    }

    /// Whether these are the very same.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Route(a), Self::Route(b)) => Arc::ptr_eq(a, b),
            (Self::Policy(a), Self::Policy(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// The spec they are about.
    pub(super) fn generation(&self) -> i64 {
        match self {
            Self::Route(status) => status.generation,
            Self::Policy(status) => status.generation,
        }
    }

    /// What is to be said, by the references (JSON) in the spec of the object `name`; nothing if the
    /// verdicts are about another spec than this.
    pub(super) fn wanted(&self, name: &ObjectName, references: &str) -> Option<Vec<Wanted>> {
        match self {
            Self::Route(status) => verdict::wanted(status, name, references),
            Self::Policy(status) => Some(policy::wanted(status)),
        }
    }
}

// === impl Shape ===

impl Shape {
    pub(super) fn of(kind: Kind) -> Self {
        if kind.is_policy() { Self::Ancestors } else { Self::Parents }
    }

    /// The list's name.
    pub(super) fn list(self) -> &'static str {
        match self {
            Self::Parents => "parents",
            Self::Ancestors => "ancestors",
        }
    }

    /// The name of an entry's reference.
    pub(super) fn reference(self) -> &'static str {
        match self {
            Self::Parents => "parentRef",
            Self::Ancestors => "ancestorRef",
        }
    }

    /// The most entries that the list takes.
    pub(super) fn most(self) -> usize {
        match self {
            Self::Parents => 32,
            Self::Ancestors => 16,
        }
    }
}
