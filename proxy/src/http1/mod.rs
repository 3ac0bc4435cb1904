//! HTTP/1.1 in octets (RFC 9112), as both ends of the proxy speak it.
//!
//! Not what a message means, nor who may say it: requests' heads are `serve`'s, responses' are `upstream`'s.

mod buffer;
mod chunks;
mod content;
mod heads;
mod writing;

pub use buffer::Buffer;
pub use chunks::Piece;
pub use content::Content;
pub use heads::{Heads, MOST_FIELDS, Place, Said, TOO_LONG, TOO_MANY, fault, fields_of, place};
pub use writing::{Extent, Writing, WrongLength, announced, field, gather};
