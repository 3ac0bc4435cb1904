//! HTTP/1.1 to endpoints (RFC 9112): one request at a time over a connection that belongs to it meanwhile, in the
//! request's own task.
//!
//! Not which connection: that is `link`'s.

mod connection;
mod head;
mod reading;
mod sending;

pub(super) use connection::{Connection, Failure};
pub use head::{Asked, Framing, Head};
pub use reading::{Reading, Step};
