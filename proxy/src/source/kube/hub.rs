//! All kinds put together: the first event holds the first full state.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use nodeway_core::model::{Change, Kind, ObjectName};
use tokio::sync::mpsc;

use super::objects::Said;
use super::watch::{State, Update};
use crate::source::{Event, Health, Problem};

/// Updates taken at once, at most.
const AT_ONCE: usize = 64;

/// See the module.
pub(super) struct Hub {
    health: Arc<Health>,
    /// Kinds of which not all is known yet.
    waiting: HashSet<Kind>,
    /// Kinds without a connection.
    away: HashMap<Kind, String>,
    changes: Vec<Change>,
    /// By kind and object; a watch's own under no name.
    problems: BTreeMap<(Kind, Option<ObjectName>), Vec<Problem>>,
    problems_changed: bool,
    /// Whether the first event has been sent.
    begun: bool,
}

// === impl Hub ===

impl Hub {
    pub(super) fn new(kinds: impl Iterator<Item = Kind>, health: Arc<Health>) -> Self {
        Self {
            health,
            waiting: kinds.collect(),
            away: HashMap::new(),
            changes: Vec::new(),
            problems: BTreeMap::new(),
            problems_changed: false,
            begun: false,
        }
    }

    /// Goes on until nobody listens.
    pub(super) async fn run(
        mut self,
        mut updates: mpsc::Receiver<Update<Said>>,
        events: mpsc::Sender<Event>,
    ) {
        let mut taken = Vec::new();
        loop {
            tokio::select! {
                n = updates.recv_many(&mut taken, AT_ONCE) => if n == 0 { return },
                () = events.closed() => return,
            }
            for update in taken.drain(..) {
                self.take(update);
            }
            let news = !self.begun || !self.changes.is_empty() || self.problems_changed;
            if !self.waiting.is_empty() || !news {
                continue;
            }
            self.begun = true;
            let changed = std::mem::take(&mut self.problems_changed);
            let problems = changed.then(|| self.problems.values().flatten().cloned().collect());
            let event = Event { changes: std::mem::take(&mut self.changes), problems };
            if events.send(event).await.is_err() {
                return;
            }
        }
    }

    fn take(&mut self, Update { kind, said, state }: Update<Said>) {
        self.changes.extend(said.changes);
        for (name, problems) in said.problems {
            self.tell((kind, Some(name)), problems);
        }
        let forbidden = match state {
            State::Listing => return,
            // Whether it is allowed cannot be known now.
            State::Away(why) => return self.lost(kind, why),
            State::Forbidden(message) => vec![Problem::of_kind(kind, message)],
            State::Current | State::Absent => Vec::new(),
        };
        self.waiting.remove(&kind);
        self.found(kind);
        self.tell((kind, None), forbidden);
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

    fn lost(&mut self, kind: Kind, why: String) {
        if self.away.is_empty() {
            let state =
                if self.begun { "what is known stays in force" } else { "nothing is in force yet" };
            tracing::warn!(%kind, why, "the Kubernetes API cannot be reached: {state}");
        }
        self.away.insert(kind, why);
        self.health.lost();
    }

    fn found(&mut self, kind: Kind) {
        let was_away = self.away.remove(&kind).is_some();
        if self.away.is_empty() && self.waiting.is_empty() {
            let age = self.health.found();
            if was_away {
                tracing::info!(after = ?age, "the Kubernetes API is back, and the state is current");
            }
        }
    }
}
