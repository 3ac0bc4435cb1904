//! Which endpoint is asked next, when and from where, and what its answers come to.
//!
//! Sees no socket and no clock: time, chance and answers are arguments.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use nodeway_core::balance::{Change, Endpoint, EndpointId, HealthEvent, Millis};
use nodeway_core::model::{HealthCheck, ObjectName};
use nodeway_core::snapshot::Backend;

use super::Outcome;
use super::pace::{Bucket, Pace, Rate};
use super::places::{Places, Spot};

/// Checks under way at once, of all backends,
const MOST_AT_ONCE: usize = 256;
/// and of one: silent endpoints keep a check for all of its timeout, and must not use up the others' share.
const MOST_OF_BACKEND: usize = 64;
/// A check that begins so much later than it should is counted as late.
const LATE_MILLIS: u64 = 1_000;

/// A Service's port.
pub(super) type Port = (ObjectName, u16);

/// All that is checked now: the endpoints of the backends that clients use.
#[derive(Debug)]
pub(super) struct Plan<P> {
    watched: HashMap<Arc<Port>, Watched<P>, RandomState>,
    endpoints: HashMap<EndpointId, Checked, RandomState>,
    /// When whose turn is. What does not agree with `endpoints` counts no more.
    due: BinaryHeap<Reverse<(Millis, EndpointId)>>,
    bucket: Bucket,
    /// Before this nothing begins.
    rests: Millis,
    running: usize,
    nodes: usize,
}

/// A backend whose endpoints are checked.
#[derive(Debug)]
struct Watched<P> {
    /// As it is in the newest snapshot that has been looked at.
    backend: Arc<Backend>,
    places: Places<P>,
    requests: Rate,
    running: usize,
    /// Due, and too many of their kind are running.
    waiting: VecDeque<EndpointId>,
}

/// An endpoint that is checked.
#[derive(Debug)]
struct Checked {
    endpoint: Arc<Endpoint>,
    port: Arc<Port>,
    /// When its turn is; none while it is running or waiting.
    due: Option<Millis>,
    /// When its turn should have been.
    wanted: Millis,
    /// Whether it has been found well or ill since it has been here.
    known: bool,
}

/// A check to be made now.
#[derive(Debug)]
pub(super) struct Task<P> {
    pub(super) port: Arc<Port>,
    pub(super) backend: Arc<Backend>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) check: HealthCheck,
    pub(super) place: P,
    /// Whether it begins much later than it should.
    pub(super) late: bool,
    begun: Millis,
    /// From where it could not be reached just before.
    doubt: Option<u64>,
}

/// What has come of a check.
#[derive(Debug)]
pub(super) struct Finished<P> {
    /// The same from elsewhere, at once: one client's word is not enough.
    pub(super) again: Option<Task<P>>,
    /// The endpoint's health has changed by it.
    pub(super) event: Option<HealthEvent>,
    /// It was not reached from a client that has been taken to reach it, but from another one: the client's
    /// number.
    pub(super) cut_off: Option<u64>,
}

// === impl Plan ===

impl<P: Spot> Plan<P> {
    pub(super) fn new(now: Millis) -> Self {
        Self {
            watched: HashMap::default(),
            endpoints: HashMap::default(),
            due: BinaryHeap::new(),
            bucket: Bucket::new(now),
            rests: now,
            running: 0,
            nodes: 1,
        }
    }

    /// Whether there is nothing to do until somebody uses something.
    pub(super) fn is_idle(&self) -> bool {
        self.watched.is_empty()
    }

    /// Who lives at `place` has sent so many requests to a backend that is `found` so in the snapshot in force.
    pub(super) fn used(
        &mut self,
        port: Port,
        found: Option<&Arc<Backend>>,
        (place, requests): (P, u32),
        now: Millis,
        random: &mut fastrand::Rng,
    ) {
        if let Some(watched) = self.watched.get_mut(&port) {
            watched.places.used(place, now);
            watched.requests.add(requests, now);
            return;
        }
        let Some(backend) = found.filter(|backend| backend.settings().health_check.is_some())
        else {
            return;
        };
        let mut places = Places::new();
        places.used(place, now);
        let mut rate = Rate::new(now);
        rate.add(requests, now);
        let port = Arc::new(port);
        let watched = Watched {
            backend: Arc::clone(backend),
            places,
            requests: rate,
            running: 0,
            waiting: VecDeque::new(),
        };
        self.watched.insert(Arc::clone(&port), watched);
        self.schedule(&port, now, random);
    }

