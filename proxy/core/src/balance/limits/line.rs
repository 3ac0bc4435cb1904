//! Those who wait for a connection, in the order in which they came: whoever comes, goes or is called costs
//! no look at the others.
//!
//! Not when somebody is called, nor whether he gets a connection then: that is `room`'s.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::balance::{Endpoint, EndpointId};

/// See the module. It is kept under a lock that all workers share, so each step is logarithmic at most.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiting: BTreeMap<u64, Entry>,
    queues: HashMap<EndpointId, Queue>,
    /// The first of each endpoint that has not been called. Those of endpoints that were found full are not
    /// here until that may have changed: each is looked at once for each change.
    heads: BTreeMap<u64, EndpointId>,
    /// The number of the next who waits.
    next: u64,
    /// How many heads were looked at.
    #[cfg(test)]
    pub(super) looked: usize,
}

/// One who waits.
#[derive(Debug)]
struct Entry {
    endpoint: EndpointId,
    /// How many connections its endpoint may have.
    most: Option<NonZeroU32>,
    /// It is to try again.
    called: bool,
    waker: Option<Waker>,
}

/// Those who wait for one endpoint.
#[derive(Debug)]
struct Queue {
    endpoint: Arc<Endpoint>,
    /// All of them.
    len: usize,
    /// Those who have not been called.
    uncalled: BTreeSet<u64>,
    /// Which of them stands among the heads.
    head: Option<u64>,
    /// The endpoint was found full.
    full: bool,
}

// === impl Line ===

impl Line {
    /// One more at the end; his number.
    pub(super) fn enter(&mut self, endpoint: &Arc<Endpoint>, most: Option<NonZeroU32>) -> u64 {
        let (number, id) = (self.next, endpoint.id);
        self.next += 1;
        let queue = self.queues.entry(id).or_insert_with(|| Queue::new(endpoint));
        // With nobody before there may be room: whoever has made it called nobody.
        let called = queue.len == 0;
        queue.len += 1;
        // He may have heard of another limit than those before.
        queue.full = false;
        if !called {
            queue.uncalled.insert(number);
        }
        self.waiting.insert(number, Entry { endpoint: id, most, called, waker: None });
        self.head(id);
        number
    }

    /// He is gone.
    pub(super) fn leave(&mut self, number: u64) {
        let Some(entry) = self.waiting.remove(&number) else { return };
        let Some(queue) = self.queues.get_mut(&entry.endpoint) else { return };
        queue.uncalled.remove(&number);
        queue.len -= 1;
        let empty = queue.len == 0;
        self.head(entry.endpoint);
        if empty {
            self.queues.remove(&entry.endpoint);
        }
    }

    /// Ready once for each time that he was called; at once if he is not there.
    pub(super) fn poll(&mut self, number: u64, cx: &Context<'_>) -> Poll<()> {
        let Some(entry) = self.waiting.get_mut(&number) else { return Poll::Ready(()) };
        if !std::mem::take(&mut entry.called) {
            entry.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let id = entry.endpoint;
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.uncalled.insert(number);
        }
        self.head(id);
        Poll::Ready(())
    }

    /// There may be room at this endpoint again.
    pub(super) fn changed(&mut self, id: EndpointId) {
        if let Some(queue) = self.queues.get_mut(&id)
            && std::mem::take(&mut queue.full)
        {
            self.head(id);
        }
    }

    /// Has the one with this number try again, if he is still there.
    pub(super) fn call(&mut self, number: u64) -> Option<Option<Waker>> {
        let entry = self.waiting.get_mut(&number)?;
        entry.called = true;
        let (id, waker) = (entry.endpoint, entry.waker.take());
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.uncalled.remove(&number);
        }
        self.head(id);
        Some(waker)
    }

    /// Has the first try again whose endpoint has room; and besides the first who waits for this one, if it is
    /// full: a connection to it that lies idle is of use to him, though whoever else is called may not need it.
    pub(super) fn call_next(&mut self, id: EndpointId) -> [Option<Waker>; 2] {
        self.changed(id);
        let first = self.queues.get(&id).and_then(|queue| queue.head);
        let own = first.filter(|number| !self.has_room(*number));
        let own = own.and_then(|number| self.call(number)).flatten();
        [own, self.call_any()]
    }

    /// Has the first try again whose endpoint has room.
    pub(super) fn call_any(&mut self) -> Option<Waker> {
        loop {
            let (&number, &id) = self.heads.first_key_value()?;
            #[cfg(test)]
            {
                self.looked += 1;
            }
            if self.has_room(number) {
                return self.call(number).flatten();
            }
            self.queues.get_mut(&id)?.full = true;
            self.head(id);
        }
    }

    /// Whether there may be a connection more to the endpoint that he waits for.
    fn has_room(&self, number: u64) -> bool {
        let entry = self.waiting.get(&number);
        let queue = entry.and_then(|entry| Some((entry.most, self.queues.get(&entry.endpoint)?)));
        queue.is_some_and(|(most, queue)| !queue.endpoint.connections().is_full(most))
    }

    /// Puts who is first for this endpoint now where he can be found.
    fn head(&mut self, id: EndpointId) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let first = queue.uncalled.first().copied().filter(|_| !queue.full);
        let former = std::mem::replace(&mut queue.head, first);
        if former != first {
            if let Some(former) = former {
                self.heads.remove(&former);
            }
            if let Some(first) = first {
                self.heads.insert(first, id);
            }
        }
    }

    /// Who is called and has not heard it.
    #[cfg(test)]
    pub(super) fn called(&self) -> Vec<u64> {
        let called = self.waiting.iter().filter(|(_, entry)| entry.called);
        called.map(|(number, _)| *number).collect()
    }

    /// Whether nothing is kept.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.queues.is_empty() && self.heads.is_empty()
    }
}

// === impl Queue ===

impl Queue {
    fn new(endpoint: &Arc<Endpoint>) -> Self {
        let (len, uncalled, head, full) = <_>::default();
        Self { endpoint: Arc::clone(endpoint), len, uncalled, head, full }
    }
}
