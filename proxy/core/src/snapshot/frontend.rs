//! What a client dials: a Service's port with the routes attached to it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use http::HeaderMap;

use crate::balance::{Backend, Endpoint, Family, Millis};
use crate::model::{AppProtocol, ObjectName};
use crate::route::{
    Brought, Matched, RequestHead, Router, RouterBuilder, Rule, ServerNames, Session,
    WeightedBackend,
};

/// A Service's port as clients see it.
#[derive(Debug)]
pub struct Frontend {
    /// Its identity, for caches of metrics: the same Service and port have the same number in every
    /// snapshot, and no frontend, backend or rule ever has the number of another.
    pub id: u64,
    /// The Service.
    pub service: ObjectName,
    /// The port that is dialled.
    pub port: u16,
    /// What the port is declared to speak.
    pub protocol: AppProtocol,
    /// The Service's own endpoints.
    pub backend: Arc<Backend>,
    /// The endpoints for its external addresses, if these are others; the frontend of those does not say.
    pub(super) external: Option<Arc<Backend>>,
    pub(super) routes: Arc<Routes>,
    /// How requests stay with one of the Service's own endpoints, where no route applies.
    pub(super) own: Option<Arc<OwnSession>>,
}

/// A session with the Service itself.
#[derive(Debug)]
pub(super) struct OwnSession {
    pub(super) session: Session,
    pub(super) backend: WeightedBackend,
}

/// The routes attached to a frontend, by whom they are for.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// Of the Service's own namespace ("producer routes"): for everyone.
    pub(super) producer: Option<Attached>,
    /// Of another namespace ("consumer routes"): for clients of that namespace alone, and instead
    /// of the producer's (Gateway API, GEP-1426).
    pub(super) consumers: HashMap<Arc<str>, Attached, RandomState>,
}

/// The routes for one audience, all of one kind.
#[derive(Debug)]
pub(super) enum Attached {
    /// HTTPRoutes or GRPCRoutes.
    Http(Router),
    /// TLSRoutes.
    Tls(ServerNames),
    /// A TCPRoute.
    Tcp(Arc<Rule>),
}

/// The same while they are being collected.
pub(super) enum Collected {
    Http(RouterBuilder),
    Tls(ServerNames),
    Tcp(Arc<Rule>),
}

