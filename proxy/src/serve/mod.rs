//! One caught connection, from its first byte to its last: detect, route, balance, relay.
//!
//! Not how it was caught (`listen`, `intercept`), nor how endpoints are reached (`upstream`).

mod connection;
mod first;
pub mod http;
pub mod tcp;

pub use connection::{Target, connection};
