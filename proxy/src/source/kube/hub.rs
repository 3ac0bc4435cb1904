//! All kinds put together: the first event holds the first full state.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use nodeway_core::model::{Change, Kind, Object, ObjectName, RefusedRoute};
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::bundles::{Bundles, Wanted};
use super::objects::Said;
use super::resource::Only;
use super::watch::{State, Update};
use crate::source::{Event, Health, Problem};

/// Updates taken at once, at most.
const AT_ONCE: usize = 64;
/// A new policy waits for its ConfigMaps for one to two of these.
const PATIENCE: Duration = Duration::from_millis(2500);

/// See the module.
pub(super) struct Hub {
    health: Arc<Health>,
    bundles: Bundles,
    /// The way to tell which are to be watched.
    wanted: watch::Sender<Wanted>,
    /// Kinds of which not all is known yet.
    waiting: HashSet<Kind>,
    /// Kinds of which there may be news that is not known.
    behind: HashSet<(Kind, Option<Only>)>,
    /// Whether it was told that the API cannot be reached.
    away: bool,
    /// What has changed since the first event.
    changes: Vec<Change>,
    /// What that one is to hold; nothing once it has been sent.
    first: BTreeMap<(Kind, ObjectName), First>,
    /// By kind and object; a watch's own under no name.
    problems: BTreeMap<(Kind, Option<ObjectName>), Vec<Problem>>,
    problems_changed: bool,
    /// Whether the first event has been sent.
    begun: bool,
}

/// An object, before the first event: only how it is in the end is told, or else a listing that never ends
/// would fill the memory.
#[derive(Debug, Default)]
struct First {
    /// As it was good last.
    good: Option<Object>,
    /// As it is now, if that is not good.
    refused: Option<RefusedRoute>,
}

// === impl First ===

impl First {
    fn changes(self) -> impl Iterator<Item = Change> {
        let good = self.good.map(Change::Apply);
        good.into_iter().chain(self.refused.map(Change::Refuse))
    }
}

// === impl Hub ===

impl Hub {
    /// Also which ConfigMaps are to be watched.
    pub(super) fn new(
        kinds: impl Iterator<Item = Kind>,
        health: Arc<Health>,
    ) -> (Self, watch::Receiver<Wanted>) {
        let (wanted, receiver) = watch::channel(Wanted::new());
        let hub = Self {
            health,
            bundles: Bundles::default(),
            wanted,
            waiting: kinds.collect(),
            behind: HashSet::new(),
            away: false,
            changes: Vec::new(),
            first: BTreeMap::new(),
            problems: BTreeMap::new(),
            problems_changed: false,
            begun: false,
        };
        (hub, receiver)
    }

    /// Goes on until nobody listens.
    pub(super) async fn run(
        mut self,
        mut updates: mpsc::Receiver<Update<Said>>,
        events: mpsc::Sender<Event>,
    ) {
        let mut taken = Vec::new();
        let mut patience: Option<Interval> = None;
        loop {
            tokio::select! {
                n = updates.recv_many(&mut taken, AT_ONCE) => if n == 0 { return },
                () = events.closed() => return,
                () = passes(&mut patience) => self.overdue(),
            }
            for update in taken.drain(..) {
                self.take(update);
            }
            if !self.bundles.holds() {
                patience = None;
            } else if patience.is_none() {
                let mut begun = interval(PATIENCE);
                begun.set_missed_tick_behavior(MissedTickBehavior::Delay);
                begun.reset();
                patience = Some(begun);
            }
            if let Some(event) = self.event()
                && events.send(event).await.is_err()
            {
                return;
            }
        }
    }

    /// What there is to tell.
    fn event(&mut self) -> Option<Event> {
        let news = !self.begun || !self.changes.is_empty() || self.problems_changed;
        let waiting = !self.waiting.is_empty() || !self.begun && self.bundles.holds();
        if waiting || !news {
            return None;
        }
        self.begun = true;
        let first = std::mem::take(&mut self.first).into_values().flat_map(First::changes);
        let changes = first.chain(std::mem::take(&mut self.changes)).collect();
        let changed = std::mem::take(&mut self.problems_changed);
        let problems = changed.then(|| self.problems.values().flatten().cloned().collect());
        Some(Event { changes, problems })
    }

    fn take(&mut self, Update { kind, only, said, state }: Update<Said>) {
        if only.as_ref().is_some_and(|only| !self.bundles.wants(only)) {
            // Nobody names it any more.
            return;
        }
        for change in said.changes {
            let told = self.bundles.take(change);
            self.change(told);
        }
        for (name, problems) in said.problems {
            self.tell((kind, Some(name)), problems);
        }
        self.follow_bundles();
        let forbidden = match state {
            State::Listing => return,
            State::Behind => return self.lost((kind, only)),
            // Whether it is allowed cannot be known now.
            State::Away(why) => {
                self.away(kind, &why);
                return self.lost((kind, only));
            }
            State::Forbidden(message) => vec![Problem::of_kind(kind, message)],
            State::Current | State::Absent => Vec::new(),
        };
        let name = only.as_ref().map(|only| only.name.clone());
        match &name {
            None => _ = self.waiting.remove(&kind),
            Some(name) => {
                let told = self.bundles.found(name);
                self.change(told);
            }
        }
        self.found((kind, only));
        self.tell((kind, name), forbidden);
        self.follow_bundles();
    }

