//! TLS to endpoints, as a BackendTLSPolicy asks for it (TLS 1.2 and 1.3, sessions resumed).
//!
//! Not what is asked for: `nodeway_core` says that. Nothing here ever falls back to plain text.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use foldhash::fast::FixedState;
use nodeway_core::balance::{BackendTls, TlsRoots, TlsTerms};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Version;
use super::certificate::NamedVerifier;
use super::connect::is_ours;
use super::shared::is_somebody_elses;
use crate::runtime::Worker;

/// Of a policy that endpoints do not live up to, it is told so often at most (and by each worker).
const TELL_EVERY_MILLIS: u64 = 10_000;

/// Sessions kept for each policy (and by each worker): of one server's name rustls keeps no more.
const TICKETS: usize = 8;

/// What is offered to a server, to speak over TLS (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// Nothing: what is spoken is no business of ours.
    Opaque,
    /// This and nothing else: it is declared, or what is to be sent can be said in it alone.
    Only(Version),
    /// HTTP/2 or HTTP/1.1, as the server likes.
    Either,
}

/// Why an endpoint is not spoken to although it can be reached.
#[derive(Debug, thiserror::Error)]
pub enum Distrust {
    /// The policy itself cannot be kept by anybody.
    #[error("BackendTLSPolicy {policy} is not valid: {why}")]
    Policy {
        /// Its name.
        policy: String,
        /// What is wrong with it.
        why: String,
    },
    /// What the endpoint said in the handshake.
    #[error("the endpoint does not satisfy BackendTLSPolicy {policy}")]
    Peer {
        /// Its name.
        policy: String,
        /// What is wrong with the endpoint.
        source: rustls::Error,
    },
}

/// A policy made ready for use, by one worker.
struct Ready {
    /// Whether anybody still wants it.
    of: Weak<BackendTls>,
    connector: Result<(TlsConnector, ServerName<'static>), String>,
    /// When it was told last that an endpoint does not live up to it.
    told: Cell<Option<u64>>,
}

thread_local! {
    /// By the policy's number. Each worker has its own: sessions to be resumed lie behind a lock.
    static READY: RefCell<HashMap<u64, Rc<Ready>, FixedState>> = RefCell::default();
}

/// Speaks TLS over `stream` as `tls` says, and makes sure who is at the other end; what has been agreed
/// to be spoken, if `offer` leaves a choice.
///
/// # Errors
/// The connection broke, took longer than `patience`, or the endpoint is not to be trusted
/// ([`distrusted`]).
pub async fn secure(
    worker: &Worker,
    tls: &Arc<BackendTls>,
    offer: Offer,
    stream: TcpStream,
    patience: Duration,
) -> io::Result<(Box<TlsStream<TcpStream>>, Option<Version>)> {
    let ready = ready(tls);
    let (connector, name) = match &ready.connector {
        Ok((connector, name)) => (connector, name.clone()),
        Err(why) => {
            let (policy, why) = (tls.policy.to_string(), why.clone());
            return Err(told(worker, &ready, Distrust::Policy { policy, why }));
        }
    };
    let connector = connector.with_alpn(offer.names());
    let shaking = tokio::time::timeout(patience, connector.connect(name, stream));
    let stream = match shaking.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Err(match error.downcast::<rustls::Error>() {
                Ok(source) => {
                    let policy = tls.policy.to_string();
                    told(worker, &ready, Distrust::Peer { policy, source })
                }
                Err(error) => error,
            });
        }
        Err(_) => {
            let text = format!("no end of the TLS handshake within {patience:?}");
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
    };
    let agreed = offer.agreed(stream.get_ref().1.alpn_protocol());
    Ok((Box::new(stream), agreed))
}

/// Whether the connection is there, but the endpoint is not to be trusted.
pub fn distrusted(error: &io::Error) -> bool {
    distrust(error).is_some()
}

/// Whether the endpoint has nothing to do with it: no other could have done better, nothing has left the client's
/// pod, or it is told by somebody else. One that is not who it should be, or says what is no TLS, has failed:
/// another one may do better.
pub fn blameless(error: &io::Error) -> bool {
    matches!(distrust(error), Some(Distrust::Policy { .. }))
        || is_ours(error)
        || is_somebody_elses(error)
}

