//! HTTP/2 from a client: its connection and the streams on it.
//!
//! On h2 itself, not on hyper's server: that one has no way to send interim responses.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use h2::server::{self, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::header::{CONNECTION, CONTENT_LENGTH, TE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use tokio::net::TcpStream;

use super::body::ResponseBody;
use super::headers::strip_hop_by_hop;
use super::interim::Told;
use super::reply::{self, Form};
use super::resets::Resets;
use super::{Conn, MAX_HEAD, exchange, websocket};
use crate::serve::LAST_CALL;
use crate::streams::{Prefixed, Pump, Received};
use crate::upstream::{Inform, Informer};

/// Streams that a client may have open at a time on one connection.
const MOST_STREAMS: u32 = 200;
/// Frames of one stream that may wait to be written.
const SEND_BUFFER: usize = 400 << 10;
/// Streams that a client may have us reset for its own errors before it is told to calm down.
const MOST_ERRORS: usize = 1024;

/// Where the response of a stream goes.
#[derive(Debug)]
struct Responder {
    respond: RefCell<SendResponse<Bytes>>,
    told: RefCell<Told>,
}

/// Serves the connection `io` to its end.
///
/// # Errors
/// What the client did wrong, or its connection broke.
pub(super) async fn serve(conn: &Rc<Conn>, io: Prefixed<TcpStream>) -> Result<(), h2::Error> {
    let mut connection = server::Builder::new()
        .initial_connection_window_size(4 << 20)
        .initial_window_size(1 << 20)
        .max_header_list_size(MAX_HEAD)
        .max_concurrent_streams(MOST_STREAMS)
        .max_local_error_reset_streams(Some(MOST_ERRORS))
        .max_send_buffer_size(SEND_BUFFER)
        .enable_connect_protocol()
        .handshake(io)
        .await?;
    let resets = Rc::new(Resets::default());
    let served = accept(conn, &mut connection, &resets);
    tokio::select! {
        biased;
        served = served => return served,
        () = resets.until_spent() => {}
    }
    conn.worker.metrics.counters.protocol_errors.add(1);
    tracing::debug!(workload = %conn.client.workload, "a client takes its requests back: closed");
    // What it has not taken back may end.
    connection.graceful_shutdown();
    let ended = accept(conn, &mut connection, &resets);
    // In time or not, it is over.
    let _ = tokio::time::timeout(LAST_CALL, ended).await;
    Ok(())
}

/// Serves the connection's streams until it ends.
async fn accept(
    conn: &Rc<Conn>,
    connection: &mut Connection<Prefixed<TcpStream>, Bytes>,
    resets: &Rc<Resets>,
) -> Result<(), h2::Error> {
    let mut closing = Some(pin!(conn.closing()));
    loop {
        let stream = poll_fn(|cx| {
            if let Some(fired) = &mut closing
                && fired.as_mut().poll(cx).is_ready()
            {
                closing = None;
                // GOAWAY tells the client which of its requests have come (RFC 9113, 6.8): none is lost.
                connection.graceful_shutdown();
            }
            connection.poll_accept(cx)
        });
        match stream.await {
            Some(Ok((request, respond))) => {
                // Ends with its stream: when it is answered, reset, or its connection breaks.
                let (conn, resets) = (Rc::clone(conn), Rc::clone(resets));
                // Boxed: what it is made of is large, and a task's is copied half a dozen times.
                tokio::task::spawn_local(Box::pin(answer(conn, resets, request, respond)));
            }
            Some(Err(error)) => return Err(error),
            None => return Ok(()),
        }
    }
}

/// Answers one request.
async fn answer(
    conn: Rc<Conn>,
    resets: Rc<Resets>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let (parts, stream) = request.into_parts();
    let head = parts.method == Method::HEAD;
    let body = Received::request(stream, &parts.headers);
    let responder = Rc::new(Responder { respond: RefCell::new(respond), told: RefCell::default() });
    if resets.spent() {
        let text = "too many requests were taken back\n";
        let text = reply::text(Form::Text, StatusCode::SERVICE_UNAVAILABLE, text, None);
        return send(&responder, text, head).await;
    }
    let asked = resets.asked();
    let informer = Informer::new(Rc::clone(&responder) as Rc<dyn Inform>);
    let response = {
        let mut request = Request::from_parts(parts, body.into());
        if !websocket::to_upgrade(&mut request) {
            // RFC 8441, 4, leaves it to us; RFC 9220 and 9298 say so.
            let text = "this protocol is not spoken\n";
            let text = reply::text(Form::Text, StatusCode::NOT_IMPLEMENTED, text, None);
            asked.answered();
            return send(&responder, text, head).await;
        }
        let mut handling = pin!(exchange::handle(conn, request, Some(informer)));
        poll_fn(|cx| match handling.as_mut().poll(cx) {
            Poll::Ready(response) => Poll::Ready(Some(response)),
            // The client has left, or its connection is gone.
            Poll::Pending => responder.respond.borrow_mut().poll_reset(cx).map(|_| None),
        })
        .await
    };
    let Some(response) = response else { return };
    asked.answered();
    send(&responder, response, head).await;
}

/// Sends `response`; `head`: to a request that wants no body.
async fn send(responder: &Responder, response: Response<ResponseBody>, head: bool) {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(CONNECTION);
    parts.headers.remove(TE);
    if let Some(length) = body.size_hint().exact()
        && length > 0
        && !parts.headers.contains_key(CONTENT_LENGTH)
    {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let ended = head || body.is_end_stream();
    let sent = responder.respond.borrow_mut().send_response(Response::from_parts(parts, ()), ended);
    match sent {
        Ok(_) if ended => {}
        Ok(stream) => {
            let mut pump = Pump::new(body, stream);
            // How it ended, the body knows.
            poll_fn(|cx| pump.poll(cx)).await;
        }
        Err(error) => {
            tracing::debug!(%error, "a response could not be said in HTTP/2");
            responder.respond.borrow_mut().send_reset(Reason::INTERNAL_ERROR);
        }
    }
}

// === impl Responder ===

impl Inform for Responder {
    fn inform(&self, status: StatusCode, headers: &HeaderMap) {
        if !self.told.borrow_mut().takes(status, headers) {
            return;
        }
        let mut interim = Response::new(());
        *interim.status_mut() = status;
        interim.headers_mut().clone_from(headers);
        strip_hop_by_hop(interim.headers_mut(), false);
        interim.headers_mut().remove(TE);
        // It says nothing that the final response depends on.
        let _ = self.respond.borrow_mut().send_informational(interim);
    }
}
