//! Which endpoint is asked next, when and from where, and what its answers come to.
//!
//! Sees no socket and no clock: time, chance and answers are arguments.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use nodeway_core::balance::{Change, Endpoint, EndpointId, HealthEvent, Millis};
use nodeway_core::model::{HealthCheck, ObjectName};
use nodeway_core::snapshot::Backend;

use super::Outcome;
use super::pace::{Bucket, Pace, Rate};
use super::places::{CLIENT_FOR_MILLIS, Places, Spot};

/// Checks under way at once, of all backends,
const MOST_AT_ONCE: usize = 256;
/// and of one: silent endpoints keep a check for all of its timeout, and must not use up the others' share.
const MOST_OF_BACKEND: usize = 64;
/// Of one among however many.
const LEAST_OF_BACKEND: usize = 4;
/// Checks that may take longer than this
const LONG: Duration = Duration::from_secs(10);
/// are so many at most: all others end soon, whoever is silent.
const MOST_LONG: usize = MOST_AT_ONCE / 2;
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
    /// Of these, how many may take long.
    long: usize,
    /// Due, and too many that take long are running.
    waiting: VecDeque<EndpointId>,
    nodes: usize,
    /// How many endpoints have come to be checked so far.
    came: u64,
}

/// A backend whose endpoints are checked.
#[derive(Debug)]
struct Watched<P> {
    /// As it is in the newest snapshot that has been looked at. The port's backend for external addresses, if it
    /// has one and that is in use: it has the other one's endpoints too.
    backend: Arc<Backend>,
    /// When somebody last used the port by an external address, where that makes a difference.
    external: Option<Millis>,
    places: Places<P>,
    requests: Rate,
    running: usize,
    /// Due, and too many of their kind are running.
    waiting: VecDeque<EndpointId>,
}

