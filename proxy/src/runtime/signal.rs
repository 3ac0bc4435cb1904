//! A one-way signal within a worker thread: fired once, seen by all who hold it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Says "finish what you have" to the tasks of one thread; checking it costs a load.
#[derive(Debug, Clone, Default)]
pub struct Signal {
    inner: Rc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    fired: Cell<bool>,
    wakers: RefCell<Vec<Option<Waker>>>,
    free: RefCell<Vec<usize>>,
}

/// One task's interest in a [`Signal`].
#[derive(Debug)]
pub struct Listener {
    inner: Rc<Inner>,
    slot: Option<usize>,
}

// === impl Signal ===

impl Signal {
    /// Fires; again has no effect.
    pub fn fire(&self) {
        self.inner.fired.set(true);
        for waker in self.inner.wakers.borrow_mut().iter_mut().filter_map(Option::take) {
            waker.wake();
        }
    }

    /// Whether it has fired.
    pub fn fired(&self) -> bool {
        self.inner.fired.get()
    }

    /// A listener for one task.
    pub fn listen(&self) -> Listener {
        Listener { inner: Rc::clone(&self.inner), slot: None }
    }

    /// Waits until it fires.
    pub async fn wait(&self) {
        fired(Some(&mut self.listen())).await;
    }
}

/// Waits until the signal of `listener` fires; for ever, if there is none.
pub async fn fired(listener: Option<&mut Listener>) {
    match listener {
        Some(listener) => poll_fn(|context| listener.poll_fired(context)).await,
        None => std::future::pending().await,
    }
}

// === impl Listener ===

impl Listener {
    /// Ready once the signal has fired. The waker is kept from the first call on: poll it from one
    /// task only.
    pub fn poll_fired(&mut self, context: &Context<'_>) -> Poll<()> {
        if self.inner.fired.get() {
            return Poll::Ready(());
        }
        if self.slot.is_none() {
            let mut wakers = self.inner.wakers.borrow_mut();
            let waker = Some(context.waker().clone());
            self.slot = Some(match self.inner.free.borrow_mut().pop() {
                Some(slot) => {
                    wakers[slot] = waker;
                    slot
                }
                None => {
                    wakers.push(waker);
                    wakers.len() - 1
                }
            });
        }
        Poll::Pending
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.inner.wakers.borrow_mut()[slot] = None;
            self.inner.free.borrow_mut().push(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fired_signal_is_ready_and_a_dropped_listener_frees_its_slot() {
        let signal = Signal::default();
        let context = Context::from_waker(Waker::noop());
        {
            let mut listener = signal.listen();
            assert!(listener.poll_fired(&context).is_pending());
        }
        let mut listener = signal.listen();
        assert!(listener.poll_fired(&context).is_pending());
        assert_eq!(signal.inner.wakers.borrow().len(), 1, "the slot is used again");
        signal.fire();
        assert!(listener.poll_fired(&context).is_ready());
    }
}
