//! What the end-to-end tests and the demo stand on: pods made of network namespaces and cgroups,
//! manifests, a Nodeway to start and stop, clients and backends.
//!
//! Not for production code: everything here stops at the first surprise.
//!
//! A test makes one world (`World`, or `Plain` where no namespace is needed) and drops it; what the
//! world started, mounted or made goes with it, also when the test panics. A later run removes
//! what a killed one left behind.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "test support: the first surprise ends the test, with a message"
)]

pub mod backend;
pub mod binaries;
pub mod bpf;
pub mod cgroup;
pub mod cluster;
pub mod h2;
pub mod http;
pub mod http2;
pub mod janitor;
pub mod kubelet;
pub mod load;
pub mod manifests;
pub mod mesh;
pub mod metrics;
pub mod monotonic;
pub mod moody;
pub mod netns;
pub mod nodeway;
pub mod pattern;
pub mod place;
pub mod plain;
pub mod process;
pub mod script;
pub mod skip;
pub mod strict;
pub mod tls;
pub mod wait;
pub mod world;

pub use cluster::Cluster;
pub use load::Load;
pub use manifests::{Manifests, Mesh as MeshLabel, Service};
pub use mesh::Mesh;
pub use nodeway::Nodeway;
pub use place::Place;
pub use plain::Plain;
pub use process::Proc;
pub use script::Script;
pub use wait::{eventually, within};
pub use world::{Pod, World};
