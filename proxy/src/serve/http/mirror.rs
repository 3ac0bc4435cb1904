//! Copies of requests for mirrors.
//!
//! Nothing here is waited for by the request that is copied: a mirror that is slow, refuses or is gone costs
//! it nothing, and what a mirror answers is read and dropped.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::EXPECT;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use nodeway_core::balance::{Refused, Report};
use nodeway_core::snapshot::{Backend, Caller, MirrorTo};

use super::headers::translate;
use super::{Conn, exchange, secured};
use crate::runtime::{Share, Worker};
use crate::serve::outcome::{answered, failed, report};
use crate::serve::overflow::refused;
use crate::streams::{Inbound, Watch};
use crate::upstream::{self, Client, Lease, RequestBody, Reuse, SendError, To, Version, blameless};

/// How long a mirror may take to answer once it could have all of its copy.
const PATIENCE: Duration = Duration::from_secs(15);
/// Connections found closed at the moment of sending, and other versions chosen by a server: so often a copy
/// is tried again. Where a connection fails it is lost.
const MOST_TRIES: usize = 4;

/// The copies to be made of one request, each with its head as it was when the mirror's turn came.
#[derive(Default)]
pub(super) struct Copies(Vec<(Arc<Backend>, Request<()>)>);

/// A copy on its way.
struct Delivery {
    worker: Rc<Worker>,
    client: Rc<Client>,
    caller: Caller,
    backend: Arc<Backend>,
    version: Version,
    /// Counts it among those under way.
    _share: Share,
}

// === impl Copies ===

impl Copies {
    /// Notes that `to` gets a copy of `request`, if its share has it so.
    pub(super) fn note<B>(&mut self, worker: &Worker, to: &MirrorTo, request: &Request<B>) {
        let random = worker.with_random(|random| random.u64(..));
        let Some(backend) = to.chosen(random) else { return };
        let mut head = Request::new(());
        *head.method_mut() = request.method().clone();
        *head.uri_mut() = request.uri().clone();
        *head.version_mut() = request.version();
        *head.headers_mut() = request.headers().clone();
        // The copy comes as the original's body does: there is nothing to wait for.
        head.headers_mut().remove(EXPECT);
        self.0.push((Arc::clone(backend), head));
    }

    /// Sends them with copies of `request`'s body, which streams on as if there were none.
    pub(super) fn send(self, conn: &Conn, request: &mut Request<RequestBody>) {
        // What leaves HTTP, or asks whether it may, has no second end.
        if self.0.is_empty() || *request.method() == Method::CONNECT {
            return;
        }
        let (worker, client) = (&conn.worker, &conn.client);
        let mut deliveries = Vec::with_capacity(self.0.len());
        for (backend, head) in self.0 {
            let Some(share) = worker.copies.take(1) else {
                worker.metrics.counters.mirrors_dropped.add(1);
                continue;
            };
            let version = exchange::spoken(&backend, conn.version);
            let (worker, client) = (Rc::clone(worker), Rc::clone(client));
            let caller = conn.target.caller;
            let delivery = Delivery { worker, client, caller, backend, version, _share: share };
            deliveries.push((delivery, head));
        }
        let body = std::mem::take(request.body_mut());
        let (body, copies) = body.copied(deliveries.len(), &worker.copied);
        *request.body_mut() = body;
        let mut copies = copies.into_iter();
        for (delivery, head) in deliveries {
            let copy = copies.next();
            let watch = copy.as_ref().map_or_else(Watch::default, |copy| copy.watch());
            let body =
                copy.map_or_else(RequestBody::empty, |copy| RequestBody::new(Inbound::Copy(copy)));
            let mut request = head.map(|()| body);
            translate(&mut request, conn.version, delivery.version);
            // Nobody waits for it: it ends by itself, soon after the original's body, and with its worker.
            tokio::task::spawn_local(delivery.run(request, watch));
        }
    }
}

// === impl Delivery ===

impl Delivery {
    async fn run(self, request: Request<RequestBody>, watch: Watch) {
        let counters = Rc::clone(&self.worker);
        let counters = &counters.metrics.counters;
        let mut delivered = std::pin::pin!(self.deliver(Box::new(request)));
        let arrived = loop {
            tokio::select! {
                biased;
                arrived = &mut delivered => break arrived,
                // A connection that nobody reads from would not notice.
                () = watch.cut() => break false,
                () = tokio::time::sleep(PATIENCE) => {
                    // While the original goes on, so may the copy.
                    if !watch.is_open() {
                        break false;
                    }
                }
            }
        };
        if arrived { counters.mirrored.add(1) } else { counters.mirrors_failed.add(1) }
    }

    /// Whether the mirror has answered.
    async fn deliver(mut self, mut request: Box<Request<RequestBody>>) -> bool {
        if secured::refused(&self.backend).is_some() {
            return false;
        }
        self.client.uses(&self.backend, self.worker.clock);
        for _ in 0..MOST_TRIES {
            let (worker, backend) = (&self.worker, &self.backend);
            let now = worker.clock.now();
            let admit = |random: &mut _| backend.admit(now, random, self.caller, None, None);
            let active = match worker.with_random(admit) {
                Ok(active) => active,
                Err(why) => {
                    refused(worker, backend, why);
                    return false;
                }
            };
            let endpoint = active.endpoint();
            let choice = secured::choice(backend, self.version, &request);
            let (version, spared, reuse) = (self.version, false, Reuse::Any);
            let to = To { endpoint, backend, version, choice, spared, reuse, now };
            match upstream::send(worker, &self.client, to, request).await {
                Ok((response, lease)) => {
                    let outcome = answered(&response, lease.latency());
                    report(worker, (self.caller, now), (backend, endpoint), outcome);
                    self.drop_answer(response, lease).await;
                    return true;
                }
                Err(SendError::Unsent { request: unsent, .. }) => {
                    let Some(unsent) = unsent else { return false };
                    request = unsent;
                }
                Err(SendError::OtherVersion { request: unsent, version }) => {
                    request = unsent;
                    secured::say_in(&mut request, self.version, version);
                    self.version = version;
                }
                Err(SendError::Connect { error, .. }) => {
                    if !blameless(&error) {
                        failed(
                            worker,
                            (self.caller, now),
                            (backend, endpoint),
                            Report::NotConnected,
                            &error,
                        );
                    }
                    return false;
                }
                // It may be the copy that broke off: the endpoint is not held to account.
                Err(SendError::Full { overflow, .. }) => {
                    refused(worker, backend, Refused::Overflow(overflow));
                    return false;
                }
                Err(SendError::Lost { .. } | SendError::Abandoned | SendError::Cut) => {
                    return false;
                }
            }
        }
        false
    }

    /// Reads an answer to its end, so that its connection can be used again.
    async fn drop_answer(&self, response: Response<Inbound>, lease: Lease) {
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                return;
            }
        }
        lease.give_back(&self.worker, &self.client);
    }
}
