//! Where objects come from: a folder of manifests. Every source says the same [`Event`]s.
//!
//! Not what objects mean: `translate` reads them, `nodeway_core::snapshot` compiles them.

mod documents;
mod files;
mod folder;
mod problem;
mod statement;
mod watch;

pub use documents::{Document, Item, split_documents};
pub use files::{FileText, read_folder};
pub use folder::Folder;
pub use problem::Problem;
pub use watch::watch;

use nodeway_core::model::Change;

/// What a source says.
#[derive(Debug)]
pub enum Event {
    /// What has changed, and everything that is wrong now. The first one holds the first full state.
    State {
        /// In any order.
        changes: Vec<Change>,
        /// All of them, not only the new ones.
        problems: Vec<Problem>,
    },
}