    /// Brings all in line with the snapshot in force, in which backends are found by `find`, of a cluster
    /// of so many nodes. Backends that nobody uses any more are forgotten.
    pub(super) fn refresh(
        &mut self,
        nodes: usize,
        find: impl Fn(&Port) -> Option<Arc<Backend>>,
        now: Millis,
        random: &mut fastrand::Rng,
    ) {
        self.nodes = nodes;
        let ports: Vec<Arc<Port>> = self.watched.keys().cloned().collect();
        for port in ports {
            let found = find(&port).filter(|backend| backend.settings().health_check.is_some());
            let Some(watched) = self.watched.get_mut(&port) else { continue };
            match found.filter(|_| watched.places.sweep(now)) {
                None => self.forget(&port, now),
                Some(backend) if Arc::ptr_eq(&backend, &watched.backend) => {}
                Some(backend) => {
                    let former = std::mem::replace(&mut watched.backend, backend);
                    self.change(&port, &former, now, random);
                }
            }
        }
    }

    /// The next check, if one is to begin now.
    pub(super) fn begin(&mut self, now: Millis) -> Option<Task<P>> {
        if self.running >= MOST_AT_ONCE || now < self.rests {
            return None;
        }
        loop {
            let Reverse((at, id)) = *self.due.peek()?;
            let checked = self.endpoints.get_mut(&id).filter(|checked| checked.due == Some(at));
            let Some(checked) = checked else {
                self.due.pop();
                continue;
            };
            if at > now {
                return None;
            }
            let Some(watched) = self.watched.get_mut(&checked.port) else {
                self.due.pop();
                continue;
            };
            let Some(check) = watched.backend.settings().health_check.clone() else {
                self.due.pop();
                continue;
            };
            if watched.running >= MOST_OF_BACKEND {
                self.due.pop();
                checked.due = None;
                watched.waiting.push_back(id);
                continue;
            }
            if let Err(rests) = self.bucket.take(now) {
                self.rests = rests;
                return None;
            }
            self.due.pop();
            checked.due = None;
            let Some(place) = watched.places.next(now) else {
                // All its pods are gone. Another one may come before that is taken in.
                let again = Millis(now.0.saturating_add(LATE_MILLIS));
                (checked.due, checked.wanted) = (Some(again), again);
                self.due.push(Reverse((again, id)));
                continue;
            };
            watched.running += 1;
            self.running += 1;
            return Some(Task {
                port: Arc::clone(&checked.port),
                backend: Arc::clone(&watched.backend),
                endpoint: Arc::clone(&checked.endpoint),
                check,
                place,
                late: now.0.saturating_sub(checked.wanted.0) > LATE_MILLIS,
                begun: now,
                doubt: None,
            });
        }
    }

    /// When to ask for the next one; none before something else happens.
    pub(super) fn wakes(&self) -> Option<Millis> {
        let Reverse((at, _)) = self.due.peek()?;
        (self.running < MOST_AT_ONCE).then(|| (*at).max(self.rests))
    }

