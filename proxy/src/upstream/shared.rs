//! The HTTP/2 connections of one client to one endpoint, which its requests share.
//!
//! An endpoint says how many streams a connection may have (RFC 9113, 5.1.2). When those that there are
//! are full another one is opened, up to a bound, one at a time: how many requests a new one takes shows
//! only when its settings have come. Who finds neither waits for his turn.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use nodeway_core::balance::{Millis, Overflow, Pending};
use nodeway_core::model::ConnectionLife;
use tokio::sync::oneshot;

use super::http2::{Connection, Room, Stream};
use super::link::has_passed;
use super::transport::Counted;
use super::{Version, distrusted};
use crate::runtime::Clock;

/// Connections to one endpoint. An endpoint that takes a hundred streams a connection, as most do, can
/// have more than a thousand requests of one client at a time on each worker.
const MOST: usize = 16;
/// An endpoint that has connections and refuses another one is not asked for more for so long.
const RELUCTANCE_MILLIS: u64 = 1_000;

/// Nobody is left to answer those who wait.
const GIVEN_UP: io::ErrorKind = io::ErrorKind::NotConnected;

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    connections: RefCell<Vec<Rc<Connection>>>,
    /// Those before this one were full when they were last looked at.
    first: Cell<usize>,
    life: Cell<ConnectionLife>,
    /// No connection is kept that has nothing under way.
    left: Cell<bool>,
    /// PINGs are so many times as seldom as was asked for: an endpoint has complained.
    seldom: Cell<u32>,
    waiting: RefCell<VecDeque<oneshot::Sender<Turn>>>,
    opening: Cell<bool>,
    /// Whether the one who makes a connection waits for the right to.
    in_line: Cell<bool>,
    reluctant_until: Cell<Millis>,
    clock: Clock,
}

/// Why there is no stream.
#[derive(Debug)]
pub(super) enum NoHttp2 {
    /// There is no connection, and none could be made.
    Failed(io::Error),
    /// The endpoint speaks something else; with the connection over which it has said so, for the one
    /// who has made it.
    Other(Option<Counted>, Version),
    /// There may be no more connections, and nobody else may wait.
    Full(Overflow),
}

/// What went wrong did so for another request, which has told it.
#[derive(Debug, thiserror::Error)]
#[error("the connection that was waited for could not be made")]
struct SomebodyElses;

/// What a request that waits is given.
#[derive(Debug)]
enum Turn {
    Stream(Stream),
    /// Make a connection, and use it.
    Open(Opening),
    /// There is no connection, and none could be made.
    Failed(io::ErrorKind),
    /// The endpoint speaks something else.
    Other(Version),
}

/// Held while a connection is being made.
#[derive(Debug)]
struct Opening(Rc<Shared>);

