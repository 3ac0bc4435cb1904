//! Requests to the API server, and what its refusals mean.
//!
//! Not what is asked for: that is the watches' business, and `status`'s.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::request::Builder;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::Deserialize;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::client::client;
use crate::errors::chain;

/// A server that is there takes a connection at once; one that has gone without a word never does.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the server may take to begin an answer, or to go on with it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The way to the API server.
pub(crate) struct Access {
    config: Config,
    client: RefCell<Client>,
    /// Whether the last request got an answer, whatever it said.
    reached: Cell<bool>,
    /// Told when requests are answered again.
    back: Notify,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The server does not serve the kind (its CRD is not installed), or has no such object.
    Absent,
    /// The server does not allow it; its words.
    Forbidden(String),
    /// The history that was asked for is compacted (410).
    Gone,
    /// The object is not what it was thought to be (409).
    Conflict,
    /// The token is not valid, or not any more.
    Unauthorized(String),
    /// The request itself is refused (400, 422); its words.
    Refused(String),
    /// The server could not do it this time (500); its words.
    Failed(String),
    /// The server is away or broken.
    Away(String),
    /// It has said nothing for so long.
    Silent(Duration),
    /// The server has too much to do (429, 503), and wants to be left alone for so long; its words.
    Busy(String, Duration),
}

/// What is used of an API `Status`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    code: u16,
    message: String,
}

/// The way to the API: by the file, else as a pod in the cluster, else by KUBECONFIG.
///
/// # Errors
/// There is no way, or it cannot be used.
pub async fn connect(kubeconfig: Option<&Path>) -> anyhow::Result<Config> {
    let options = KubeConfigOptions::default();
    if let Some(path) = kubeconfig {
        let told = || format!("--kubeconfig {}", path.display());
        let file = Kubeconfig::read_from(path).with_context(told)?;
        return Config::from_custom_kubeconfig(file, &options).await.with_context(told);
    }
    match Config::incluster() {
        Ok(config) => Ok(config),
        Err(_) => Config::from_kubeconfig(&options).await.context(
            "no way to the Kubernetes API: not in a cluster, and no usable kubeconfig \
             (give --kubeconfig FILE or KUBECONFIG, or --manifests DIR to do without)",
        ),
    }
}

// === impl Access ===

impl Access {
    pub(crate) fn new(mut config: Config) -> Result<Self, kube::Error> {
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let client = RefCell::new(client(config.clone())?);
        Ok(Self { config, client, reached: Cell::new(true), back: Notify::new() })
    }

    /// Ends when requests are answered again, after some that were not.
    pub(super) fn back(&self) -> Notified<'_> {
        self.back.notified()
    }

    fn reached(&self, reached: bool) {
        if !self.reached.replace(reached) && reached {
            self.back.notify_waiters();
        }
    }

    /// The server's address.
    pub(crate) fn server(&self) -> &http::Uri {
        &self.config.cluster_url
    }

    /// The namespace that the way leads to: in a cluster, the pod's own.
    pub(crate) fn namespace(&self) -> &str {
        &self.config.default_namespace
    }

    /// Reads the token again from where it is.
    pub(crate) fn renew(&self) {
        match client(self.config.clone()) {
            Ok(client) => *self.client.borrow_mut() = client,
            Err(error) => {
                tracing::debug!(error = %chain(&error), "the API's client stays as it was")
            }
        }
    }

    /// The whole answer to GET `path?query`.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Bytes, Trouble> {
        self.stream(path, query).await?.whole().await
    }

    /// The answer to GET `path?query`, as it comes.
    pub(crate) async fn stream(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Stream, Trouble> {
        let query: Vec<String> =
            query.iter().map(|(key, value)| format!("{key}={value}")).collect();
        self.request(Request::get(format!("{path}?{}", query.join("&"))), Body::empty()).await
    }

    /// The whole answer to `body` being sent.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Vec<u8>,
    ) -> Result<Bytes, Trouble> {
        let request =
            Request::builder().method(method).uri(path).header(http::header::CONTENT_TYPE, kind);
        self.request(request, Body::from(body)).await?.whole().await
    }

    async fn request(&self, request: Builder, body: Body) -> Result<Stream, Trouble> {
        let request = request
            .header(http::header::ACCEPT, "application/json")
            .body(body)
            .map_err(|error| Trouble::Away(error.to_string()))?;
        let client = self.client.borrow().clone();
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, client.send(request)).await;
        let answer = answer
            .map_err(|_| Trouble::Away(format!("no answer within {ANSWER_TIMEOUT:?}")))
            .and_then(|answer| answer.map_err(|error| trouble_of(&error)));
        self.reached(!matches!(answer, Err(Trouble::Away(_))));
        let answer = answer?;
        if answer.status().is_success() {
            return Ok(Stream { body: answer.into_body() });
        }
        Err(refusal(answer).await)
    }
}

fn trouble_of(error: &kube::Error) -> Trouble {
    match error {
        kube::Error::Api(status) => {
            Status { code: status.code, message: status.message.clone() }.trouble()
        }
        // What fails before a request leaves: a token file that is gone, an exec plug-in.
        kube::Error::Auth(error) => Trouble::Unauthorized(chain(error)),
        error => Trouble::Away(chain(error)),
    }
}

async fn refusal(answer: Response<Body>) -> Trouble {
    let code = answer.status().as_u16();
    let after = answer.headers().get(http::header::RETRY_AFTER);
    let after = after.and_then(|after| after.to_str().ok()?.parse().ok());
    let mut stream = Stream { body: answer.into_body() };
    let mut text = Vec::new();
    // A refusal is short; what is longer is not read to its end.
    while let Ok(Some(chunk)) = stream.next(ANSWER_TIMEOUT).await {
        text.extend_from_slice(&chunk);
        if text.len() > 64 << 10 {
            break;
        }
    }
    let message = match serde_json::from_slice::<Status>(&text) {
        Ok(status) if !status.message.is_empty() => status.message,
        _ => String::from_utf8_lossy(&text).trim().chars().take(200).collect(),
    };
    match (Status { code, message }).trouble() {
        Trouble::Away(why) if matches!(code, 429 | 503) => {
            Trouble::Busy(why, Duration::from_secs(after.unwrap_or(0)))
        }
        trouble => trouble,
    }
}

// === impl Status ===

impl Status {
    /// What it means.
    pub(crate) fn trouble(self) -> Trouble {
        let told = || format!("{} ({})", self.message, self.code);
        match self.code {
            401 => Trouble::Unauthorized(told()),
            403 => Trouble::Forbidden(self.message),
            404 => Trouble::Absent,
            409 => Trouble::Conflict,
            410 => Trouble::Gone,
            400 | 422 => Trouble::Refused(told()),
            500 => Trouble::Failed(told()),
            _ => Trouble::Away(told()),
        }
    }
}

/// An answer, as it comes.
pub(crate) struct Stream {
    body: Body,
}

// === impl Stream ===

impl Stream {
    /// All of it.
    async fn whole(mut self) -> Result<Bytes, Trouble> {
        let mut whole = bytes::BytesMut::new();
        while let Some(chunk) = self.next(ANSWER_TIMEOUT).await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// What has come next, or none at the end. Nothing for so long is trouble.
    pub(crate) async fn next(&mut self, patience: Duration) -> Result<Option<Bytes>, Trouble> {
        loop {
            let frame = tokio::time::timeout(patience, self.body.frame()).await;
            let frame = frame.map_err(|_| Trouble::Silent(patience))?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(Trouble::Away(chain(&error))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}
