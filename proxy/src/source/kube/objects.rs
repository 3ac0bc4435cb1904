//! The objects of one kind, as far as they must be remembered: what a listing or an event changes. Pure.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use nodeway_core::model::{Change, Kind, Object, ObjectName};
use serde::Deserialize;

use super::watch::Reader;
use crate::source::Problem;
use crate::translate::{Identity, translate};

/// What a kind's objects have come to.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// In order.
    pub(super) changes: Vec<Change>,
    /// What is wrong with an object now; nothing, if it was mended or is gone.
    pub(super) problems: Vec<(ObjectName, Vec<Problem>)>,
}

/// The objects of one kind.
#[derive(Debug)]
pub(super) struct Objects {
    kind: Kind,
    known: HashMap<ObjectName, Known>,
    /// Seen by the listing that is under way.
    seen: Option<HashSet<ObjectName>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    /// A hash of its resource version.
    version: u64,
    /// Whether a version of it is in force.
    in_force: bool,
    faulty: bool,
}

/// Of every object.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow, default)]
    resource_version: Cow<'a, str>,
}

// === impl Said ===

impl Said {
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.problems.is_empty()
    }
}

// === impl Objects ===

impl Objects {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, known: HashMap::new(), seen: None }
    }

    fn forget(&mut self, name: &ObjectName, said: &mut Said) {
        let Some(former) = self.known.remove(name) else { return };
        if former.in_force {
            said.changes.push(Change::Delete(self.kind, name.clone()));
        }
        if former.faulty {
            said.problems.push((name.clone(), Vec::new()));
        }
    }

    fn head<'a>(&mut self, text: &'a str, said: &mut Said) -> Option<(ObjectName, Cow<'a, str>)> {
        match serde_json::from_str::<Head<'a>>(text) {
            Ok(Head { metadata }) => {
                let name = ObjectName::new(&*metadata.namespace, &*metadata.name);
                Some((name, metadata.resource_version))
            }
            Err(error) => {
                // Nobody's: told until a listing shows no such thing.
                let name = ObjectName::new("", "?");
                let message = format!("an object that cannot be read: {error}");
                let problem = Problem::of_object(self.kind, &name, message);
                said.problems.push((name.clone(), vec![problem]));
                if let Some(seen) = &mut self.seen {
                    seen.insert(name.clone());
                }
                self.known.insert(name, Known { version: 0, in_force: false, faulty: true });
                None
            }
        }
    }
}

impl Reader for Objects {
    type Said = Said;

    /// What is in force stays in force meanwhile.
    fn begin(&mut self) {
        self.seen = Some(HashSet::new());
    }

    fn end(&mut self, said: &mut Said) {
        let Some(seen) = self.seen.take() else { return };
        let gone: Vec<ObjectName> =
            self.known.keys().filter(|name| !seen.contains(*name)).cloned().collect();
        for name in gone {
            self.forget(&name, said);
        }
    }

    /// A version that cannot be taken leaves the last good one in force.
    fn apply<'a>(&mut self, text: &'a str, said: &mut Said) -> Option<Cow<'a, str>> {
        let (name, resource_version) = self.head(text, said)?;
        let version = foldhash::fast::FixedState::default().hash_one(&resource_version);
        if let Some(seen) = &mut self.seen {
            seen.insert(name.clone());
        }
        let former = self.known.get(&name).copied();
        if former.is_some_and(|former| former.version == version) {
            return Some(resource_version);
        }
        let identity = Identity { kind: self.kind, name: name.clone() };
        let translated = translate(&identity, &mut serde_json::Deserializer::from_str(text));
        let faulty = !translated.faults.is_empty();
        if faulty || former.is_some_and(|former| former.faulty) {
            let problem = |fault: &crate::translate::Fault| {
                Problem::of_object(self.kind, &name, fault.to_string())
            };
            let problems = translated.faults.iter().map(problem).collect();
            said.problems.push((name.clone(), problems));
        }
        let was_in_force = former.is_some_and(|former| former.in_force);
        let in_force = match (translated.object, translated.refused) {
            (Some(mut object), _) => {
                if let Object::Pod(pod) = &mut object {
                    // Whoever may write Pods must not be able to name any namespace of the node's.
                    pod.netns = None;
                }
                said.changes.push(Change::Apply(object));
                true
            }
            (None, Some(refused)) => {
                said.changes.push(Change::Refuse(refused));
                true
            }
            (None, None) if faulty => was_in_force,
            // Not for us, or not any more.
            (None, None) => {
                if was_in_force {
                    said.changes.push(Change::Delete(self.kind, name.clone()));
                }
                false
            }
        };
        self.known.insert(name, Known { version, in_force, faulty });
        Some(resource_version)
    }

    fn delete<'a>(&mut self, text: &'a str, said: &mut Said) -> Option<Cow<'a, str>> {
        let (name, resource_version) = self.head(text, said)?;
        self.forget(&name, said);
        Some(resource_version)
    }

    fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn is_nothing(said: &Said) -> bool {
        said.is_empty()
    }
}

#[cfg(test)]
mod tests;
