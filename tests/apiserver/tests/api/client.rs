//! A client of the protocol: one connection a request, HTTP/1.1 over TLS.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use nodeway_apiserver::ApiServer;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const PATIENCE: Duration = Duration::from_secs(10);

/// An answer: its code, its `Retry-After`, its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: Value,
}

/// A watch's events, as they come.
pub(crate) struct Events {
    body: Incoming,
    text: Vec<u8>,
}

/// Sends it, and has the head of the answer.
async fn send(
    server: &ApiServer,
    method: &str,
    path: &str,
    kind: &str,
    body: &str,
) -> Result<http::Response<Incoming>, hyper::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.authority().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", kind)
        .header("authorization", format!("Bearer {}", server.token()))
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    sender.send_request(request).await
}

/// The answer to a request with a body of this content type; none if the connection breaks.
pub(crate) async fn ask(
    server: &ApiServer,
    method: &str,
    path: &str,
    kind: &str,
    body: &Value,
) -> Option<Answer> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let asked = async {
        let answer = send(server, method, path, kind, &body).await.ok()?;
        let retry_after = answer.headers().get("retry-after");
        let retry_after = retry_after.map(|value| value.to_str().unwrap().to_owned());
        let code = answer.status().as_u16();
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Some(Answer { code, retry_after, body })
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap()
}

pub(crate) async fn get(server: &ApiServer, path: &str) -> Answer {
    ask(server, "GET", path, "", &Value::Null).await.unwrap()
}

pub(crate) async fn watch(server: &ApiServer, path: &str) -> Events {
    let answer = send(server, "GET", path, "", "").await.unwrap();
    assert_eq!(answer.status(), 200);
    Events { body: answer.into_body(), text: Vec::new() }
}

// === impl Events ===

impl Events {
    /// The next event's type and object; none at the end.
    pub(crate) async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(end) = self.text.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                let mut event: Value = serde_json::from_slice(&line).unwrap();
                let kind = event["type"].as_str().unwrap().to_owned();
                return Some((kind, event["object"].take()));
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.unwrap()?;
            self.text.extend_from_slice(&frame.ok()?.into_data().unwrap());
        }
    }

    /// The next event's type, and its object's name.
    pub(crate) async fn named(&mut self) -> (String, String) {
        let (kind, object) = self.next().await.unwrap();
        (kind, object["metadata"]["name"].as_str().unwrap_or_default().to_owned())
    }
}
