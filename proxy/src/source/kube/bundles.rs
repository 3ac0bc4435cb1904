//! The ConfigMaps that BackendTLSPolicies name: each is watched alone, as long as one names it.
//!
//! Not all ConfigMaps: a cluster has thousands, of up to a megabyte, that have nothing to do with TLS.
//! A policy is not told before it is known what its ConfigMaps hold, or that they are not there: nobody
//! is refused a request because one listing came before another. Until then its former version is in
//! force, with what that one names; a policy that has none does not wait for ever: its targets would be
//! spoken to in the clear.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use nodeway_core::model::{Change, Kind, Object, ObjectName};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::access::Access;
use super::objects::{Objects, Said};
use super::resource::{Only, Resource};
use super::watch::{Update, Watch};

/// Those that are to be watched: a number each, that no other watch has had.
pub(super) type Wanted = BTreeMap<ObjectName, u64>;

/// What is named, and what is known. Pure.
#[derive(Debug, Default)]
pub(super) struct Bundles {
    /// By policy that was told: what that version names.
    named: HashMap<ObjectName, Vec<ObjectName>>,
    wanted: Wanted,
    known: HashSet<ObjectName>,
    /// Policies that wait for their ConfigMaps.
    held: BTreeMap<ObjectName, Held>,
    last_number: u64,
}

#[derive(Debug)]
struct Held {
    policy: Object,
    bundles: Vec<ObjectName>,
    /// How often it was asked whether it has waited enough.
    asked: u8,
}

/// Starts and ends the watches.
pub(super) struct Watches {
    pub(super) wanted: watch::Receiver<Wanted>,
    pub(super) access: Rc<Access>,
    pub(super) streaming: Rc<Cell<bool>>,
    pub(super) updates: mpsc::Sender<Update<Said>>,
}

// === impl Bundles ===

impl Bundles {
    /// Those that are to be watched.
    pub(super) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Whether this is what a watch says that goes on.
    pub(super) fn wants(&self, only: &Only) -> bool {
        self.wanted.get(&only.name) == Some(&only.number)
    }

    /// Whether a policy waits of which nothing is in force.
    pub(super) fn holds(&self) -> bool {
        self.held.keys().any(|name| !self.named.contains_key(name))
    }

    /// Takes a change of a policy in: what is to be told now.
    pub(super) fn take(&mut self, change: Change) -> Vec<Change> {
        let mut told = Vec::new();
        match change {
            Change::Apply(Object::TlsPolicy(policy)) => {
                let name = policy.name.clone();
                let bundles: Vec<ObjectName> = policy.bundles().cloned().collect();
                let asked = self.held.get(&name).map_or(0, |held| held.asked);
                let ready = bundles.iter().all(|bundle| self.known.contains(bundle));
                let held = Held { policy: Object::TlsPolicy(policy), bundles, asked };
                self.held.insert(name.clone(), held);
                if ready {
                    self.tell(&name, &mut told);
                }
            }
            Change::Delete(Kind::BackendTlsPolicy, name) => {
                self.named.remove(&name);
                self.held.remove(&name);
                told.push(Change::Delete(Kind::BackendTlsPolicy, name));
            }
            other => return vec![other],
        }
        self.want(&mut told);
        told
    }

    /// It is known what the ConfigMap holds, or that it is not there: what is to be told now.
    pub(super) fn found(&mut self, bundle: &ObjectName) -> Vec<Change> {
        if !self.known.insert(bundle.clone()) {
            return Vec::new();
        }
        let ready = |held: &Held| held.bundles.iter().all(|bundle| self.known.contains(bundle));
        let names = self.held.iter().filter(|(_, held)| ready(held));
        self.release(names.map(|(name, _)| name.clone()).collect())
    }

    /// Asked from time to time: what is to be told of policies that have waited for a whole turn, and
    /// of which nothing is in force. What they name counts as not there.
    pub(super) fn overdue(&mut self) -> Vec<Change> {
        for held in self.held.values_mut() {
            held.asked = held.asked.saturating_add(1);
        }
        let late =
            |(name, held): &(&ObjectName, &Held)| held.asked > 1 && !self.named.contains_key(*name);
        let names = self.held.iter().filter(late);
        self.release(names.map(|(name, _)| name.clone()).collect())
    }

    /// The policies first: what they named before is needed until then.
    fn release(&mut self, policies: Vec<ObjectName>) -> Vec<Change> {
        let mut told = Vec::new();
        for policy in &policies {
            self.tell(policy, &mut told);
        }
        self.want(&mut told);
        told
    }

    fn tell(&mut self, policy: &ObjectName, told: &mut Vec<Change>) {
        if let Some(held) = self.held.remove(policy) {
            self.named.insert(policy.clone(), held.bundles);
            told.push(Change::Apply(held.policy));
        }
    }

    /// Wants what is named; what is not named any more is forgotten.
    fn want(&mut self, told: &mut Vec<Change>) {
        let held = self.held.values().flat_map(|held| &held.bundles);
        let named: HashSet<&ObjectName> = self.named.values().flatten().chain(held).collect();
        let Self { wanted, known, last_number, .. } = self;
        wanted.retain(|name, _| {
            let kept = named.contains(name);
            if !kept && known.remove(name) {
                told.push(Change::Delete(Kind::ConfigMap, name.clone()));
            }
            kept
        });
        for name in named {
            if !wanted.contains_key(name) {
                *last_number += 1;
                wanted.insert(name.clone(), *last_number);
            }
        }
    }
}

