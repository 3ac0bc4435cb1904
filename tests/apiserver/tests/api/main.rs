//! The API server as its clients see it: the machine's own kubectl, and the protocol itself.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

mod client;
mod kubectl;
mod objects;
mod protocol;
