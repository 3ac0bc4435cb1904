//! Active health checks: endpoints whose backend's policy says so are asked how they are, while clients of
//! this node use the backend, from the clients' own network namespaces.
//!
//! Not what follows from it: verdicts go to `nodeway_core::balance`. On a thread of its own: no request
//! waits for a check. docs/health.md says how often, and why that is no storm.

mod grpc;
mod http;
mod pace;
mod places;
mod plan;
mod probe;
mod thread;

pub use self::grpc::{Nonsense, Serving, serving};
pub use self::thread::{Checks, start};

/// What has come of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// The endpoint has answered, and is well.
    Well,
    /// It cannot be asked in this way, which is the policy's fault and not its own.
    Unfit(String),
    /// It has answered, and is not well.
    Ill(String),
    /// It has not answered.
    Unreached(String),
    /// It was not asked: the client's pod, or this node, was not able to.
    Unasked(String),
}
