//! End-to-end tests: unmodified programs in pods, eBPF in this kernel, one file a promise.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests: the first surprise ends the test, with a message"
)]

mod acceleration;
mod attacks;
mod backend_tls;
mod bad_input;
mod balancing;
mod bodies;
mod capabilities;
mod cleanup;
mod cluster;
mod connection_life;
mod draining;
mod enrolment;
mod explain;
mod fail_policy;
mod failures;
mod filters;
mod grpc;
mod health;
mod health_checks;
mod http2_upstream;
mod http_connections;
mod http_messages;
mod http_streams;
mod idle;
mod interim;
mod l4_kernel;
mod l4_routes;
mod limits;
mod mirrors;
mod observability;
mod only_way;
mod peername;
mod retries;
mod routing;
mod sessions;
mod support_itself;
mod takeover;
mod timeouts;
mod transparency;
mod websockets;
