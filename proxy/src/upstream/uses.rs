//! Which clients use which backends, for who asks endpoints how they are.
//!
//! Not for backends of which nobody asks: they cost a look at their settings. What is told is a hint, not a
//! count: it is told now and then, and lost if nobody listens.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use foldhash::fast::FixedState;
use nodeway_core::balance::Millis;
use nodeway_core::model::ObjectName;
use nodeway_core::snapshot::Backend;
use tokio::sync::mpsc;

use super::Client;
use crate::intercept::PodNetns;
use crate::runtime::Clock;

/// Of a backend in use it is told so often at most (by each client and worker).
const TELL_EVERY_MILLIS: u64 = 5_000;
/// What has not been used for so long is forgotten when there is much of it.
const REMEMBERED_MILLIS: u64 = 60_000;
/// So much.
const MUCH: usize = 128;

/// That a client uses a backend.
#[derive(Debug, Clone)]
pub struct Use {
    /// The backend's Service.
    pub service: ObjectName,
    /// The Service's port.
    pub port: u16,
    /// The backend's number: there may be another one for the port's external addresses.
    pub backend: u64,
    /// Where the client's sockets are made.
    pub place: Place,
    /// Requests and connections since it was told last.
    pub requests: u32,
}

/// Where sockets are made. Holds no namespace alive.
#[derive(Debug, Clone)]
pub enum Place {
    /// In the proxy's own namespace.
    Host,
    /// In a pod's, with this cookie.
    Pod(u64, Weak<PodNetns>),
}

/// What one client has used lately, and whom it tells.
#[derive(Debug, Default)]
pub(super) struct Uses {
    listener: RefCell<Option<mpsc::Sender<Use>>>,
    /// By the backend's number.
    lately: RefCell<HashMap<u64, Lately, FixedState>>,
}

#[derive(Debug, Default)]
struct Lately {
    told: Cell<Option<Millis>>,
    requests: Cell<u32>,
}

// === impl Client ===

impl Client {
    /// Tells `listener` from now on which backends it uses.
    pub fn tell_uses(&self, listener: mpsc::Sender<Use>) {
        *self.uses.listener.borrow_mut() = Some(listener);
    }

    /// A request or connection of its is for `backend`.
    #[inline]
    pub fn uses(&self, backend: &Backend, clock: Clock) {
        // The time is asked for by those alone who need it: it costs as much as all the rest.
        if backend.settings().health_check.is_some() {
            self.note_use(backend, clock.now());
        }
    }

    fn note_use(&self, backend: &Backend, now: Millis) {
        let mut lately = self.uses.lately.borrow_mut();
        if lately.len() >= MUCH && !lately.contains_key(&backend.id) {
            lately.retain(|_, one| {
                one.told.get().is_some_and(|told| now.0.saturating_sub(told.0) < REMEMBERED_MILLIS)
            });
        }
        let one = lately.entry(backend.id).or_default();
        one.requests.set(one.requests.get().saturating_add(1));
        if one.told.get().is_some_and(|told| now.0.saturating_sub(told.0) < TELL_EVERY_MILLIS) {
            return;
        }
        one.told.set(Some(now));
        let listener = self.uses.listener.borrow();
        let Some(listener) = &*listener else { return };
        let place = match &self.netns {
            None => Place::Host,
            Some(netns) => Place::Pod(netns.cookie(), Arc::downgrade(netns)),
        };
        let (service, port, backend) = (backend.service.clone(), backend.port, backend.id);
        let used = Use { service, port, backend, place, requests: one.requests.get() };
        if listener.try_send(used).is_ok() {
            one.requests.set(0);
        }
    }
}

// === impl Place ===

impl Place {
    /// A number that is no other place's.
    pub fn key(&self) -> u64 {
        match self {
            // No namespace has this cookie: the kernel counts from 1.
            Self::Host => 0,
            Self::Pod(cookie, _) => *cookie,
        }
    }

    /// The namespace to make sockets in, if that is not the proxy's own.
    ///
    /// # Errors
    /// The pod is gone.
    pub fn open(&self) -> Result<Option<Arc<PodNetns>>, Gone> {
        match self {
            Self::Host => Ok(None),
            Self::Pod(_, netns) => netns.upgrade().map(Some).ok_or(Gone),
        }
    }
}

/// A pod that is served no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pod is gone")]
pub struct Gone;

#[cfg(test)]
mod tests {
    use nodeway_core::balance::{Endpoint, Lasting};
    use nodeway_core::model::{AppProtocol, BackendSettings, HealthCheck, Probe};

    use super::*;
    use crate::runtime::Signal;

    fn backend(id: u64, checked: bool) -> Backend {
        let name = ObjectName::new("shop", format!("web-{id}"));
        let health_check = checked.then(|| HealthCheck::of(Probe::Tcp));
        let settings = BackendSettings { health_check, ..BackendSettings::default() };
        let nobody: [Arc<Endpoint>; 0] = [];
        Backend::new(Lasting::new(id), (name, 80), AppProtocol::Http, None, nobody)
            .with_settings(settings.into())
    }

    #[test]
    fn a_use_is_told_at_once_and_then_now_and_then_with_the_requests_since() {
        let (told, mut uses) = mpsc::channel(8);
        let client = Client::new(None, "test".into(), None, Signal::default());
        client.tell_uses(told);
        let backend = backend(1, true);
        for now in [10, 11, 12, 5_009, 5_010] {
            client.note_use(&backend, Millis(now));
        }
        let first = uses.try_recv().unwrap();
        assert_eq!((&*first.service.name, first.port, first.requests), ("web-1", 80, 1));
        assert_eq!(first.place.key(), 0);
        assert_eq!(uses.try_recv().unwrap().requests, 4);
        assert!(uses.try_recv().is_err());
    }

    #[test]
    fn nothing_is_told_or_kept_of_a_backend_that_is_not_checked() {
        let (told, mut uses) = mpsc::channel(8);
        let client = Client::new(None, "test".into(), None, Signal::default());
        client.tell_uses(told);
        client.uses(&backend(1, false), Clock::start());
        assert!(uses.try_recv().is_err());
        assert!(client.uses.lately.borrow().is_empty());
    }

    #[test]
    fn who_does_not_listen_costs_nothing_and_old_uses_are_forgotten() {
        let (told, _uses) = mpsc::channel(1);
        let client = Client::new(None, "test".into(), None, Signal::default());
        client.tell_uses(told);
        for id in 0..10_000 {
            client.note_use(&backend(id, true), Millis(id * 1000));
        }
        assert!(client.uses.lately.borrow().len() <= MUCH + 1);
    }
}
