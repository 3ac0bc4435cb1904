//! Sessions that a rule asks for and a Service has already, in its own way.
//!
//! Not how either is kept: that is `route` and `balance`.

use super::store::Store;
use crate::model::{BackendTarget, Route};

/// Why `route` is refused as a whole, with the field, if it is: a rule with `sessionPersistence` leads to
/// a Service with `sessionAffinity` (GEP-1619, "Session Affinity in K8S Services"). Only targets that are
/// `usable` count: what is another's, and not granted, has no say.
pub(super) fn clash(
    store: &Store,
    route: &Route,
    usable: impl Fn(&BackendTarget) -> bool,
) -> Option<(String, String)> {
    let rules =
        route.rules.http().iter().enumerate().filter(|(_, rule)| rule.persistence.is_some());
    let mut targets = rules.flat_map(|(i, rule)| rule.backends.iter().map(move |b| (i, &b.target)));
    targets.find_map(|(i, target)| {
        let BackendTarget::Service { service, .. } = target else { return None };
        store.service(service)?.affinity.filter(|_| usable(target))?;
        let message =
            format!("Service {service} has sessionAffinity ClientIP: one of the two must go");
        Some((format!("spec.rules[{i}].sessionPersistence"), message))
    })
}
