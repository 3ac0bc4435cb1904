//! BackendTLSPolicies: which one a Service's port obeys, what it comes to, and what its status says.
//!
//! Not TLS: certificates are octets here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Problem;
use super::registry::Registry;
use super::store::Dirty;
use super::targets::{Asked, PolicyFault, TargetStatus, Targets};
use crate::balance::{BackendTls, TlsRoots, TlsTerms};
use crate::model::{
    AppProtocol, CaBundle, Certificate, Kind, ObjectName, Service, TlsPolicy, TlsValidation, Trust,
};

/// The policies and the bundles that they name, as the source says them.
#[derive(Debug, Default)]
pub(super) struct Policies {
    policies: Targets<TlsValidation>,
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
    /// Condition `ResolvedRefs`, of policies that refer to further objects: the first reference that is not
    /// usable, and why, for people.
    pub resolved_refs: Option<Result<(), (CaFault, Arc<str>)>>,
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
    pub(super) fn put(&mut self, policy: TlsPolicy, dirty: &mut Dirty) -> bool {
        self.policies.put(policy, dirty)
    }

    pub(super) fn remove(&mut self, name: &ObjectName, dirty: &mut Dirty) -> bool {
        self.policies.remove(name, dirty)
    }

    pub(super) fn put_bundle(&mut self, bundle: CaBundle, dirty: &mut Dirty) -> bool {
        if self.bundles.get(&bundle.name) == Some(&bundle) {
            return false;
        }
        self.bundle_changes(&bundle.name, dirty);
        self.bundles.insert(bundle.name.clone(), bundle);
        true
    }

    pub(super) fn remove_bundle(&mut self, name: &ObjectName, dirty: &mut Dirty) -> bool {
        self.bundle_changes(name, dirty);
        self.bundles.remove(name).is_some()
    }

    fn bundle_changes(&self, bundle: &ObjectName, dirty: &mut Dirty) {
        let there = self.policies.within(&bundle.namespace);
        for policy in there.filter(|policy| policy.bundles().any(|b| b == bundle)) {
            dirty.policies.insert((Kind::BackendTlsPolicy, policy.name.clone()));
            dirty.services.extend(policy.targets.iter().map(|target| target.service.clone()));
        }
    }

    /// All of them.
    pub(super) fn keys(&self) -> impl Iterator<Item = (Kind, ObjectName)> {
        self.policies.keys()
    }

    /// Those that target the Service.
    pub(super) fn of(&self, service: &ObjectName) -> impl Iterator<Item = (Kind, ObjectName)> {
        self.policies.of(service)
    }

    /// Whether TLS is spoken to the endpoints of a Service's port.
    pub(super) fn cover(&self, service: &ObjectName, port: &Arc<str>) -> bool {
        self.policies.obeyed(service, port).is_some()
    }

    fn resolve(&self, policy: &TlsPolicy) -> (Result<TlsTerms, Arc<str>>, Resolved) {
        let validation = match &policy.settings {
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
        let policy = self.policies.get(name)?;
        let (terms, resolved_refs) = self.resolve(policy);
        let mut targets = self.policies.verdicts(policy, policy.settings.as_ref().err(), service);
        if let Err(why) = &terms {
            for target in targets.iter_mut().filter(|target| target.accepted.is_ok()) {
                target.accepted = Err((PolicyFault::NoValidCaCertificate, Arc::clone(why)));
            }
        }
        let (generation, resolved_refs) = (policy.generation, Some(resolved_refs));
        Some(PolicyStatus { generation, targets, resolved_refs })
    }
}

// === impl CompiledPolicies ===

impl CompiledPolicies {
    /// Compiles those of `changed` anew.
    pub(super) fn compile(
        &mut self,
        policies: &Policies,
        registry: &mut Registry,
        changed: &BTreeSet<(Kind, ObjectName)>,
    ) {
        let ours = changed.iter().filter(|(kind, _)| *kind == Kind::BackendTlsPolicy);
        for (_, name) in ours {
            let Some(policy) = policies.policies.get(name) else {
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
        let obeyed = policies.policies.obeyed(service, port)?;
        self.terms.get(&obeyed.name).cloned()
    }
}

// === impl PolicyStatus ===

impl PolicyStatus {
    /// What is wrong with the `policy`, for people.
    pub(super) fn problems(&self, policy: &(Kind, ObjectName)) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |field: &str, message: String| {
            let (kind, object) = policy.clone();
            problems.push(Problem { kind, object, field: field.to_owned(), message });
        };
        for TargetStatus { target, accepted } in &self.targets {
            match accepted {
                Ok(()) | Err((PolicyFault::NoValidCaCertificate, _)) => {}
                // Told by the source already, and by status.
                Err((PolicyFault::Invalid, _)) if policy.0 != Kind::BackendTlsPolicy => {}
                Err((PolicyFault::Invalid, why)) => {
                    let service = &target.service;
                    add("spec.validation", format!("{why}: nothing is sent to Service {service}"));
                }
                Err((_, why)) => {
                    add("spec.targetRefs", format!("{why}: the policy has no effect there"));
                }
            }
        }
        if let Some(Err((_, why))) = &self.resolved_refs {
            let (field, why) = why.split_once(": ").unwrap_or(("spec.validation", why));
            add(field, why.to_owned());
        }
        problems.sort();
        problems.dedup();
        problems
    }
}

// === impl TlsValidation ===

impl Asked for TlsValidation {
    const KIND: Kind = Kind::BackendTlsPolicy;
}
