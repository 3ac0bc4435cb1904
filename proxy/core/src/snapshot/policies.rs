//! BackendTLSPolicies: which one a Service's port obeys, what it comes to, and what its status says.
//!
//! Not TLS: certificates are octets here.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::Problem;
use super::registry::Registry;
use crate::balance::{BackendTls, TlsRoots, TlsTerms};
use crate::model::{
    AppProtocol, CaBundle, Certificate, Kind, ObjectName, PolicyTarget, Service, TlsPolicy, Trust,
};

/// The policies and the bundles that they name, as the source says them.
#[derive(Debug, Default)]
pub(super) struct Policies {
    all: BTreeMap<ObjectName, TlsPolicy>,
    /// By the Service that they target.
    by_service: BTreeMap<ObjectName, BTreeSet<ObjectName>>,
    bundles: BTreeMap<ObjectName, CaBundle>,
}

/// The policies, compiled. What has not changed is the same `Arc`.
#[derive(Debug, Default)]
pub(super) struct CompiledPolicies {
    terms: BTreeMap<ObjectName, Arc<BackendTls>>,
}

/// The verdicts on one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyStatus {
    /// The spec they are about (`observedGeneration`).
    pub generation: i64,
    /// One for each target.
    pub targets: Vec<TargetStatus>,
    /// Condition `ResolvedRefs`: the first reference that is not usable, and why, for people.
    pub resolved_refs: Result<(), (CaFault, Arc<str>)>,
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

/// Why a bundle cannot be used: the reasons of condition `ResolvedRefs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CaFault {
    /// There is none of this name, or none with certificates.
    InvalidCaCertificateRef,
    /// It is no ConfigMap.
    InvalidKind,
}

type Resolved = Result<(), (CaFault, Arc<str>)>;

/// What a port whose declaration says `declared` takes from clients, if TLS is spoken to its endpoints
/// by us: `https` is then said of the endpoints, and clients may leave it to us.
pub(super) fn taken(declared: AppProtocol, tls: bool) -> AppProtocol {
    if tls && declared == AppProtocol::Tls { AppProtocol::Detect } else { declared }
}

// === impl Policies ===

impl Policies {
    /// Takes the policy in; the policies and Services for which that makes a difference.
    pub(super) fn put(&mut self, policy: TlsPolicy, dirty: &mut super::store::Dirty) -> bool {
        if self.all.get(&policy.name) == Some(&policy) {
            return false;
        }
        self.remove(&policy.name, dirty);
        dirty.policies.insert(policy.name.clone());
        for target in &policy.targets {
            dirty.services.insert(target.service.clone());
            let there = self.by_service.entry(target.service.clone()).or_default();
            there.insert(policy.name.clone());
        }
        self.all.insert(policy.name.clone(), policy);
        true
    }

    pub(super) fn remove(&mut self, name: &ObjectName, dirty: &mut super::store::Dirty) -> bool {
        let Some(former) = self.all.remove(name) else { return false };
        dirty.policies.insert(name.clone());
        for target in former.targets {
            if let Some(there) = self.by_service.get_mut(&target.service) {
                there.remove(name);
                if there.is_empty() {
                    self.by_service.remove(&target.service);
                }
            }
            dirty.services.insert(target.service);
        }
        true
    }

    pub(super) fn put_bundle(&mut self, bundle: CaBundle, dirty: &mut super::store::Dirty) -> bool {
        if self.bundles.get(&bundle.name) == Some(&bundle) {
            return false;
        }
        self.bundle_changes(&bundle.name, dirty);
        self.bundles.insert(bundle.name.clone(), bundle);
        true
    }

    pub(super) fn remove_bundle(
        &mut self,
        name: &ObjectName,
        dirty: &mut super::store::Dirty,
    ) -> bool {
        self.bundle_changes(name, dirty);
        self.bundles.remove(name).is_some()
    }

