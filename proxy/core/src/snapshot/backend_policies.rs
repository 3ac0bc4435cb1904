//! BackendPolicies and XBackendTrafficPolicies: what they come to at a Service's port, and what their
//! status says.
//!
//! Not what the settings do: that is `balance` and the data plane.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Store;
use super::policies::PolicyStatus;
use super::store::Dirty;
use super::targets::{Asked, PolicyFault, TargetStatus, Targets};
use crate::model::{
    BackendSettings, Kind, ObjectName, Policy, Service, SessionPersistence, TrafficSettings,
};

/// The policies of both kinds.
#[derive(Debug, Default)]
pub(super) struct BackendPolicies {
    /// BackendPolicies.
    pub(super) own: Kept<BackendSettings>,
    /// XBackendTrafficPolicies.
    pub(super) traffic: Kept<TrafficSettings>,
    /// What holds without any policy.
    defaults: Arc<BackendSettings>,
}

/// The policies of one kind, as the source says them, and what was last good of each.
#[derive(Debug)]
pub(super) struct Kept<S> {
    policies: Targets<S>,
    /// What is in force.
    good: BTreeMap<ObjectName, Arc<S>>,
}

// === impl BackendPolicies ===

impl BackendPolicies {
    /// What holds at a Service's port. The same content is the same `Arc` as `before`, if that is given.
    pub(super) fn settings(
        &self,
        service: &ObjectName,
        port: &Arc<str>,
        before: Option<&Arc<BackendSettings>>,
    ) -> Arc<BackendSettings> {
        let own = self.own.in_force(service, port).unwrap_or(&self.defaults);
        let terms = self.traffic.in_force(service, port);
        // The defaults' budget is nobody's wish: it gives way.
        let wished = own.retry_budget != self.defaults.retry_budget;
        let settings = match terms.and_then(|terms| terms.retry_budget) {
            Some(budget) if !wished => {
                Arc::new(BackendSettings { retry_budget: Some(budget), ..(**own).clone() })
            }
            _ => Arc::clone(own),
        };
        match before {
            Some(before) if **before == *settings => Arc::clone(before),
            _ => settings,
        }
    }

    /// How requests to a Service's port stay with one endpoint, if that is asked for.
    pub(super) fn session(
        &self,
        service: &Service,
        port: &Arc<str>,
    ) -> Option<&SessionPersistence> {
        let session = self.traffic.in_force(&service.name, port)?.session.as_ref();
        session.filter(|_| service.affinity.is_none())
    }

    /// The policies that a Service's port obeys, for people.
    pub(super) fn told(&self, store: &Store, service: &ObjectName, port: u16) -> Vec<String> {
        let ports = store.service(service).map(|service| &service.ports);
        let Some(port) = ports.and_then(|all| all.iter().find(|known| known.port == port)) else {
            return Vec::new();
        };
        let own = self.own.told(service, &port.name);
        own.into_iter().chain(self.traffic.told(service, &port.name)).collect()
    }

    /// What the status of the policy says; none if there is no such policy.
    pub(super) fn status<'s>(
        &self,
        (kind, name): &(Kind, ObjectName),
        service: impl Fn(&ObjectName) -> Option<&'s Service>,
    ) -> Option<PolicyStatus> {
        if *kind == Kind::BackendPolicy {
            return self.own.status(name, service);
        }
        let mut status = self.traffic.status(name, &service)?;
        // GEP-1619, "Session Affinity in K8S Services".
        let asks = self.traffic.good.get(name).is_some_and(|terms| terms.session.is_some());
        let obeyed = status.targets.iter_mut().filter(|target| asks && target.accepted.is_ok());
        for TargetStatus { target, accepted } in obeyed {
            let name = &target.service;
            if service(name).is_some_and(|service| service.affinity.is_some()) {
                let why = format!(
                    "spec.sessionPersistence: Service {name} has sessionAffinity ClientIP: one of \
                     the two must go (until then the former has no effect)"
                );
                *accepted = Err((PolicyFault::Invalid, why.into()));
            }
        }
        Some(status)
    }
}

// === impl Kept ===

impl<S> Default for Kept<S> {
    fn default() -> Self {
        Self { policies: Targets::default(), good: BTreeMap::new() }
    }
}

impl<S: Asked> Kept<S> {
    /// Whether it is another than before.
    pub(super) fn put(&mut self, policy: Policy<S>, dirty: &mut Dirty) -> bool {
        if let Ok(now) = &policy.settings {
            // Equal content stays the same `Arc`.
            if self.good.get(&policy.name).is_none_or(|known| **known != **now) {
                self.good.insert(policy.name.clone(), Arc::clone(now));
            }
        }
        self.policies.put(policy, dirty)
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, name: &ObjectName, dirty: &mut Dirty) -> bool {
        self.good.remove(name);
        self.policies.remove(name, dirty)
    }

    /// All of them.
    pub(super) fn keys(&self) -> impl Iterator<Item = (Kind, ObjectName)> {
        self.policies.keys()
    }

    /// Those that target the Service.
    pub(super) fn of(&self, service: &ObjectName) -> impl Iterator<Item = (Kind, ObjectName)> {
        self.policies.of(service)
    }

    /// What a Service's port obeys.
    fn in_force(&self, service: &ObjectName, port: &Arc<str>) -> Option<&Arc<S>> {
        self.good.get(&self.policies.obeyed(service, port)?.name)
    }

    /// The policy that a Service's port obeys, for people.
    fn told(&self, service: &ObjectName, port: &Arc<str>) -> Option<String> {
        let Policy { name, settings, .. } = self.policies.obeyed(service, port)?;
        let but = match (settings, self.good.contains_key(name)) {
            (Ok(_), _) => "",
            (Err(_), true) => " (not valid: its last valid version is in force)",
            (Err(_), false) => " (not valid: the defaults are in force)",
        };
        Some(format!("{} {name}{but}", S::KIND))
    }

    /// What the status of the policy says; none if there is no such policy.
    fn status<'s>(
        &self,
        name: &ObjectName,
        service: impl Fn(&ObjectName) -> Option<&'s Service>,
    ) -> Option<PolicyStatus> {
        let policy = self.policies.get(name)?;
        let invalid = policy.settings.as_ref().err().map(|why| -> Arc<str> {
            let kept = self.good.contains_key(name);
            let holds = if kept { "its last valid version stays" } else { "the defaults are" };
            format!("{why} ({holds} in force)").into()
        });
        let targets = self.policies.verdicts(policy, invalid.as_ref(), service);
        Some(PolicyStatus { generation: policy.generation, targets, resolved_refs: None })
    }
}

// === impl BackendSettings ===

impl Asked for BackendSettings {
    const KIND: Kind = Kind::BackendPolicy;
}

// === impl TrafficSettings ===

impl Asked for TrafficSettings {
    const KIND: Kind = Kind::BackendTrafficPolicy;
}
