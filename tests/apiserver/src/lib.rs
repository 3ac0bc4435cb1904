//! A Kubernetes API server for tests and benches.
//!
//! It speaks the protocol over HTTPS with bearer tokens: get, list (with `limit` and `continue`), watch
//! (from a version, with bookmarks, streamed listings, 410 Gone), create, update with optimistic lock,
//! patches, status subresources, delete. It keeps objects as they are given: it defaults and validates
//! little, runs no controller, and forgets all when it is dropped. Trouble comes on demand: see [`Faults`].
//!
//! Not for production: everything here stops at the first surprise.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "test support: the first surprise ends the test, with a message"
)]

mod answer;
mod body;
mod discovery;
mod faults;
mod keys;
mod kinds;
mod patch;
mod selector;
mod server;
mod store;
mod target;
mod verbs;
mod watching;

pub use faults::{Faults, Streaming};
pub use kinds::Resource;
pub use server::{ApiServer, Options};
