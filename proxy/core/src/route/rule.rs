//! A compiled rule: its filters and the split of its traffic.

use std::sync::Arc;

use http::HeaderMap;

use super::plan::Plan;
use super::{Brought, Session};
use crate::balance::{Backend, Family, Millis};
use crate::model::{HttpRule, Kind, ObjectName, Retry, SessionPersistence, Timeouts};

/// One rule of a route.
#[derive(Debug)]
pub struct Rule {
    /// Its identity, for caches of metrics: the same rule (by route, place and name, whatever it
    /// says) has the same number in every snapshot, and no frontend, backend or rule ever has the
    /// number of another.
    pub id: u64,
    /// Of which kind the route is that it belongs to: two of two kinds may have one name.
    pub kind: Kind,
    /// That route.
    pub route: ObjectName,
    /// Its name, if it has one.
    pub name: Option<Arc<str>>,
    /// Applied to each request before the chosen backend's, and to each response after them.
    pub filters: Plan,
    /// How long its requests may take.
    pub timeouts: Timeouts,
    /// When they are sent again, if the rule says so.
    pub retry: Option<Retry>,
    /// How they stay with one endpoint, if the rule says so.
    pub persistence: Option<SessionPersistence>,
    wants_origin: bool,
    session: Option<Box<Session>>,
    /// Backends without a weight: sessions may still be with them.
    resting: Vec<WeightedBackend>,
    split: Split,
}

