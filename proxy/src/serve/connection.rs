//! What a new connection is for, and who serves it.

use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use nodeway_core::detect::{Hello, Verdict};
use nodeway_core::model::{AppProtocol, ObjectName};
use nodeway_core::snapshot::{
    Caller, Connections, Family, Frontend, ServerNames, Snapshot, hash_of_source,
};
use tokio::net::TcpStream;

use super::first::{self, First};
use super::http::{self, AtRest};
use super::tcp::{self, Relayed, Way};
use crate::runtime::Worker;
use crate::telemetry::{Flag, Protocol};
use crate::upstream::{self, Client, Version};

/// Whom a connection is for, and who asks.
#[derive(Debug)]
pub struct Target {
    destination: Destination,
    pub(super) caller: Caller,
}

#[derive(Debug)]
enum Destination {
    /// The address that the client dialled.
    Dialled(SocketAddr),
    /// A Service's port, fixed by a plain listener.
    ServicePort(ObjectName, u16),
}

/// Serves `stream` to its end.
pub async fn connection(
    worker: Rc<Worker>,
    client: Rc<Client>,
    target: Target,
    mut stream: TcpStream,
) {
    let active = ActiveConnection::begin(&worker);
    let view = worker.view();
    let Some(frontend) = target.frontend(&view) else {
        worker.metrics.counters.unknown_destination.add(1);
        tracing::debug!(?target, workload = %client.workload, "no such Service port: closed");
        return;
    };
    let (mut way, mut said) = (Way::Service, None);
    // Where rules of HTTP apply nothing goes past them, whatever the client makes of its first octets.
    let routed = frontend.is_routed_for(client.namespace.as_deref());
    let declared = match frontend.connections(client.namespace.as_deref()) {
        Connections::AsDeclared if routed && frontend.protocol == AppProtocol::Detect => {
            AppProtocol::Http
        }
        Connections::AsDeclared => frontend.protocol,
        Connections::Relayed(rule) => {
            way = Way::Rule(Arc::clone(rule));
            AppProtocol::Tcp
        }
        Connections::ByName(names) => {
            let Some((hello, bytes)) = first::hello(&worker, &client, &mut stream).await else {
                return;
            };
            way = by_name(names, &hello);
            said = Some(bytes);
            AppProtocol::Tls
        }
    };
    let first = match declared {
        AppProtocol::Tcp | AppProtocol::Tls => First::opaque(said.unwrap_or_default()),
        // Over TLS it is the client who speaks first, to us and to endpoints.
        AppProtocol::Detect if frontend.backend.tls().is_some() => {
            first::client(&worker, &client, &mut stream).await
        }
        AppProtocol::Detect => {
            Box::pin(first::either(&worker, &client, &frontend.backend, target.caller, &mut stream))
                .await
        }
        AppProtocol::Http | AppProtocol::Http1 | AppProtocol::Http2 => {
            first::client(&worker, &client, &mut stream).await
        }
    };
    let First { verdict, bytes, upstream } = first;
    // Each way is boxed: what the largest needs would be copied, and kept, for all.
    match verdict {
        None => {}
        Some(Verdict::Http1) => {
            active.speaks(&worker, Protocol::Http1);
            adopt(&worker, &client, frontend, upstream, Version::Http1);
            drop(view);
            http1(AtRest { worker, client, target, stream, said: bytes }).await;
        }
        Some(Verdict::Http2) => {
            active.speaks(&worker, Protocol::Http2);
            adopt(&worker, &client, frontend, upstream, Version::Http2);
            drop(view);
            Box::pin(http::serve_http2(worker, client, target, stream, bytes)).await;
        }
        Some(Verdict::BadPreface) => worker.metrics.counters.protocol_errors.add(1),
        // Nobody could read what rules are to apply to.
        Some(Verdict::Tls) if routed && declared_http(declared) => {
            worker.metrics.counters.protocol_errors.add(1);
            tracing::debug!(service = %frontend.service, workload = %client.workload,
                "TLS where routes of HTTP apply: reset");
            tcp::reset_on_close(&stream);
        }
        // A port that speaks HTTP: whatever else comes is answered as HTTP says.
        Some(Verdict::Opaque | Verdict::NeedMore) if declared_http(declared) => {
            active.speaks(&worker, Protocol::Http1);
            drop(view);
            http1(AtRest { worker, client, target, stream, said: bytes }).await;
        }
        Some(Verdict::Tls | Verdict::Opaque | Verdict::NeedMore) => {
            active.speaks(&worker, Protocol::Tcp);
            let frontend = Arc::clone(frontend);
            let generation = view.generation();
            drop(view);
            let caller = target.caller;
            let relayed = Relayed { stream, said: bytes, opened: upstream, caller, way };
            Box::pin(tcp::serve(&worker, &client, &frontend, generation, relayed)).await;
        }
    }
}

