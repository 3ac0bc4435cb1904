//! What one client has with one endpoint on one worker: connections that wait for a request, or take another
//! one, and how long they may.
//!
//! Not how they are made: that is `http`'s.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use nodeway_core::balance::{
    BackendTls, Connected, Endpoint, Millis, Overflow, Pending, Ticket, UnderWay, Waiting,
};
use nodeway_core::model::{BackendSettings, ConnectionLife};

use super::http1::Connection;
use super::idle::Watched;
use super::shared::Shared;
use super::{Client, To, Version, pool};
use crate::runtime::{Clock, Signal, SignalListener, Worker, fired};

/// Idle HTTP/1 connections kept per endpoint.
const MAX_IDLE: usize = 256;
/// Connections that are made together do not end together: the oldest age is shorter by up to this part.
const SPREAD: u64 = 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    endpoint: Arc<Endpoint>,
    tls: Option<Arc<BackendTls>>,
    settings: RefCell<Arc<BackendSettings>>,
    under_way: Arc<UnderWay>,
    life: Cell<ConnectionLife>,
    client: Weak<Client>,
    clock: Clock,
    http1: RefCell<Vec<Idle>>,
    idle: Watched,
    http2: OnceCell<Rc<Shared>>,
    /// What a server chose to speak that had the choice.
    chosen: Cell<Option<Version>>,
    /// Nothing is kept any more: the endpoint is gone, or spoken to in another way.
    left: Cell<bool>,
    /// How often the endpoint has gone: it may return.
    gone: Cell<u32>,
    /// Fires when what is under way has had its time.
    cut: Signal,
    /// Whether connections are being made ahead of requests.
    pub(super) warming: Cell<bool>,
}

/// An HTTP/1 connection that carries a request, or could.
#[derive(Debug)]
pub(super) struct Http1 {
    pub(super) connection: Rc<Connection>,
    age: Age,
    /// None where connections are not limited.
    ticket: Option<Arc<Ticket>>,
}

#[derive(Debug)]
struct Idle {
    connection: Http1,
    since: Millis,
}

/// How old a connection is.
#[derive(Debug)]
pub(super) struct Age {
    made: Millis,
    requests: Cell<u32>,
    /// Its part of [`SPREAD`], in 256ths.
    early: u8,
}

// === impl Link ===

impl Link {
    pub(super) fn new(worker: &Worker, client: &Rc<Client>, to: &To<'_>) -> Rc<Self> {
        let settings = Arc::clone(to.backend.settings());
        let life = Cell::new(settings.connections);
        Rc::new(Self {
            endpoint: Arc::clone(to.endpoint),
            tls: to.backend.tls().cloned(),
            settings: RefCell::new(settings),
            under_way: Arc::clone(to.backend.lasting().under_way()),
            life,
            client: Rc::downgrade(client),
            clock: worker.clock,
            http1: RefCell::default(),
            idle: Watched::default(),
            http2: OnceCell::new(),
            chosen: Cell::new(None),
            left: Cell::new(false),
            gone: Cell::new(0),
            cut: Signal::default(),
            warming: Cell::new(false),
        })
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    pub(super) fn tls(&self) -> Option<&Arc<BackendTls>> {
        self.tls.as_ref()
    }

    pub(super) fn client(&self) -> Option<Rc<Client>> {
        self.client.upgrade()
    }

    /// How long connections live.
    pub(super) fn life(&self) -> ConnectionLife {
        self.life.get()
    }

    /// Whether a request to `to` may go over this link: a policy that has become another has another number,
    /// and what was agreed under the former one is not used again.
    pub(super) fn is_for(&self, to: &To<'_>) -> bool {
        let number = |tls: Option<&Arc<BackendTls>>| tls.map(|tls| tls.id);
        !self.left.get() && number(self.tls()) == number(to.backend.tls())
    }

    /// Goes by these settings from now on; whether they say something else of connections than before.
    pub(super) fn obey(&self, settings: &Arc<BackendSettings>) -> bool {
        if Arc::ptr_eq(&self.settings.borrow(), settings) {
            return false;
        }
        let former = self.settings.replace(Arc::clone(settings));
        if former.connections == settings.connections {
            return false;
        }
        self.life.set(settings.connections);
        if let Some(shared) = self.http2.get() {
            shared.obey(settings.connections);
        }
        true
    }

    /// The connection that was used last and is ready: the oldest ones get to expire.
    pub(super) fn take_http1(&self, now: Millis) -> Option<Http1> {
        let life = self.life.get();
        let mut idle = self.http1.borrow_mut();
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            if idle[at].is_over(&life, now) {
                idle.swap_remove(at);
            } else {
                let taken = idle.remove(at).connection;
                if taken.take() && !taken.connection.is_over() {
                    return Some(taken);
                }
            }
        }
        None
    }

