//! BackendTLSPolicies (Gateway API v1): how endpoints of a Service are spoken to, and who is believed to be one.
//!
//! Not TLS itself: certificates are octets here.

use std::fmt;
use std::sync::Arc;

use super::{ObjectName, Policy};

/// A BackendTLSPolicy. While its settings cannot be told nobody speaks to its targets.
pub type TlsPolicy = Policy<TlsValidation>;

/// `spec.validation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsValidation {
    /// Whose certificates are believed.
    pub trust: Trust,
    /// The server's name: what it is asked for (SNI), and what its certificate must be for, unless
    /// `names` are given.
    pub hostname: Arc<str>,
    /// `subjectAltNames`: the certificate must be for one of these.
    pub names: Arc<[TlsName]>,
}

/// Whose certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// `wellKnownCACertificates: System`.
    System,
    /// `caCertificateRefs`, in their order: a ConfigMap, or why it is none.
    Bundles(Vec<Result<ObjectName, Arc<str>>>),
}

/// A name that a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TlsName {
    /// A DNS name; `*.example.com` stands for a name with one more label.
    Dns(Arc<str>),
    /// A URI, octet for octet.
    Uri(Arc<str>),
}

/// A ConfigMap as a bundle of CA certificates: its key `ca.crt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaBundle {
    /// Namespace and name.
    pub name: ObjectName,
    /// The certificates, at least one, or why there are none.
    pub certificates: Result<Arc<[Certificate]>, Arc<str>>,
}

/// A certificate, in DER.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Certificate(pub Arc<[u8]>);

// === impl TlsPolicy ===

impl TlsPolicy {
    /// The ConfigMaps that it names.
    pub fn bundles(&self) -> impl Iterator<Item = &ObjectName> {
        let trust = self.settings.as_ref().ok().map(|validation| &validation.trust);
        let bundles = match trust {
            Some(Trust::Bundles(bundles)) => bundles.as_slice(),
            Some(Trust::System) | None => &[],
        };
        bundles.iter().filter_map(|bundle| bundle.as_ref().ok())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({} octets)", self.0.len())
    }
}
