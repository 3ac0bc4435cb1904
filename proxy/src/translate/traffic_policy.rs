//! XBackendTrafficPolicies with targets of kind Service (Gateway API, experimental; GEP-3388, GEP-1619).
//!
//! What a policy of our own asks for besides is `backend_policy`.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use gateway_api::experimental::xbackendtrafficpolicies::{
    XBackendTrafficPolicyRetryConstraint,
    XBackendTrafficPolicySessionPersistenceCookieConfigLifetimeType as Lifetime,
    XBackendTrafficPolicySessionPersistenceType as Persistence, XBackendTrafficPolicySpec,
};
use nodeway_core::model::{Object, RetryBudget, SessionPersistence, TrafficSettings};

use super::attempts::session;
use super::duration::duration;
use super::policy_targets::{Document, policy};
use super::{Faults, Identity, Translated};

/// Nothing if it is for no Service.
pub(super) fn traffic_policy(identity: &Identity, mut document: Document) -> Translated {
    let mut faults = Faults::default();
    let mut targets = document.of_services(identity, &mut faults);
    // They have no sections: it is for all ports.
    targets.iter_mut().for_each(|target| target.section = None);
    let mut known = HashSet::new();
    targets.retain(|target| known.insert(target.clone()));
    if targets.is_empty() {
        return Translated { faults: faults.list, ..Translated::default() };
    }
    let before = faults.list.len();
    let settings = match document.spec::<XBackendTrafficPolicySpec>() {
        Ok(spec) => {
            let retry_budget =
                spec.retry_constraint.as_ref().and_then(|spec| budget(spec, &mut faults));
            let session =
                session!(spec.session_persistence, Persistence, Lifetime, "spec", &mut faults);
            let secret = document.metadata.uid.as_deref().unwrap_or_default();
            let session =
                session.map(|session| SessionPersistence { secret: secret.into(), ..session });
            Some(TrafficSettings { retry_budget, session })
        }
        Err((field, why)) => {
            faults.add(field, why);
            None
        }
    };
    let settings = settings.filter(|_| !faults.refused);
    let wrong = &faults.list[before..];
    let policy = policy(identity, &document.metadata, targets, settings.ok_or(wrong));
    let object = Some(Object::TrafficPolicy(policy));
    Translated { object, refused: None, faults: faults.list }
}

/// `spec.retryConstraint`; what is left out has the default of the CRD's schema.
fn budget(spec: &XBackendTrafficPolicyRetryConstraint, faults: &mut Faults) -> Option<RetryBudget> {
    const FIELD: &str = "spec.retryConstraint";
    let budget = spec.budget.as_ref();
    let rate = spec.min_retry_rate.as_ref();
    let interval = |text: Option<&str>, default, field: &str, faults: &mut Faults| {
        let Some(text) = text else { return Some(Duration::from_secs(default)) };
        let bounds = Duration::from_secs(1)..=Duration::from_secs(3_600);
        let checked = duration(text);
        let checked = checked.and_then(|time| match bounds.contains(&time) {
            true => Ok(time),
            false => Err("must be from 1s to 1h"),
        });
        faults.check(format!("{FIELD}.{field}.interval"), text, checked)
    };
    let over = interval(budget.and_then(|budget| budget.interval.as_deref()), 10, "budget", faults);
    let each = interval(rate.and_then(|rate| rate.interval.as_deref()), 1, "minRetryRate", faults);
    let number = |given: Option<i64>, default, bounds: RangeInclusive<u32>| {
        let number = u32::try_from(given.unwrap_or(default)).ok();
        let number = number.filter(|number| bounds.contains(number));
        number.ok_or_else(|| format!("must be from {} to {}", bounds.start(), bounds.end()))
    };
    let percent = budget.and_then(|budget| budget.percent);
    let percent =
        faults.check(format!("{FIELD}.budget.percent"), percent, number(percent, 20, 0..=100))?;
    let least = rate.and_then(|rate| rate.count);
    let least = faults.check(
        format!("{FIELD}.minRetryRate.count"),
        least,
        number(least, 10, 1..=1_000_000),
    )?;
    Some(RetryBudget {
        percent: u8::try_from(percent).ok()?,
        interval: Some(over?),
        least,
        least_interval: Some(each?),
    })
}
