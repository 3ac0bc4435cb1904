//! One caught connection, from its first byte to its last: detect, route, balance, relay.
//!
//! Not how it was caught (`listen`, `intercept`), nor how endpoints are reached (`upstream`).

mod connection;
mod first;
pub mod http;
mod outcome;
mod overflow;
pub mod tcp;

pub use connection::{Target, connection};

use std::time::Duration;

/// A client may be sending its request in the very moment in which it is decided to close a connection on
/// which nothing is under way. So whoever asks within this time is still answered.
const LAST_CALL: Duration = Duration::from_secs(1);
