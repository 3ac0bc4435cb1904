//! Objects compiled into one immutable whole that the data plane reads.
//!
//! [`Store`] holds the objects as the source says them, [`Compiler`] makes a [`Snapshot`] of them.
//! Nothing is published here: the composition root swaps snapshots.

mod alone;
mod backend_policies;
mod claims;
mod compile;
mod contest;
mod enrol;
pub mod explain;
mod frontend;
mod leaving;
mod nodes;
mod policies;
mod problem;
mod registry;
mod routes;
mod services;
mod serving;
mod sessions;
mod shards;
mod status;
mod store;
mod targets;
#[cfg(test)]
mod tests;
mod view;

pub use alone::{Alone, Share};
pub use compile::{CompileOptions, Compiled, Compiler};
pub use enrol::Enroll;
pub use frontend::{Connections, Frontend, Routed};
pub use policies::{CaFault, PolicyStatus};
pub use problem::Problem;
pub use status::{NotAccepted, ParentStatus, RouteKey, RouteStatus};
pub use store::Store;
pub use targets::{PolicyFault, TargetStatus};
pub use view::Snapshot;

pub use crate::balance::{Backend, Caller, Family};
pub use crate::route::{
    Again, Brought, Choice, Context, CorsPolicy, HashKey, Matched, MirrorTo, NewCookie, Outcome,
    Plan, RequestHead, Retries, Rewriter, Rule, ServerNames, Session, Step, WeightedBackend,
    hash_of_source,
};

/// A Service's port.
type PortKey = (crate::model::ObjectName, u16);
