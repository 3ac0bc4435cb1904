//! What our verdicts on policies are called in the Gateway API, and which target each is about. Pure.
//!
//! A mesh has no Gateway to be the ancestor: it is the Service that the policy is for (Gateway API,
//! `PolicyAncestorStatus`: an object's parent is an ancestor too).

use nodeway_core::snapshot::{CaFault, PolicyFault, PolicyStatus, TargetStatus};
use serde::Serialize;

use super::parents::Wanted;
use super::verdict::{bad, good};

/// A Service, as the status names it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ancestor<'a> {
    group: &'a str,
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    section_name: Option<&'a str>,
}

/// What is to be said of each target.
pub(super) fn wanted(status: &PolicyStatus) -> Vec<Wanted> {
    status.targets.iter().filter_map(|target| of(status, target)).collect()
}

fn of(status: &PolicyStatus, TargetStatus { target, accepted }: &TargetStatus) -> Option<Wanted> {
    let reference = serde_json::value::to_raw_value(&Ancestor {
        group: "",
        kind: "Service",
        namespace: &target.service.namespace,
        name: &target.service.name,
        section_name: target.section.as_deref(),
    });
    let accepted = match accepted {
        Ok(()) => good("Accepted", "Accepted", "The policy is in force for this Service."),
        Err((why, message)) => bad("Accepted", not_accepted(*why), message),
    };
    let resolved = status.resolved_refs.as_ref().map(|resolved| match resolved {
        Ok(()) => good("ResolvedRefs", "ResolvedRefs", "All references are resolved."),
        Err((why, message)) => bad("ResolvedRefs", not_resolved(*why), message),
    });
    let conditions = [accepted].into_iter().chain(resolved).collect();
    // Texts: it cannot fail.
    Some(Wanted { reference: reference.ok()?, conditions })
}

fn not_accepted(why: PolicyFault) -> &'static str {
    match why {
        PolicyFault::TargetNotFound => "TargetNotFound",
        PolicyFault::Invalid => "Invalid",
        PolicyFault::Conflicted => "Conflicted",
        PolicyFault::NoValidCaCertificate => "NoValidCACertificate",
    }
}

fn not_resolved(why: CaFault) -> &'static str {
    match why {
        CaFault::InvalidCaCertificateRef => "InvalidCACertificateRef",
        CaFault::InvalidKind => "InvalidKind",
    }
}

#[cfg(test)]
mod tests {
    use nodeway_core::model::{ObjectName, PolicyTarget};

    use super::*;

    #[test]
    fn the_ancestor_is_the_service_or_its_port() {
        let target = |section: Option<&str>| {
            let service = ObjectName::new("shop", "web");
            let target = PolicyTarget { service, section: section.map(Into::into) };
            let why = PolicyFault::NoValidCaCertificate;
            TargetStatus { target, accepted: Err((why, "no".into())) }
        };
        let targets = vec![target(None), target(Some("https"))];
        let resolved_refs = Some(Err((CaFault::InvalidCaCertificateRef, "gone".into())));
        let wanted = wanted(&PolicyStatus { generation: 1, targets, resolved_refs });
        let references = wanted.iter().map(|wanted| wanted.reference.get()).collect::<Vec<_>>();
        let whole = r#"{"group":"","kind":"Service","namespace":"shop","name":"web"}"#;
        let port = whole.replace('}', r#","sectionName":"https"}"#);
        assert_eq!(references, [whole, &port]);
        let [accepted, resolved] = &*wanted[0].conditions else { panic!("{wanted:?}") };
        assert_eq!((accepted.holds, accepted.reason), (false, "NoValidCACertificate"));
        assert_eq!((resolved.holds, resolved.reason), (false, "InvalidCACertificateRef"));
    }
}