    fn bundle_changes(&self, bundle: &ObjectName, dirty: &mut super::store::Dirty) {
        let first = ObjectName::new(Arc::clone(&bundle.namespace), "");
        let there = self.all.range((Bound::Included(first), Bound::Unbounded));
        let there = there.take_while(|(name, _)| name.namespace == bundle.namespace);
        for (name, policy) in there.filter(|(_, policy)| policy.bundles().any(|b| b == bundle)) {
            dirty.policies.insert(name.clone());
            dirty.services.extend(policy.targets.iter().map(|target| target.service.clone()));
        }
    }

    /// All of them.
    pub(super) fn names(&self) -> impl Iterator<Item = &ObjectName> {
        self.all.keys()
    }

    /// Those that target the Service.
    pub(super) fn of(&self, service: &ObjectName) -> impl Iterator<Item = &ObjectName> {
        self.by_service.get(service).into_iter().flatten()
    }

    /// The policy that a port obeys: one for this port before one for the whole Service.
    pub(super) fn obeyed(&self, service: &ObjectName, port: &Arc<str>) -> Option<&ObjectName> {
        let there = self.by_service.get(service)?;
        let section = Some(port).filter(|name| !name.is_empty());
        let of_port = section.and_then(|_| self.first(there, service, section));
        of_port.or_else(|| self.first(there, service, None))
    }

    /// The oldest of those with the same target, and of these the first by name (Gateway API,
    /// `BackendTLSPolicySpec.targetRefs`).
    fn first<'a>(
        &'a self,
        there: &'a BTreeSet<ObjectName>,
        service: &ObjectName,
        section: Option<&Arc<str>>,
    ) -> Option<&'a ObjectName> {
        let same = |t: &PolicyTarget| t.service == *service && t.section.as_ref() == section;
        let policies = there.iter().filter_map(|name| self.all.get(name));
        policies
            .filter(|policy| policy.targets.iter().any(same))
            .min_by_key(|policy| (policy.created.unwrap_or(i64::MAX), &policy.name))
            .map(|policy| &policy.name)
    }

    fn resolve(&self, policy: &TlsPolicy) -> (Result<TlsTerms, Arc<str>>, Resolved) {
        let validation = match &policy.validation {
            Ok(validation) => validation,
            Err(why) => return (Err(Arc::clone(why)), Ok(())),
        };
        let (roots, resolved) = match &validation.trust {
            Trust::System => (Ok(TlsRoots::System), Ok(())),
            Trust::Bundles(bundles) => self.certificates(bundles),
        };
        let terms = roots.map(|roots| TlsTerms {
            roots,
            hostname: Arc::clone(&validation.hostname),
            names: Arc::clone(&validation.names),
        });
        (terms, resolved)
    }

    /// The certificates of those that can be used; and the first that cannot.
    fn certificates(
        &self,
        bundles: &[Result<ObjectName, Arc<str>>],
    ) -> (Result<TlsRoots, Arc<str>>, Resolved) {
        let (mut certificates, mut resolved) = (Vec::<Certificate>::new(), Ok(()));
        for (i, bundle) in bundles.iter().enumerate() {
            let found = match bundle {
                Err(why) => Err((CaFault::InvalidKind, Arc::clone(why))),
                Ok(name) => {
                    self.bundle(name).map_err(|why| (CaFault::InvalidCaCertificateRef, why))
                }
            };
            match found {
                Ok(found) => certificates.extend_from_slice(found),
                Err((fault, why)) if resolved.is_ok() => {
                    let field = format!("spec.validation.caCertificateRefs[{i}]");
                    resolved = Err((fault, format!("{field}: {why}").into()));
                }
                Err(_) => {}
            }
        }
        let roots = match &resolved {
            Err((_, why)) if certificates.is_empty() => Err(Arc::clone(why)),
            _ => Ok(TlsRoots::These(certificates.into())),
        };
        (roots, resolved)
    }

    fn bundle(&self, name: &ObjectName) -> Result<&[Certificate], Arc<str>> {
        let Some(bundle) = self.bundles.get(name) else {
            return Err(format!("ConfigMap {name} does not exist").into());
        };
        match &bundle.certificates {
            Ok(certificates) => Ok(certificates),
            Err(why) => Err(format!("ConfigMap {name}: {why}").into()),
        }
    }

    /// What the status of the policy says; none if there is no such policy.
    pub(super) fn status<'s>(
        &self,
        name: &ObjectName,
        service: impl Fn(&ObjectName) -> Option<&'s Service>,
    ) -> Option<PolicyStatus> {
        let policy = self.all.get(name)?;
        let (terms, resolved_refs) = self.resolve(policy);
        let targets = policy.targets.iter().map(|target| TargetStatus {
            target: target.clone(),
            accepted: self.verdict(policy, target, &terms, service(&target.service)),
        });
        let (generation, targets) = (policy.generation, targets.collect());
        Some(PolicyStatus { generation, targets, resolved_refs })
    }

    fn verdict(
        &self,
        policy: &TlsPolicy,
        target: &PolicyTarget,
        terms: &Result<TlsTerms, Arc<str>>,
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
        if let Err(why) = &policy.validation {
            return Err((PolicyFault::Invalid, Arc::clone(why)));
        }
        let there = self.by_service.get(name);
        let first = there.and_then(|there| self.first(there, name, section.as_ref()));
        if let Some(first) = first.filter(|first| **first != policy.name) {
            let why = format!("BackendTLSPolicy {first} is for the same target, and goes first");
            return Err((PolicyFault::Conflicted, why.into()));
        }
        match terms {
            Ok(_) => Ok(()),
            Err(why) => Err((PolicyFault::NoValidCaCertificate, Arc::clone(why))),
        }
    }
}

