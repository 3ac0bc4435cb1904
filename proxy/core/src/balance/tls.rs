//! How a backend's endpoints are spoken to, where that is not in the clear.
//!
//! Not how TLS is done: the data plane does what this says.

use std::sync::Arc;

use crate::model::{Certificate, ObjectName, TlsName};

/// TLS towards endpoints: what a BackendTLSPolicy comes to.
#[derive(Debug, PartialEq, Eq)]
pub struct BackendTls {
    /// Its identity: another content, or another policy, has another number. What was agreed under one
    /// (connections, sessions) is never used under another.
    pub id: u64,
    /// The policy.
    pub policy: ObjectName,
    /// What is asked of endpoints; or why nobody speaks to them, least of all in the clear.
    pub terms: Result<TlsTerms, Arc<str>>,
}

/// What is asked of endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsTerms {
    /// Whose certificates are believed.
    pub roots: TlsRoots,
    /// The name that the server is asked for.
    pub hostname: Arc<str>,
    /// The certificate must be for one of these; for `hostname` if there are none.
    pub names: Arc<[TlsName]>,
}

/// Whose certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsRoots {
    /// Those that the system comes with.
    System,
    /// These CAs'.
    These(Arc<[Certificate]>),
}
