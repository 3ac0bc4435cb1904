//! Policies of one kind, by the Services that they are for, and which of them a port obeys.
//!
//! Not what they ask for: that is `policies` (TLS) and `backend_policies`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::store::Dirty;
use crate::model::{Kind, ObjectName, Policy, PolicyTarget, Service};

/// What policies of one kind ask for.
pub(super) trait Asked: PartialEq {
    /// What they are.
    const KIND: Kind;
}

/// The policies of one kind, as the source says them.
#[derive(Debug)]
pub(super) struct Targets<S> {
    all: BTreeMap<ObjectName, Policy<S>>,
    /// By the Service that they target.
    by_service: BTreeMap<ObjectName, BTreeSet<ObjectName>>,
}

/// The verdict on a policy at one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetStatus {
    /// The target.
    pub target: PolicyTarget,
    /// Condition `Accepted`.
    pub accepted: Result<(), (PolicyFault, Arc<str>)>,
}

/// Why a policy is not obeyed, or cannot be: the reasons of condition `Accepted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyFault {
    /// There is no such Service, or no such port.
    TargetNotFound,
    /// A value in the policy is not valid.
    Invalid,
    /// Another policy is obeyed there.
    Conflicted,
    /// None of its CA certificates can be used.
    NoValidCaCertificate,
}

// === impl Targets ===

impl<S> Default for Targets<S> {
    fn default() -> Self {
        Self { all: BTreeMap::new(), by_service: BTreeMap::new() }
    }
}

impl<S: Asked> Targets<S> {
    /// Takes the policy in; whether it is another than before. The Services for which that makes a
    /// difference are `dirty` then, and itself.
    pub(super) fn put(&mut self, policy: Policy<S>, dirty: &mut Dirty) -> bool {
        if self.all.get(&policy.name) == Some(&policy) {
            return false;
        }
        self.remove(&policy.name, dirty);
        for target in &policy.targets {
            dirty.services.insert(target.service.clone());
            let there = self.by_service.entry(target.service.clone()).or_default();
            there.insert(policy.name.clone());
        }
        dirty.policies.insert((S::KIND, policy.name.clone()));
        self.all.insert(policy.name.clone(), policy);
        true
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, name: &ObjectName, dirty: &mut Dirty) -> bool {
        let Some(former) = self.all.remove(name) else { return false };
        for target in former.targets {
            if let Some(there) = self.by_service.get_mut(&target.service) {
                there.remove(name);
                if there.is_empty() {
                    self.by_service.remove(&target.service);
                }
            }
            dirty.services.insert(target.service);
        }
        dirty.policies.insert((S::KIND, name.clone()));
        true
    }

    pub(super) fn get(&self, name: &ObjectName) -> Option<&Policy<S>> {
        self.all.get(name)
    }

    /// All of them.
    pub(super) fn keys(&self) -> impl Iterator<Item = (Kind, ObjectName)> {
        self.all.keys().map(|name| (S::KIND, name.clone()))
    }

    /// Those of a namespace.
    pub(super) fn within<'a>(
        &'a self,
        namespace: &'a Arc<str>,
    ) -> impl Iterator<Item = &'a Policy<S>> {
        let first = ObjectName::new(Arc::clone(namespace), "");
        let there = self.all.range((Bound::Included(first), Bound::Unbounded));
        let there = there.take_while(move |(name, _)| name.namespace == *namespace);
        there.map(|(_, policy)| policy)
    }

    /// Those that target the Service.
    pub(super) fn of(&self, service: &ObjectName) -> impl Iterator<Item = (Kind, ObjectName)> {
        let there = self.by_service.get(service).into_iter().flatten();
        there.map(|name| (S::KIND, name.clone()))
    }

    /// The policy that a port obeys: one for this port before one for the whole Service, which then has
    /// no say there at all.
    pub(super) fn obeyed(&self, service: &ObjectName, port: &Arc<str>) -> Option<&Policy<S>> {
        let there = self.by_service.get(service)?;
        let section = Some(port).filter(|name| !name.is_empty());
        let of_port = section.and_then(|_| self.first(there, service, section));
        of_port.or_else(|| self.first(there, service, None))
    }

    /// The oldest of those with the same target, and of these the first by name (GEP-713, "Conflict
    /// Resolution"; `BackendTLSPolicySpec.targetRefs`).
    fn first<'a>(
        &'a self,
        there: &'a BTreeSet<ObjectName>,
        service: &ObjectName,
        section: Option<&Arc<str>>,
    ) -> Option<&'a Policy<S>> {
        let same = |t: &PolicyTarget| t.service == *service && t.section.as_ref() == section;
        let policies = there.iter().filter_map(|name| self.all.get(name));
        policies
            .filter(|policy| policy.targets.iter().any(same))
            .min_by_key(|policy| (policy.created.unwrap_or(i64::MAX), &policy.name))
    }

    /// What is said of the policy at each of its targets: that there is none, what `otherwise` is wrong
    /// with it, or that another one goes before it.
    pub(super) fn verdicts<'s>(
        &self,
        policy: &Policy<S>,
        invalid: Option<&Arc<str>>,
        service: impl Fn(&ObjectName) -> Option<&'s Service>,
    ) -> Vec<TargetStatus> {
        let verdict = |target: &PolicyTarget| TargetStatus {
            target: target.clone(),
            accepted: self.verdict(policy, target, invalid, service(&target.service)),
        };
        policy.targets.iter().map(verdict).collect()
    }

    fn verdict(
        &self,
        policy: &Policy<S>,
        target: &PolicyTarget,
        invalid: Option<&Arc<str>>,
        service: Option<&Service>,
    ) -> Result<(), (PolicyFault, Arc<str>)> {
        let PolicyTarget { service: name, section } = target;
        let Some(service) = service else {
            let why = format!("Service {name} does not exist");
            return Err((PolicyFault::TargetNotFound, why.into()));
        };
        if let Some(section) = section
            && !service.ports.iter().any(|port| port.name == *section)
        {
            let why = format!("Service {name} has no TCP port named {section:?}");
            return Err((PolicyFault::TargetNotFound, why.into()));
        }
        if let Some(why) = invalid {
            return Err((PolicyFault::Invalid, Arc::clone(why)));
        }
        let there = self.by_service.get(name);
        let first = there.and_then(|there| self.first(there, name, section.as_ref()));
        if let Some(first) = first.filter(|first| first.name != policy.name) {
            let (kind, first) = (S::KIND, &first.name);
            let why = format!("{kind} {first} is for the same target, and goes first");
            return Err((PolicyFault::Conflicted, why.into()));
        }
        Ok(())
    }
}