    /// A check has ended so.
    pub(super) fn finished(
        &mut self,
        mut task: Task<P>,
        outcome: &Outcome,
        now: Millis,
        random: &mut fastrand::Rng,
    ) -> Finished<P> {
        let mut finished = Finished { again: None, event: None, cut_off: None };
        let id = task.endpoint.id;
        if let Some(watched) = self.watched.get_mut(&task.port) {
            let from = task.place.key();
            if let Outcome::Unreached(_) | Outcome::Unasked(_) = outcome {
                // Of one that is out already it makes no difference.
                let doubts = task.doubt.is_none() && !task.endpoint.ill();
                if doubts && let Some(other) = watched.places.other(from, now) {
                    task.place = other;
                    task.doubt = Some(from);
                    finished.again = Some(task);
                    return finished;
                }
            } else {
                watched.places.reached(from);
                if let Some(doubt) = task.doubt {
                    finished.cut_off = watched.places.cut_off(doubt, now).then_some(doubt);
                }
            }
            watched.running = watched.running.saturating_sub(1);
            // Those that have left meanwhile are nobody's turn.
            let there = |id: &EndpointId| self.endpoints.contains_key(id);
            let next = std::iter::from_fn(|| watched.waiting.pop_front()).find(there);
            if let Some(next) = next {
                self.set(next, now);
            }
        }
        self.running = self.running.saturating_sub(1);
        let (Some(watched), Some(checked)) =
            (self.watched.get_mut(&task.port), self.endpoints.get_mut(&id))
        else {
            return finished;
        };
        let healthy = matches!(outcome, Outcome::Well | Outcome::Unfit(_));
        if !matches!(outcome, Outcome::Unasked(_)) {
            finished.event = watched.backend.checked(&task.endpoint, now, healthy);
        }
        let found_ill = finished.event.is_some_and(|e| matches!(e.change, Change::Ill { .. }));
        let was_known = checked.known;
        checked.known |= healthy || found_ill;
        let Some(pace) = watched.pace(self.nodes, now) else { return finished };
        let (next, is_known) = (&task.check, checked.known);
        let jitter = pace.interval / 100 * u64::from(next.jitter);
        let wait = match (was_known, is_known) {
            (_, false) => pace.soon,
            // All nodes have heard of it in the same moment: from here on each has its own.
            (false, true) => random.u64(0..=pace.interval),
            (true, true) => pace.interval + random.u64(0..=jitter),
        };
        let at = Millis(task.begun.0.saturating_add(wait)).max(now);
        checked.wanted = at;
        self.set(id, at);
        finished
    }

    /// Endpoints that have come with a new snapshot, or with its first use, are asked soon.
    fn schedule(&mut self, port: &Arc<Port>, now: Millis, random: &mut fastrand::Rng) {
        let Some(watched) = self.watched.get_mut(port) else { return };
        let Some(pace) = watched.pace(self.nodes, now) else { return };
        let mut new = Vec::new();
        for endpoint in watched.backend.endpoints() {
            let known = self.endpoints.contains_key(&endpoint.id);
            if !known {
                let at = Millis(now.0 + random.u64(0..pace.soon));
                let (endpoint, port) = (Arc::clone(endpoint), Arc::clone(port));
                let id = endpoint.id;
                let checked = Checked { endpoint, port, due: None, wanted: at, known: false };
                self.endpoints.insert(id, checked);
                new.push((id, at));
            }
        }
        // The only one, or the first of a few, need not wait.
        if let Some((id, at)) = new.iter_mut().min_by_key(|(_, at)| *at)
            && self.nodes <= 1
        {
            *at = now;
            if let Some(checked) = self.endpoints.get_mut(id) {
                checked.wanted = now;
            }
        }
        for (id, at) in new {
            self.set(id, at);
        }
    }

    fn change(
        &mut self,
        port: &Arc<Port>,
        former: &Backend,
        now: Millis,
        random: &mut fastrand::Rng,
    ) {
        let Some(watched) = self.watched.get(port) else { return };
        let here: HashSet<EndpointId> = watched.backend.endpoints().iter().map(|e| e.id).collect();
        let other_check = former.settings().health_check != watched.backend.settings().health_check;
        for endpoint in former.endpoints() {
            // Under another check all begin anew.
            if other_check || !here.contains(&endpoint.id) {
                self.endpoints.remove(&endpoint.id);
            }
        }
        self.schedule(port, now, random);
    }

    fn forget(&mut self, port: &Arc<Port>, now: Millis) {
        let Some(watched) = self.watched.remove(port) else { return };
        for endpoint in watched.backend.endpoints() {
            self.endpoints.remove(&endpoint.id);
        }
        watched.backend.unchecked(now);
    }

    fn set(&mut self, id: EndpointId, at: Millis) {
        if let Some(checked) = self.endpoints.get_mut(&id) {
            checked.due = Some(at);
            self.due.push(Reverse((at, id)));
        }
    }
}

// === impl Watched ===

impl<P> Watched<P> {
    fn pace(&mut self, nodes: usize, now: Millis) -> Option<Pace> {
        let check = self.backend.settings().health_check.as_ref()?;
        let endpoints = self.backend.endpoints().len().max(1) as u64;
        let requests = self.requests.per_second(now) / endpoints;
        Some(Pace::new(check.interval, nodes, requests))
    }
}

#[cfg(test)]
mod tests;
