//! `spec.circuitBreaker` and `spec.retryBudget`: how much may be under way at once.
//!
//! Not how it is counted: that is `balance`.

use std::num::NonZeroU32;

use nodeway_core::model::{AdaptiveConcurrency, Amounts, Limits, RetryBudget};

use super::super::fields::Fields;

/// More than any node has.
const MOST: u32 = 1_000_000;

pub(super) fn limits(fields: &mut Fields<'_>) -> Limits {
    let default = Limits::default();
    Limits {
        backend: amounts(fields),
        endpoint: fields.object("perEndpoint", amounts).unwrap_or(default.endpoint),
        adaptive: fields.object("adaptiveConcurrency", adaptive).or(default.adaptive),
        tell: fields.flag("overloadedHeader").unwrap_or(default.tell),
    }
}

fn amounts(fields: &mut Fields<'_>) -> Amounts {
    Amounts {
        connections: fields.integer("maxConnections", 1..=MOST).and_then(NonZeroU32::new),
        pending: fields.integer("maxPendingRequests", 0..=MOST),
        active: fields.integer("maxRequests", 1..=MOST).and_then(NonZeroU32::new),
    }
}

fn adaptive(fields: &mut Fields<'_>) -> AdaptiveConcurrency {
    let least = fields.integer("minRequests", 1..=MOST).unwrap_or(4);
    let most = fields.integer("maxRequests", 1..=MOST).unwrap_or(least.max(1_000));
    if least > most {
        fields.fault("maxRequests", format!("{most}: must not be less than minRequests, {least}"));
    }
    AdaptiveConcurrency {
        least: NonZeroU32::new(least).unwrap_or(NonZeroU32::MIN),
        most: NonZeroU32::new(most).unwrap_or(NonZeroU32::MIN),
        tolerance: fields.integer("latencyTolerancePercent", 0_u16..=1_000).unwrap_or(50),
    }
}

pub(super) fn retry_budget(fields: &mut Fields<'_>) -> RetryBudget {
    RetryBudget {
        percent: fields.integer("percent", 0..=100).unwrap_or(20),
        interval: None,
        least: fields.integer("minConcurrent", 0..=MOST).unwrap_or(10),
        least_interval: None,
    }
}
