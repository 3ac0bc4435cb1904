//! What the snapshots say is written to an API server, over TLS: status by one leader, Events by all.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

mod backend_policies;
mod events;
mod leader;
mod mesh;
mod policies;
mod rights;
mod routes;
mod world;
