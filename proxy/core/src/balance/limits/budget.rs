//! Retry budgets: when a backend fails, retries must not be what keeps it down.
//!
//! A share of what is under way, with a floor, is Envoy's (`RetryBudget` in its circuit breakers); a share of
//! the requests of some time, with a least rate, is Finagle's (`RetryBudget`) and GEP-3388's.

use std::sync::Arc;
use std::time::Duration;

use super::counts::UnderWay;
use super::overflow::{Limit, Overflow};
use super::recent::Recent;
use crate::balance::{Backend, Millis};
use crate::model::RetryBudget;

/// What a budget over time looks back on.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// Attempts of all requests.
    requests: Recent,
    /// Retries, over the time of the share.
    retries: Recent,
    /// Retries, over the time of the floor.
    floor: Recent,
}

/// How much of a half of a budget is used, the retry that is asked for counted.
struct Used {
    now: u64,
    most: u64,
}

/// Counts as a retry under way as long as it lives.
#[derive(Debug)]
pub struct Retrying(Arc<UnderWay>);

// === impl Backend ===

impl Backend {
    /// Asks for one retry. `asked`: whether it is one that a route asks for; what is sent once more because it
    /// was lost on the way, without anybody's asking, counts only against a budget that a policy has set. With
    /// the default it could not be told apart from an endpoint that was closed on many requests at once,
    /// which is to cost nobody anything, and each request has only one such.
    ///
    /// The attempt that it follows is still under way, and no longer a retry.
    ///
    /// # Errors
    /// The budget is used up.
    pub fn retry(&self, now: Millis, asked: bool) -> Result<Retrying, Overflow> {
        let under_way = self.lasting().under_way();
        match &self.settings().retry_budget {
            Some(budget) => under_way.retry(now, budget),
            None if asked => under_way.retry(now, &RetryBudget::default()),
            None => {
                under_way.retries.add();
                Ok(Retrying(Arc::clone(under_way)))
            }
        }
    }
}

// === impl UnderWay ===

impl UnderWay {
    /// An attempt begins.
    #[inline]
    pub(super) fn count_request(&self, now: Millis, budget: &RetryBudget) {
        if let Some(interval) = budget.interval {
            self.windows().requests.add(now, millis(interval));
        }
    }

    fn windows(&self) -> &Windows {
        self.windows.get_or_init(Box::default)
    }

    fn retry(self: &Arc<Self>, now: Millis, budget: &RetryBudget) -> Result<Retrying, Overflow> {
        // Counted first, so that of two who ask at the same time not both get the last one.
        self.retries.add();
        let retrying = Retrying(Arc::clone(self));
        let under_way = u64::from(self.retries.get());
        let percent = u64::from(budget.percent);
        let (share, slot) = match budget.interval {
            None => {
                let most = percent * u64::from(self.active.get()) / 100;
                (Used { now: under_way, most }, None)
            }
            Some(interval) => {
                let (windows, span) = (self.windows(), millis(interval));
                let slot = windows.retries.add(now, span);
                let most = percent * windows.requests.sum(now, span) / 100;
                (Used { now: windows.retries.sum(now, span), most }, Some(slot))
            }
        };
        let most = u64::from(budget.least);
        let (floor, floor_slot) = match budget.least_interval {
            None => (Used { now: under_way, most }, None),
            Some(interval) => {
                let (floor, span) = (&self.windows().floor, millis(interval));
                let slot = floor.add(now, span);
                (Used { now: floor.sum(now, span), most }, Some(slot))
            }
        };
        if share.is_within() || floor.is_within() {
            return Ok(retrying);
        }
        if let Some(slot) = slot {
            self.windows().retries.undo(slot);
        }
        if let Some(slot) = floor_slot {
            self.windows().floor.undo(slot);
        }
        let most = u32::try_from(share.most.max(floor.most)).unwrap_or(u32::MAX);
        Err(Overflow::of_backend(Limit::Retries, most))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

// === impl Used ===

impl Used {
    fn is_within(&self) -> bool {
        self.now <= self.most
    }
}

// === impl Retrying ===

impl Drop for Retrying {
    fn drop(&mut self) {
        self.0.retries.sub();
    }
}
