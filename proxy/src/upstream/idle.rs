//! Idle HTTP/1 connections, watched: one that its endpoint ends is closed here at once, and so is one whose place
//! somebody else needs.
//!
//! One task does so for all of a link, which sleeps while nothing happens: a request that takes a connection, or
//! gives it back, wakes nobody.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::task::coop::unconstrained;

use super::link::{Http1, Link};

/// The task that watches a link's idle connections.
#[derive(Debug, Default)]
pub(super) struct Watched {
    begun: Cell<bool>,
    /// None until it has looked for the first time: it will look at all then.
    task: RefCell<Option<Waker>>,
}

// === impl Watched ===

impl Watched {
    /// `connection` of `link` is idle from now on.
    #[inline]
    pub(super) fn watch(&self, link: &Rc<Link>, connection: &Http1) {
        if let Some(task) = &*self.task.borrow() {
            if connection.poll_end(&mut Context::from_waker(task)).is_ready() {
                task.wake_by_ref();
            }
        } else if !self.begun.replace(true) {
            self.begin(link);
        }
    }

    #[cold]
    fn begin(&self, link: &Rc<Link>) {
        let link = Rc::downgrade(link);
        // All that there are are looked at each time, be it more than a task usually may.
        tokio::task::spawn_local(unconstrained(poll_fn(move |cx| {
            let Some(link) = link.upgrade() else { return Poll::Ready(()) };
            link.watched().task.replace(Some(cx.waker().clone()));
            link.poll_ends(cx);
            Poll::Pending
        })));
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It ends.
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}
