//! Connections that are made before there is a request for them, where policy asks for it.
//!
//! Not for HTTP/2, whose connections take many requests.

use std::rc::Rc;
use std::time::Duration;

use super::Client;
use super::http::{Version, dial, keep};
use super::link::Link;
use crate::runtime::Worker;

/// An endpoint that refuses a connection is left alone for so long.
const RELUCTANCE: Duration = Duration::from_secs(1);

/// A request has just been given a connection: sees to it that as many as policy says wait for those that
/// follow. They are made one after the other, and closed when idle for too long like any others, so that a
/// client that asks nothing more soon has none.
#[inline]
pub(super) fn prewarm(worker: &Rc<Worker>, client: &Rc<Client>, link: &Rc<Link>, choice: bool) {
    if link.wants_more() && !link.warming.replace(true) {
        let (worker, client, link) = (Rc::clone(worker), Rc::clone(client), Rc::clone(link));
        tokio::task::spawn_local(async move {
            if !fill(&worker, &client, &link, choice).await {
                tokio::time::sleep(RELUCTANCE).await;
            }
            link.warming.set(false);
        });
    }
}

/// Whether there are enough now.
async fn fill(worker: &Rc<Worker>, client: &Rc<Client>, link: &Rc<Link>, choice: bool) -> bool {
    while link.wants_more() {
        let had = link.idle_http1();
        // Not at the cost of those who need one now.
        let Ok(connected) = link.connect() else { return false };
        match dial(worker, client, link, connected, Version::Http1, choice).await {
            Ok((transport, Version::Http1)) => {
                keep(worker, client, link, Version::Http1, transport).await;
            }
            // It speaks HTTP/2 now.
            Ok(_) => return true,
            Err(error) => {
                tracing::debug!(endpoint = %link.endpoint().address, %error,
                    "no connection could be made ahead of requests");
                return false;
            }
        }
        // One that is closed as soon as it is made would be made for ever.
        if link.idle_http1() <= had {
            return false;
        }
    }
    true
}
