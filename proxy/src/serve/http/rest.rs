//! Connections of HTTP/1 over which nobody asks: all that is kept of them is their socket.
//!
//! Not those of HTTP/2: what its two ends know of each other's header fields cannot be made again.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::Conn;
use super::interim::Interim;
use super::io::Faults;
use crate::runtime::Worker;
use crate::serve::Target;
use crate::upstream::Client;

/// Who has not asked for so long keeps no buffers: they are most of what a connection costs.
const REST: Duration = Duration::from_millis(400);

/// A connection with nothing under way.
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

/// Waits until nobody has asked over `conn` for some time, everything that came over it was an answered
/// request, and its answer is written.
pub(super) async fn at_rest(conn: &Rc<Conn>, faults: &Faults, interim: &Interim) {
    let mut asked = conn.requests.get();
    let mut timer = pin!(sleep(REST));
    poll_fn(|cx| {
        loop {
            // Each request under way holds the connection. While there is one the time is nobody's concern.
            if Rc::strong_count(conn) > 1 {
                return Poll::Pending;
            }
            ready!(timer.as_mut().poll(cx));
            let requests = conn.requests.get();
            if requests == asked && faults.between_requests() && interim.is_written() {
                return Poll::Ready(());
            }
            asked = requests;
            timer.as_mut().reset(Instant::now() + REST);
        }
    })
    .await;
}
