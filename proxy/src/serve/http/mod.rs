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
mod io;
mod record;
mod reply;
mod resets;
mod secured;
mod session;
mod spare;
mod spelling;
mod upgrade;
mod wellformed;

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Method, StatusCode};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use self::io::{Faults, Http1Io, PrefixedIo};
use self::resets::Resets;
use super::{LAST_CALL, Target};
use crate::runtime::Worker;
use crate::upstream::{Client, Version};

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

/// Runs tasks of this thread on this thread.
#[derive(Debug, Clone, Copy)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Serves HTTP/1 on `stream`, of which `said` has been read already.
pub async fn serve_http1(
    worker: Rc<Worker>,
    client: Rc<Client>,
    target: Target,
    stream: TcpStream,
    said: Bytes,
) {
    let faults = Faults::default();
    let io = TokioIo::new(Http1Io::new(stream, said, faults.clone()));
    let requests = Cell::new(0);
    let conn =
        Conn { worker, client, target, version: Version::Http1, faults: Some(faults), requests };
    let conn = Rc::new(conn);
    let service = service_fn(|request| {
        let conn = Rc::clone(&conn);
        async move {
            let connect = request.method() == Method::CONNECT;
            let mut response = exchange::handle(Rc::clone(&conn), request).await;
            if conn.is_closing() && !upgrade::granted(connect, response.status()) {
                // RFC 9112, 9.6: this is the connection's last response.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .auto_date_header(false)
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD as usize)
        .serve_connection(io, service)
        .with_upgrades();
    // The last response says so in its head. Who has had his before it was known is given time to ask.
    let quiet = async { while !conn.is_quiet_for(LAST_CALL).await {} };
    drive(&conn, pin!(connection), quiet).await;
}

/// Serves HTTP/2 on `stream`, of which `said` has been read already.
pub async fn serve_http2(
    worker: Rc<Worker>,
    client: Rc<Client>,
    target: Target,
    stream: TcpStream,
    said: Bytes,
) {
    let io = TokioIo::new(PrefixedIo::new(stream, said));
    let requests = Cell::new(0);
    let conn = Conn { worker, client, target, version: Version::Http2, faults: None, requests };
    let conn = Rc::new(conn);
    let resets = Rc::new(Resets::default());
    let service = {
        let (conn, resets) = (Rc::clone(&conn), Rc::clone(&resets));
        service_fn(move |request| {
            let conn = Rc::clone(&conn);
            let resets = Rc::clone(&resets);
            async move {
                if resets.spent() {
                    let text = "too many requests were taken back\n";
                    let form = reply::Form::Text;
                    return Ok(reply::text(form, StatusCode::SERVICE_UNAVAILABLE, text, None));
                }
                let asked = resets.asked();
                let response = exchange::handle(conn, request).await;
                asked.answered();
                Ok::<_, Infallible>(response)
            }
        })
    };
    let connection = http2::Builder::new(LocalExecutor)
        .auto_date_header(false)
        .initial_connection_window_size(4 << 20)
        .initial_stream_window_size(1 << 20)
        .max_header_list_size(MAX_HEAD)
        .timer(TokioTimer::new())
        .serve_connection(io, service);
    // GOAWAY tells the client which of its requests have come (RFC 9113, 6.8): none is lost.
    let mut connection = pin!(connection);
    let served = drive(&conn, connection.as_mut(), std::future::ready(()));
    let spent = tokio::select! {
        biased;
        () = served => false,
        () = resets.until_spent() => true,
    };
    if spent {
        conn.worker.metrics.counters.protocol_errors.add(1);
        tracing::debug!(workload = %conn.client.workload, "a client takes its requests back: closed");
        // What it has not taken back may end.
        connection.as_mut().finish();
        let _ = tokio::time::timeout(LAST_CALL, connection).await;
    }
}

/// A server connection that can be asked to finish.
trait Graceful: Future<Output = hyper::Result<()>> {
    fn finish(self: Pin<&mut Self>);
}

/// Runs a connection to its end. When its client or its worker is closing, and `ready` has ended then, it
/// is asked to finish.
async fn drive(
    conn: &Conn,
    mut connection: Pin<&mut impl Graceful>,
    ready: impl Future<Output = ()>,
) {
    let mut closing = (conn.worker.closing.listen(), conn.client.closing.listen());
    let closing = poll_fn(move |context: &mut Context<'_>| {
        let fired =
            closing.0.poll_fired(context).is_ready() | closing.1.poll_fired(context).is_ready();
        if fired { Poll::Ready(()) } else { Poll::Pending }
    });
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = async {
            closing.await;
            ready.await;
        } => {
            connection.as_mut().finish();
            connection.await
        }
    };
    if let Err(error) = ended {
        if error.is_parse() {
            conn.worker.metrics.counters.protocol_errors.add(1);
        }
        tracing::debug!(%error, workload = %conn.client.workload, "a client's connection broke");
    }
}

// === impl Conn ===

impl Conn {
    fn is_closing(&self) -> bool {
        self.worker.closing.fired() || self.client.closing.fired()
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

impl<S, B> Graceful for http1::UpgradeableConnection<TokioIo<Http1Io>, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S, B> Graceful for http2::Connection<TokioIo<PrefixedIo>, S, LocalExecutor>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: 'static,
    B: http_body::Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
