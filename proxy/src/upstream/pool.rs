//! The links of one client on one worker, each to an endpoint: found by request, swept by time, and left at
//! once when their endpoints are.
//!
//! Not the connections themselves: those are a [`Link`]'s.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use foldhash::fast::FixedState;
use nodeway_core::balance::{EndpointId, Millis};
use tokio::sync::Notify;

use super::link::Link;
use super::{Client, To};
use crate::runtime::Worker;

/// A pool is swept as often as this, or four times in the shortest time that a connection may be idle.
const SELDOM: Duration = Duration::from_secs(15);
/// But not more often.
const OFTEN: Duration = Duration::from_millis(20);

thread_local! {
    /// All links of this worker by their endpoints, so that one that is gone costs its own links a look and
    /// no others.
    static LINKS: RefCell<HashMap<EndpointId, Vec<Weak<Link>>, FixedState>> = RefCell::default();
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) links: HashMap<EndpointId, Rc<Link>, FixedState>,
    /// Whether a task sweeps this pool.
    pub(super) swept: bool,
    /// How often it does.
    tick: Duration,
    /// Tells that task to come sooner.
    sooner: Rc<Notify>,
}

/// Keeps no connection of this worker to these endpoints any more: those that are idle are closed at once,
/// the others when what is under way has ended, or when its time to drain is over.
pub fn leave(endpoints: &[EndpointId]) {
    for endpoint in endpoints {
        // They stay here as long as something is under way: the endpoint may return, and go again.
        let links = LINKS.with_borrow(|links| links.get(endpoint).cloned());
        for link in links.into_iter().flatten().filter_map(|link| link.upgrade()) {
            if let Some(client) = link.client() {
                client.pool.borrow_mut().forget(&link);
            }
            link.leave();
        }
    }
}

/// How many links this worker has.
#[cfg(test)]
pub(super) fn links() -> usize {
    LINKS.with_borrow(|links| links.values().map(Vec::len).sum())
}

/// Forgets what is gone of those to this endpoint.
pub(super) fn unlink(endpoint: EndpointId) {
    // A thread that ends has forgotten all.
    let _ = LINKS.try_with(|links| {
        let mut links = links.borrow_mut();
        if let Some(some) = links.get_mut(&endpoint) {
            some.retain(|link| link.strong_count() > 0);
            if some.is_empty() {
                links.remove(&endpoint);
            }
        }
    });
}

impl Client {
    /// What this client has with an endpoint, under what its backend's policies ask for now.
    pub(super) fn link(self: &Rc<Self>, worker: &Rc<Worker>, to: &To<'_>) -> Rc<Link> {
        let mut pool = self.pool.borrow_mut();
        let former = match pool.links.get(&to.endpoint.id) {
            Some(link) if link.is_for(to) => {
                if link.obey(to.backend.settings()) {
                    let link = Rc::clone(link);
                    pool.keep_pace(&link);
                    return link;
                }
                return Rc::clone(link);
            }
            Some(_) => pool.links.remove(&to.endpoint.id),
            None => None,
        };
        let link = Link::new(worker, self, to);
        if to.endpoint.is_retired() {
            // Somebody who has begun under an older snapshot: it is for him alone.
            link.leave();
        } else {
            pool.links.insert(to.endpoint.id, Rc::clone(&link));
            pool.keep_pace(&link);
        }
        LINKS.with_borrow_mut(|links| {
            links.entry(to.endpoint.id).or_default().push(Rc::downgrade(&link));
        });
        drop(pool);
        if let Some(former) = former {
            former.leave();
        }
        link
    }
}

// === impl Pool ===

impl Pool {
    /// Sweeps often enough for `link`.
    fn keep_pace(&mut self, link: &Link) {
        let tick = tick(link);
        if tick < self.tick {
            self.tick = tick;
            self.sooner.notify_one();
        }
    }

    /// Forgets `link`, if it is this pool's.
    fn forget(&mut self, link: &Rc<Link>) {
        let id = link.endpoint().id;
        if self.links.get(&id).is_some_and(|known| Rc::ptr_eq(known, link)) {
            self.links.remove(&id);
        }
    }

    /// Drops what is closed or too old, and links that have nothing left; says how many there are still.
    pub(super) fn sweep(&mut self, now: Millis) -> usize {
        // Who is about to use an empty one holds it, too.
        self.links.retain(|_, link| link.sweep(now) || Rc::strong_count(link) > 1);
        self.tick = self.links.values().map(|link| tick(link)).min().unwrap_or(SELDOM);
        self.links.len()
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self { links: HashMap::default(), swept: false, tick: SELDOM, sooner: Rc::default() }
    }
}

fn tick(link: &Link) -> Duration {
    (link.life().idle / 4).clamp(OFTEN, SELDOM)
}

/// Sees to it that `client`'s pool is swept as long as there is something in it; to be called wherever
/// something is put there, if only the place for a connection that is not made yet.
pub(super) fn keep_swept(worker: &Rc<Worker>, client: &Rc<Client>) {
    if std::mem::replace(&mut client.pool.borrow_mut().swept, true) {
        return;
    }
    let (clock, client) = (worker.clock, Rc::downgrade(client));
    tokio::task::spawn_local(async move {
        loop {
            let (tick, sooner) = {
                let Some(client) = client.upgrade() else { return };
                let pool = client.pool.borrow();
                (pool.tick, Rc::clone(&pool.sooner))
            };
            tokio::select! {
                () = tokio::time::sleep(tick) => {}
                // The next sleep is the shorter one.
                () = sooner.notified() => continue,
            }
            let Some(client) = client.upgrade() else { return };
            let mut pool = client.pool.borrow_mut();
            if pool.sweep(clock.now()) == 0 {
                pool.swept = false;
                return;
            }
        }
    });
}
