//! Which endpoint a request goes to, and what is remembered of each endpoint.
//!
//! Knows no sockets: the data plane tells an [`Endpoint`] when a request begins, ends, succeeds or
//! fails. An endpoint's state outlives snapshots, so that a changed object never resets it.

mod affinity;
mod alias;
mod backend;
mod endpoint;
mod hashed;
mod latency;
mod least_request;
mod limits;
mod maglev;
mod outlier;
mod pace;
mod peak_ewma;
mod pick;
mod report;
mod ring_hash;
mod roster;
mod round_robin;
mod table;
mod telling;
#[cfg(test)]
mod tests;
mod tls;
mod weighted;
mod zones;

pub use backend::{Backend, Caller, Family, Lasting, Member};
pub use endpoint::{Endpoint, EndpointId};
pub use limits::{
    Active, Connected, Limit, Overflow, Pending, Refused, Retrying, Scope, Ticket, UnderWay,
    Waiting,
};
pub use outlier::{Cause, Change, Ejection, HealthEvent};
pub use pace::Pace;
pub use report::{Report, status_of_grpc};
pub use table::{Part, Slot, Table};
pub use telling::Telling;
pub use tls::{BackendTls, TlsRoots, TlsTerms};

/// Monotonic milliseconds, counted from any origin that does not change while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Millis(pub u64);