/// What [`Rule::backend`] comes to.
#[derive(Debug, Clone, Copy)]
pub enum Choice<'a> {
    /// Send it there.
    Backend(&'a WeightedBackend),
    /// Answer 500; the text says why, for the log (not for the client).
    Invalid(&'a str),
}

/// A backend of a rule with the filters of that reference.
#[derive(Debug)]
pub struct WeightedBackend {
    /// Where it goes.
    pub backend: Arc<Backend>,
    /// Applied to each request after the rule's, and to each response before them.
    pub filters: Plan,
}

/// Backends with weight, each with the sum of the weights up to and with its own.
#[derive(Debug, Default)]
struct Split {
    shares: Vec<(u64, Share)>,
}

#[derive(Debug)]
enum Share {
    Backend(WeightedBackend),
    Invalid(Arc<str>),
}

// === impl Rule ===

impl Rule {
    /// The rule `spec`, whose filters are `filters`; its backends come by [`Rule::with_backend`].
    pub fn new(id: u64, (kind, route): (Kind, ObjectName), spec: &HttpRule, filters: Plan) -> Self {
        Self {
            id,
            kind,
            route,
            name: spec.name.clone(),
            wants_origin: filters.wants_origin(),
            filters,
            timeouts: spec.timeouts,
            retry: spec.retry.clone(),
            persistence: spec.persistence.clone(),
            session: None,
            resting: Vec::new(),
            split: Split::default(),
        }
    }

    /// A rule of a TCPRoute or a TLSRoute: connections are relayed as they are.
    pub fn relayed(id: u64, route: (Kind, ObjectName), name: Option<Arc<str>>) -> Self {
        let spec = HttpRule {
            name,
            matches: Vec::new(),
            filters: Vec::new(),
            backends: Vec::new(),
            timeouts: Timeouts::default(),
            retry: None,
            persistence: None,
        };
        Self::new(id, route, &spec, Plan::default())
    }

    /// The same, whose requests stay with one endpoint; before [`Rule::with_backend`].
    #[must_use]
    pub fn with_session(mut self, session: Option<Session>) -> Self {
        self.session = session.map(Box::new);
        self
    }

    /// The same with one more backend, or the reason why its share is answered with 500.
    #[must_use]
    pub fn with_backend(
        mut self,
        weight: u32,
        target: Result<Arc<Backend>, Arc<str>>,
        filters: Plan,
    ) -> Self {
        self.wants_origin |= filters.wants_origin();
        let share = match (target, filters.invalid().cloned()) {
            (Err(why), _) | (Ok(_), Some(why)) => Share::Invalid(why),
            (Ok(backend), None) => Share::Backend(WeightedBackend { backend, filters }),
        };
        match share {
            Share::Backend(backend) if weight == 0 && self.session.is_some() => {
                self.resting.push(backend);
            }
            share => self.split.push(weight, share),
        }
        self
    }

    /// Whether a filter of its own or of a backend must be told a request's `Origin` with the response.
    #[inline]
    pub fn wants_origin(&self) -> bool {
        self.wants_origin
    }

    /// Where a request goes. `random` is uniform over all of `u64`.
    #[inline]
    pub fn backend(&self, random: u64) -> Choice<'_> {
        if let Some(why) = self.filters.invalid() {
            return Choice::Invalid(why);
        }
        match self.split.at(random) {
            Some(Share::Backend(backend)) => Choice::Backend(backend),
            Some(Share::Invalid(why)) => Choice::Invalid(why),
            None => Choice::Invalid("the rule has no backend with a weight above 0"),
        }
    }

    /// Its shares, each with its weight; none for those who are in vain.
    pub fn weighted_shares(&self) -> impl Iterator<Item = (u64, Option<&WeightedBackend>)> {
        let mut before = 0;
        let valid = self.filters.invalid().is_none();
        self.split.shares.iter().map(move |(upto, share)| {
            let weight = upto - std::mem::replace(&mut before, *upto);
            match share {
                Share::Backend(backend) if valid => (weight, Some(backend)),
                _ => (weight, None),
            }
        })
    }

    /// How its requests stay with one endpoint, if they do.
    #[inline]
    pub fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }

    /// The session that a request with these headers, of somebody who has dialled this family, belongs to: it
    /// comes before the split, "even if the weight is set to 0" (GEP-1619). `time`: of day, milliseconds since
    /// the epoch, and the clock's.
    pub fn brought(
        &self,
        headers: &HeaderMap,
        family: Option<Family>,
        time: (u64, Millis),
    ) -> Option<Brought<'_>> {
        let session = self.session.as_ref()?;
        let sharing = self.split.shares.iter().filter_map(|(_, share)| match share {
            Share::Backend(backend) => Some(backend),
            Share::Invalid(_) => None,
        });
        session.brought(headers, sharing.chain(&self.resting), family, time)
    }

    /// Why every request is answered with 500, if one of its filters is not understood.
    pub fn invalid(&self) -> Option<&str> {
        self.filters.invalid().map(|why| &**why)
    }

    /// What has a weight above 0, in order: a backend, or why its share is answered with 500.
    pub fn shares(&self) -> impl Iterator<Item = Result<&WeightedBackend, &str>> {
        self.split.shares.iter().map(|(_, share)| match share {
            Share::Backend(backend) => Ok(backend),
            Share::Invalid(why) => Err(&**why),
        })
    }

    /// The backends that get a share of the traffic, with that share as a fraction of 1.
    pub fn backends(&self) -> impl Iterator<Item = (&WeightedBackend, f64)> {
        let total = self.split.total() as f64;
        let mut before = 0;
        self.split.shares.iter().filter_map(move |(upto, share)| {
            let weight = (upto - std::mem::replace(&mut before, *upto)) as f64;
            match share {
                Share::Backend(backend) => Some((backend, weight / total)),
                Share::Invalid(_) => None,
            }
        })
    }
}

// === impl Split ===

impl Split {
    fn push(&mut self, weight: u32, share: Share) {
        if weight > 0 {
            self.shares.push((self.total() + u64::from(weight), share));
        }
    }

    fn total(&self) -> u64 {
        self.shares.last().map_or(0, |(upto, _)| *upto)
    }

    /// The share that `random` falls into, when the whole of `u64` is split by weight.
    #[inline]
    fn at(&self, random: u64) -> Option<&Share> {
        if let [(_, only)] = &*self.shares {
            return Some(only);
        }
        // Multiply and shift (Lemire, "Fast Random Integer Generation in an Interval", 2019): no
        // division; its bias is below 2^-30 for any sum of weights.
        let place = (u128::from(random) * u128::from(self.total())) >> 64;
        let index = self.shares.partition_point(|(upto, _)| u128::from(*upto) <= place);
        self.shares.get(index).map(|(_, share)| share)
    }
}
