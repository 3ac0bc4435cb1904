//! HTTP/1 from a client: one request after the other, each served in the connection's own task.
//!
//! Not what a request is answered with: that is `exchange`'s.

mod answer;
mod request;
#[cfg(test)]
mod tests;
mod wire;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode, Version as Spoken};
use http_body::Body as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, timeout};

use self::answer::{Answer, Asked};
pub use self::request::RequestHead;
use self::wire::{MOST_UNWANTED, Next, Teller, Wire};
use super::body::ResponseBody;
use super::reply::{self, Form};
use super::upgrade::Leaver;
use super::{Conn, exchange};
use crate::http1::{Extent, TOO_LONG, TOO_MANY};
use crate::runtime::Worker;
use crate::serve::{LAST_CALL, Target};
use crate::streams::{Inbound, Malformed, Prefixed, Reader};
use crate::upstream::{Client, Inform, Informer, Version};

/// How long a client may take from the first octet of a request's head to its last.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// Who has not asked for so long keeps no buffers: they are most of what a connection costs.
const REST: Duration = Duration::from_millis(400);

/// A connection with nothing under way: all that is kept of it is its socket.
#[derive(Debug)]
pub struct AtRest {
    /// Who serves it.
    pub worker: Rc<Worker>,
    /// Whose it is.
    pub client: Rc<Client>,
    /// Whom it is for.
    pub target: Target,
    /// The connection.
    pub stream: TcpStream,
    /// What has been read of it and not been looked at.
    pub said: Bytes,
}

/// Finds out that nobody asks. Looked at now and then, and not set anew by each request.
struct Rest<'a> {
    timer: Pin<&'a mut Sleep>,
    asked: bool,
}

/// What becomes of a connection after a request.
enum Then {
    /// It may be used again.
    Again,
    /// It has come to its end.
    Close,
    /// It broke, or its client has left.
    Broken,
    /// It has left HTTP, for this one.
    Leave(Leaver),
}

/// Serves HTTP/1 until the connection ends or nobody asks any more.
pub async fn serve(from: AtRest) -> Option<AtRest> {
    let AtRest { worker, client, target, stream, said } = from;
    let conn = Rc::new(Conn { worker, client, target, version: Version::Http1 });
    let wire = Wire::new(stream, said);
    let teller = wire.teller();
    let mut rest = Rest { timer: pin!(sleep(REST)), asked: true };
    loop {
        let next = poll_fn(|cx| match wire.poll_next(cx) {
            Poll::Ready(next) => Poll::Ready(Some(next)),
            // Not while something is still told of its last request.
            Poll::Pending => rest.poll(cx, Rc::strong_count(&conn) > 1).map(|()| None),
        });
        let next = match next.await {
            Some(Next::Partial) => Some(Box::pin(rest_of_head(&conn, &wire)).await),
            next => next,
        };
        let head = match next {
            None => break,
            Some(Next::Request(head)) => head,
            Some(Next::Nonsense(why)) => {
                Box::pin(refuse(&conn, &wire, why)).await;
                return None;
            }
            Some(Next::Partial | Next::End) => return None,
        };
        rest.asked = true;
        match one(&conn, &wire, &teller, head).await {
            Then::Again => {}
            Then::Close if wire.has_unread() => {
                Box::pin(linger(&wire)).await;
                wire.end();
                return None;
            }
            Then::Close | Then::Broken => return None,
            Then::Leave(whom) => {
                // Else somebody has something to say in HTTP still, and who waits for it is told so.
                if let Some((stream, said)) = wire.into_parts() {
                    // Who does not wait any more has closed it.
                    let _ = whom.send(Prefixed::new(stream, said));
                }
                return None;
            }
        }
    }
    let (stream, said) = wire.into_parts()?;
    let Conn { worker, client, target, .. } = Rc::into_inner(conn)?;
    Some(AtRest { worker, client, target, stream, said })
}

