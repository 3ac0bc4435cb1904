//! HTTP/1 and HTTP/2 from clients.
//!
//! The phases of a request, in order: its head is checked (`wellformed`), matched to a rule
//! (`nodeway_core::route`), freed of what ends at this hop (`headers`) and changed by the rule's
//! filters; an endpoint is picked and the request sent (`attempt`); the response's head takes the
//! same way back; bodies stream (`body`); when the response has ended it is counted (`record`).

mod attempt;
mod body;
mod deadline;
mod exchange;
mod headers;
mod http2;
mod interim;
mod io;
mod mirror;
mod record;
mod reply;
mod resets;
mod rest;
mod secured;
mod session;
mod spare;
mod spelling;
#[cfg(test)]
mod tests;
mod upgrade;
mod websocket;
mod wellformed;

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Method, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use self::body::ResponseBody;
use self::interim::Interim;
use self::io::{Faults, Http1Io};
pub use self::rest::AtRest;
use self::rest::at_rest;
use super::{LAST_CALL, Target};
use crate::runtime::Worker;
use crate::streams::{Inbound, Prefixed};
use crate::upstream::{Client, Inform, Informer, Version};

/// A request head (HTTP/1) or header list (HTTP/2) beyond this is refused with 431.
const MAX_HEAD: u32 = 64 << 10;

/// What all requests of one connection share.
#[derive(Debug)]
struct Conn {
    worker: Rc<Worker>,
    client: Rc<Client>,
    target: Target,
    version: Version,
    /// What the watch over HTTP/1 heads found; absent on HTTP/2.
    faults: Option<Faults>,
    requests: Cell<u64>,
}

/// Serves HTTP/1 until the connection ends or nobody asks any more.
pub async fn serve_http1(from: AtRest) -> Option<AtRest> {
    let AtRest { worker, client, target, stream, said } = from;
    let faults = Faults::default();
    let watched = faults.clone();
    let interim = Arc::new(Interim::default());
    let io = Http1Io::new(stream, said, faults.clone(), Arc::clone(&interim));
    let io = TokioIo::new(io);
    let requests = Cell::new(0);
    let conn =
        Conn { worker, client, target, version: Version::Http1, faults: Some(faults), requests };
    let conn = Rc::new(conn);
    let service = service_fn(|request: Request<Incoming>| {
        let (conn, interim) = (Rc::clone(&conn), Arc::clone(&interim));
        // Boxed, for hyper moves it about, and it is large.
        Box::pin(async move {
            let connect = request.method() == Method::CONNECT;
            interim.begin();
            // RFC 9110, 15.2: HTTP/1.0 knows no interim responses.
            let informed = request.version() == http::Version::HTTP_11;
            let informer = informed.then(|| Informer::new(Arc::clone(&interim) as Arc<dyn Inform>));
            let request = request.map(Inbound::Http1);
            let mut handling = pin!(exchange::handle(Rc::clone(&conn), request, informer));
            let mut response = poll_fn(|cx| {
                interim.serving(cx);
                handling.as_mut().poll(cx)
            })
            .await;
            if conn.is_closing() && !upgrade::granted(connect, response.status()) {
                // RFC 9112, 9.6: this is the connection's last response.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        })
    });
    let mut connection = http1::Builder::new()
        .auto_date_header(false)
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD as usize)
        .serve_connection(io, service)
        .with_upgrades();
    // The last response says so in its head. Who has had his before it was known is given time to ask.
    let quiet = async { while !conn.is_quiet_for(LAST_CALL).await {} };
    let at_rest = at_rest(&conn, &watched, &interim);
    if !drive(&conn, Pin::new(&mut connection), quiet, at_rest).await {
        return None;
    }
    let parts = connection.into_parts()?;
    let (stream, said) = parts.io.into_inner().into_stream()?;
    let said = if parts.read_buf.is_empty() { said } else { parts.read_buf };
    let Conn { worker, client, target, .. } = Rc::into_inner(conn)?;
    Some(AtRest { worker, client, target, stream, said })
}

/// Serves HTTP/2 on `stream`, of which `said` has been read already.
pub async fn serve_http2(
    worker: Rc<Worker>,
    client: Rc<Client>,
    target: Target,
    stream: TcpStream,
    said: Bytes,
) {
    let io = Prefixed::new(stream, said);
    let requests = Cell::new(0);
    let conn = Conn { worker, client, target, version: Version::Http2, faults: None, requests };
    let conn = Rc::new(conn);
    if let Err(error) = http2::serve(&conn, io).await {
        if error.is_go_away() && error.is_library() {
            conn.worker.metrics.counters.protocol_errors.add(1);
        }
        tracing::debug!(%error, workload = %conn.client.workload, "a client's connection broke");
    }
}

/// Runs a connection to its end, or until it is `at_rest`; whether it is that. When its client or its worker is
/// closing, and `quiet` has ended then, it is asked to finish.
async fn drive<S>(
    conn: &Conn,
    mut connection: Pin<&mut http1::UpgradeableConnection<TokioIo<Http1Io>, S>>,
    quiet: impl Future<Output = ()>,
    at_rest: impl Future<Output = ()>,
) -> bool
where
    S: HttpService<Incoming, ResBody = ResponseBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = async {
            conn.closing().await;
            quiet.await;
        } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = at_rest => return true,
    };
    if let Err(error) = ended {
        if error.is_parse() {
            conn.worker.metrics.counters.protocol_errors.add(1);
        }
        tracing::debug!(%error, workload = %conn.client.workload, "a client's connection broke");
    }
    false
}

// === impl Conn ===

impl Conn {
    fn is_closing(&self) -> bool {
        self.worker.closing.fired() || self.client.closing.fired()
    }

    /// Ends when its client or its worker is closing.
    fn closing(&self) -> impl Future<Output = ()> + use<> {
        let mut closing = (self.worker.closing.listen(), self.client.closing.listen());
        poll_fn(move |cx: &mut Context<'_>| {
            let fired = closing.0.poll_fired(cx).is_ready() | closing.1.poll_fired(cx).is_ready();
            if fired { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    /// Whether nothing is under way, and nobody asks for so long.
    async fn is_quiet_for(self: &Rc<Self>, time: Duration) -> bool {
        // Each request under way holds the connection. One that ends meanwhile is followed by the whole time.
        let idle = || Rc::strong_count(self) == 1;
        let (asked, was_idle) = (self.requests.get(), idle());
        tokio::time::sleep(time).await;
        was_idle && idle() && self.requests.get() == asked
    }
}
