//! Objects compiled into one immutable whole that the data plane reads.

mod compile;
mod endpoints;
mod rule;
mod store;
#[cfg(test)]
mod tests;
mod view;

pub use compile::{CompileOptions, Compiler, Enroll, Problem};
pub use rule::{Choice, Rule, WeightedBackend};
pub use store::Store;
pub use view::{Backend, Frontend, Routed, Snapshot};

pub use crate::route::RequestHead;
