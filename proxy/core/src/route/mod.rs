//! Which rule a request meets, and what its filters do (Gateway API v1 HTTPRoute, GEP-1294).

mod matches;
mod modify;
mod query;
mod rank;
#[cfg(test)]
mod reference;
mod router;

pub use matches::RequestHead;
pub(crate) use router::Candidate;
pub use router::Router;
