//! One endpoint and its live state: load and health as this node sees them.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::latency::Latency;
use super::limits::Count;
use super::outlier::{Health, Window};
use super::{Millis, Report};
use crate::model::{Limits, ObjectName, SlowStart};

/// An endpoint's identity: unique in the process, never used again once the endpoint is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub u64);

/// An address that answers for one port of a Service. As long as slices name the same pod at the same
/// address it is the same endpoint, and its load and health outlive snapshots. Another Service that leads
/// to the same pod has an endpoint of its own: it may have other ideas of health, and nobody's policy may
/// take an endpoint from somebody else.
pub struct Endpoint {
    /// Its identity.
    pub id: EndpointId,
    /// Where it listens.
    pub address: SocketAddr,
    /// The pod behind it, if the slice names one.
    pub pod: Option<ObjectName>,
    /// No snapshot to come has it, unless it returns.
    retired: AtomicBool,
    live: Live,
    /// What it has done in this interval, where endpoints are compared.
    pub(super) window: OnceLock<Box<Window>>,
    /// Connections that are open or being made.
    connections: Count,
    /// Requests that wait for a connection.
    pending: Count,
}

/// What changes with each request; on a cache line of its own, because all workers write it while
/// they read the fields above.
#[derive(Default)]
#[repr(align(64))]
struct Live {
    /// Requests that have begun and not ended.
    active: Count,
    latency: Latency,
    health: Health,
}

// === impl Endpoint ===

impl Endpoint {
    /// An idle, healthy endpoint.
    pub fn new(id: EndpointId, address: SocketAddr, pod: Option<ObjectName>) -> Self {
        let (retired, live, window, connections, pending) = <_>::default();
        Self { id, address, pod, retired, live, window, connections, pending }
    }

    /// Its Service sends it nothing more: it is gone, or not ready. What is under way with it may end.
    pub fn retire(&self) {
        self.retired.store(true, Relaxed);
    }

    /// It serves again.
    pub fn reinstate(&self) {
        self.retired.store(false, Relaxed);
    }

    /// Whether connections to it are not to be kept.
    #[inline]
    pub fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    /// A request (or connection, if opaque) begins; each is ended once, by [`Endpoint::end`].
    #[inline]
    pub fn begin(&self) {
        self.live.active.add();
    }

    /// A request that had begun is over.
    #[inline]
    pub fn end(&self) {
        self.live.active.sub();
    }

    /// How many requests are under way from this node.
    #[inline]
    pub fn active(&self) -> u32 {
        self.live.active.get()
    }

    /// Like [`Endpoint::begin`], if that makes no more than `most`.
    ///
    /// # Errors
    /// It would be more than this.
    #[inline]
    pub(super) fn take(&self, most: Option<NonZeroU32>) -> Result<(), u32> {
        self.live.active.take(most.map(NonZeroU32::get))
    }

    /// Whether it has as many requests under way as it may have.
    #[inline]
    pub fn is_full(&self, limits: &Limits) -> bool {
        self.live.active.is_full(limits.endpoint.active)
    }

    /// Connections from this node that are open or being made.
    #[inline]
    pub(super) fn connections(&self) -> &Count {
        &self.connections
    }

    /// Requests that wait for a connection to it.
    #[inline]
    pub(super) fn pending(&self) -> &Count {
        &self.pending
    }

    /// A response has ended as it should, or a relayed connection has heard from its server: the run of those
    /// that were cut, if any, is over.
    #[inline]
    pub fn whole(&self) {
        self.live.health.whole();
    }

    /// It is tried again after an ejection, and at once: what it has failed at before is no reason to leave it
    /// aside any more.
    pub(super) fn forgive(&self) {
        self.live.latency.forgive();
    }

    /// Takes in what became of an attempt, as far as it says how quick the endpoint is.
    #[inline]
    pub(super) fn heard(&self, now: Millis, report: Report) {
        match report {
            Report::Answered { status, latency } if status >= 500 => {
                self.live.latency.failed(latency, now);
            }
            Report::Answered { latency: None, .. } => self.live.latency.well(now),
            Report::Answered { latency: Some(latency), .. } | Report::Connected { latency } => {
                self.live.latency.answered(latency, now);
            }
            Report::NotConnected | Report::Lost | Report::Cut => {
                self.live.latency.failed(None, now);
            }
        }
    }

    /// What one more request there costs, with so much load there already.
    #[inline]
    pub(super) fn cost(&self, load: f32, now: Millis) -> f32 {
        self.live.latency.cost(load, now)
    }

    /// Its average latency, which follows peaks at once, microseconds; none if nobody keeps it.
    pub fn latency_us(&self, now: Millis) -> Option<f32> {
        self.live.latency.us(now)
    }

    /// Whether what has just broken `other` has broken this one too: it is the same, or another
    /// address of the same pod.
    #[inline]
    pub fn falls_with(&self, other: &Self) -> bool {
        self.id == other.id || (self.pod.is_some() && self.pod == other.pod)
    }

    /// Whether it may be picked: it is left out neither for failing nor by active checks.
    #[inline]
    pub fn usable(&self, now: Millis) -> bool {
        self.live.health.usable(now)
    }

    /// Whether it is being left out because it failed.
    #[inline]
    pub fn ejected(&self, now: Millis) -> bool {
        self.live.health.ejected(now)
    }

    /// How long it is still being left out because it failed, milliseconds.
    pub fn ejected_for(&self, now: Millis) -> Option<u64> {
        self.live.health.ejected_for(now)
    }

    /// Whether active checks have found it ill.
    pub fn ill(&self) -> bool {
        self.live.health.ill()
    }

    /// When it becomes usable by itself, if it does. (While [`Endpoint::ramp`] says less than 1, that moves
    /// all the time.)
    pub fn changes_at(&self, now: Millis) -> Option<Millis> {
        self.live.health.ejected_for(now).map(|left| Millis(now.0.saturating_add(left)))
    }

    /// The share of its weight that it gets now, above 0 and at most 1: less than all of it if it has joined
    /// the others, or has come back, less than the window ago.
    pub fn ramp(&self, now: Millis, slow_start: &SlowStart) -> f32 {
        self.live.health.ramp(now, slow_start)
    }

    /// It joins others that have served for longer: it is new, or was not ready.
    pub fn joins(&self) {
        self.live.health.joins();
    }

    /// Its health.
    #[inline]
    pub(super) fn health(&self) -> &Health {
        &self.live.health
    }

    /// Ejects it without a reason.
    #[cfg(test)]
    pub(crate) fn leave_out(&self, until: Millis) {
        self.live.health.leave_out(until);
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("id", &self.id.0)
            .field("address", &self.address)
            .field("pod", &self.pod)
            .field("active", &self.active())
            .finish_non_exhaustive()
    }
}
