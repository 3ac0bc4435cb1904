//! One check of one endpoint: a connection of its own, made where a client's would be, one question, and
//! what the answer means.
//!
//! Not when, nor what follows from it.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use nodeway_core::balance::BackendTls;
use nodeway_core::model::{AppProtocol, ConnectionLife, HealthCheck, ObjectName, Probe};
use tokio::time::timeout;

use super::{Outcome, http};
use crate::errors::chain;
use crate::runtime::Worker;
use crate::upstream::{Client, Offer, Transport, Version, connect, distrusted, is_ours, secure};

/// What a check needs to know.
#[derive(Debug)]
pub(super) struct Question {
    /// Of whom it is asked.
    pub(super) address: SocketAddr,
    /// Whose endpoint that is.
    pub(super) service: ObjectName,
    /// What the Service's port is declared to speak.
    pub(super) protocol: AppProtocol,
    pub(super) tls: Option<Arc<BackendTls>>,
    pub(super) check: HealthCheck,
}

/// Asks, with `client`'s sockets.
pub(super) async fn ask(worker: &Worker, client: Rc<Client>, question: &Question) -> Outcome {
    match timeout(question.check.timeout, question.ask(worker, client)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Unreached(format!("no answer within {:?}", question.check.timeout)),
    }
}

// === impl Question ===

impl Question {
    async fn ask(&self, worker: &Worker, client: Rc<Client>) -> Outcome {
        let mut address = self.address;
        if let Some(port) = self.check.port {
            address.set_port(port.get());
        }
        // The check's time is all that there is.
        let patience = self.check.timeout;
        let life = ConnectionLife { connect_timeout: patience, ..ConnectionLife::default() };
        let stream = match connect(worker, &client, address, &life).await {
            Ok(stream) => stream,
            Err(error) if is_ours(&error) => return Outcome::Unasked(chain(&error)),
            Err(error) => return Outcome::Unreached(chain(&error)),
        };
        // Not held while the answer is waited for: the pod may go.
        drop(client);
        let (transport, version) = match &self.tls {
            None => (Transport::Plain(stream), self.in_the_clear()),
            Some(tls) => match secure(worker, tls, self.offer(), stream, patience).await {
                Ok((stream, agreed)) => (Transport::Tls(stream), agreed.unwrap_or(Version::Http1)),
                Err(error) => return untrusted(tls, &error),
            },
        };
        match &self.check.probe {
            Probe::Tcp => Outcome::Well,
            Probe::Http { path, host, headers, statuses } => {
                let asked = http::Get { path, host: host.as_ref(), headers, statuses };
                let secured = self.tls.is_some();
                http::get(transport, version, &self.service, secured, &asked).await
            }
            Probe::Grpc { service } => {
                http::grpc(transport, &self.service, self.tls.is_some(), service).await
            }
        }
    }

    /// Another port than the requests' is not what the declaration is about.
    fn in_the_clear(&self) -> Version {
        match (self.protocol, self.check.port) {
            (AppProtocol::Http2, None) => Version::Http2,
            _ => Version::Http1,
        }
    }

    fn offer(&self) -> Offer {
        match &self.check.probe {
            Probe::Tcp => Offer::Opaque,
            Probe::Grpc { .. } => Offer::Only(Version::Http2),
            Probe::Http { .. } => match self.protocol {
                AppProtocol::Http2 => Offer::Only(Version::Http2),
                AppProtocol::Http1 => Offer::Only(Version::Http1),
                _ => Offer::Either,
            },
        }
    }
}

/// Whoever has shown the wrong certificate has answered. Where the policy itself is not valid nobody is
/// spoken to, least of all by requests: that says nothing of endpoints.
fn untrusted(tls: &BackendTls, error: &io::Error) -> Outcome {
    let why = chain(error);
    match (&tls.terms, distrusted(error)) {
        (Err(_), _) => Outcome::Unfit(why),
        (Ok(_), true) => Outcome::Ill(why),
        (Ok(_), false) => Outcome::Unreached(why),
    }
}
