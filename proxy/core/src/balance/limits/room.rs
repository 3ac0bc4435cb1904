//! Who may make a connection, and who waits until there is room for one.
//!
//! Connections are kept by each client of the node for itself: without care those that lie idle with one
//! would starve all others. So who waits has the one closed that has been idle for longest, whosever it is.
//!
//! There is a lock, for a list of those who wait and one of connections: it is taken only where a limit on
//! connections is set, when a connection is made or closed, and by those who wait. Not which connection a
//! request takes: that is its client's pool's.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::counts::UnderWay;
use super::line::Line;
use super::overflow::{Limit, Overflow, Scope};
use crate::balance::{Backend, Endpoint, EndpointId, Millis};
use crate::model::Limits;

/// Who waits for a connection to a backend, and which there are that could be closed for him.
#[derive(Debug, Default)]
pub(super) struct Room(Mutex<Doors>);

#[derive(Debug, Default)]
struct Doors {
    line: Line,
    /// Connections that can be closed when they are idle; each knows its place.
    open: Vec<Arc<Ticket>>,
}

/// Counts as a connection as long as it lives: kept with the socket.
#[derive(Debug)]
pub struct Connected {
    under_way: Arc<UnderWay>,
    endpoint: Arc<Endpoint>,
    /// None where there is no limit.
    ticket: Option<Arc<Ticket>>,
}

/// What a connection is doing, for those who could have its place. It is busy when it is made.
#[derive(Debug)]
pub struct Ticket {
    /// Which knows it as long as the connection is open.
    under_way: Arc<UnderWay>,
    endpoint: EndpointId,
    /// Its place among those that are open; moved with them, under their lock.
    place: AtomicUsize,
    /// [`BUSY`], [`WANTED`], or since when it has been idle.
    state: AtomicU64,
    /// It is closed.
    gone: AtomicBool,
    /// Who has had it closed, by number.
    wanted_by: AtomicU64,
    /// Of the task that closes it.
    closer: Mutex<Option<Waker>>,
}

/// Counts as a request that waits for a connection as long as it lives.
#[derive(Debug)]
pub struct Waiting {
    of: Pending,
    number: u64,
    /// How many connections its endpoint may have.
    most: Option<NonZeroU32>,
    /// The connection that it has had closed.
    wanted: Option<Arc<Ticket>>,
}

/// What a request that waits is counted by.
#[derive(Debug)]
pub struct Pending {
    under_way: Arc<UnderWay>,
    endpoint: Arc<Endpoint>,
}

const BUSY: u64 = u64::MAX;
/// Somebody else needs its place.
const WANTED: u64 = u64::MAX - 1;

// === impl Backend ===

impl Backend {
    /// Counts one connection more to `endpoint`.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub fn connect(&self, endpoint: &Arc<Endpoint>) -> Result<Connected, Overflow> {
        self.lasting().under_way().connect(&self.settings().limits, endpoint)
    }
}

// === impl UnderWay ===

