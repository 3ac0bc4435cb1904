//! Which connection a request of HTTP/1 takes, where the number of connections is limited.
//!
//! Not who comes first: that is `nodeway_core::balance`'s to say.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use nodeway_core::balance::{Connected, Overflow, Ticket};

use super::body::HeldUpBy;
use super::http::{To, dial};
use super::link::{Http1, Link};
use super::transport::Counted;
use super::{Client, RequestBody, Version};
use crate::runtime::Worker;

/// What a request goes over.
#[derive(Debug)]
pub(super) enum Obtained {
    /// A connection that has become idle.
    Idle(Http1),
    /// A new one, and what is spoken over it.
    New(Counted, Version),
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum NoConnection {
    /// None could be made.
    Failed(io::Error),
    /// None may be made, and nobody else may wait.
    Full(Overflow),
}

/// A new connection for the request with `body`, or, where there may be no more, one that becomes idle,
/// whichever comes first.
pub(super) async fn obtain(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    to: To<'_>,
    link: &Link,
    body: &RequestBody,
) -> Result<Obtained, NoConnection> {
    // Who waits must not hold a place meanwhile.
    let free = if link.has_waiting() { None } else { link.connect().ok() };
    let connected = match free {
        Some(connected) => connected,
        None => {
            let mut waiting = link.wait().map_err(NoConnection::Full)?;
            body.held_up(HeldUpBy::Others);
            loop {
                poll_fn(|cx| waiting.poll_turn(cx)).await;
                if let Some(idle) = link.take_now() {
                    return Ok(Obtained::Idle(idle));
                }
                match link.connect() {
                    Ok(connected) => break connected,
                    Err(full) => {
                        waiting.make_room(full);
                    }
                }
            }
        }
    };
    body.held_up(HeldUpBy::Endpoint);
    let (transport, version) = dial(worker, client, link, connected, to.version, to.choice)
        .await
        .map_err(NoConnection::Failed)?;
    Ok(Obtained::New(transport, version))
}

/// The right to a first connection that all requests of its client share. It takes the place of one that lies
/// idle if there is no room. Where none does it goes beyond the limit: those that are busy with one stream or
/// another may never be idle, and who has none would wait for ever. Envoy gives each of its pools one, too.
pub(super) async fn first(link: &Link) -> Connected {
    let mut full = match link.connect() {
        Ok(connected) => return connected,
        Err(full) => full,
    };
    if let Ok(mut waiting) = link.wait() {
        while waiting.make_room(full) {
            poll_fn(|cx| waiting.poll_turn(cx)).await;
            match link.connect() {
                Ok(connected) => return connected,
                Err(still) => full = still,
            }
        }
    }
    link.connect_beyond()
}

/// Ends when a connection is to be closed so that another can be made; never where there is no limit.
/// `is_idle`: whether it still is.
pub(super) async fn wanted(ticket: Option<Arc<Ticket>>, is_idle: impl Fn() -> bool) {
    let Some(ticket) = ticket else { return std::future::pending().await };
    loop {
        poll_fn(|cx| ticket.poll_wanted(cx)).await;
        if is_idle() {
            return;
        }
        ticket.keep();
    }
}
