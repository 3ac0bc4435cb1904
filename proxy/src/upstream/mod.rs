//! Connections to endpoints: made in the client's network namespace, kept per client and endpoint.
//!
//! Not which endpoint: that is `nodeway_core::balance`.

mod body;
mod certificate;
mod client;
mod connect;
mod http;
mod http1;
mod http2;
mod idle;
mod interim;
mod keepalive;
mod link;
mod obtain;
mod pool;
mod prewarm;
mod replay;
mod shared;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod uses;

pub use body::{ContinueGate, Holdup, RequestBody};
pub use client::{Client, ClientId};
pub use connect::{connect, is_ours, set_options};
pub use http::{Lease, Reuse, SendError, To, UnderWay, Version, adopt, send, under_way};
pub use http1::{Asked, Framing, Head, Reading, Step};
pub use interim::{Inform, Informer};
pub use pool::leave;
pub use replay::{MOST_KEPT, Replay};
pub use tls::{Distrust, Offer, blameless, distrusted, secure};
pub use transport::{Transport, Upgraded};
pub use uses::{Gone, Place, Use};