/// An endpoint that is checked.
#[derive(Debug)]
struct Checked {
    /// No other's: checks that began before it came, or as the policy was then, are none of its.
    number: u64,
    endpoint: Arc<Endpoint>,
    port: Arc<Port>,
    /// When its turn is; none while it is running or waiting.
    due: Option<Millis>,
    /// When its turn should have been.
    wanted: Millis,
    /// Whether it has been found well or ill since it has been here.
    known: bool,
    /// From where it was reached last, unless it was not any more.
    reached: Option<u64>,
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
    number: u64,
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
            long: 0,
            waiting: VecDeque::new(),
            nodes: 1,
            came: 0,
        }
    }

    /// Whether there is nothing to do until somebody uses something.
    pub(super) fn is_idle(&self) -> bool {
        self.watched.is_empty()
    }

    /// Who lives at `place` has sent so many requests to a backend that is `found` so in the snapshot in force;
    /// whether it is the port's other one, for external addresses.
    pub(super) fn used(
        &mut self,
        port: Port,
        (found, external): (Option<&Arc<Backend>>, bool),
        (place, requests): (P, u32),
        now: Millis,
        random: &mut fastrand::Rng,
    ) {
        if let Some(watched) = self.watched.get_mut(&port) {
            watched.places.used(place, now);
            watched.requests.add(requests, now);
            if !external {
                return;
            }
            let begins = !watched.is_external(now);
            watched.external = Some(now);
            if let Some(backend) = found.filter(|_| begins).filter(is_checked) {
                self.becomes(&port, backend, now, random);
            }
            return;
        }
        let Some(backend) = found.filter(is_checked) else { return };
        let mut places = Places::new();
        places.used(place, now);
        let mut rate = Rate::new(now);
        rate.add(requests, now);
        let port = Arc::new(port);
        let watched = Watched {
            backend: Arc::clone(backend),
            external: external.then_some(now),
            places,
            requests: rate,
            running: 0,
            waiting: VecDeque::new(),
        };
        self.watched.insert(Arc::clone(&port), watched);
        self.schedule(&port, now, random);
    }

    /// Brings all in line with the snapshot in force, in which backends are found by `find` (for external
    /// addresses, if these are in use), of a cluster of so many nodes. Backends that nobody uses any more are forgotten.
    pub(super) fn refresh(
        &mut self,
        nodes: usize,
        find: impl Fn(&Port, bool) -> Option<Arc<Backend>>,
        now: Millis,
        random: &mut fastrand::Rng,
    ) {
        self.nodes = nodes;
        let ports: Vec<Arc<Port>> = self.watched.keys().cloned().collect();
        for port in ports {
            let Some(watched) = self.watched.get_mut(&port) else { continue };
            let found = find(&port, watched.is_external(now));
            let found = found.as_ref().filter(is_checked);
            match found.filter(|_| watched.places.sweep(now)) {
                None => self.forget(&port, now),
                Some(backend) => self.becomes(&port, backend, now, random),
            }
        }
    }

    /// This is what is checked at a port from now on.
    fn becomes(
        &mut self,
        port: &Port,
        backend: &Arc<Backend>,
        now: Millis,
        random: &mut fastrand::Rng,
    ) {
        let Some(key) = self.watched.get_key_value(port).map(|(key, _)| Arc::clone(key)) else {
            return;
        };
        if let Some(watched) = self.watched.get_mut(&key)
            && !Arc::ptr_eq(backend, &watched.backend)
        {
            let former = std::mem::replace(&mut watched.backend, Arc::clone(backend));
            self.change(&key, &former, now, random);
        }
    }

    /// The backend that is checked at this port.
    pub(super) fn backend(&self, port: &Port) -> Option<&Arc<Backend>> {
        self.watched.get(port).map(|watched| &watched.backend)
    }

    /// The next check, if one is to begin now.
    pub(super) fn begin(&mut self, now: Millis) -> Option<Task<P>> {
        if self.running >= MOST_AT_ONCE || now < self.rests {
            return None;
        }
        let backends = self.watched.len();
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
            let long = is_long(&check);
            if watched.running >= most_of_backend(backends, long) {
                self.due.pop();
                checked.due = None;
                watched.waiting.push_back(id);
                continue;
            }
            if long && self.long >= MOST_LONG {
                self.due.pop();
                checked.due = None;
                self.waiting.push_back(id);
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
            self.long += usize::from(long);
            return Some(Task {
                port: Arc::clone(&checked.port),
                backend: Arc::clone(&watched.backend),
                endpoint: Arc::clone(&checked.endpoint),
                check,
                place,
                late: now.0.saturating_sub(checked.wanted.0) > LATE_MILLIS,
                number: checked.number,
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
        let is_of = |checked: &&mut Checked| checked.number == task.number;
        if let (Some(watched), Some(checked)) =
            (self.watched.get_mut(&task.port), self.endpoints.get_mut(&id).filter(is_of))
        {
            let from = task.place.key();
            if let Outcome::Unreached(_) | Outcome::Unasked(_) = outcome {
                if task.doubt.is_none()
                    && let Some(other) = watched.doubts(checked, from, now)
                {
                    self.bucket.owe(now);
                    task.place = other;
                    task.doubt = Some(from);
                    finished.again = Some(task);
                    return finished;
                }
                checked.reached = checked.reached.filter(|reached| *reached != from);
            } else {
                checked.reached = Some(from);
                watched.places.reached(from);
                if let Some(doubt) = task.doubt {
                    finished.cut_off = watched.places.cut_off(doubt, now).then_some(doubt);
                }
            }
        }
        self.make_room(&task, now);
        let (Some(watched), Some(checked)) =
            (self.watched.get_mut(&task.port), self.endpoints.get_mut(&id).filter(is_of))
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

    /// A check has ended: of those that wait, some may begin.
    fn make_room(&mut self, ended: &Task<P>, now: Millis) {
        self.running = self.running.saturating_sub(1);
        let (mut next, backends) = (Vec::new(), self.watched.len());
        // Those that have left meanwhile are nobody's turn.
        let there = |id: &EndpointId| self.endpoints.contains_key(id);
        let key = self.watched.get_key_value(&ended.port).map(|(port, _)| port);
        if key.is_some_and(|port| Arc::ptr_eq(port, &ended.port))
            && let Some(watched) = self.watched.get_mut(&ended.port)
        {
            watched.running = watched.running.saturating_sub(1);
            let check = watched.backend.settings().health_check.as_ref();
            let most = most_of_backend(backends, check.is_some_and(is_long));
            let free = most.saturating_sub(watched.running);
            let waiting = std::iter::from_fn(|| watched.waiting.pop_front());
            next.extend(waiting.filter(there).take(free));
        }
        if is_long(&ended.check) {
            self.long = self.long.saturating_sub(1);
            next.extend(std::iter::from_fn(|| self.waiting.pop_front()).find(there));
        }
        // Before those that are due only now.
        for id in next {
            let wanted = self.endpoints.get(&id).map_or(now, |checked| checked.wanted);
            self.set(id, wanted.min(now));
        }
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
                self.came += 1;
                let (number, due, wanted) = (self.came, None, at);
                let (known, reached) = (false, None);
                let checked = Checked { number, endpoint, port, due, wanted, known, reached };
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
        let Some(watched) = self.watched.get_mut(port) else { return };
        let here: HashSet<EndpointId> = watched.backend.endpoints().iter().map(|e| e.id).collect();
        let other_check = former.settings().health_check != watched.backend.settings().health_check;
        for endpoint in former.endpoints() {
            // Under another check all begin anew.
            if other_check || !here.contains(&endpoint.id) {
                self.endpoints.remove(&endpoint.id);
            }
        }
        // Whoever comes back has not been asked.
        former.unchecked(now, |endpoint| !here.contains(&endpoint.id));
        watched.waiting.retain(|id| self.endpoints.contains_key(id));
        self.waiting.retain(|id| self.endpoints.contains_key(id));
        self.schedule(port, now, random);
    }

    fn forget(&mut self, port: &Arc<Port>, now: Millis) {
        let Some(watched) = self.watched.remove(port) else { return };
        for endpoint in watched.backend.endpoints() {
            self.endpoints.remove(&endpoint.id);
        }
        self.waiting.retain(|id| self.endpoints.contains_key(id));
        watched.backend.unchecked(now, |_| true);
    }

    fn set(&mut self, id: EndpointId, at: Millis) {
        if let Some(checked) = self.endpoints.get_mut(&id) {
            checked.due = Some(at);
            self.due.push(Reverse((at, id)));
        }
    }
}

// === impl Watched ===

impl<P: Spot> Watched<P> {
    /// Whether external addresses of the port are in use, and lead to endpoints of their own.
    fn is_external(&self, now: Millis) -> bool {
        self.external.is_some_and(|used| now.0.saturating_sub(used.0) < CLIENT_FOR_MILLIS)
    }

    /// From where else an endpoint is to be asked that was not reached.
    fn doubts(&mut self, checked: &Checked, from: u64, now: Millis) -> Option<P> {
        // Who has reached it knows best, also of one that is out: or those that never could would keep it out.
        let reached = checked.reached.filter(|reached| *reached != from);
        let known = reached.and_then(|reached| self.places.at(reached));
        // Else it makes no difference to one that is out.
        known.or_else(|| (!checked.endpoint.ill()).then(|| self.places.other(from, now)).flatten())
    }

    fn pace(&mut self, nodes: usize, now: Millis) -> Option<Pace> {
        let check = self.backend.settings().health_check.as_ref()?;
        let endpoints = self.backend.endpoints().len().max(1) as u64;
        let requests = self.requests.per_second(now) / endpoints;
        Some(Pace::new(check.interval, nodes, requests))
    }
}

/// How many checks of one backend may be under way: were so many of as many backends as there are silent,
/// there would still be room for another one.
fn most_of_backend(backends: usize, long: bool) -> usize {
    let most = MOST_AT_ONCE / (backends + 1);
    let most = most.clamp(LEAST_OF_BACKEND, MOST_OF_BACKEND);
    if long { most / 2 } else { most }
}

fn is_checked(backend: &&Arc<Backend>) -> bool {
    backend.settings().health_check.is_some()
}

fn is_long(check: &HealthCheck) -> bool {
    check.timeout > LONG
}

#[cfg(test)]
mod tests;
