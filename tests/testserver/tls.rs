//! TLS in front of the servers: `--tls FILE` with certificate and key in PEM, `--alpn LIST`.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::ServerConfig;
use tokio_rustls::rustls::{HandshakeKind, crypto};
use tokio_rustls::server::TlsStream;

/// What is needed to speak TLS.
#[derive(Clone)]
pub(crate) struct Tls(TlsAcceptor);

impl Tls {
    pub(crate) fn new(file: &Path, alpn: &str) -> anyhow::Result<Self> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file)?.collect();
        let key = PrivateKeyDer::from_pem_file(file).context("the key")?;
        let provider = Arc::new(crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain?, key)?;
        let names = alpn.split(',').filter(|name| !name.is_empty());
        config.alpn_protocols = names.map(|name| name.as_bytes().to_vec()).collect();
        Ok(Self(Arc::new(config).into()))
    }

    /// The connection, and what there is to say of it.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> std::io::Result<(TlsStream<TcpStream>, String)> {
        let stream = self.0.accept(stream).await?;
        let tls = stream.get_ref().1;
        let sni = tls.server_name().unwrap_or("-");
        let alpn = String::from_utf8_lossy(tls.alpn_protocol().unwrap_or(b"-"));
        let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        let said = format!("{sni} {alpn} {}", if resumed { "resumed" } else { "full" });
        Ok((stream, said))
    }
}
