//! Which rule a request meets, and what its filters do.
//!
//! Knows no endpoints beyond [`Backend`](crate::balance::Backend): who answers is `balance`'s.

mod group;
mod headers;
mod path;
mod patterns;
mod query;
mod radix;
mod rank;
#[cfg(test)]
mod reference;
mod request;
mod retry;
mod router;
mod rule;
mod scratch;
mod server_names;

pub use path::normalised;
pub use request::RequestHead;
pub use retry::{Again, Outcome, Retries};
pub use router::{Matched, Router, RouterBuilder};
pub use rule::{Choice, Rule, WeightedBackend};
pub use server_names::ServerNames;
