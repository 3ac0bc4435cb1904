//! Which endpoint a request goes to, and what is remembered of each endpoint.
//!
//! Knows no sockets: the data plane tells an [`Endpoint`] when a request begins, ends, succeeds or
//! fails. An endpoint's state outlives snapshots, so that a changed object never resets it.

mod affinity;
mod backend;
mod endpoint;
mod least_request;
mod outlier;
mod report;
mod round_robin;
#[cfg(test)]
mod tests;
mod tls;

pub use backend::{Algorithm, Backend, Caller, Family, Lasting};
pub use endpoint::{Endpoint, EndpointId};
pub use outlier::{Cause, Change, Ejection, HealthEvent};
pub use report::{Report, status_of_grpc};
pub use tls::{BackendTls, TlsRoots, TlsTerms};

/// Monotonic milliseconds, counted from any origin that does not change while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Millis(pub u64);