    /// The same at this moment, for who has waited.
    pub(super) fn take_now(&self) -> Option<Http1> {
        self.take_http1(self.clock.now())
    }

    /// Keeps a connection as soon as it can take another request, when the last of the one before has left: who
    /// waits for one is called when there is one, and goes on waiting for others until then. It is closed if that
    /// takes too long, or is to be cut.
    pub(super) async fn put_soon(self: &Rc<Self>, connection: Http1) -> bool {
        let mut cut = self.cut();
        let ready = tokio::select! {
            biased;
            ready = poll_fn(|cx| connection.connection.poll_rest(cx)) => ready,
            () = tokio::time::sleep(self.life.get().idle) => false,
            () = fired(cut.as_mut()) => false,
        };
        ready && self.put_http1(connection)
    }

    /// The right to one connection more.
    pub(super) fn connect(&self) -> Result<Connected, Overflow> {
        self.under_way.connect(&self.settings.borrow().limits, &self.endpoint)
    }

    /// The same where there is none to be had.
    pub(super) fn connect_beyond(&self) -> Connected {
        self.under_way.connect_beyond(&self.settings.borrow().limits, &self.endpoint)
    }

    #[inline]
    fn is_limited(&self) -> bool {
        self.settings.borrow().limits.has_connections()
    }

    /// Whether somebody waits for a connection: who comes now comes after him.
    #[inline]
    pub(super) fn has_waiting(&self) -> bool {
        UnderWay::has_waiting(&self.settings.borrow().limits, &self.endpoint)
    }

    /// Waits for the right to a connection.
    pub(super) fn wait(&self) -> Result<Waiting, Overflow> {
        self.under_way.wait(&self.settings.borrow().limits, &self.endpoint)
    }

    /// Counts a request that waits for its turn on a connection.
    pub(super) fn pend(&self) -> Result<Pending, Overflow> {
        self.under_way.pend(&self.settings.borrow().limits, &self.endpoint)
    }

    /// Keeps a connection whose response has ended; `false` if it is to be closed.
    pub(super) fn put_http1(self: &Rc<Self>, connection: Http1) -> bool {
        let life = self.life.get();
        let since = self.clock.now();
        // One that was made before there was a limit could not be closed for who waits.
        let uncounted = connection.ticket.is_none() && self.is_limited();
        if uncounted || self.is_left() || connection.is_over(&life, since) {
            return false;
        }
        let mut idle = self.http1.borrow_mut();
        let room = idle.len() < MAX_IDLE;
        if room {
            let ticket = connection.ticket.clone();
            self.idle.watch(self, &connection);
            idle.push(Idle { connection, since });
            if let Some(ticket) = ticket {
                ticket.rest(since);
            }
        }
        room
    }

    /// Closes idle HTTP/1 connections whose end has come, or whose place is wanted; wakes `cx` when there are some.
    pub(super) fn poll_ends(&self, cx: &mut Context<'_>) {
        self.http1.borrow_mut().retain(|Idle { connection, .. }| {
            while connection.poll_end(cx).is_ready() {
                if connection.is_wanted() || connection.connection.is_over() {
                    return false;
                }
            }
            true
        });
    }

    /// How many HTTP/1 connections wait for a request.
    pub(super) fn idle_http1(&self) -> usize {
        self.http1.borrow().len()
    }

    /// Whether fewer of them wait than policy asks for.
    #[inline]
    pub(super) fn wants_more(&self) -> bool {
        let wanted = usize::from(self.life.get().prewarm);
        wanted > 0 && self.idle_http1() < wanted.min(MAX_IDLE) && !self.is_left()
    }

    /// The endpoint's HTTP/2 connections.
    pub(super) fn http2(&self) -> &Rc<Shared> {
        self.http2.get_or_init(|| Shared::new(self.clock, self.life.get()))
    }

    /// What the server chose to speak when it had the choice.
    pub(super) fn chosen(&self) -> Option<Version> {
        self.chosen.get()
    }

    /// The server has chosen to speak this.
    pub(super) fn choose(&self, version: Version) {
        self.chosen.set(Some(version));
    }

    /// The task that watches its idle connections.
    pub(super) fn watched(&self) -> &Watched {
        &self.idle
    }

