//! A request of a rule, or to a Service, whose requests stay with one endpoint.
//!
//! What a token says, and whether it counts, is `nodeway_core::route`'s.

use http::HeaderMap;
use http::header::SET_COOKIE;
use nodeway_core::balance::Endpoint;
use nodeway_core::snapshot::{Backend, Brought, Frontend, Rule, Session};

use super::Conn;
use crate::runtime::wall_millis;

/// Goes with such a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stay<'a> {
    session: &'a Session,
    matched: usize,
    /// The session that the request belongs to; none at its beginning.
    pub brought: Option<Brought<'a>>,
}

// === impl Stay ===

impl<'a> Stay<'a> {
    /// That of a request with these headers, which met `rule` by this one of its matches.
    #[inline]
    pub(super) fn of(
        conn: &Conn,
        rule: &'a Rule,
        matched: usize,
        headers: &HeaderMap,
    ) -> Option<Self> {
        let session = rule.session()?;
        let brought = rule.brought(
            headers,
            conn.target.caller.family,
            (wall_millis(), conn.worker.clock.now()),
        );
        Some(Self { session, matched, brought })
    }

    /// That of a request with these headers to the Service itself.
    #[inline]
    pub(super) fn with_service(
        conn: &Conn,
        frontend: &'a Frontend,
        headers: &HeaderMap,
    ) -> Option<Self> {
        let session = frontend.session()?;
        let brought = frontend.brought(
            headers,
            conn.target.caller.family,
            (wall_millis(), conn.worker.clock.now()),
        );
        Some(Self { session, matched: 0, brought })
    }

    /// Tells the client how to come back to `endpoint`, which has answered.
    pub(super) fn tell(self, backend: &Backend, endpoint: &Endpoint, headers: &mut HeaderMap) {
        let Self { session, matched, brought } = self;
        let field = session.field(brought, matched, backend, endpoint, wall_millis());
        match field {
            // The endpoint may have cookies of its own.
            Some((name, value)) if name == SET_COOKIE => drop(headers.append(name, value)),
            Some((name, value)) => drop(headers.insert(name, value)),
            None => {}
        }
    }
}
