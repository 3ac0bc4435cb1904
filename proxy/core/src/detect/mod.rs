//! Which protocol a connection speaks, from what is declared or from its first bytes.

mod declared;
mod first_bytes;
mod head_fields;
mod head_watch;
#[cfg(test)]
mod head_watch_tests;
mod sni;

pub use declared::declared;
pub use first_bytes::{Verdict, first_bytes};
pub use head_fields::Fault;
pub use head_watch::HeadWatch;
pub use sni::{Hello, MOST_OCTETS, server_name};