    /// Policies have waited for their ConfigMaps: they are in force without.
    fn overdue(&mut self) {
        let told = self.bundles.overdue();
        self.change(told);
        self.follow_bundles();
    }

    fn change(&mut self, changes: Vec<Change>) {
        for change in changes {
            if self.begun {
                self.changes.push(change);
            } else {
                self.begin_with(change);
            }
        }
    }

    /// If other ConfigMaps are named than before: what was said of those that are not is over.
    fn follow_bundles(&mut self) {
        if self.bundles.wanted() == &*self.wanted.borrow() {
            return;
        }
        let wanted = self.bundles.wanted().clone();
        let over = |name: &ObjectName| !wanted.contains_key(name);
        let before = self.problems.len();
        self.problems
            .retain(|(kind, name), _| *kind != Kind::ConfigMap || !name.as_ref().is_some_and(over));
        self.problems_changed |= self.problems.len() != before;
        let bundles = &self.bundles;
        self.behind.retain(|(_, only)| only.as_ref().is_none_or(|only| bundles.wants(only)));
        self.wanted.send_replace(wanted);
    }

    fn tell(&mut self, whose: (Kind, Option<ObjectName>), problems: Vec<Problem>) {
        if self.problems.get(&whose).map_or(&[][..], Vec::as_slice) == problems {
            return;
        }
        self.problems_changed = true;
        if problems.is_empty() {
            self.problems.remove(&whose);
        } else {
            self.problems.insert(whose, problems);
        }
    }

    fn begin_with(&mut self, change: Change) {
        match change {
            Change::Apply(object) => {
                let (kind, name) = object.key();
                let key = (kind, name.clone());
                self.first.insert(key, First { good: Some(object), refused: None });
            }
            Change::Delete(kind, name) => _ = self.first.remove(&(kind, name)),
            Change::Refuse(route) => {
                let key = (route.kind, route.name.clone());
                self.first.entry(key).or_default().refused = Some(route);
            }
        }
    }

    fn away(&mut self, kind: Kind, why: &str) {
        if !std::mem::replace(&mut self.away, true) {
            let state =
                if self.begun { "what is known stays in force" } else { "nothing is in force yet" };
            tracing::warn!(%kind, why, "the Kubernetes API cannot be reached: {state}");
        }
    }

    fn lost(&mut self, what: (Kind, Option<Only>)) {
        self.behind.insert(what);
        self.health.lost();
    }

    fn found(&mut self, what: (Kind, Option<Only>)) {
        self.behind.remove(&what);
        if self.behind.is_empty() && self.waiting.is_empty() {
            let age = self.health.found();
            if std::mem::take(&mut self.away) {
                tracing::info!(after = ?age, "the Kubernetes API is back, and the state is current");
            }
        }
    }
}

/// The next tick, if there is one.
async fn passes(patience: &mut Option<Interval>) {
    match patience {
        Some(patience) => _ = patience.tick().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use nodeway_core::model::{Route, Rules};

    use super::*;

    fn name(name: &str) -> ObjectName {
        ObjectName::new("shop", name)
    }

    fn good(route: &str, generation: i64) -> Change {
        let (kind, name) = (Kind::HttpRoute, name(route));
        let (parents, rules) = (Vec::new(), Rules::Http(Vec::new()));
        Change::Apply(Object::Route(Route {
            kind,
            name,
            generation,
            created: None,
            parents,
            rules,
        }))
    }

    fn refused(route: &str, generation: i64) -> Change {
        let (kind, name, parents) = (Kind::HttpRoute, name(route), Vec::new());
        Change::Refuse(RefusedRoute { kind, name, generation, parents, message: "bad".into() })
    }

    fn update(changes: Vec<Change>, state: State) -> Update<Said> {
        let said = Said { changes, problems: Vec::new() };
        Update { kind: Kind::HttpRoute, only: None, said, state }
    }

    #[test]
    fn what_changes_before_the_first_event_is_kept_as_it_is_last() {
        let health = Arc::new(Health::new());
        let (mut hub, _wanted) = Hub::new([Kind::HttpRoute, Kind::Service].into_iter(), health);
        hub.take(update(Vec::new(), State::Current));
        let gone = || Change::Delete(Kind::HttpRoute, name("gone"));
        for i in 0..1000 {
            let changes = vec![
                refused("refused", i),
                refused("mended", i),
                good("mended", i),
                good("broken", i),
                refused("broken", i),
                good("gone", i),
                gone(),
            ];
            hub.take(update(changes, State::Current));
            assert!(hub.changes.is_empty() && hub.first.len() == 3, "{i}: {:?}", hub.first);
            assert!(hub.event().is_none(), "there is another kind");
        }
        let service = Said::default();
        hub.take(Update { kind: Kind::Service, only: None, said: service, state: State::Current });
        let first = hub.event().unwrap().changes;
        let wanted = [
            good("broken", 999),
            refused("broken", 999),
            good("mended", 999),
            refused("refused", 999),
        ];
        assert_eq!(format!("{first:?}"), format!("{wanted:?}"));
        // From then on all is told, in its order.
        hub.take(update(vec![good("late", 1), gone()], State::Current));
        assert_eq!(hub.event().unwrap().changes.len(), 2);
    }
}
