//! Octets from a client in the clear to an endpoint over TLS, and back.
//!
//! Not for a client who speaks TLS itself: its octets are passed on as they are.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use nodeway_core::balance::{BackendTls, Endpoint, Report};
use nodeway_core::detect::{Verdict, first_bytes};
use nodeway_core::snapshot::{Backend, Caller};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::pick;
use super::relay::{Ended, reset_on_close};
use crate::runtime::Worker;
use crate::serve::outcome::{Active, failed, report};
use crate::telemetry::Flag;
use crate::upstream::{Client, Offer, connect, distrusted, secure};

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
    let mut avoided: Option<Arc<Endpoint>> = None;
    for _ in 0..ATTEMPTS {
        if tls.terms.is_err() {
            reset_on_close(&stream);
            return Err(Flag::UpstreamTls);
        }
        let Some(endpoint) = pick(worker, backend, caller, avoided.as_deref()) else {
            reset_on_close(&stream);
            return Err(Flag::NoHealthyUpstream);
        };
        let start = Instant::now();
        let secured = match connect(worker, client, endpoint.address).await {
            Ok(upstream) => secure(worker, tls, Offer::Opaque, upstream).await,
            Err(error) => Err(error),
        };
        match secured {
            Ok((upstream, _)) => {
                let latency = start.elapsed();
                report(worker, backend, &endpoint, Report::Connected { latency });
                let _active = Active::begin(endpoint);
                return Ok(pass(stream, *upstream, said).await);
            }
            Err(error) if distrusted(&error) => flag = Flag::UpstreamTls,
            Err(error) => {
                failed(worker, backend, &endpoint, Report::NotConnected, &error);
                flag = Flag::UpstreamConnectFailure;
            }
        }
        avoided = Some(endpoint);
    }
    reset_on_close(&stream);
    Err(flag)
}

async fn pass(
    client: TcpStream,
    server: tokio_rustls::client::TlsStream<TcpStream>,
    said: &[u8],
) -> Ended {
    let (sent, received) = (Cell::new(0), Cell::new(0));
    let (mut client, mut server) = (client, server);
    let error = {
        let (client_read, client_write) = client.split();
        let (server_read, mut server_write) = tokio::io::split(&mut server);
        let up = async {
            server_write.write_all(said).await?;
            sent.set(said.len() as u64);
            pump(client_read, server_write, &sent).await
        };
        tokio::try_join!(up, pump(server_read, client_write, &received)).err()
    };
    if error.is_some() {
        // Also an end that TLS has not announced: the client must not take a part for the whole.
        reset_on_close(&client);
        reset_on_close(server.get_ref().0);
    }
    Ended { sent: sent.get(), received: received.get(), error }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: &Cell<u64>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            // A peer that has closed its side entirely has no use for our half-close.
            let _ = to.shutdown().await;
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
        to.flush().await?;
        count.set(count.get() + read as u64);
    }
}