/// Serves one request.
async fn one(conn: &Rc<Conn>, wire: &Rc<Wire>, teller: &Rc<Teller>, head: RequestHead) -> Then {
    let RequestHead { request, content, keep_alive, expects, trailers } = head;
    let head = *request.method() == Method::HEAD;
    let old = request.version() == Spoken::HTTP_10;
    let body = match wire.begin(content, expects) {
        None => Inbound::Empty,
        Some(upload) => Inbound::Http1(Reader::new(Rc::new(upload))),
    };
    // RFC 9110, 15.2: HTTP/1.0 knows no interim responses.
    let informer = (!old).then(|| Informer::new(Rc::clone(teller) as Rc<dyn Inform>));
    let response = {
        let request = request.map(|()| body);
        let mut handling = pin!(exchange::handle(Rc::clone(conn), request, informer));
        poll_fn(|cx| match handling.as_mut().poll(cx) {
            Poll::Ready(response) => Poll::Ready(Some(response)),
            Poll::Pending => wire.poll_client(cx).map(|()| None),
        })
        .await
    };
    // The client may have left.
    let Some(mut response) = response else { return Then::Broken };
    let leaver = response.body_mut().take_leaver();
    // RFC 9112, 9.6: the last response says that it is.
    let keep_alive = keep_alive && !conn.is_closing() && wire.is_clear();
    let asked = Asked { head, old, trailers, upgraded: leaver.is_some(), keep_alive };
    let Some(keep_alive) = answer(wire, response, asked).await else { return Then::Broken };
    if !wire.is_at_end() && wire.is_clear() {
        Box::pin(end_of_request(wire)).await;
    }
    match leaver {
        _ if !wire.is_at_end() => Then::Close,
        Some(leaver) => Then::Leave(leaver),
        None if keep_alive => Then::Again,
        None => Then::Close,
    }
}

/// Writes `response`; whether the connection may be used again, none if it broke.
async fn answer(wire: &Wire, mut response: Response<ResponseBody>, asked: Asked) -> Option<bool> {
    let rest = response.body().size_hint();
    let Answer { mut extent, keep_alive } =
        wire.answer(|out| answer::head(out, &response, &rest, asked));
    wire.reuse(std::mem::take(response.headers_mut()));
    let mut body = Some(response.into_body());
    if extent == Extent::None
        && let Some(body) = body.take()
    {
        body.unwanted();
    }
    let answered = poll_fn(|cx| wire.poll_answer(cx, &mut body, &mut extent)).await;
    if answered.is_err() && extent == Extent::Close {
        wire.reset_on_close();
    }
    answered.is_ok().then_some(keep_alive)
}

/// Lets the rest of a request's body come, for whom it may concern, so that the next request can.
async fn end_of_request(wire: &Wire) {
    poll_fn(|cx| wire.poll_read_by_others(cx)).await;
    // Whether it has ended in time can be seen.
    let _ = timeout(LAST_CALL, poll_fn(|cx| wire.poll_end_of_request(cx))).await;
}

/// The rest of a head that has begun, if it comes in time.
async fn rest_of_head(conn: &Conn, wire: &Wire) -> Next {
    let late = async {
        conn.closing().await;
        sleep(LAST_CALL).await;
    };
    let rest = poll_fn(|cx| match wire.poll_next(cx) {
        Poll::Ready(Next::Partial) => Poll::Pending,
        next => next,
    });
    tokio::select! {
        biased;
        next = rest => next,
        () = sleep(HEAD_PATIENCE) => {
            let text = reply::last_text(Form::Text, StatusCode::REQUEST_TIMEOUT, "the head took too long\n");
            last(wire, text).await;
            Next::End
        }
        () = late => Next::End,
    }
}

/// Answers what is no request.
async fn refuse(conn: &Conn, wire: &Wire, why: Malformed) {
    conn.worker.metrics.counters.protocol_errors.add(1);
    tracing::debug!(%why, workload = %conn.client.workload, "a client's request makes no sense");
    let (status, text) = if why == TOO_LONG || why == TOO_MANY {
        (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the request's head is too large\n")
    } else {
        (StatusCode::BAD_REQUEST, "the request makes no sense\n")
    };
    last(wire, reply::last_text(Form::Text, status, text)).await;
    linger(wire).await;
}

/// Writes what is said last, to whoever reads it in time.
async fn last(wire: &Wire, response: Response<ResponseBody>) {
    // In time or not, it is over.
    let _ = timeout(LAST_CALL, answer(wire, response, Asked::LAST)).await;
}

/// Lets the client read its last response before what it goes on saying has the kernel take that back.
async fn linger(wire: &Wire) {
    let mut most = MOST_UNWANTED;
    // In time or not, it is over.
    let _ = timeout(LAST_CALL, poll_fn(|cx| wire.poll_linger(cx, &mut most))).await;
}

// === impl Rest ===

impl Rest<'_> {
    /// Ready when nobody has asked for some time, and nothing is `under_way`.
    fn poll(&mut self, cx: &mut Context<'_>, under_way: bool) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if !std::mem::take(&mut self.asked) && !under_way {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(Instant::now() + REST);
        }
    }
}
