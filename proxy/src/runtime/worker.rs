//! What all tasks of one worker thread share, without locks: it never leaves the thread.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::{Clock, Published, Signal, View};
use crate::telemetry::Shard;

/// A worker thread's own state.
#[derive(Debug)]
pub struct Worker {
    /// Time for everything this worker decides.
    pub clock: Clock,
    /// This worker's metrics.
    pub metrics: Shard,
    /// Whether each request is logged.
    pub access_log: bool,
    /// Fires when the process is to end: finish what is under way, take nothing new.
    pub closing: Signal,
    published: Arc<Published>,
    view: RefCell<Rc<View>>,
    random: RefCell<fastrand::Rng>,
}

impl Worker {
    /// A worker's state, on its own thread.
    pub fn new(clock: Clock, metrics: Shard, published: Arc<Published>, access_log: bool) -> Self {
        let view = RefCell::new(View::of(&published));
        Self {
            clock,
            metrics,
            access_log,
            closing: Signal::default(),
            published,
            view,
            random: RefCell::new(fastrand::Rng::new()),
        }
    }

    /// The snapshot in force now.
    pub fn view(&self) -> Rc<View> {
        let mut view = self.view.borrow_mut();
        self.published.refresh(&mut view);
        Rc::clone(&view)
    }

    /// Calls `f` with this worker's source of chance.
    pub fn with_random<T>(&self, f: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        f(&mut self.random.borrow_mut())
    }
}
