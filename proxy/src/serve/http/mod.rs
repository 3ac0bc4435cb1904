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
mod http1;
mod http2;
mod interim;
mod mirror;
mod record;
mod reply;
mod resets;
mod secured;
mod session;
mod spare;
mod spelling;
#[cfg(test)]
mod tests;
mod upgrade;
mod websocket;
mod wellformed;

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::net::TcpStream;

pub use self::http1::{AtRest, RequestHead, serve as serve_http1};
use super::Target;
use crate::runtime::Worker;
use crate::streams::Prefixed;
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
    let conn = Rc::new(Conn { worker, client, target, version: Version::Http2 });
    if let Err(error) = http2::serve(&conn, io).await {
        if error.is_go_away() && error.is_library() {
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

    /// Ends when its client or its worker is closing.
    fn closing(&self) -> impl Future<Output = ()> + use<> {
        let mut closing = (self.worker.closing.listen(), self.client.closing.listen());
        poll_fn(move |cx: &mut Context<'_>| {
            let fired = closing.0.poll_fired(cx).is_ready() | closing.1.poll_fired(cx).is_ready();
            if fired { Poll::Ready(()) } else { Poll::Pending }
        })
    }
}