    /// Drops what is closed or too old; says whether there is reason to keep the link.
    pub(super) fn sweep(&self, now: Millis) -> bool {
        let life = self.life.get();
        let mut idle = self.http1.borrow_mut();
        idle.retain(|idle| !idle.is_over(&life, now));
        let used = self.http2.get().is_some_and(|shared| shared.sweep(now));
        used || !idle.is_empty()
    }

    /// Whether nothing is kept any more.
    pub(super) fn is_left(&self) -> bool {
        self.left.get() || self.endpoint.is_retired()
    }

    /// Closes what is idle, and the rest as it ends; in the time that the policy gives, if it does. To be called
    /// each time that the endpoint goes: it may have been spoken to in another way before, or have returned.
    pub(super) fn leave(self: &Rc<Self>) {
        if !self.left.replace(true) {
            let idle = std::mem::take(&mut *self.http1.borrow_mut());
            drop(idle);
            if let Some(shared) = self.http2.get() {
                shared.leave();
            }
        }
        // One that is spoken to in another way only has not gone.
        if self.endpoint.is_retired() {
            self.gone.set(self.gone.get().wrapping_add(1));
            if let Some(patience) = self.life.get().drain {
                self.cut_after(patience);
            }
        }
    }

    /// Unless it returns meanwhile.
    fn cut_after(self: &Rc<Self>, patience: Duration) {
        let (link, gone) = (Rc::downgrade(self), self.gone.get());
        tokio::task::spawn_local(async move {
            tokio::time::sleep(patience).await;
            let Some(link) = link.upgrade() else { return };
            if link.endpoint.is_retired() && link.gone.get() == gone {
                link.cut.fire();
            }
        });
    }

    /// Fires when what is under way is to be cut, if that may come.
    pub(super) fn cut(&self) -> Option<SignalListener> {
        self.life.get().drain.map(|_| self.cut.listen())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        pool::unlink(self.endpoint.id);
    }
}

// === impl Http1 ===

impl Http1 {
    pub(super) fn new(connection: Rc<Connection>, age: Age, ticket: Option<Arc<Ticket>>) -> Self {
        Self { connection, age, ticket }
    }

    /// Takes it into use; `false` if it is being closed to make room for another.
    #[inline]
    fn take(&self) -> bool {
        self.ticket.as_ref().is_none_or(|ticket| ticket.take())
    }

    /// It is given one more request.
    pub(super) fn begin(&self) {
        self.age.begin();
    }

    /// Whether it has not had one yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.age.requests.get() == 0
    }

    /// Whether it is too old for another.
    fn is_over(&self, life: &ConnectionLife, now: Millis) -> bool {
        self.age.is_over(life, || now)
    }

    /// Of one that is idle: whether its end has come, or somebody else needs its place; else wakes `cx` when
    /// either is so.
    pub(super) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ticket.as_ref().is_some_and(|ticket| ticket.poll_wanted(cx).is_ready()) {
            return Poll::Ready(());
        }
        self.connection.watch(cx)
    }

    /// Whether somebody else may need its place.
    #[inline]
    pub(super) fn is_limited(&self) -> bool {
        self.ticket.is_some()
    }

    /// Whether it is to be closed for somebody else.
    pub(super) fn is_wanted(&self) -> bool {
        self.ticket.as_ref().is_some_and(|ticket| ticket.is_wanted())
    }
}

// === impl Idle ===

impl Idle {
    fn is_over(&self, life: &ConnectionLife, now: Millis) -> bool {
        has_passed(life.idle, self.since, now) || self.connection.is_over(life, now)
    }
}

// === impl Age ===

impl Age {
    /// That of a connection that is made now.
    pub(super) fn new(now: Millis, early: u8) -> Self {
        Self { made: now, requests: Cell::new(0), early }
    }

    /// One request more.
    #[inline]
    pub(super) fn begin(&self) {
        self.requests.set(self.requests.get().saturating_add(1));
    }

    /// Whether it takes no more requests.
    #[inline]
    pub(super) fn is_over(&self, life: &ConnectionLife, now: impl FnOnce() -> Millis) -> bool {
        life.max_requests.is_some_and(|most| self.requests.get() >= most.get())
            || life.max_age.is_some_and(|age| {
                let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
                let early = (age / SPREAD).saturating_mul(u64::from(self.early)) / 256;
                now().0.saturating_sub(self.made.0) >= age - early
            })
    }
}

/// Whether so long has passed since then.
pub(super) fn has_passed(time: Duration, since: Millis, now: Millis) -> bool {
    u128::from(now.0.saturating_sub(since.0)) >= time.as_millis()
}
