//! BackendTLSPolicies with targets of kind Service (Gateway API v1).

use std::net::IpAddr;
use std::sync::Arc;

use gateway_api::backendtlspolicies::{
    BackendTlsPolicySpec, BackendTlsPolicyValidation, BackendTlsPolicyValidationCaCertificateRefs,
    BackendTlsPolicyValidationSubjectAltNames, BackendTlsPolicyValidationSubjectAltNamesType,
};
use http::Uri;
use nodeway_core::model::{Object, ObjectName, TlsName, TlsValidation, Trust};

use super::meta::is_dns_name;
use super::policy_targets::{Document, policy};
use super::{Faults, Identity, Translated};

/// Nothing if it is for no Service.
///
/// Whatever is wrong with what it asks for, its targets are known, and nobody must speak to them in the
/// clear because of a slip: the policy is in force, and cannot be kept by anybody.
pub(super) fn tls_policy(identity: &Identity, mut document: Document) -> Translated {
    let mut faults = Faults::default();
    let targets = document.of_services(identity, &mut faults);
    if targets.is_empty() {
        return Translated { faults: faults.list, ..Translated::default() };
    }
    let before = faults.list.len();
    let validation = match document.spec::<BackendTlsPolicySpec>() {
        Ok(spec) => validation(identity, &spec, &mut faults),
        Err((field, why)) => {
            faults.note(field, why);
            None
        }
    };
    let wrong = &faults.list[before..];
    let policy = policy(identity, &document.metadata, targets, validation.ok_or(wrong));
    faults.with(Object::TlsPolicy(policy))
}

/// None if anything is wrong with it.
fn validation(
    identity: &Identity,
    spec: &BackendTlsPolicySpec,
    faults: &mut Faults,
) -> Option<TlsValidation> {
    const FIELD: &str = "spec.validation";
    let before = faults.list.len();
    let spec = &spec.validation;
    let trust = trust(identity, spec, FIELD, faults);
    let hostname = host(&spec.hostname).map_err(|why| {
        faults.note(format!("{FIELD}.hostname"), format!("{:?}: {why}", spec.hostname));
    });
    let mut names = Vec::new();
    for (i, spec) in spec.subject_alt_names.iter().flatten().enumerate() {
        match name(spec) {
            Ok(name) => names.push(name),
            Err((field, why)) => {
                faults.note(format!("{FIELD}.subjectAltNames[{i}].{field}"), why);
            }
        }
    }
    let (trust, hostname) = (trust?, hostname.ok()?);
    (faults.list.len() == before).then(|| TlsValidation { trust, hostname, names: names.into() })
}

fn trust(
    identity: &Identity,
    spec: &BackendTlsPolicyValidation,
    field: &str,
    faults: &mut Faults,
) -> Option<Trust> {
    let refs = spec.ca_certificate_refs.as_deref().unwrap_or_default();
    let known = spec.well_known_ca_certificates.as_deref().unwrap_or_default();
    match (refs, known) {
        ([], "System") => Some(Trust::System),
        ([], "") => {
            let message = "neither caCertificateRefs nor wellKnownCACertificates are given";
            faults.note(field, message);
            None
        }
        ([], other) => {
            let field = format!("{field}.wellKnownCACertificates");
            faults.note(field, format!("{other:?}: only \"System\" is known"));
            None
        }
        (refs, "") => {
            Some(Trust::Bundles(refs.iter().map(|spec| bundle(identity, spec)).collect()))
        }
        (_, other) => {
            let field = format!("{field}.wellKnownCACertificates");
            faults.note(field, format!("{other:?}: not together with caCertificateRefs"));
            None
        }
    }
}

fn bundle(
    identity: &Identity,
    spec: &BackendTlsPolicyValidationCaCertificateRefs,
) -> Result<ObjectName, Arc<str>> {
    let BackendTlsPolicyValidationCaCertificateRefs { group, kind, name } = spec;
    if !matches!(group.as_str(), "" | "core") || kind != "ConfigMap" {
        let slash = if group.is_empty() { "" } else { "/" };
        return Err(format!("{group}{slash}{kind} {name:?}: must be a ConfigMap").into());
    }
    if !is_dns_name(name) {
        // Nothing can have this name, and the API would not even be asked for it.
        return Err(format!("ConfigMap {name:?}: must be a name as objects have it").into());
    }
    Ok(ObjectName::new(Arc::clone(&identity.name.namespace), name.as_str()))
}

/// A host's name, of the kind that SNI takes (RFC 6066, 3).
fn host(text: &str) -> Result<Arc<str>, &'static str> {
    if text.parse::<IpAddr>().is_ok() {
        return Err("must be a host's name, not an address");
    }
    match rustls::pki_types::DnsName::try_from(text) {
        Ok(_) => Ok(text.to_ascii_lowercase().into()),
        Err(_) => Err("must be a host's name, without a wildcard"),
    }
}

fn name(
    spec: &BackendTlsPolicyValidationSubjectAltNames,
) -> Result<TlsName, (&'static str, String)> {
    use BackendTlsPolicyValidationSubjectAltNamesType::{Hostname, Uri as AUri};
    let (hostname, uri) =
        (spec.hostname.as_deref().unwrap_or_default(), spec.uri.as_deref().unwrap_or_default());
    match spec.r#type {
        Hostname if !uri.is_empty() => Err(("uri", format!("{uri:?}: only with type URI"))),
        AUri if !hostname.is_empty() => {
            Err(("hostname", format!("{hostname:?}: only with type Hostname")))
        }
        Hostname => {
            let (star, parent) = match hostname.strip_prefix("*.") {
                Some(parent) => ("*.", parent),
                None => ("", hostname),
            };
            let parent =
                host(parent).map_err(|why| ("hostname", format!("{hostname:?}: {why}")))?;
            Ok(TlsName::Dns(format!("{star}{parent}").into()))
        }
        AUri => {
            let scheme = uri.split_once(':').filter(|(scheme, rest)| {
                !scheme.is_empty()
                    && !rest.is_empty()
                    && uri.is_ascii()
                    && uri.parse::<Uri>().is_ok()
            });
            match scheme {
                Some(_) => Ok(TlsName::Uri(uri.into())),
                None => Err(("uri", format!("{uri:?}: must be a whole URI, with its scheme"))),
            }
        }
    }
}
