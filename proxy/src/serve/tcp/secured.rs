//! Octets from a client in the clear to an endpoint over TLS, and back.
//!
//! Not for a client who speaks TLS itself: its octets are passed on as they are.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use nodeway_core::balance::{BackendTls, Endpoint, Refused, Report, Scope};
use nodeway_core::detect::{Verdict, first_bytes};
use nodeway_core::snapshot::{Backend, Caller};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::relay::{Broken, Ended, reset_on_close};
use super::{admit, tell};
use crate::runtime::Worker;
use crate::serve::outcome::{failed, report};
use crate::serve::overflow::refused;
use crate::telemetry::Flag;
use crate::upstream::{Client, Offer, UnderWay, under_way};
use crate::upstream::{blameless, connect, distrusted, secure};

/// One read: a TLS record's most (RFC 8446, 5.1).
const CHUNK: usize = 16 << 10;
/// Endpoints tried before a connection is given up.
const ATTEMPTS: usize = 2;

/// The policy that a connection to `backend` is under, of which the client has `said` something.
#[inline]
pub(super) fn policy<'a>(backend: &'a Backend, said: &[u8]) -> Option<&'a Arc<BackendTls>> {
    let tls = backend.tls()?;
    // Who speaks TLS says so at once, and knows whom it trusts.
    (said.is_empty() || first_bytes(said) != Verdict::Tls).then_some(tls)
}

/// Relays between `client` and an endpoint of `backend` until both have finished or one breaks.
///
/// # Errors
/// Why there is no connection, as a metric's label.
pub(super) async fn relay(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    (backend, tls): (&Backend, &Arc<BackendTls>),
    caller: Caller,
    (stream, said): (TcpStream, &[u8]),
) -> Result<Ended, Flag> {
    let mut flag = Flag::UpstreamConnectFailure;
    client.uses(backend, worker.clock);
    let mut avoided: Option<Arc<Endpoint>> = None;
    for _ in 0..ATTEMPTS {
        if tls.terms.is_err() {
            reset_on_close(&stream);
            return Err(Flag::UpstreamTls);
        }
        let admitted = admit(worker, backend, caller, avoided.as_deref());
        let active = admitted.inspect_err(|_| reset_on_close(&stream))?;
        let (endpoint, by) = (active.endpoint(), (caller, active.began()));
        let _connected = match backend.connect(endpoint) {
            Ok(connected) => connected,
            Err(full) if full.of == Scope::Endpoint && avoided.is_none() => {
                avoided = Some(Arc::clone(endpoint));
                continue;
            }
            Err(full) => {
                reset_on_close(&stream);
                return Err(refused(worker, backend, Refused::Overflow(full)));
            }
        };
        let start = Instant::now();
        let life = &backend.settings().connections;
        let secured = match connect(worker, client, endpoint.address, life).await {
            Ok(upstream) => {
                secure(worker, tls, Offer::Opaque, upstream, life.connect_timeout).await
            }
            Err(error) => Err(error),
        };
        match secured {
            Ok((upstream, _)) => {
                let latency = start.elapsed();
                report(worker, by, (backend, endpoint), Report::Connected { latency });
                let cut = UnderWay::cut(under_way(worker, client, (backend, endpoint)));
                let ended = pass(stream, *upstream, said, || endpoint.whole(), cut).await;
                tell(worker, by, (backend, endpoint), &ended);
                return Ok(ended);
            }
            Err(error) => {
                if !blameless(&error) {
                    failed(worker, by, (backend, endpoint), Report::NotConnected, &error);
                }
                flag = match distrusted(&error) {
                    true => Flag::UpstreamTls,
                    false => Flag::UpstreamConnectFailure,
                };
            }
        }
        avoided = Some(Arc::clone(endpoint));
    }
    reset_on_close(&stream);
    Err(flag)
}

async fn pass(
    client: TcpStream,
    server: tokio_rustls::client::TlsStream<TcpStream>,
    said: &[u8],
    heard: impl Fn(),
    cut: impl Future<Output = ()>,
) -> Ended {
    let (sent, received) = (Cell::new(0), Cell::new(0));
    let (mut client, mut server) = (client, server);
    let broken = {
        let (client_read, client_write) = client.split();
        let (server_read, mut server_write) = tokio::io::split(&mut server);
        let up = async {
            server_write.write_all(said).await.map_err(Broken::servers)?;
            sent.set(said.len() as u64);
            let count = |n| sent.set(sent.get() + n);
            pump(client_read, Broken::clients, server_write, Broken::servers, count).await
        };
        let down = async {
            let count = |n| {
                if received.get() == 0 {
                    heard();
                }
                received.set(received.get() + n);
            };
            pump(server_read, Broken::servers, client_write, Broken::clients, count).await
        };
        tokio::select! {
            biased;
            ended = async { tokio::try_join!(up, down) } => ended.err(),
            () = cut => Some(Broken::cut()),
        }
    };
    if broken.is_some() {
        // Also an end that TLS has not announced: the client must not take a part for the whole.
        reset_on_close(&client);
        reset_on_close(server.get_ref().0);
    }
    Ended::of(sent.get(), received.get(), broken)
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    unread: fn(io::Error) -> Broken,
    mut to: impl AsyncWrite + Unpin,
    unwritten: fn(io::Error) -> Broken,
    count: impl Fn(u64),
) -> Result<(), Broken> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await.map_err(unread)?;
        if read == 0 {
            // A peer that has closed its side entirely has no use for our half-close.
            let _ = to.shutdown().await;
            return Ok(());
        }
        to.write_all(&buffer[..read]).await.map_err(unwritten)?;
        to.flush().await.map_err(unwritten)?;
        count(read as u64);
    }
}
