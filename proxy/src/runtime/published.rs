//! The one place where the control flow hands a snapshot to the workers.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use nodeway_core::snapshot::Snapshot;

/// The snapshot in force, swapped whole.
#[derive(Debug)]
pub struct Published {
    current: ArcSwap<Snapshot>,
    generation: AtomicU64,
}

/// A worker's own hold on one snapshot: a request keeps one from its first byte to its last choice.
#[derive(Debug)]
pub struct View {
    snapshot: Arc<Snapshot>,
    generation: u64,
}

// === impl Published ===

impl Published {
    /// An empty snapshot, generation 0.
    pub fn new() -> Self {
        Self { current: ArcSwap::from_pointee(Snapshot::empty()), generation: AtomicU64::new(0) }
    }

    /// Puts `snapshot` in force for all requests that start from now on.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.current.store(snapshot);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// How many snapshots have been published.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The snapshot in force.
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// `view` if it is still current, else a new one. One atomic load when nothing changed: the
    /// snapshot's reference count, shared by all workers, is touched once per change, not per request.
    pub fn refresh(&self, view: &mut Rc<View>) {
        let generation = self.generation();
        if view.generation != generation {
            *view = Rc::new(View { snapshot: self.load(), generation });
        }
    }
}

impl Default for Published {
    fn default() -> Self {
        Self::new()
    }
}

// === impl View ===

impl View {
    /// A view of what `published` has now.
    pub fn of(published: &Published) -> Rc<Self> {
        let generation = published.generation();
        Rc::new(Self { snapshot: published.load(), generation })
    }

    /// The number of its snapshot.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

impl std::ops::Deref for View {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}