/// Whether another request has met this, and has told it.
pub(super) fn is_somebody_elses(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<SomebodyElses>())
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(clock: Clock, life: ConnectionLife) -> Rc<Self> {
        Rc::new(Self {
            connections: RefCell::default(),
            first: Cell::new(0),
            life: Cell::new(life),
            left: Cell::new(false),
            seldom: Cell::new(1),
            waiting: RefCell::default(),
            opening: Cell::new(false),
            in_line: Cell::new(false),
            reluctant_until: Cell::new(Millis(0)),
            clock,
        })
    }

    /// A stream for a request: at once if a connection has room, else on a new one that `open` makes, else
    /// when it is its turn; as long as it waits it holds what `pend` gives.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn stream(
        self: &Rc<Self>,
        pend: impl Fn() -> Result<Pending, Overflow>,
        open: impl AsyncFn() -> Result<Rc<Connection>, NoHttp2>,
    ) -> Result<Stream, NoHttp2> {
        let nobody_before = self.waiting.borrow().is_empty();
        let mut turn = if nobody_before { self.next() } else { None };
        loop {
            let opening = match turn.take() {
                Some(Turn::Stream(stream)) => return Ok(stream),
                Some(Turn::Open(opening)) => opening,
                Some(Turn::Other(version)) => return Err(NoHttp2::Other(None, version)),
                Some(Turn::Failed(kind)) => {
                    return Err(NoHttp2::Failed(io::Error::new(kind, SomebodyElses)));
                }
                None => {
                    let _pending = pend().map_err(NoHttp2::Full)?;
                    let (sender, receiver) = oneshot::channel();
                    self.waiting.borrow_mut().push_back(sender);
                    if !nobody_before {
                        // Who was before may have left.
                        self.serve_waiting();
                    }
                    turn = Some(receiver.await.unwrap_or(Turn::Failed(GIVEN_UP)));
                    continue;
                }
            };
            match open().await {
                Ok(connection) => {
                    let stream = connection.begin();
                    self.adopt(connection);
                    drop(opening);
                    return Ok(stream);
                }
                Err(NoHttp2::Other(transport, version)) => {
                    // Else each would make a connection to find out, one after the other.
                    self.tell_waiting(|| Turn::Other(version));
                    return Err(NoHttp2::Other(transport, version));
                }
                // Those who wait have their own right to.
                Err(NoHttp2::Full(overflow)) => return Err(NoHttp2::Full(overflow)),
                Err(NoHttp2::Failed(error)) => {
                    let alone = self.forget_gone() == 0;
                    if alone {
                        // As if each had tried: they find another endpoint, or tell their clients.
                        if !distrusted(&error) {
                            self.tell_waiting(|| Turn::Failed(error.kind()));
                        }
                        return Err(NoHttp2::Failed(error));
                    }
                    self.be_reluctant();
                    drop(opening);
                    turn = self.next();
                    if turn.is_none() {
                        let _pending = pend().map_err(NoHttp2::Full)?;
                        let (sender, receiver) = oneshot::channel();
                        self.waiting.borrow_mut().push_front(sender);
                        turn = Some(receiver.await.unwrap_or(Turn::Failed(GIVEN_UP)));
                    }
                }
            }
        }
    }

    /// Makes no more connections for a while beside those that there are.
    fn be_reluctant(self: &Rc<Self>) {
        let now = self.clock.now();
        self.reluctant_until.set(Millis(now.0.saturating_add(RELUCTANCE_MILLIS)));
        let shared = Rc::downgrade(self);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(Duration::from_millis(RELUCTANCE_MILLIS)).await;
            // Streams that last may free nothing meanwhile: who waits may try again.
            if let Some(shared) = shared.upgrade() {
                shared.serve_waiting();
            }
        });
    }

    /// How long connections live.
    pub(super) fn life(&self) -> ConnectionLife {
        self.life.get()
    }

    /// Connections live like this from now on.
    pub(super) fn obey(&self, life: ConnectionLife) {
        self.life.set(life);
    }

    /// How much more seldom PINGs are to be sent than was asked for.
    pub(super) fn seldom(&self) -> u32 {
        self.seldom.get()
    }

    /// The endpoint has had enough of PINGs: connections to come send half as many.
    pub(super) fn send_fewer_pings(&self) {
        self.seldom.set(self.seldom.get().saturating_mul(2));
    }

    /// Closes what is idle at once, and the rest as soon as it is.
    pub(super) fn leave(&self) {
        self.left.set(true);
        self.drop_those(|connection| connection.idle_since().is_some());
    }

    /// A stream of `connection` has ended: it may have room now, or be of no more use.
    pub(super) fn stream_ended(self: &Rc<Self>, connection: &Connection) {
        if connection.idle_since().is_some()
            && (self.left.get() || connection.is_over(&self.life.get()))
        {
            self.drop_those(|known| std::ptr::eq(Rc::as_ptr(known), connection));
        } else {
            self.first.set(self.first.get().min(connection.place.get()));
        }
        self.serve_waiting();
    }

    /// Lets go of these connections. They end when their streams have ended.
    fn drop_those(&self, those: impl Fn(&Rc<Connection>) -> bool) {
        let dropped: Vec<_> = {
            let mut connections = self.connections.borrow_mut();
            let dropped = connections.extract_if(.., |connection| those(connection)).collect();
            for (place, connection) in connections.iter().enumerate() {
                connection.place.set(place);
            }
            dropped
        };
        if !dropped.is_empty() {
            self.first.set(0);
        }
        drop(dropped);
    }

    /// Keeps a connection that somebody else has made.
    pub(super) fn adopt(&self, connection: Rc<Connection>) {
        let mut connections = self.connections.borrow_mut();
        connection.place.set(connections.len());
        connections.push(connection);
    }

    /// Whether there is a connection, or about to be one.
    pub(super) fn is_empty(&self) -> bool {
        self.forget_gone() == 0 && !self.opening.get()
    }

    /// Gives what has become free to those who wait, in the order in which they came.
    pub(super) fn serve_waiting(self: &Rc<Self>) {
        loop {
            {
                let mut waiting = self.waiting.borrow_mut();
                while waiting.front().is_some_and(oneshot::Sender::is_closed) {
                    waiting.pop_front();
                }
                if waiting.is_empty() {
                    return;
                }
            }
            let Some(turn) = self.next() else { return };
            let first = self.waiting.borrow_mut().pop_front();
            if let Some(first) = first {
                // It was not closed a moment ago, and nothing has run since.
                let _ = first.send(turn);
            }
        }
    }

    /// Drops connections that are closed or too old, or have been idle for too long; says whether there is
    /// reason to keep the rest.
    pub(super) fn sweep(&self, now: Millis) -> bool {
        let life = self.life.get();
        self.drop_those(|c| {
            c.room(&life) == Room::Gone
                || c.idle_since().is_some_and(|since| has_passed(life.idle, since, now))
        });
        !self.connections.borrow().is_empty()
            || !self.waiting.borrow().is_empty()
            || self.opening.get()
    }

    /// Whether who waits waits for others to end, not for the endpoint's first connection.
    pub(super) fn has_line(&self) -> bool {
        self.in_line.get() || !self.connections.borrow().is_empty()
    }

    /// The one who makes a connection waits until there may be one, or does no longer.
    pub(super) fn in_line(&self, waits: bool) {
        self.in_line.set(waits);
    }

    /// How many connections there are.
    pub(super) fn len(&self) -> usize {
        self.connections.borrow().len()
    }

    /// What can be given now.
    fn next(self: &Rc<Self>) -> Option<Turn> {
        let mut unsettled = false;
        let mut gone = false;
        let life = self.life.get();
        let connections = self.connections.borrow();
        // The first with room: what is too much for a quiet time gets to be idle, and is closed. Those that
        // are passed over are looked at again when one of their streams has ended, or when all seem full.
        let first = self.first.get().min(connections.len());
        for at in (first..connections.len()).chain(0..first) {
            let connection = &connections[at];
            match connection.room(&life) {
                Room::Free => {
                    self.first.set(at);
                    return Some(Turn::Stream(connection.begin()));
                }
                Room::Full => {}
                Room::Unsettled => unsettled = true,
                Room::Gone => gone = true,
            }
        }
        drop(connections);
        let open = if gone { self.forget_gone() } else { self.len() };
        let may = !unsettled
            && !self.opening.get()
            && open < MOST
            && (open == 0 || self.clock.now().0 >= self.reluctant_until.get().0);
        may.then(|| {
            self.opening.set(true);
            Turn::Open(Opening(Rc::clone(self)))
        })
    }

    /// Lets go of connections that take no more streams, and end with those that they have; says how many
    /// are left.
    fn forget_gone(&self) -> usize {
        let life = self.life.get();
        self.drop_those(|connection| connection.room(&life) == Room::Gone);
        self.len()
    }

    fn tell_waiting(&self, turn: impl Fn() -> Turn) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for sender in waiting {
            // Who has gone does not need to know.
            let _ = sender.send(turn());
        }
    }
}