impl UnderWay {
    /// Counts one connection more to `endpoint`.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub fn connect(
        self: &Arc<Self>,
        limits: &Limits,
        endpoint: &Arc<Endpoint>,
    ) -> Result<Connected, Overflow> {
        let most = (limits.backend.connections, limits.endpoint.connections);
        let overflow = |most| Overflow::of_backend(Limit::Connections, most);
        self.connections.take(most.0.map(NonZeroU32::get)).map_err(overflow)?;
        if let Err(of_endpoint) = endpoint.connections().take(most.1.map(NonZeroU32::get)) {
            self.connections.sub();
            fence(Ordering::SeqCst);
            // Somebody else may have found the place taken meanwhile.
            if most.0.is_some() && self.pending() > 0 {
                self.room.call_any();
            }
            return Err(Overflow::of_endpoint(Limit::Connections, of_endpoint));
        }
        Ok(self.connected(limits, endpoint))
    }

    /// The same also where there are as many as there may be.
    pub fn connect_beyond(
        self: &Arc<Self>,
        limits: &Limits,
        endpoint: &Arc<Endpoint>,
    ) -> Connected {
        self.connections.add();
        endpoint.connections().add();
        self.connected(limits, endpoint)
    }

    /// What is counted already.
    fn connected(self: &Arc<Self>, limits: &Limits, endpoint: &Arc<Endpoint>) -> Connected {
        let ticket = limits.has_connections().then(|| {
            let ticket = Arc::new(Ticket::new(self, endpoint.id));
            self.room.doors().open(&ticket);
            ticket
        });
        Connected { under_way: Arc::clone(self), endpoint: Arc::clone(endpoint), ticket }
    }

    /// Whether somebody waits for a connection to `endpoint`: who comes now comes after him.
    #[inline]
    pub fn has_waiting(limits: &Limits, endpoint: &Endpoint) -> bool {
        limits.has_connections() && endpoint.pending().get() > 0
    }

    /// Counts a request that waits for a connection to `endpoint`, or for its turn on one.
    ///
    /// # Errors
    /// As many wait as may.
    pub fn pend(
        self: &Arc<Self>,
        limits: &Limits,
        endpoint: &Arc<Endpoint>,
    ) -> Result<Pending, Overflow> {
        let overflow = |most| Overflow::of_backend(Limit::Pending, most);
        self.pending.take(limits.backend.pending()).map_err(overflow)?;
        if let Err(most) = endpoint.pending().take(limits.endpoint.pending()) {
            self.pending.sub();
            return Err(Overflow::of_endpoint(Limit::Pending, most));
        }
        Ok(Pending { under_way: Arc::clone(self), endpoint: Arc::clone(endpoint) })
    }

    /// Waits for a connection to `endpoint`, after all who came before.
    ///
    /// # Errors
    /// As many wait as may.
    pub fn wait(
        self: &Arc<Self>,
        limits: &Limits,
        endpoint: &Arc<Endpoint>,
    ) -> Result<Waiting, Overflow> {
        let of = self.pend(limits, endpoint)?;
        // Who makes room looks afterwards whether somebody waits; who waits looks afterwards for room.
        fence(Ordering::SeqCst);
        let most = limits.endpoint.connections;
        let number = self.room.doors().line.enter(endpoint, most);
        Ok(Waiting { of, number, most, wanted: None })
    }
}

#[cfg(test)]
impl UnderWay {
    /// How many of those who wait were looked at.
    pub(super) fn looked(&self) -> usize {
        self.room.doors().line.looked
    }

    pub(super) fn waiting_is_empty(&self) -> bool {
        self.room.doors().line.is_empty()
    }
}

// === impl Room ===