fn distrust(error: &io::Error) -> Option<&Distrust> {
    error.get_ref()?.downcast_ref()
}

fn told(worker: &Worker, ready: &Ready, distrust: Distrust) -> io::Error {
    let error = io::Error::new(io::ErrorKind::PermissionDenied, distrust);
    let now = worker.clock.now().0;
    if ready.told.get().is_none_or(|told| now.saturating_sub(told) >= TELL_EVERY_MILLIS) {
        ready.told.set(Some(now));
        tracing::warn!(error = %crate::errors::chain(&error), "no request is sent there");
    }
    error
}

fn ready(tls: &Arc<BackendTls>) -> Rc<Ready> {
    READY.with_borrow_mut(|all| {
        if let Some(ready) = all.get(&tls.id) {
            return Rc::clone(ready);
        }
        all.retain(|_, ready| ready.of.strong_count() > 0);
        let connector = match &tls.terms {
            Ok(terms) => connector(terms),
            Err(why) => Err(why.to_string()),
        };
        let ready = Ready { of: Arc::downgrade(tls), connector, told: Cell::new(None) };
        let ready = Rc::new(ready);
        all.insert(tls.id, Rc::clone(&ready));
        ready
    })
}

fn connector(terms: &TlsTerms) -> Result<(TlsConnector, ServerName<'static>), String> {
    let name = ServerName::try_from(terms.hostname.to_string())
        .map_err(|_| format!("{:?} is no host's name", terms.hostname))?;
    let roots = roots(&terms.roots)?;
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = if terms.names.is_empty() {
        builder.with_root_certificates(roots).with_no_client_auth()
    } else {
        let verifier = verifier(roots, terms, &provider);
        builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
    };
    // All servers have one name. By default there is room for hundreds, made at once.
    config.resumption = Resumption::in_memory_sessions(TICKETS);
    Ok((TlsConnector::from(Arc::new(config)), name))
}

fn verifier(
    roots: Arc<RootCertStore>,
    terms: &TlsTerms,
    provider: &CryptoProvider,
) -> Arc<NamedVerifier> {
    let algorithms = provider.signature_verification_algorithms;
    Arc::new(NamedVerifier { roots, algorithms, names: Arc::clone(&terms.names) })
}

fn roots(roots: &TlsRoots) -> Result<Arc<RootCertStore>, String> {
    match roots {
        TlsRoots::System => system_roots().clone(),
        TlsRoots::These(certificates) => {
            let mut store = RootCertStore::empty();
            for certificate in &**certificates {
                store
                    .add(CertificateDer::from_slice(&certificate.0))
                    .map_err(|error| format!("a CA's certificate: {error}"))?;
            }
            Ok(Arc::new(store))
        }
    }
}

/// The CAs that the system comes with (`SSL_CERT_FILE`, `SSL_CERT_DIR`, or where distributions have
/// them): read once, when a policy first asks for them.
fn system_roots() -> &'static Result<Arc<RootCertStore>, String> {
    static ROOTS: OnceLock<Result<Arc<RootCertStore>, String>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(found.certs);
        if store.is_empty() {
            let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
            return Err(format!("this system has no CA certificates (SSL_CERT_FILE){why}"));
        }
        Ok(Arc::new(store))
    })
}

// === impl Offer ===

impl Offer {
    fn names(self) -> Vec<Vec<u8>> {
        let (http1, http2) = (|| b"http/1.1".to_vec(), || b"h2".to_vec());
        match self {
            Self::Opaque => Vec::new(),
            Self::Only(Version::Http1) => vec![http1()],
            Self::Only(Version::Http2) => vec![http2()],
            Self::Either => vec![http2(), http1()],
        }
    }

    /// Who does not choose speaks what is declared, or else HTTP/1.1: HTTP/2 over TLS begins with a
    /// choice (RFC 9113, 3.2).
    fn agreed(self, chosen: Option<&[u8]>) -> Option<Version> {
        match (self, chosen) {
            (Self::Opaque, _) => None,
            (Self::Only(version), _) => Some(version),
            (Self::Either, Some(b"h2")) => Some(Version::Http2),
            (Self::Either, _) => Some(Version::Http1),
        }
    }
}