// === impl Opening ===

impl Drop for Opening {
    fn drop(&mut self) {
        // Done, failed or given up: whoever comes next may try.
        self.0.opening.set(false);
        self.0.in_line.set(false);
        self.0.serve_waiting();
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use std::sync::Arc;

    use nodeway_core::balance::{Endpoint, EndpointId, UnderWay};
    use nodeway_core::model::Limits;

    use super::super::Transport;
    use super::*;

    #[test]
    fn all_who_wait_are_told_at_once_that_the_endpoint_speaks_something_else() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let test = async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let at = listener.local_addr().unwrap();
            let (shared, opened) =
                (Shared::new(Clock::start(), ConnectionLife::default()), Rc::new(Cell::new(0)));
            let endpoint = Arc::new(Endpoint::new(EndpointId(1), at, None));
            let (under_way, limits) = (Arc::new(UnderWay::default()), Limits::default());
            let ask = || {
                let (shared, opened) = (Rc::clone(&shared), Rc::clone(&opened));
                let (under_way, endpoint) = (Arc::clone(&under_way), Arc::clone(&endpoint));
                let limits = limits.clone();
                tokio::task::spawn_local(async move {
                    let open = async || {
                        opened.set(opened.get() + 1);
                        let stream = TcpStream::connect(at).await.unwrap();
                        let connected = under_way.connect(&limits, &endpoint).unwrap();
                        let stream = Counted::new(Transport::Plain(stream), connected);
                        Err(NoHttp2::Other(Some(stream), Version::Http1))
                    };
                    shared.stream(|| under_way.pend(&limits, &endpoint), open).await
                })
            };
            let mut with_connection = 0;
            for answer in [(); 10].map(|()| ask()) {
                match answer.await.unwrap() {
                    Err(NoHttp2::Other(transport, Version::Http1)) => {
                        with_connection += usize::from(transport.is_some());
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!((opened.get(), with_connection), (1, 1));
        };
        tokio::task::LocalSet::new().block_on(&runtime, test);
    }
}
