//! `spec.outlierDetection`: when an endpoint is left out for failing.
//!
//! Not how that is found out: that is `balance`.

use std::num::NonZeroU32;
use std::time::Duration;

use nodeway_core::model::{LatencyOutlier, OutlierDetection, SuccessRate};

use super::super::fields::Fields;
use super::{HOUR, MINUTE, milliseconds};

pub(super) fn detection(fields: &mut Fields<'_>) -> OutlierDetection {
    let default = OutlierDetection::default();
    let mut consecutive = |name, default| match fields.integer(name, 0_u32..=10_000) {
        // 0: not counted.
        Some(given) => NonZeroU32::new(given),
        None => default,
    };
    let consecutive_5xx = consecutive("consecutive5xx", default.consecutive_5xx);
    let consecutive_gateway_errors =
        consecutive("consecutiveGatewayErrors", default.consecutive_gateway_errors);
    let consecutive_connect_failures =
        consecutive("consecutiveConnectFailures", default.consecutive_connect_failures);
    let base = fields.duration("baseEjectionTime", milliseconds(100, HOUR));
    let max = fields.duration("maxEjectionTime", milliseconds(100, 24 * HOUR));
    let base_ejection = base.unwrap_or(default.base_ejection);
    if max.is_some_and(|max| max < base_ejection) {
        let message = format!("must not be less than baseEjectionTime, {base_ejection:?}");
        fields.fault("maxEjectionTime", message);
    }
    OutlierDetection {
        consecutive_5xx,
        consecutive_gateway_errors,
        consecutive_connect_failures,
        success_rate: fields.object("successRate", success_rate).or(default.success_rate),
        latency: fields.object("latency", latency).or(default.latency),
        interval: fields
            .duration("interval", milliseconds(100, 10 * MINUTE))
            .unwrap_or(default.interval),
        base_ejection,
        max_ejection: max.unwrap_or(default.max_ejection.max(base_ejection)),
        max_ejected: fields.integer("maxEjectionPercent", 0..=100).unwrap_or(default.max_ejected),
    }
}

fn count(fields: &mut Fields<'_>, name: &'static str, most: u32, default: u32) -> NonZeroU32 {
    let given = fields.integer(name, 1..=most).unwrap_or(default);
    NonZeroU32::new(given).unwrap_or(NonZeroU32::MIN)
}

fn success_rate(fields: &mut Fields<'_>) -> SuccessRate {
    SuccessRate {
        endpoints: count(fields, "minEndpoints", 1_000, 5),
        requests: count(fields, "minRequests", 1_000_000, 100),
        stdev_factor: fields.thousandths("stdevFactor", 0..=10_000).unwrap_or(1_900),
    }
}

fn latency(fields: &mut Fields<'_>) -> LatencyOutlier {
    let least = fields.duration("minLatency", milliseconds(0, MINUTE));
    LatencyOutlier {
        endpoints: count(fields, "minEndpoints", 1_000, 3),
        requests: count(fields, "minRequests", 1_000_000, 100),
        factor: fields.thousandths("factor", 1_100..=100_000).unwrap_or(3_000),
        least: least.unwrap_or(Duration::from_millis(10)),
    }
}
