//! Which endpoint a request goes to, and what is remembered of each endpoint.
//!
//! A policy is a file; it sees the candidates and chance, and answers with an index.

mod ejection;
mod endpoint;
mod least_request;
mod pick;
mod round_robin;

pub use ejection::{Ejection, FAILURES_TO_EJECT};
pub use endpoint::{Endpoint, EndpointId};
pub use pick::{Algorithm, Balancer};

/// Monotonic time in milliseconds, from a start that the caller chooses once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Millis(pub u64);
