//! What the snapshots say of objects goes back to the API: routes' and policies' status by one leader a cluster, and
//! Events for what users must know.
//!
//! Not what is said: that is compiled into the snapshot. Nothing here is on a request's way.

mod board;
mod election;
mod events;
mod features;
mod judged;
mod lead;
mod lease;
mod mesh;
mod notice;
mod pace;
mod parents;
mod policy;
mod route;
mod thread;
mod time;
mod troubles;
mod verdict;

use std::sync::Arc;

use nodeway_core::snapshot::Snapshot;

pub use self::board::Pace;
pub use self::features::FEATURES;
pub use self::lease::Timing;
pub use self::notice::{Notice, Notices, Subject, Tone};
pub use self::thread::{Settings, Status};

use crate::source::Problem;

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// What is known of objects.
#[derive(Debug, Clone, Default)]
struct Input {
    /// Whether anything is.
    begun: bool,
    snapshot: Arc<Snapshot>,
    problems: Arc<[Problem]>,
}
