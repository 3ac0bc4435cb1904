//! What is wrong with objects, as the source and the compiler say it: what of it is news. Pure.
//!
//! Not what a route's conditions say: that is told when they are written, once a cluster and not once a
//! leader.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nodeway_core::model::{Kind, ObjectName};
use nodeway_core::snapshot::{self, NotAccepted, PolicyFault, Snapshot};

use super::Input;
use super::notice::{Notice, Subject, Tone};
use crate::source::Problem;

/// Whose objects are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// What each node alone knows: itself and its pods.
    Node,
    /// All the rest, by the leader.
    Cluster,
}

/// A reason, and what is wrong.
type Said = BTreeSet<(&'static str, String)>;

/// See the module.
#[derive(Debug)]
pub(super) struct Troubles {
    scope: Scope,
    standing: BTreeMap<(Kind, ObjectName), Said>,
    /// What was looked at last, of the source and of the compiler; not the snapshot, which would be kept
    /// for as long as nothing else is wrong.
    seen: Option<(Arc<[Problem]>, Vec<snapshot::Problem>)>,
}

// === impl Troubles ===

impl Troubles {
    pub(super) fn new(scope: Scope) -> Self {
        Self { scope, standing: BTreeMap::new(), seen: None }
    }

    /// What is news.
    pub(super) fn now(&mut self, input: &Input) -> Vec<Notice> {
        let (found, compiled) = (&input.problems, input.snapshot.problems());
        if self.seen.as_ref().is_some_and(|(f, c)| Arc::ptr_eq(f, found) && c == compiled) {
            return Vec::new();
        }
        self.seen = Some((Arc::clone(found), compiled.to_vec()));
        let now = self.said(input);
        let before = std::mem::replace(&mut self.standing, now);
        let mut news = Vec::new();
        let mut tell = |(kind, name): &(Kind, ObjectName), tone, reason, message: &str| {
            let about = Subject { kind: *kind, name: name.clone(), uid: None };
            news.push(Notice { about, tone, reason, message: message.to_owned() });
        };
        for (object, said) in &self.standing {
            let before = before.get(object);
            for (reason, message) in said {
                if before.is_none_or(|before| !before.contains(&(*reason, message.clone()))) {
                    tell(object, Tone::Warning, *reason, message);
                }
            }
        }
        for object in before.keys().filter(|object| !self.standing.contains_key(object)) {
            tell(object, Tone::Recovered, "Resolved", "What was wrong is mended.");
        }
        news
    }

    fn said(&self, input: &Input) -> BTreeMap<(Kind, ObjectName), Said> {
        let mut all: BTreeMap<_, Said> = BTreeMap::new();
        let mut add = |kind: Kind, name: &ObjectName, reason, message: String| {
            let scope = match kind {
                Kind::Pod | Kind::Node => Scope::Node,
                _ => Scope::Cluster,
            };
            if scope == self.scope {
                all.entry((kind, name.clone())).or_default().insert((reason, message));
            }
        };
        for problem in input.problems.iter() {
            if let Some((kind, name)) = &problem.about
                && !is_refused(&input.snapshot, *kind, name)
            {
                add(*kind, name, "Invalid", problem.message.clone());
            }
        }
        for problem in input.snapshot.problems() {
            let reason = match problem.kind {
                // Told by their status.
                kind if kind.is_route() => continue,
                // Told with its conditions.
                kind if kind.is_policy() => continue,
                // The one thing that Services can have against each other.
                Kind::Service => "AddressConflict",
                _ => "Invalid",
            };
            let message = format!("{}: {}", problem.field, problem.message);
            add(problem.kind, &problem.object, reason, message);
        }
        all
    }
}

/// Whether its condition `Accepted` says why.
fn is_refused(snapshot: &Snapshot, kind: Kind, name: &ObjectName) -> bool {
    if kind.is_policy() {
        let status = snapshot.policy_status(&(kind, name.clone()));
        return status.is_some_and(|status| {
            let mut verdicts = status.targets.iter().map(|target| &target.accepted);
            verdicts.any(|accepted| matches!(accepted, Err((PolicyFault::Invalid, _))))
        });
    }
    let status = snapshot.route_status(&(kind, name.clone()));
    status.is_some_and(|status| {
        let mut verdicts = status.parents.iter().map(|parent| &parent.accepted);
        verdicts.any(|accepted| matches!(accepted, Err((NotAccepted::UnsupportedValue, _))))
    })
}

#[cfg(test)]
mod tests {
    use nodeway_core::model::{Change, Object, Service, ServiceKind, ServicePort};
    use nodeway_core::snapshot::{CompileOptions, Compiler, Enroll, Store};

    use super::*;

    fn problem(kind: Kind, name: &str, message: &str) -> Problem {
        let name = ObjectName::new("shop", name);
        let object = Some(format!("{kind} {name}"));
        Problem { place: None, object, about: Some((kind, name)), message: message.to_owned() }
    }

    fn input(problems: &[Problem], snapshot: &Arc<Snapshot>) -> Input {
        Input { begun: true, snapshot: Arc::clone(snapshot), problems: problems.into() }
    }

    fn told(news: &[Notice]) -> Vec<String> {
        let told = |n: &Notice| {
            format!("{:?} {} {} {}: {}", n.tone, n.about.kind, n.about.name, n.reason, n.message)
        };
        news.iter().map(told).collect()
    }

    #[test]
    fn what_is_wrong_is_news_once_and_so_is_its_end() {
        let none = Arc::new(Snapshot::empty());
        let mut troubles = Troubles::new(Scope::Cluster);
        let bad = [problem(Kind::Service, "web", "bad"), problem(Kind::Pod, "a", "bad")];
        let news = troubles.now(&input(&bad, &none));
        assert_eq!(told(&news), ["Warning Service shop/web Invalid: bad"]);
        assert!(troubles.now(&input(&bad, &none)).is_empty());
        let news = troubles.now(&input(&[], &none));
        assert_eq!(told(&news), ["Recovered Service shop/web Resolved: What was wrong is mended."]);
        assert!(troubles.now(&input(&[], &none)).is_empty());
        // The node's own objects are its own business.
        let news = Troubles::new(Scope::Node).now(&input(&bad, &none));
        assert_eq!(told(&news), ["Warning Pod shop/a Invalid: bad"]);
    }

    #[test]
    fn a_snapshot_that_has_been_looked_at_is_not_kept() {
        let mut troubles = Troubles::new(Scope::Cluster);
        let snapshot = Arc::new(Snapshot::empty());
        let seen = Arc::downgrade(&snapshot);
        let bad = [problem(Kind::Service, "web", "bad")];
        troubles.now(&input(&bad, &snapshot));
        drop(snapshot);
        assert!(seen.upgrade().is_none());
    }

    #[test]
    fn an_address_of_two_services_is_told_of_the_one_that_does_not_have_it() {
        let mut store = Store::default();
        for name in ["a", "b"] {
            store.apply(Change::Apply(Object::Service(Service {
                name: ObjectName::new("shop", name),
                kind: ServiceKind::ClusterIp,
                cluster_ips: vec!["10.0.0.1".parse().unwrap()],
                external_ips: Vec::new(),
                affinity: None,
                internal_local: false,
                ports: vec![ServicePort {
                    name: "".into(),
                    port: 80,
                    protocol: nodeway_core::model::AppProtocol::Detect,
                }],
            })));
        }
        let options = CompileOptions { enroll: Enroll::Label, node_name: None };
        let snapshot = Compiler::new(options).compile(&mut store).unwrap().snapshot;
        let news = Troubles::new(Scope::Cluster).now(&input(&[], &snapshot));
        assert_eq!(news.len(), 1);
        assert_eq!((news[0].reason, &*news[0].about.name.name), ("AddressConflict", "b"));
        assert!(news[0].message.starts_with("spec.clusterIPs[0]: 10.0.0.1:80 is port 80"));
    }
}
