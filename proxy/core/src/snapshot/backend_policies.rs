//! BackendPolicies and XBackendTrafficPolicies: what they come to at a Service's port, and what their
//! status says.
//!
//! Not what the settings do: that is `balance` and the data plane.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Store;
use super::policies::PolicyStatus;
use super::targets::{Attached, PolicyFault, TargetStatus, Targets};
use crate::model::{
    BackendPolicy, BackendSettings, Kind, ObjectName, PolicyTarget, Service, SessionPersistence,
    TrafficPolicy, TrafficSettings,
};

/// The policies, as the source says them, and what was last good of each.
#[derive(Debug, Default)]
pub(super) struct BackendPolicies {
    backend: Targets<BackendPolicy>,
    traffic: Targets<TrafficPolicy>,
    /// The last good settings of each BackendPolicy: what is in force.
    settings: BTreeMap<ObjectName, Arc<BackendSettings>>,
    /// The last good ones of each XBackendTrafficPolicy.
    terms: BTreeMap<ObjectName, Arc<TrafficSettings>>,
    /// What holds without any policy.
    defaults: Arc<BackendSettings>,
}

// === impl BackendPolicies ===

impl BackendPolicies {
    pub(super) fn put(
        &mut self,
        policy: BackendPolicy,
        services: &mut BTreeSet<ObjectName>,
    ) -> bool {
        let (name, settings) = (policy.name.clone(), policy.settings.clone());
        let changed = self.backend.put(policy, services);
        if let Ok(settings) = settings.as_ref() {
            keep(&mut self.settings, name, settings);
        }
        changed
    }

    pub(super) fn put_traffic(
        &mut self,
        policy: TrafficPolicy,
        services: &mut BTreeSet<ObjectName>,
    ) -> bool {
        let (name, settings) = (policy.name.clone(), policy.settings.clone());
        let changed = self.traffic.put(policy, services);
        if let Ok(settings) = settings.as_ref() {
            keep(&mut self.terms, name, settings);
        }
        changed
    }

    pub(super) fn remove(
        &mut self,
        name: &ObjectName,
        services: &mut BTreeSet<ObjectName>,
    ) -> bool {
        self.settings.remove(name);
        self.backend.remove(name, services)
    }

    pub(super) fn remove_traffic(
        &mut self,
        name: &ObjectName,
        services: &mut BTreeSet<ObjectName>,
    ) -> bool {
        self.terms.remove(name);
        self.traffic.remove(name, services)
    }

    /// All of them.
    pub(super) fn keys(&self) -> impl Iterator<Item = (Kind, ObjectName)> {
        let of = |kind| move |name: &ObjectName| (kind, name.clone());
        let traffic = self.traffic.names().map(of(Kind::BackendTrafficPolicy));
        self.backend.names().map(of(Kind::BackendPolicy)).chain(traffic)
    }

    /// Those that target the Service.
    pub(super) fn of(&self, service: &ObjectName) -> impl Iterator<Item = (Kind, ObjectName)> {
        let of = |kind| move |name: &ObjectName| (kind, name.clone());
        let traffic = self.traffic.of(service).map(of(Kind::BackendTrafficPolicy));
        self.backend.of(service).map(of(Kind::BackendPolicy)).chain(traffic)
    }

    /// What holds at a Service's port. The same content is the same `Arc` as `before`, if that is given.
    pub(super) fn settings(
        &self,
        service: &ObjectName,
        port: &Arc<str>,
        before: Option<&Arc<BackendSettings>>,
    ) -> Arc<BackendSettings> {
        let policy = self.backend.obeyed(service, port);
        let own = policy.and_then(|policy| self.settings.get(&policy.name));
        let own = own.unwrap_or(&self.defaults);
        let traffic = self.traffic.obeyed(service, port);
        let terms = traffic.and_then(|policy| self.terms.get(&policy.name));
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
        let policy = self.traffic.obeyed(&service.name, port)?;
        let session = self.terms.get(&policy.name)?.session.as_ref();
        session.filter(|_| service.affinity.is_none())
    }

