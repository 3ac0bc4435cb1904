//! HTTP/2 streams as bodies, and bodies as streams: what both ends of the proxy share.
//!
//! Not the connections: clients' are `serve`'s, endpoints' are `upstream`'s.

mod copied;
mod gather;
mod inbound;
mod octets;
mod prefixed;
mod pump;
mod received;
mod source;
mod trailers;

pub use copied::{BodyCopy, Copied, Watch};
pub use gather::poll_write_gathered;
pub use inbound::{BodyError, Inbound};
pub use octets::{Later, Octets, Outlet, split};
pub use prefixed::Prefixed;
pub use pump::{Pump, Pumped};
pub use received::Received;
pub use source::{Malformed, Reader, Source};
