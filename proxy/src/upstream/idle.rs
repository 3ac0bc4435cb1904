//! Idle HTTP/1 connections, watched: one that its endpoint ends is closed here soon, and so is one whose place
//! somebody else needs.
//!
//! One task does so for all of a link. It looks at those that are given back a moment later: most carry another request
//! by then, and to be woken for each would cost requests more than the rest of giving back.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep};

use super::link::{Http1, Link};

/// How much later.
const MOMENT: Duration = Duration::from_millis(50);

/// The task that watches a link's idle connections.
#[derive(Debug, Default)]
pub(super) struct Watched {
    begun: Cell<bool>,
    /// Whether there may be some that it has not looked at.
    fresh: Cell<bool>,
    /// None until it has looked for the first time: it will look at all then.
    task: RefCell<Option<Waker>>,
}

// === impl Watched ===

impl Watched {
    /// `connection` of `link` is idle from now on.
    #[inline]
    pub(super) fn watch(&self, link: &Rc<Link>, connection: &Http1) {
        if connection.is_limited()
            && let Some(task) = &*self.task.borrow()
            && connection.poll_end(&mut Context::from_waker(task)).is_ready()
        {
            task.wake_by_ref();
        }
        if !self.fresh.replace(true) {
            self.look(link);
        }
    }

    #[cold]
    fn look(&self, link: &Rc<Link>) {
        match &*self.task.borrow() {
            Some(task) => task.wake_by_ref(),
            None if self.begun.replace(true) => {}
            None => {
                // All that there are are looked at each time, be it more than a task usually may.
                tokio::task::spawn_local(unconstrained(watch(Rc::downgrade(link))));
            }
        }
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

/// Watches until the link is gone.
async fn watch(link: Weak<Link>) {
    let mut timer = Box::pin(sleep(MOMENT));
    let mut set = true;
    poll_fn(|cx| {
        let Some(link) = link.upgrade() else { return Poll::Ready(()) };
        let watched = link.watched();
        watched.task.replace(Some(cx.waker().clone()));
        link.poll_ends(cx);
        if watched.fresh.get() {
            if !std::mem::replace(&mut set, true) {
                timer.as_mut().reset(Instant::now() + MOMENT);
            }
            if timer.as_mut().poll(cx).is_ready() {
                set = false;
                watched.fresh.set(false);
            }
        }
        Poll::Pending
    })
    .await;
}
