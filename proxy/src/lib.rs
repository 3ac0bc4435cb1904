//! Nodeway: the node's one proxy.
//!
//! Two one-way flows meet in a published snapshot.
//!
//! **Control**: [`source`] reads objects (a manifest folder), [`translate`] makes them our own
//! (`nodeway_core::model`), `nodeway_core::snapshot` compiles them, [`run`] publishes the result to
//! the workers and brings the kernel's maps ([`intercept`]) in line with it.
//!
//! What the snapshots say of objects goes back to the API by [`status`].
//!
//! **Connection**: [`listen`] accepts in a pod's namespace, [`serve`] detects, routes and relays,
//! [`upstream`] holds the connections to endpoints, made in the pod's namespace too. [`health`] asks the
//! endpoints in use how they are.
//!
//! Leaves, used by many: [`runtime`] (worker threads, time), [`telemetry`] (metrics), [`streams`] (HTTP/2
//! streams as bodies), [`http1`] (its octets), [`errors`]. [`admin`]
//! answers operators, [`config`] and [`cli`] are the only ones who know flags.

pub mod admin;
pub mod cli;
pub mod config;
pub mod errors;
pub mod health;
pub mod http1;
pub mod intercept;
pub mod listen;
pub mod run;
pub mod runtime;
pub mod serve;
pub mod source;
pub mod status;
pub mod streams;
pub mod telemetry;
pub mod translate;
pub mod upstream;
