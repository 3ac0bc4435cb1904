//! The election, held at the API: one leader a cluster, by the Lease `nodeway-status`.
//!
//! Not its rules: those are in `lease`.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::JSON;
use super::lease::{Bid, Election, Timing};
use super::time::micros;
use crate::source::kube::access::{Access, Trouble};
use crate::telemetry::StatusCounters;

const LEASE: &str = "nodeway-status";
/// What is forbidden is tried again after so long.
const FORBIDDEN_WAIT: Duration = Duration::from_secs(60);
/// At the end nobody waits longer for the Lease to be given back; without, it runs out by itself.
const RELEASE: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Candidate {
    access: Rc<Access>,
    /// The collection.
    path: String,
    election: Election,
    timing: Timing,
    tenure: Tenure,
    counters: Arc<StatusCounters>,
    /// What is known of the Lease may not be so.
    unsure: bool,
    /// What was told last of why there is no election.
    told: Option<String>,
}

/// Until when we lead. Whoever writes looks here first: a thread that was stopped for a while may no
/// longer be the leader.
#[derive(Debug, Clone, Default)]
pub(super) struct Tenure(Rc<Cell<Option<Instant>>>);

// === impl Tenure ===

impl Tenure {
    /// How long we lead for certain.
    pub(super) fn left(&self) -> Option<Duration> {
        let left = self.0.get()?.saturating_duration_since(Instant::now());
        Some(left).filter(|left| !left.is_zero())
    }
}

// === impl Candidate ===

impl Candidate {
    pub(super) fn new(
        access: Rc<Access>,
        node: &str,
        timing: Timing,
        counters: Arc<StatusCounters>,
    ) -> Self {
        let identity = format!("{node}_{:016x}", fastrand::u64(..));
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", access.namespace());
        let election = Election::new(identity, timing);
        let (tenure, told) = (Tenure::default(), None);
        Self { access, path, election, timing, tenure, counters, unsure: true, told }
    }

    pub(super) fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    /// Waits until we lead.
    pub(super) async fn win(&mut self) {
        loop {
            // An answer that comes later is of no use; the next look tells what came of it.
            let turn = timeout(self.timing.deadline, self.turn()).await;
            let wait = match turn.unwrap_or_else(|_| Err(Trouble::Away("no answer".to_owned()))) {
                Ok(()) => {
                    self.told = None;
                    self.election.wait(Instant::now(), fastrand::f64())
                }
                Err(trouble) => self.settle(trouble),
            };
            if self.leads() {
                tracing::info!("this node writes the cluster's route status from now on");
                return;
            }
            sleep(wait).await;
        }
    }

    /// Renews until we lead no more.
    pub(super) async fn hold(&mut self) {
        while let Some(left) = self.tenure.left() {
            if !self.unsure {
                sleep(self.timing.retry.min(left)).await;
            }
            // Not a moment longer than we lead.
            let Some(left) = self.tenure.left() else { break };
            match timeout(left, self.turn()).await {
                Ok(Ok(())) => {}
                Ok(Err(Trouble::Conflict)) => sleep(self.timing.retry.min(left) / 10).await,
                Ok(Err(trouble)) => {
                    let wait = self.settle(trouble);
                    sleep(wait.min(self.timing.retry).min(left)).await;
                }
                Err(_) => break,
            }
            if !self.leads() {
                break;
            }
        }
        self.unsure = true;
        self.leads();
        tracing::info!("this node writes the cluster's route status no longer");
    }

    /// Gives the Lease back, if we have it: the next one need not wait for its end.
    pub(super) async fn release(mut self) {
        let lease = self.election.release(Instant::now(), &micros());
        self.leads();
        let Some(lease) = lease else { return };
        let path = format!("{}/{LEASE}", self.path);
        let body = lease.to_string().into_bytes();
        let sent = self.access.send(Method::PUT, &path, JSON, body);
        match timeout(RELEASE, sent).await {
            Ok(Ok(_)) => tracing::debug!("the lease is given back"),
            other => tracing::debug!(?other, "the lease runs out by itself"),
        }
    }

    /// A look, if one is due, and a bid, if there is one to make.
    async fn turn(&mut self) -> Result<(), Trouble> {
        let path = format!("{}/{LEASE}", self.path);
        // Who leads knows what is there.
        if self.unsure || self.election.leads(Instant::now()).is_none() {
            let lease = match self.access.get(&path, &[]).await {
                Ok(text) => Some(read(&text)?),
                Err(Trouble::Absent) => None,
                Err(trouble) => return Err(trouble),
            };
            self.election.see(lease, Instant::now());
            self.unsure = false;
        }
        let sent = Instant::now();
        let answer = match self.election.bid(sent, &micros()) {
            None => return Ok(()),
            Some(Bid::Create(spec)) => {
                let metadata = json!({"name": LEASE, "namespace": self.access.namespace()});
                let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": metadata, "spec": spec});
                let body = lease.to_string().into_bytes();
                self.access.send(Method::POST, &self.path, JSON, body).await
            }
            Some(Bid::Update(lease)) => {
                self.access.send(Method::PUT, &path, JSON, lease.to_string().into_bytes()).await
            }
        };
        let answer = answer.and_then(|text| read(&text)).inspect_err(|_| self.unsure = true)?;
        self.election.won(answer, sent);
        Ok(())
    }

    /// What trouble means; how long to wait.
    fn settle(&mut self, trouble: Trouble) -> Duration {
        self.unsure = true;
        let wait = self.election.wait(Instant::now(), fastrand::f64()).min(self.timing.look);
        let (told, wait) = match trouble {
            // Somebody was quicker.
            Trouble::Conflict => return wait,
            Trouble::Unauthorized(message) => {
                self.access.renew();
                (message, wait)
            }
            Trouble::Forbidden(message) => {
                let needed = "the proxy's Role needs the verbs get, create and update on \
                    leases.coordination.k8s.io";
                (format!("{message}: {needed}"), FORBIDDEN_WAIT)
            }
            Trouble::Absent | Trouble::Gone => {
                let namespace = self.access.namespace();
                (format!("there is no namespace {namespace}, or it has no Leases"), FORBIDDEN_WAIT)
            }
            // Of an API that is away the source tells.
            Trouble::Away(message) | Trouble::Refused(message) | Trouble::Failed(message) => {
                tracing::debug!(message, "no election");
                return wait;
            }
            Trouble::Silent(_) => return wait,
            Trouble::Busy(_, least) => return wait.max(least.min(self.timing.look)),
        };
        if self.told.as_ref() != Some(&told) {
            tracing::error!("this node cannot stand for writing route status: {told}");
            self.told = Some(told);
        }
        wait
    }

    /// Whether we lead, for all to see.
    fn leads(&self) -> bool {
        let until = self.election.leads(Instant::now());
        self.tenure.0.set(until);
        self.counters.lead(until.is_some());
        until.is_some()
    }
}

fn read(text: &[u8]) -> Result<Value, Trouble> {
    serde_json::from_slice(text)
        .map_err(|error| Trouble::Away(format!("a Lease that cannot be read: {error}")))
}