/// Serves HTTP/1 to its end. While nobody asks, only the socket is kept.
async fn http1(mut rest: AtRest) {
    loop {
        match Box::pin(http::serve_http1(rest)).await {
            Some(next) => rest = next,
            None => return,
        }
        if rest.said.is_empty() {
            let said = first::more(&rest.worker, &rest.client, &mut rest.stream).await;
            let Some(said) = said else { return };
            rest.said = said.freeze();
        }
    }
}

/// Whose the connection is that begins with this ClientHello.
fn by_name(names: &ServerNames, hello: &Hello) -> Way {
    let asked = match hello {
        Hello::Named(name) => Some(&**name),
        Hello::Nameless => None,
        Hello::Bad | Hello::NeedMore => return Way::Nowhere(Flag::DownstreamProtocol),
    };
    match names.rule(asked) {
        Some(rule) => Way::Rule(Arc::clone(rule)),
        None => {
            tracing::debug!(?asked, "no TLSRoute has the server's name: reset");
            Way::Nowhere(Flag::NoRoute)
        }
    }
}

/// A connection that was opened before it was known what is spoken is used for the first request.
fn adopt(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    frontend: &Arc<Frontend>,
    opened: Option<first::Opened>,
    version: Version,
) {
    let Some(opened) = opened else { return };
    let frontend = Arc::clone(frontend);
    let (worker, client) = (Rc::clone(worker), Rc::clone(client));
    tokio::task::spawn_local(async move {
        let to = (&*frontend.backend, &opened.endpoint);
        upstream::adopt(&worker, &client, to, version, (opened.stream, opened.connected)).await;
    });
}

/// Counts a connection as open as long as it lives.
pub(super) struct ActiveConnection {
    counters: Arc<crate::telemetry::WorkerCounters>,
}

// === impl Target ===

impl Target {
    /// What the pod with this namespace cookie, and this hash of its address, dialled.
    pub fn dialled(address: SocketAddr, cookie: u64, source: Option<u64>) -> Self {
        let family = Some(Family::of(address.ip()));
        let caller = Caller { client: cookie, family, hash: source, relayed: false };
        Self { destination: Destination::Dialled(address), caller }
    }

    /// What a plain listener stands for, asked for from `peer`. Which family that can reach is not
    /// known: its connections are made by this process, which can reach what it can.
    pub fn service_port(service: ObjectName, port: u16, peer: IpAddr) -> Self {
        // The same in all workers; clients of one number share an endpoint, no more.
        let client = foldhash::fast::FixedState::default().hash_one(peer.to_canonical());
        let caller =
            Caller { client, family: None, hash: Some(hash_of_source(peer)), relayed: false };
        Self { destination: Destination::ServicePort(service, port), caller }
    }

    /// What `snapshot` says of it.
    pub fn frontend<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a Arc<Frontend>> {
        match &self.destination {
            Destination::Dialled(address) => snapshot.frontend(*address),
            Destination::ServicePort(service, port) => snapshot.service_port(service, *port),
        }
    }
}

// === impl ActiveConnection ===

impl ActiveConnection {
    pub(super) fn begin(worker: &Worker) -> Self {
        let counters = Arc::clone(&worker.metrics.counters);
        counters.active.add(1);
        Self { counters }
    }

    fn speaks(&self, worker: &Worker, protocol: Protocol) {
        worker.metrics.counters.accepted[protocol as usize].add(1);
    }
}

impl Drop for ActiveConnection {
    fn drop(&mut self) {
        self.counters.active.dec();
    }
}

fn declared_http(protocol: AppProtocol) -> bool {
    matches!(protocol, AppProtocol::Http | AppProtocol::Http1 | AppProtocol::Http2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, D, F>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_that_waits_is_small() {
        assert!(size(connection) <= 1280, "{} octets", size(connection));
    }
}