/// What becomes of a client's connections to a frontend.
#[derive(Debug, Clone, Copy)]
pub enum Connections<'a> {
    /// What the port is declared to speak decides, and each request goes where [`Frontend::route`] says.
    AsDeclared,
    /// They are relayed as they are, by this rule.
    Relayed(&'a Arc<Rule>),
    /// They are relayed as they are, by the name of the server that the client's TLS asks for.
    ByName(&'a ServerNames),
}

/// Where a request goes.
#[derive(Debug, Clone, Copy)]
pub enum Routed<'a> {
    /// To the Service's own endpoints: no route is attached.
    Service(&'a Arc<Backend>),
    /// To this rule, met in this way.
    Rule(&'a Rule, Matched),
    /// Nowhere: routes are attached and none matches. Answer 404 (Gateway API, `HTTPRouteRule`).
    NotFound,
}

// === impl Frontend ===

impl Frontend {
    /// The endpoints for its external addresses, if these are others: policy `Local` is for cluster IPs.
    pub fn external(&self) -> Option<&Arc<Backend>> {
        self.external.as_ref()
    }

    /// To which of the two this endpoint belongs; to the first if to both.
    pub fn backend_of(&self, endpoint: &Endpoint) -> &Arc<Backend> {
        let has = |backend: &&Arc<Backend>| {
            backend.at(endpoint.address).is_some_and(|known| known.id == endpoint.id)
        };
        let other = || self.external.as_ref().filter(has);
        Some(&self.backend).filter(has).or_else(other).unwrap_or(&self.backend)
    }

    /// How requests stay with one of the Service's own endpoints, where no route applies, if they do.
    #[inline]
    pub fn session(&self) -> Option<&Session> {
        self.own.as_deref().map(|own| &own.session)
    }

    /// The session with the Service itself that a request with these headers, of somebody who has dialled
    /// this family, belongs to. `time`: of day, milliseconds since the epoch, and the clock's.
    pub fn brought(
        &self,
        headers: &HeaderMap,
        family: Option<Family>,
        time: (u64, Millis),
    ) -> Option<Brought<'_>> {
        let own = self.own.as_deref()?;
        own.session.brought(headers, std::iter::once(&own.backend), family, time)
    }

    /// Where this request goes.
    #[inline]
    pub fn route<'a>(&'a self, head: &RequestHead<'_>) -> Routed<'a> {
        match self.routes.for_client(head.client) {
            None => Routed::Service(&self.backend),
            Some(Attached::Http(router)) => router
                .route(head)
                .map_or(Routed::NotFound, |(rule, matched)| Routed::Rule(rule, matched)),
            // A connection that was HTTP when it began: its requests go where new connections go.
            Some(Attached::Tcp(rule)) => Routed::Rule(rule, Matched { place: 0, prefix_len: None }),
            Some(Attached::Tls(_)) => Routed::NotFound,
        }
    }

    /// What becomes of a new connection from a client of this namespace, if that is known.
    pub fn connections(&self, client: Option<&str>) -> Connections<'_> {
        match self.routes.for_client(client) {
            None | Some(Attached::Http(_)) => Connections::AsDeclared,
            Some(Attached::Tls(names)) => Connections::ByName(names),
            Some(Attached::Tcp(rule)) => Connections::Relayed(rule),
        }
    }

    /// Whether routes of HTTP are attached for clients of this namespace: then
    /// [`normalised`](crate::route::normalised) paths are looked at, and sent on.
    #[inline]
    pub fn is_routed_for(&self, client: Option<&str>) -> bool {
        self.router(client).is_some()
    }

    /// The matches that requests of this namespace's clients are matched against, if there are any.
    #[inline]
    pub(super) fn router(&self, client: Option<&str>) -> Option<&Router> {
        match self.routes.for_client(client)? {
            Attached::Http(router) => Some(router),
            Attached::Tls(_) | Attached::Tcp(_) => None,
        }
    }

    /// Whether routes of the clients' own namespace stand instead of the Service's.
    pub(super) fn has_own_routes_for(&self, client: Option<&str>) -> bool {
        client.is_some_and(|client| self.routes.consumers.contains_key(client))
    }

    /// Whether any route is attached, for whichever client.
    pub fn has_routes(&self) -> bool {
        self.routes.producer.is_some() || !self.routes.consumers.is_empty()
    }
}

// === impl Routes ===

impl Routes {
    /// By the namespace of the clients they are for; those for everyone under the empty name.
    pub(super) fn new(collected: BTreeMap<Arc<str>, Collected>, before: Option<&Self>) -> Self {
        let mut routes = Self::default();
        for (whose, collected) in collected {
            let before = before.and_then(|before| match &*whose {
                "" => before.producer.as_ref(),
                whose => before.consumers.get(whose),
            });
            let before = match before {
                Some(Attached::Http(router)) => Some(router),
                _ => None,
            };
            let attached = match collected {
                Collected::Http(builder) => Attached::Http(builder.build(before)),
                Collected::Tls(names) => Attached::Tls(names),
                Collected::Tcp(rule) => Attached::Tcp(rule),
            };
            if whose.is_empty() {
                routes.producer = Some(attached);
            } else {
                routes.consumers.insert(whose, attached);
            }
        }
        routes
    }

    #[inline]
    fn for_client(&self, namespace: Option<&str>) -> Option<&Attached> {
        let own = (!self.consumers.is_empty()).then(|| self.consumers.get(namespace?)).flatten();
        own.or(self.producer.as_ref())
    }
}
