//! Which protocol a connection speaks: declared, or told by its first bytes.

mod declared;
mod first_bytes;
mod head_watch;

pub use declared::declared;
pub use first_bytes::{Verdict, first_bytes};
pub use head_watch::HeadWatch;
