//! ConfigMaps, as far as they hold CA certificates for BackendTLSPolicies: the key `ca.crt`.
//!
//! Most ConfigMaps have nothing to do with that: what is wrong with one is told by the policy that
//! names it.

use k8s_openapi::api::core::v1::ConfigMap;
use nodeway_core::model::{CaBundle, Certificate, Object};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{Identity, Translated};

const KEY: &str = "ca.crt";

/// Never faulty in itself.
pub(super) fn config_map(identity: &Identity, map: &ConfigMap) -> Translated {
    let text = map.data.as_ref().and_then(|data| data.get(KEY)).map(String::as_bytes);
    let octets = || map.binary_data.as_ref()?.get(KEY).map(|octets| octets.0.as_slice());
    let certificates = match text.or_else(octets) {
        Some(pem) => certificates(pem).map(Into::into).map_err(Into::into),
        None => Err(format!("it has no key {KEY}").into()),
    };
    Translated::of(Object::CaBundle(CaBundle { name: identity.name.clone(), certificates }))
}

/// All certificates of a PEM file. One that cannot be used makes the whole doubtful.
fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, String> {
    let mut found = Vec::new();
    for (i, der) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let broken = |why: &dyn std::fmt::Display| {
            format!("certificate {} of key {KEY} cannot be read: {why}", i + 1)
        };
        let der = der.map_err(|error| broken(&error))?;
        found.push(Certificate((*der).into()));
        RootCertStore::empty().add(der).map_err(|error| broken(&error))?;
    }
    if found.is_empty() {
        return Err(format!("key {KEY} holds no certificate in PEM"));
    }
    Ok(found)
}
