//! What a backend makes of what it hears of its endpoints.
//!
//! Not how requests are spread over those that are left.

use std::sync::Arc;

use super::claims::Refusal;
use super::{Cause, Change, Ejection, HealthEvent};
use crate::balance::{Backend, Endpoint, Millis, Report};
use crate::model::OutlierDetection;

/// Stands for whoever checks among the clients that have reached an endpoint.
const CHECKS: u64 = u64::MAX;

// === impl Backend, who is ill ===

impl Backend {
    /// Takes in what became of an attempt at `endpoint`, one of its own. What that changes for this endpoint
    /// or, at the end of an interval, for others is told to this call alone; mostly nothing.
    ///
    /// It took no time, and counts as all clients' word; see [`Backend::ended`].
    pub fn report(&self, endpoint: &Endpoint, now: Millis, report: Report) -> Vec<HealthEvent> {
        self.take_in(endpoint, (now, now), report, None)
    }

    /// The same of an attempt on behalf of a client. Clients live in networks of their own, with policies of
    /// their own, and routes of theirs say how long they wait: what one of them cannot do takes no endpoint
    /// from others. An attempt that failed without a word from the endpoint (no connection, no answer)
    /// - is not held against it if others have reached it in the last ten seconds and this client has not;
    /// - else leaves it out only if failures in a row are not all this client's, or no other has reached it in
    ///   that time.
    ///
    /// What `began` before an ejection ended says nothing of how the endpoint does since.
    #[inline]
    pub fn ended(
        &self,
        client: u64,
        endpoint: &Endpoint,
        (began, now): (Millis, Millis),
        report: Report,
    ) -> Vec<HealthEvent> {
        if report.is_silence() {
            if let (false, true) = endpoint.health().reach.of_late(client, now) {
                return Vec::new();
            }
        } else {
            endpoint.health().reach.reached(client, now);
        }
        self.take_in(endpoint, (began, now), report, Some(client))
    }

    #[inline]
    fn take_in(
        &self,
        endpoint: &Endpoint,
        (began, now): (Millis, Millis),
        report: Report,
        client: Option<u64>,
    ) -> Vec<HealthEvent> {
        self.hear(endpoint, now, report);
        self.learn_limit(began, now, report);
        let settings = &self.settings().outliers;
        let compared = settings.success_rate.is_some() || settings.latency.is_some();
        if compared {
            if !endpoint.ejected(began) {
                endpoint.window.get_or_init(Box::default).take(report);
            }
        } else if endpoint.health().runs.are_none() && !report.is_failure() {
            return Vec::new();
        }
        self.judge(endpoint, (began, now), (report, client), compared)
    }

    /// Takes in the verdict of an active check of `endpoint`, one of its own. It is well to begin with, for
    /// Kubernetes says so; so many failures in a row as the policy says take it out, and so many successes
    /// bring it back, whatever requests say meanwhile: an ejection has its own time.
    pub fn checked(&self, endpoint: &Endpoint, now: Millis, healthy: bool) -> Option<HealthEvent> {
        let check = self.settings().health_check.as_ref()?;
        if healthy {
            endpoint.health().reach.reached(CHECKS, now);
        }
        let run = endpoint.health().checked(now, healthy, check)?;
        self.refresh();
        let change =
            if healthy { Change::Well { successes: run } } else { Change::Ill { failures: run } };
        Some(HealthEvent { endpoint: endpoint.address, change })
    }

    /// Nobody checks these of its endpoints any more: what checks have said is forgotten, and they count as
    /// well.
    pub fn unchecked(&self, now: Millis, these: impl Fn(&Endpoint) -> bool) {
        let these = self.endpoints().iter().filter(|endpoint| these(endpoint));
        let back = these.filter(|endpoint| endpoint.health().forget_checks(now)).count();
        if back > 0 {
            self.refresh();
        }
    }

    /// Brings what is remembered of the endpoints in line with the settings: nobody is out for longer than
    /// these say, or by checks that are no more. Endpoints that have just joined begin now. For whoever
    /// finds out who may be picked, before he does.
    pub(crate) fn settle(&self, now: Millis) {
        let (outliers, checked) =
            (&self.settings().outliers, self.settings().health_check.is_some());
        let settle = |e: &&Arc<Endpoint>| e.health().settle(now, outliers, checked);
        let cut: Vec<_> = self.endpoints().iter().filter(settle).map(|e| e.id).collect();
        if !cut.is_empty() {
            self.outliers().claims.forget(&cut);
        }
        self.endpoints().iter().filter(|e| e.health().is_back(now)).for_each(|e| e.forgive());
    }

    fn judge(
        &self,
        endpoint: &Endpoint,
        (began, now): (Millis, Millis),
        (report, client): (Report, Option<u64>),
        compared: bool,
    ) -> Vec<HealthEvent> {
        let settings = &self.settings().outliers;
        let health = endpoint.health();
        let mut events = Vec::new();
        // What had begun before an ejection, or went there because too many are out, neither lengthens it nor
        // leads to the next one, however late it is known.
        if !health.ejected(began) {
            if health.runs.returned() {
                let since_ms = now.0.saturating_sub(health.until());
                let change = Change::Returned { repeat: health.repeat(), since_ms };
                events.push(HealthEvent { endpoint: endpoint.address, change });
            }
            let counts = health.runs.take(report, client);
            // It may be this client alone that has come to grief.
            let doubted = |client| {
                let (_, others) = health.reach.of_late(client, now);
                report.is_silence() && !counts.mixed && others
            };
            if let Some(cause) = counts.cause(settings, report)
                && !settings.is_off()
                && !client.is_some_and(doubted)
            {
                events.extend(self.eject(endpoint, now, cause));
            }
        }
        if compared && !settings.is_off() {
            let found = self.outliers().windows.outliers(self.endpoints(), settings, now);
            events.extend(found.into_iter().filter_map(|(e, cause)| self.eject(e, now, cause)));
        }
        events
    }

    /// Leaves `endpoint` out, if so many may be.
    #[cold]
    fn eject(&self, endpoint: &Endpoint, now: Millis, cause: Cause) -> Option<HealthEvent> {
        let settings = &self.settings().outliers;
        let next = endpoint.health().next(now, settings)?;
        let endpoints = self.endpoints();
        let most = most_out(endpoints.len(), settings);
        let claims = &self.outliers().claims;
        let change = match claims.claim(endpoints, most, endpoint.id, now, next.until) {
            Ok(()) => {
                if !endpoint.health().eject(next) {
                    return None;
                }
                self.refresh();
                Change::Ejected(Ejection {
                    cause,
                    repeat: u32::try_from(next.level).unwrap_or(u32::MAX),
                    length_ms: next.length_ms,
                    until: Millis(next.until),
                })
            }
            Err(Refusal::Full { out, told: false }) => {
                Change::Kept { cause, out, of: endpoints.len() }
            }
            Err(Refusal::Full { told: true, .. } | Refusal::Out) => return None,
        };
        Some(HealthEvent { endpoint: endpoint.address, change })
    }
}

/// How many of so many endpoints may be out: a share, but one always, unless nobody may.
fn most_out(endpoints: usize, settings: &OutlierDetection) -> usize {
    match settings.max_ejected {
        0 => 0,
        share => (endpoints * usize::from(share) / 100).max(1),
    }
}
