//! Which rule a request meets, and what its filters do.
//!
//! Knows no endpoints beyond [`Backend`](crate::balance::Backend): who answers is `balance`'s.

mod headers;
mod query;
mod rank;
#[cfg(test)]
mod reference;
mod request;
mod retry;
mod router;
mod rule;

pub use request::RequestHead;
pub use retry::{Again, Outcome, Retries};
pub use router::{Matched, Router, RouterBuilder};
pub use rule::{Choice, Rule, WeightedBackend};
