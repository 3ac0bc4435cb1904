//! Which rule a request meets, and what its filters do.
//!
//! Knows no endpoints beyond [`Backend`](crate::balance::Backend): who answers is `balance`'s.

mod cors;
mod explain;
mod group;
mod hash_key;
mod headers;
mod modifier;
mod path;
mod patterns;
mod plan;
mod query;
mod radix;
mod rank;
mod redirect;
#[cfg(test)]
mod reference;
mod request;
mod retry;
mod rewrite;
mod router;
mod rule;
mod scratch;
mod server_names;
mod session;

pub use cors::CorsPolicy;
pub use explain::{Trial, Verdict};
pub use hash_key::{HashKey, NewCookie, hash_of_source};
pub use path::normalised;
pub use plan::{Context, MirrorTo, Plan, Step};
pub use request::RequestHead;
pub use retry::{Again, Outcome, Retries};
pub use rewrite::Rewriter;
pub use router::{Matched, Router, RouterBuilder};
pub use rule::{Choice, Rule, WeightedBackend};
pub use server_names::ServerNames;
pub use session::{Brought, Session};
