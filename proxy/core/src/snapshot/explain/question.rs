//! Which request is meant, and whom it dials.
//!
//! Names stand for Services as DNS has them in a pod.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, Method, Uri};

use crate::model::{ObjectName, ServiceKind};
use crate::snapshot::{Frontend, Snapshot, Store};

/// A request to explain.
#[derive(Debug, Clone)]
pub struct Question {
    /// The pod that asks.
    pub from: ObjectName,
    /// How.
    pub method: Method,
    /// What: `http://`, `https://` or `tcp://`, a Service's name or address, a port.
    pub url: Uri,
    /// The headers.
    pub headers: HeaderMap,
}

/// Why a request cannot be explained, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown(pub String);

/// Whom a question dials.
pub(super) struct Dialled {
    pub(super) frontend: Arc<Frontend>,
    /// By one of the Service's external addresses.
    pub(super) external: bool,
}

// === impl Question ===

impl Question {
    /// Whether it is an HTTP request that the proxy can look into.
    pub(super) fn is_http(&self) -> bool {
        self.url.scheme_str() == Some("http")
    }

    /// Whether it is a connection on which the client speaks TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }

    pub(super) fn dialled(&self, store: &Store, snapshot: &Snapshot) -> Result<Dialled, Unknown> {
        let host = self.url.host().unwrap_or_default();
        let port = match (self.url.port_u16(), self.url.scheme_str()) {
            (Some(port), Some("http" | "https" | "tcp")) => port,
            (None, Some("http")) => 80,
            (None, Some("https")) => 443,
            _ => {
                return Err(Unknown(format!(
                    "{}: must be a URL with http://, https://, or tcp:// and a port",
                    self.url
                )));
            }
        };
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            let address = SocketAddr::new(address.to_canonical(), port);
            let frontend = snapshot.frontend(address).cloned().ok_or_else(|| {
                Unknown(format!("no Service has {address}: such a connection is left alone"))
            })?;
            let service = store.service(&frontend.service);
            let external = service
                .is_some_and(|s| s.external_ips.iter().any(|ip| ip.to_canonical() == address.ip()));
            return Ok(Dialled { frontend, external });
        }
        let name = self.service(host)?;
        let Some(service) = store.service(&name) else {
            return Err(Unknown(format!("there is no Service {name} ({host})")));
        };
        match service.kind {
            ServiceKind::ClusterIp => {}
            ServiceKind::Headless => {
                return Err(Unknown(format!(
                    "Service {name} is headless: its clients dial pods, and are left alone"
                )));
            }
            ServiceKind::ExternalName => {
                return Err(Unknown(format!(
                    "Service {name} is an ExternalName: a name in DNS, which nobody dials"
                )));
            }
        }
        let frontend = snapshot.service_port(&name, port).cloned().ok_or_else(|| {
            let ports: Vec<String> = service.ports.iter().map(|p| p.port.to_string()).collect();
            Unknown(format!("Service {name} has no TCP port {port}, but {}", ports.join(", ")))
        })?;
        Ok(Dialled { frontend, external: false })
    }

    /// `web`, `web.shop`, `web.shop.svc` and what follows it.
    fn service(&self, host: &str) -> Result<ObjectName, Unknown> {
        let mut labels = host.trim_end_matches('.').split('.');
        let (service, namespace) = (labels.next().unwrap_or_default(), labels.next());
        if service.is_empty() || labels.next().is_some_and(|label| label != "svc") {
            return Err(Unknown(format!(
                "{host:?} is no Service's name: SERVICE, SERVICE.NAMESPACE, SERVICE.NAMESPACE.svc.cluster.local, or an address"
            )));
        }
        Ok(ObjectName::new(namespace.unwrap_or(&self.from.namespace), service))
    }
}

// === impl Unknown ===

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unknown {}