impl Room {
    /// Nothing is left half done where this could panic.
    fn doors(&self) -> MutexGuard<'_, Doors> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There may be room for those whose endpoints have some.
    fn call_any(&self) {
        let waker = self.doors().line.call_any();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Something has changed for those who wait for a connection to `endpoint`, or to any with room.
    fn call_next(&self, endpoint: EndpointId) {
        let wakers = self.doors().line.call_next(endpoint);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

// === impl Doors ===

impl Doors {
    fn open(&mut self, ticket: &Arc<Ticket>) {
        ticket.place.store(self.open.len(), Ordering::Relaxed);
        self.open.push(Arc::clone(ticket));
    }

    /// It is open no more.
    fn shut(&mut self, ticket: &Arc<Ticket>) {
        let place = ticket.place.load(Ordering::Relaxed);
        if self.open.get(place).is_some_and(|open| Arc::ptr_eq(open, ticket)) {
            self.open.swap_remove(place);
            if let Some(moved) = self.open.get(place) {
                moved.place.store(place, Ordering::Relaxed);
            }
        }
    }

    /// Has the connection closed that has been idle for longest, of those to `endpoint` if one is given.
    fn close_idle(&mut self, endpoint: Option<EndpointId>, number: u64) -> Option<Arc<Ticket>> {
        loop {
            let of = |ticket: &&Arc<Ticket>| endpoint.is_none_or(|id| ticket.endpoint == id);
            let idle = |ticket: &Arc<Ticket>| {
                let since = ticket.state.load(Ordering::Relaxed);
                (since < WANTED).then_some(since)
            };
            let found = self.open.iter().filter(of).filter_map(|t| Some((idle(t)?, t)));
            let (since, ticket) = found.min_by_key(|(since, _)| *since)?;
            // Else it has just been taken: there may be another.
            if ticket.close(since) {
                ticket.wanted_by.store(number, Ordering::Relaxed);
                return Some(Arc::clone(ticket));
            }
        }
    }
}

// === impl Connected ===

impl Connected {
    /// What it is doing; none where there is no limit.
    pub fn ticket(&self) -> Option<&Arc<Ticket>> {
        self.ticket.as_ref()
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.endpoint.connections().sub();
        self.under_way.connections.sub();
        fence(Ordering::SeqCst);
        let wakers = {
            if self.ticket.is_none() && self.under_way.pending() == 0 {
                return;
            }
            let mut doors = self.under_way.room.doors();
            if let Some(ticket) = &self.ticket {
                ticket.gone.store(true, Ordering::Relaxed);
                doors.shut(ticket);
            }
            doors.line.changed(self.endpoint.id);
            // Its place is for who has had it closed; he may need another besides, and says so then.
            let wanted = self.ticket.as_ref().filter(|ticket| ticket.is_wanted());
            let called = wanted.and_then(|t| doors.line.call(t.wanted_by.load(Ordering::Relaxed)));
            match called {
                Some(waker) => [waker, None],
                None => doors.line.call_next(self.endpoint.id),
            }
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

// === impl Ticket ===

impl Ticket {
    fn new(under_way: &Arc<UnderWay>, endpoint: EndpointId) -> Self {
        let (state, gone) = (AtomicU64::new(BUSY), AtomicBool::new(false));
        let under_way = Arc::clone(under_way);
        Self {
            under_way,
            endpoint,
            place: AtomicUsize::new(0),
            state,
            gone,
            wanted_by: AtomicU64::new(0),
            closer: Mutex::new(None),
        }
    }

    /// It is idle from now on.
    pub fn rest(&self, now: Millis) {
        let since = now.0.min(WANTED - 1);
        let rested = self.state.compare_exchange(BUSY, since, Ordering::Release, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if rested.is_ok() && self.under_way.pending() > 0 {
            self.under_way.room.call_next(self.endpoint);
        }
    }

    /// Takes it into use; `false` if it is being closed for somebody else.
    pub fn take(&self) -> bool {
        let state = &self.state;
        let take = |state: u64| (state != WANTED).then_some(BUSY);
        state.fetch_update(Ordering::Acquire, Ordering::Relaxed, take).is_ok()
    }

    /// It is in use again although it was to be closed: whoever has asked for that is to look further.
    pub fn keep(&self) {
        self.state.store(BUSY, Ordering::Release);
        let waker = {
            let mut doors = self.under_way.room.doors();
            doors.line.call(self.wanted_by.load(Ordering::Relaxed)).flatten()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether it is to be closed.
    pub fn is_wanted(&self) -> bool {
        self.state.load(Ordering::Acquire) == WANTED
    }

    /// Ready when it is to be closed.
    pub fn poll_wanted(&self, cx: &Context<'_>) -> Poll<()> {
        let mut closer = self.closer.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_wanted() {
            return Poll::Ready(());
        }
        match &mut *closer {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *closer = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Has it closed, if it is still idle since `since`.
    fn close(&self, since: u64) -> bool {
        let closer = {
            let mut closer = self.closer.lock().unwrap_or_else(PoisonError::into_inner);
            let (is, new) = (Ordering::AcqRel, Ordering::Relaxed);
            if self.state.compare_exchange(since, WANTED, is, new).is_err() {
                return false;
            }
            closer.take()
        };
        if let Some(waker) = closer {
            waker.wake();
        }
        true
    }
}

// === impl Waiting ===

impl Waiting {
    /// Ready when it may be worth to try: at once for the first who waits, then each time that a connection
    /// has become idle, or been closed.
    pub fn poll_turn(&self, cx: &Context<'_>) -> Poll<()> {
        self.of.under_way.room.doors().line.poll(self.number, cx)
    }

    /// Has a connection closed that lies idle, for `full` says that there is no room; one at a time. `false` if
    /// there is none.
    pub fn make_room(&mut self, full: Overflow) -> bool {
        let id = self.of.endpoint.id;
        // With both limits reached one that leaves the endpoint makes room in both.
        let of_endpoint =
            full.of == Scope::Endpoint || self.of.endpoint.connections().is_full(self.most);
        let waker = {
            let mut doors = self.of.under_way.room.doors();
            let closing = |t: &Arc<Ticket>| !t.gone.load(Ordering::Relaxed) && t.is_wanted();
            if !self.wanted.as_ref().is_some_and(closing) {
                self.wanted = doors.close_idle(of_endpoint.then_some(id), self.number);
            }
            // There may be what he cannot use: room, or a connection that lies idle.
            if of_endpoint { doors.line.call_any() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        self.wanted.is_some()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let wakers = {
            let mut doors = self.of.under_way.room.doors();
            doors.line.leave(self.number);
            // What it was called for may be there still; who finds nothing goes on waiting.
            doors.line.call_next(self.of.endpoint.id)
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

// === impl Pending ===

impl Drop for Pending {
    fn drop(&mut self) {
        self.endpoint.pending().sub();
        self.under_way.pending.sub();
    }
}