    /// The policies that a Service's port obeys, for people.
    pub(super) fn told(&self, store: &Store, service: &ObjectName, port: u16) -> Vec<String> {
        let ports = store.service(service).map(|service| &service.ports);
        let Some(port) = ports.and_then(|all| all.iter().find(|known| known.port == port)) else {
            return Vec::new();
        };
        let told = |kind: Kind, name: &ObjectName, good: bool, kept: bool| {
            let but = match (good, kept) {
                (true, _) => "",
                (false, true) => " (not valid: its last valid version is in force)",
                (false, false) => " (not valid: the defaults are in force)",
            };
            format!("{kind} {name}{but}")
        };
        let backend = self.backend.obeyed(service, &port.name).map(|policy| {
            let kept = self.settings.contains_key(&policy.name);
            told(Kind::BackendPolicy, &policy.name, policy.settings.is_ok(), kept)
        });
        let traffic = self.traffic.obeyed(service, &port.name).map(|policy| {
            let kept = self.terms.contains_key(&policy.name);
            told(Kind::BackendTrafficPolicy, &policy.name, policy.settings.is_ok(), kept)
        });
        backend.into_iter().chain(traffic).collect()
    }

    /// What the status of the policy says; none if there is no such policy.
    pub(super) fn status<'s>(
        &self,
        (kind, name): &(Kind, ObjectName),
        service: impl Fn(&ObjectName) -> Option<&'s Service>,
    ) -> Option<PolicyStatus> {
        let invalid = |why: &Arc<str>, kept: bool| -> Arc<str> {
            let holds = if kept { "its last valid version stays" } else { "the defaults are" };
            format!("{why} ({holds} in force)").into()
        };
        let (generation, targets) = if *kind == Kind::BackendPolicy {
            let policy = self.backend.get(name)?;
            let kept = self.settings.contains_key(name);
            let invalid = policy.settings.as_ref().err().map(|why| invalid(why, kept));
            (policy.generation, self.backend.verdicts(policy, invalid.as_ref(), service))
        } else {
            let policy = self.traffic.get(name)?;
            let kept = self.terms.contains_key(name);
            let invalid = policy.settings.as_ref().err().map(|why| invalid(why, kept));
            let mut targets = self.traffic.verdicts(policy, invalid.as_ref(), &service);
            // GEP-1619, "Session Affinity in K8S Services".
            let asks = self.terms.get(name).is_some_and(|terms| terms.session.is_some());
            let obeyed = targets.iter_mut().filter(|target| asks && target.accepted.is_ok());
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
            (policy.generation, targets)
        };
        Some(PolicyStatus { generation, targets, resolved_refs: None })
    }
}

/// Equal content stays the same `Arc`.
fn keep<T: PartialEq>(map: &mut BTreeMap<ObjectName, Arc<T>>, name: ObjectName, now: &Arc<T>) {
    if map.get(&name).is_none_or(|known| **known != **now) {
        map.insert(name, Arc::clone(now));
    }
}

// === impl BackendPolicy ===

impl Attached for BackendPolicy {
    const KIND: Kind = Kind::BackendPolicy;

    fn name(&self) -> &ObjectName {
        &self.name
    }

    fn created(&self) -> Option<i64> {
        self.created
    }

    fn targets(&self) -> &[PolicyTarget] {
        &self.targets
    }
}

// === impl TrafficPolicy ===

impl Attached for TrafficPolicy {
    const KIND: Kind = Kind::BackendTrafficPolicy;

    fn name(&self) -> &ObjectName {
        &self.name
    }

    fn created(&self) -> Option<i64> {
        self.created
    }

    fn targets(&self) -> &[PolicyTarget] {
        &self.targets
    }
}
