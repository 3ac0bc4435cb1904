//! Where objects come from: the Kubernetes API, or a folder of the same manifests. Every source says the
//! same [`Event`]s.
//!
//! Not what objects mean: `translate` reads them, `nodeway_core::snapshot` compiles them.

mod documents;
mod files;
mod folder;
mod health;
pub(crate) mod kube;
mod problem;
mod statement;
mod watch;

pub use documents::{Document, Item, split_documents};
pub use files::{FileText, read_folder};
pub use folder::Folder;
pub use health::Health;
pub use kube::{KubeSource, connect};
pub use problem::{Place, Problem};
pub use watch::FolderSource;

use nodeway_core::model::Change;
use tokio::sync::mpsc;

/// Says what objects there are.
pub trait Source {
    /// Sends the first full state, and then what changes, until nobody listens. Runs on a runtime of one
    /// thread.
    ///
    /// # Errors
    /// There will never be anything to say.
    fn run(self, events: mpsc::Sender<Event>) -> impl Future<Output = anyhow::Result<()>>;
}

/// What a source says. The first event holds the first full state.
#[derive(Debug)]
pub struct Event {
    /// What has changed, in order.
    pub changes: Vec<Change>,
    /// Everything that is wrong now; none if it is as before.
    pub problems: Option<Vec<Problem>>,
}
