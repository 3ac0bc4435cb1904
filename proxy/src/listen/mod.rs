//! Where connections come in: a pod's own loopback, or a plain listener.
//!
//! Not what they are for: that is `serve`.

mod accept;
mod plain;
mod worker;

pub use plain::PlainListener;
pub use worker::{Command, PodAttachment, run_worker};
