//! The Kubernetes API as the source, against an API server over TLS: a test a promise.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

mod bundles;
mod convergence;
mod follower;
mod kinds;
mod listing;
mod objects;
mod outage;
mod position;
mod silence;
mod slices;
