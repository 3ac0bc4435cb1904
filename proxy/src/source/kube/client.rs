//! The client that speaks with the API server: kube's own, on connections that the kernel watches over.
//!
//! Not what is asked, nor what the answers mean: that is `access`.

use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

/// A watch says nothing for a minute and more, so whether there is somebody at the other end is asked by
/// TCP, which costs the server nothing: a node or a network that has gone is noticed after half a minute.
const QUIET: Duration = Duration::from_secs(15);
const BETWEEN: Duration = Duration::from_secs(5);
const UNANSWERED: u32 = 3;

/// A client as kube makes it, but for the connections; and it tries nothing again: a refusal is for the watch
/// to see, which knows how long to wait, and who must be told.
///
/// # Errors
/// What the configuration names cannot be read, or cannot be used.
pub(super) fn client(config: Config) -> Result<Client, kube::Error> {
    if config.proxy_url.is_some() {
        // Kube says what it has against it.
        return Client::try_from(config);
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_keepalive(Some(QUIET));
    tcp.set_keepalive_interval(Some(BETWEEN));
    tcp.set_keepalive_retries(Some(UNANSWERED));
    let mut tls = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    tls.set_connect_timeout(config.connect_timeout);
    let http = legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(tls);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace))
}