// === impl CompiledPolicies ===

impl CompiledPolicies {
    /// Compiles those of `changed` anew.
    pub(super) fn compile(
        &mut self,
        policies: &Policies,
        registry: &mut Registry,
        changed: &BTreeSet<ObjectName>,
    ) {
        for name in changed {
            let Some(policy) = policies.all.get(name) else {
                self.terms.remove(name);
                continue;
            };
            let (terms, _) = policies.resolve(policy);
            if self.terms.get(name).is_none_or(|before| before.terms != terms) {
                let (id, policy) = (registry.next_id(), name.clone());
                self.terms.insert(name.clone(), Arc::new(BackendTls { id, policy, terms }));
            }
        }
    }

    /// How the endpoints of a Service's port are spoken to, if not in the clear.
    pub(super) fn of(
        &self,
        policies: &Policies,
        service: &ObjectName,
        port: &Arc<str>,
    ) -> Option<Arc<BackendTls>> {
        policies.obeyed(service, port).and_then(|name| self.terms.get(name)).cloned()
    }
}

// === impl PolicyStatus ===

impl PolicyStatus {
    /// What is wrong, for people.
    pub(super) fn problems(&self, policy: &ObjectName) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |field: &str, message: String| {
            let (kind, object) = (Kind::BackendTlsPolicy, policy.clone());
            problems.push(Problem { kind, object, field: field.to_owned(), message });
        };
        for TargetStatus { target, accepted } in &self.targets {
            match accepted {
                Ok(()) | Err((PolicyFault::NoValidCaCertificate, _)) => {}
                Err((PolicyFault::Invalid, why)) => {
                    let service = &target.service;
                    add("spec.validation", format!("{why}: nothing is sent to Service {service}"));
                }
                Err((_, why)) => {
                    add("spec.targetRefs", format!("{why}: the policy has no effect there"));
                }
            }
        }
        if let Err((_, why)) = &self.resolved_refs {
            let (field, why) = why.split_once(": ").unwrap_or(("spec.validation", why));
            add(field, why.to_owned());
        }
        problems.sort();
        problems.dedup();
        problems
    }
}
