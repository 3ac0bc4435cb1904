//! Which protocol a connection speaks, from what is declared or from its first bytes.

mod declared;
mod first_bytes;
mod sni;

pub use declared::declared;
pub use first_bytes::{Verdict, first_bytes};
pub use sni::{Hello, MOST_OCTETS, server_name};