// === impl Watches ===

impl Watches {
    /// Goes on until nobody wants anything any more.
    pub(super) async fn run(mut self) {
        let mut tasks = JoinSet::new();
        let mut running: HashMap<ObjectName, (u64, AbortHandle)> = HashMap::new();
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            running.retain(|name, (number, task)| {
                let kept = wanted.get(name) == Some(number);
                if !kept {
                    task.abort();
                }
                kept
            });
            for (name, number) in wanted {
                let begin = || {
                    let only = Only { name: name.clone(), number };
                    let resource = Resource::of(Kind::ConfigMap).only(only);
                    let (access, streaming) = (Rc::clone(&self.access), Rc::clone(&self.streaming));
                    let objects = Objects::new(Kind::ConfigMap);
                    let updates = self.updates.clone();
                    let watch = Watch::new(resource, access, streaming, updates, objects);
                    (number, tasks.spawn_local(watch.run()))
                };
                running.entry(name.clone()).or_insert_with(begin);
            }
            while tasks.try_join_next().is_some() {}
            if self.wanted.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nodeway_core::model::{TlsPolicy, TlsValidation, Trust};

    use super::*;

    fn name(name: &str) -> ObjectName {
        ObjectName::new("shop", name)
    }

    fn policy(of: &str, bundles: &[&str]) -> Change {
        let bundles = bundles.iter().map(|bundle| Ok(name(bundle))).collect();
        Change::Apply(Object::TlsPolicy(TlsPolicy {
            name: name(of),
            generation: 1,
            created: None,
            targets: Vec::new(),
            settings: Ok(Arc::new(TlsValidation {
                trust: Trust::Bundles(bundles),
                hostname: "web".into(),
                names: [].into(),
            })),
        }))
    }

    fn wanted(bundles: &Bundles) -> Vec<String> {
        bundles.wanted().keys().map(|name| name.name.to_string()).collect()
    }

    #[test]
    fn a_policy_waits_until_its_config_maps_are_known() {
        let mut bundles = Bundles::default();
        assert!(bundles.take(policy("p", &["a", "b"])).is_empty());
        assert!(bundles.holds());
        assert_eq!(wanted(&bundles), ["a", "b"]);
        assert!(bundles.found(&name("a")).is_empty());
        assert_eq!(bundles.found(&name("b")), [policy("p", &["a", "b"])]);
        assert!(!bundles.holds());
        // What is known already need not be waited for; the last word counts.
        assert_eq!(bundles.take(policy("q", &["b"])), [policy("q", &["b"])]);
        assert!(bundles.take(policy("q", &["c"])).is_empty());
        assert_eq!(bundles.take(policy("q", &["b"])), [policy("q", &["b"])]);
        assert!(!bundles.holds());
    }

    #[test]
    fn what_a_policy_named_before_is_known_until_the_new_one_is_told() {
        let mut bundles = Bundles::default();
        bundles.take(policy("p", &["a"]));
        assert_eq!(bundles.found(&name("a")), [policy("p", &["a"])]);
        assert!(bundles.take(policy("p", &["c"])).is_empty());
        assert_eq!(wanted(&bundles), ["a", "c"]);
        // It does not hurry either: its former version is in force.
        assert!(!bundles.holds());
        assert!((0..3).all(|_| bundles.overdue().is_empty()));
        let gone = Change::Delete(Kind::ConfigMap, name("a"));
        assert_eq!(bundles.found(&name("c")), [policy("p", &["c"]), gone]);
        assert_eq!(wanted(&bundles), ["c"]);
    }

    #[test]
    fn a_new_policy_does_not_wait_for_ever() {
        let mut bundles = Bundles::default();
        assert!(bundles.take(policy("p", &["a"])).is_empty());
        assert!(bundles.overdue().is_empty());
        // To write it again and again does not put it off.
        assert!(bundles.take(policy("p", &["a", "b"])).is_empty());
        assert_eq!(bundles.overdue(), [policy("p", &["a", "b"])]);
        assert!(!bundles.holds());
        assert_eq!(wanted(&bundles), ["a", "b"], "they may still come");
    }

    #[test]
    fn what_nobody_names_any_more_is_forgotten() {
        let mut bundles = Bundles::default();
        bundles.take(policy("p", &["a"]));
        bundles.take(policy("q", &["a"]));
        let first = Only { name: name("a"), number: bundles.wanted()[&name("a")] };
        bundles.found(&name("a"));
        let gone = |of: &str| Change::Delete(Kind::BackendTlsPolicy, name(of));
        assert_eq!(bundles.take(gone("p")), [gone("p")]);
        assert_eq!(
            bundles.take(gone("q")),
            [gone("q"), Change::Delete(Kind::ConfigMap, name("a"))]
        );
        assert!(wanted(&bundles).is_empty());
        // Another watch: what the first one may still say is not heard.
        assert!(bundles.take(policy("p", &["a"])).is_empty());
        assert!(!bundles.wants(&first));
        assert_eq!(bundles.take(gone("p")), [gone("p")]);
        assert!(!bundles.holds());
    }
}
