//! Connections to endpoints: made in the client's network namespace, kept per client and endpoint.
//!
//! Not which endpoint: that is `nodeway_core::balance`.

mod body;
mod certificate;
mod client;
mod connect;
mod http;
mod pool;
mod replay;
mod tls;
mod transport;

pub use body::{BodyError, ContinueGate, RequestBody};
pub use client::{Client, ClientId};
pub use connect::{CONNECT_TIMEOUT, connect, set_options};
pub use http::{Lease, LocalExecutor, SendError, To, Version, adopt, send};
pub use replay::{MOST_KEPT, Replay};
pub use tls::{Distrust, Offer, distrusted, secure};
pub use transport::Transport;
