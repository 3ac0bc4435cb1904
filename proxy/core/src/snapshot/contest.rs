//! Which of the routes that are attached to one port apply there (GEP-1294, "Route types").
//!
//! Each audience by itself: the Service's own namespace speaks for everyone, any other for its own
//! clients. Only routes of one kind apply: GRPCRoutes before HTTPRoutes, TLSRoutes and TCPRoutes.
//! HTTPRoutes are merged, and GRPCRoutes; of TLSRoutes the oldest has a hostname, and of TCPRoutes, which
//! have nothing to tell connections apart by, the oldest has all.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{RouteKey, Store};
use crate::model::{Hostname, Kind, ObjectName, Route, Rules};

/// Who has won at one port.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contest {
    /// By the namespace of the clients they are for; those for everyone under the empty name.
    audiences: BTreeMap<Arc<str>, Audience>,
}

#[derive(Debug, PartialEq, Eq)]
struct Audience {
    /// The oldest route of the kind that applies.
    first: RouteKey,
    /// Of TLSRoutes: who has which name.
    hostnames: BTreeMap<Hostname, RouteKey>,
}

/// The clients that a route is for, at a port of `service`: see [`Contest::audiences`].
pub(super) fn audience(route: &ObjectName, service: &ObjectName) -> Arc<str> {
    let own = route.namespace == service.namespace;
    if own { Arc::default() } else { Arc::clone(&route.namespace) }
}

// === impl Contest ===

impl Contest {
    /// Between the routes `attached` to a port of `service`.
    pub(super) fn new<'a>(
        store: &Store,
        service: &ObjectName,
        attached: impl Iterator<Item = &'a RouteKey>,
    ) -> Self {
        let mut routes: Vec<(&RouteKey, &Route)> =
            attached.filter_map(|key| Some((key, store.route(key)?))).collect();
        // A route that does not say when it was made counts as the newest.
        routes.sort_by_key(|(key, route)| {
            (precedence(key.0), route.created.is_none(), route.created, &key.1)
        });
        let mut audiences: BTreeMap<Arc<str>, Audience> = BTreeMap::new();
        for (key, route) in routes {
            let audience = audiences
                .entry(audience(&key.1, service))
                .or_insert_with(|| Audience { first: key.clone(), hostnames: BTreeMap::new() });
            let Rules::Tls { hostnames, .. } = &route.rules else { continue };
            if audience.first.0 == key.0 {
                for hostname in hostnames {
                    audience.hostnames.entry(hostname.clone()).or_insert_with(|| key.clone());
                }
            }
        }
        Self { audiences }
    }

    /// To whom this route has lost all that it asks for, if it has.
    pub(super) fn lost_to(&self, service: &ObjectName, route: &Route) -> Option<&RouteKey> {
        let audience = self.audiences.get(&audience(&route.name, service))?;
        let winner = &audience.first;
        if winner.0 != route.kind {
            return Some(winner);
        }
        match &route.rules {
            Rules::Http(_) => None,
            Rules::Tcp(_) => Some(winner).filter(|winner| winner.1 != route.name),
            Rules::Tls { hostnames, .. } => {
                let mut holders = hostnames.iter().filter_map(|name| audience.hostnames.get(name));
                let lost = |holder: &&RouteKey| holder.1 != route.name;
                holders.clone().all(|holder| lost(&holder)).then(|| holders.next()).flatten()
            }
        }
    }

    /// Whether this TLSRoute has this hostname.
    pub(super) fn has(&self, service: &ObjectName, route: &Route, hostname: &Hostname) -> bool {
        let audience = self.audiences.get(&audience(&route.name, service));
        let holder = audience.and_then(|audience| audience.hostnames.get(hostname));
        holder.is_some_and(|holder| holder.1 == route.name)
    }
}

fn precedence(kind: Kind) -> usize {
    Kind::ROUTES.iter().position(|known| *known == kind).unwrap_or(usize::MAX)
}
