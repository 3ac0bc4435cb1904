//! BackendTLSPolicies with targets of kind Service (Gateway API v1).

use std::net::IpAddr;
use std::sync::Arc;

use gateway_api::backendtlspolicies::{
    BackendTlsPolicySpec, BackendTlsPolicyValidation, BackendTlsPolicyValidationCaCertificateRefs,
    BackendTlsPolicyValidationSubjectAltNames, BackendTlsPolicyValidationSubjectAltNamesType,
};
use http::Uri;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use nodeway_core::model::{Object, ObjectName, TlsName, TlsPolicy, TlsValidation, Trust};
use serde::Deserialize;
use serde_json::Value;

use super::meta::is_dns_name;
use super::policy_targets::of_services;
use super::{Faults, Identity, Translated};

/// A policy as it comes: what it is for can be read even if the rest cannot.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    metadata: ObjectMeta,
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    target_refs: Vec<Value>,
    #[serde(flatten)]
    rest: Value,
}

/// Nothing if it is for no Service.
///
/// Whatever is wrong with what it asks for, its targets are known, and nobody must speak to them in the
/// clear because of a slip: the policy is in force, and cannot be kept by anybody.
pub(super) fn tls_policy(identity: &Identity, document: Document) -> Translated {
    let mut faults = Faults::default();
    let targets = of_services(identity, &document.spec.target_refs, &mut faults);
    if targets.is_empty() {
        return Translated { faults: faults.list, ..Translated::default() };
    }
    let before = faults.list.len();
    let mut whole = document.spec.rest;
    if let Value::Object(fields) = &mut whole {
        fields.insert("targetRefs".to_owned(), Value::Array(Vec::new()));
    }
    let read: Result<BackendTlsPolicySpec, _> = serde_path_to_error::deserialize(whole);
    let validation = match read {
        Ok(spec) => validation(identity, &spec, &mut faults),
        Err(error) => {
            let field = format!("spec.{}", error.path());
            faults.note(field, error.into_inner().to_string());
            None
        }
    };
    let settings = validation.map(Arc::new).ok_or_else(|| {
        let told: Vec<String> = faults.list[before..].iter().map(ToString::to_string).collect();
        Arc::from(told.join("; "))
    });
    let meta = document.metadata;
    faults.with(Object::TlsPolicy(TlsPolicy {
        name: identity.name.clone(),
        generation: meta.generation.unwrap_or_default(),
        created: meta.creation_timestamp.as_ref().map(|time| time.0.as_second()),
        targets,
        settings,
    }))
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
