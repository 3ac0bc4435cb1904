//! Who leads: the rules of client-go's leader election on a Lease, on a clock that is given. Pure.
//!
//! Clocks of others are never read: a record counts for as long as it says from when it was first seen
//! here.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

/// How long things take. As client-go's defaults, but for `look`.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Nobody else may lead for so long after the leader has renewed. Whole seconds.
    pub lease: Duration,
    /// A leader that could not renew for so long leads no more. Less than `lease`, or two would lead.
    pub deadline: Duration,
    /// The leader renews so often, and a free lease is tried for so often.
    pub retry: Duration,
    /// Who does not lead looks at least so often whether somebody still does, and up to twice as often.
    /// client-go would look every `retry`: with a candidate a node that is thousands of requests a second.
    pub look: Duration,
}

/// One candidate's view of the election.
#[derive(Debug)]
pub(super) struct Election {
    identity: String,
    timing: Timing,
    seen: Option<Seen>,
    /// When the last renewal that has succeeded was sent; none while another leads.
    renewed: Option<Instant>,
}

/// The Lease as it was seen last.
#[derive(Debug)]
struct Seen {
    lease: Value,
    record: Record,
    /// Since when the record has been this.
    since: Instant,
}

/// What of a Lease's spec says who leads.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Record {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<i64>,
    acquire_time: Option<String>,
    renew_time: Option<String>,
    lease_transitions: Option<i64>,
}

/// A request that would make or keep us the leader.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bid {
    /// There is no Lease.
    Create(Value),
    /// In place of the one that was seen, if it still is that one.
    Update(Value),
}

// === impl Timing ===

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
            look: Duration::from_secs(10),
        }
    }
}

// === impl Election ===

impl Election {
    pub(super) fn new(identity: String, timing: Timing) -> Self {
        Self { identity, timing, seen: None, renewed: None }
    }

    /// Until when we lead, if we do.
    pub(super) fn leads(&self, now: Instant) -> Option<Instant> {
        self.renewed.map(|renewed| renewed + self.timing.deadline).filter(|until| now < *until)
    }

    /// The Lease is this, or there is none.
    pub(super) fn see(&mut self, lease: Option<Value>, now: Instant) {
        let Some(lease) = lease else {
            (self.seen, self.renewed) = (None, None);
            return;
        };
        let record = Record::of(&lease);
        if record.holder() != self.identity {
            self.renewed = None;
        }
        let same = self.seen.as_ref().filter(|seen| seen.record == record);
        let since = same.map_or(now, |seen| seen.since);
        self.seen = Some(Seen { lease, record, since });
    }

    /// What to ask for, unless another leads. `time` is what people read in the Lease.
    pub(super) fn bid(&self, now: Instant, time: &str) -> Option<Bid> {
        let seconds = self.timing.lease.as_secs().max(1);
        let Some(Seen { lease, record, since }) = &self.seen else {
            let spec = json!({"holderIdentity": self.identity, "leaseDurationSeconds": seconds,
                "acquireTime": time, "renewTime": time, "leaseTransitions": 0});
            return Some(Bid::Create(spec));
        };
        let ours = record.holder() == self.identity;
        if !ours && !record.holder().is_empty() && now < *since + record.duration() {
            return None;
        }
        let mut lease = lease.clone();
        let spec = &mut lease["spec"];
        if !ours {
            spec["acquireTime"] = json!(time);
            spec["leaseTransitions"] = json!(record.lease_transitions.unwrap_or(0) + 1);
        }
        spec["holderIdentity"] = json!(self.identity);
        spec["leaseDurationSeconds"] = json!(seconds);
        spec["renewTime"] = json!(time);
        Some(Bid::Update(lease))
    }

    /// A bid, sent at `sent`, has been answered with this Lease. True if we did not lead before.
    pub(super) fn won(&mut self, lease: Value, sent: Instant) -> bool {
        let before = self.leads(sent).is_some();
        self.see(Some(lease), sent);
        self.renewed = Some(sent);
        !before
    }

    /// The Lease with nobody's name, if we led to our knowledge.
    pub(super) fn release(&mut self, now: Instant, time: &str) -> Option<Value> {
        self.leads(now)?;
        self.renewed = None;
        let mut lease = self.seen.as_ref()?.lease.clone();
        let spec = &mut lease["spec"];
        spec["holderIdentity"] = json!("");
        spec["leaseDurationSeconds"] = json!(1);
        spec["renewTime"] = json!(time);
        spec["acquireTime"] = json!(time);
        Some(lease)
    }

    /// How long to wait for the next look or renewal.
    pub(super) fn wait(&self, now: Instant, chance: f64) -> Duration {
        let Timing { retry, look, .. } = self.timing;
        if self.leads(now).is_some() {
            return retry;
        }
        // client-go's JitterFactor.
        let jittered = retry.mul_f64(1.0 + 1.2 * chance);
        let Some(Seen { record, since, .. }) = &self.seen else { return jittered };
        let left = (*since + record.duration()).saturating_duration_since(now);
        if record.holder().is_empty() || left.is_zero() {
            return jittered;
        }
        look.mul_f64(0.5 + chance / 2.0).min(left + retry.mul_f64(chance))
    }
}

// === impl Record ===

impl Record {
    fn of(lease: &Value) -> Self {
        // What cannot be read is nobody's.
        Self::deserialize(&lease["spec"]).unwrap_or_default()
    }

    fn holder(&self) -> &str {
        self.holder_identity.as_deref().unwrap_or_default()
    }

    fn duration(&self) -> Duration {
        let seconds = self.lease_duration_seconds.and_then(|n| u32::try_from(n).ok());
        Duration::from_secs(seconds.unwrap_or_default().into())
    }
}

#[cfg(test)]
mod tests;
