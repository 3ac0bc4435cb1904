//! Whether a server's certificate is for one of the names that a policy allows.
//!
//! Not what certificates are made of: webpki reads them.

use std::sync::Arc;

use nodeway_core::model::TlsName;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use webpki::EndEntityCert;

/// Believes a certificate that a CA has signed for one of several names. The name that the server was
/// asked for is none of them, unless it is listed (Gateway API, `SubjectAltNames`).
#[derive(Debug)]
pub(super) struct NamedVerifier {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    pub(super) names: Arc<[TlsName]>,
}

impl ServerCertVerifier for NamedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let all = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, all)?;
        let names = EndEntityCert::try_from(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if self.names.iter().any(|name| is_for(name, &parsed, &names)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::NotValidForName))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn is_for(name: &TlsName, parsed: &ParsedCertificate<'_>, names: &EndEntityCert<'_>) -> bool {
    match name {
        TlsName::Uri(uri) => names.valid_uri_names().any(|presented| *presented == **uri),
        TlsName::Dns(dns) => match dns.strip_prefix("*.") {
            Some(parent) => names.valid_dns_names().any(|presented| is_below(presented, parent)),
            None => ServerName::try_from(&**dns)
                .is_ok_and(|name| verify_server_name(parsed, &name).is_ok()),
        },
    }
}

/// Whether `name` has one label more than `parent`; that may be a `*`.
fn is_below(name: &str, parent: &str) -> bool {
    name.split_once('.')
        .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        assert!(is_below("a.example.com", "example.com"));
        assert!(is_below("*.EXAMPLE.com", "example.com"));
        for other in ["example.com", "a.b.example.com", ".example.com", "example.org", ""] {
            assert!(!is_below(other, "example.com"), "{other}");
        }
    }
}
