//! Authorities and certificates, made for one test.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType,
    date_time_ymd,
};

/// One that signs certificates.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What a certificate is for.
#[derive(Debug, Clone, Default)]
pub struct Names<'a> {
    /// DNS names.
    pub dns: &'a [&'a str],
    /// URIs.
    pub uris: &'a [&'a str],
    /// Whether it was valid in 1999 only.
    pub expired: bool,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("an authority");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    /// Its certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `names` and its key, in PEM.
    ///
    /// # Panics
    /// When a name is none.
    #[must_use]
    pub fn issue(&self, names: &Names<'_>) -> String {
        let dns = names.dns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(dns).expect("names");
        for uri in names.uris {
            let uri = (*uri).try_into().expect("a URI");
            params.subject_alt_names.push(SanType::URI(uri));
        }
        if names.expired {
            params.not_before = date_time_ymd(1999, 1, 1);
            params.not_after = date_time_ymd(1999, 12, 31);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        format!("{}{}", certificate.pem(), key.serialize_pem())
    }

    /// A ConfigMap that holds the certificates of `authorities`.
    #[must_use]
    pub fn config_map(name: &str, authorities: &[&Self]) -> String {
        let pem: String = authorities.iter().map(|authority| authority.pem()).collect();
        let pem: String = pem.lines().map(|line| format!("    {line}\n")).collect();
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default}}\n\
             data:\n  ca.crt: |\n{pem}"
        )
    }
}

/// A BackendTLSPolicy for the Service `service`; `validation` is YAML in one line.
#[must_use]
pub fn policy(name: &str, service: &str, validation: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\n\
         metadata: {{name: {name}, namespace: default}}\n\
         spec:\n  targetRefs: [{{group: \"\", kind: Service, name: {service}}}]\n  validation: {validation}\n"
    )
}
