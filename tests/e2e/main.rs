//! End-to-end tests on this kernel: a file a promise.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests: the first surprise ends them, with a message"
)]

mod bad_input;
mod bodies;
mod cleanup;
mod enrolment;
mod fail_open;
mod health;
mod http_rules;
mod idle;
mod routing;
mod shop;
mod transparency;
