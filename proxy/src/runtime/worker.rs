//! What all tasks of one worker thread share, without locks: it never leaves the thread.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::{Allowance, Clock, Published, Signal, View};
use crate::telemetry::Shard;

/// Copies for mirrors that nobody takes would pile up: beyond so many, no more are made.
const MOST_COPIES: usize = 1024;
/// All that waits for mirrors on one worker, octets.
const MOST_COPIED: usize = 32 << 20;

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
    /// How many copies of requests may be on their way to mirrors.
    pub copies: Rc<Allowance>,
    /// How much of their bodies may wait for mirrors, octets.
    pub copied: Rc<Allowance>,
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
            copies: Allowance::new(MOST_COPIES),
            copied: Allowance::new(MOST_COPIED),
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
