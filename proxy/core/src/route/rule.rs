//! A compiled rule: its filters and the split of its traffic.

use std::sync::Arc;

use crate::balance::Backend;
use crate::model::{
    Filter, HeaderModifier, HttpRule, ObjectName, Retry, SessionPersistence, Timeouts,
};

/// One rule of a route.
#[derive(Debug)]
pub struct Rule {
    /// Its identity, for caches of metrics: the same rule (by route, place and name, whatever it
    /// says) has the same number in every snapshot, and no frontend, backend or rule ever has the
    /// number of another.
    pub id: u64,
    /// The route it belongs to.
    pub route: ObjectName,
    /// Its name, if it has one.
    pub name: Option<Arc<str>>,
    /// Applied in order to each request, before the chosen backend's.
    pub request_headers: Box<[HeaderModifier]>,
    /// Applied in order to each response, after the chosen backend's.
    pub response_headers: Box<[HeaderModifier]>,
    /// Why every request of this rule is answered with 500, if one of its filters is not understood.
    pub invalid: Option<Arc<str>>,
    /// How long its requests may take.
    pub timeouts: Timeouts,
    /// When they are sent again, if the rule says so.
    pub retry: Option<Retry>,
    /// How they stay with one endpoint, if the rule says so.
    pub persistence: Option<SessionPersistence>,
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
    /// Applied in order to each request, after the rule's.
    pub request_headers: Box<[HeaderModifier]>,
    /// Applied in order to each response, before the rule's.
    pub response_headers: Box<[HeaderModifier]>,
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

/// A rule's or reference's filters, by kind.
#[derive(Default)]
struct Plan {
    request: Vec<HeaderModifier>,
    response: Vec<HeaderModifier>,
    invalid: Option<Arc<str>>,
}

// === impl Rule ===

impl Rule {
    /// The rule `spec`; its backends come by [`Rule::with_backend`].
    pub fn new(id: u64, route: ObjectName, spec: &HttpRule) -> Self {
        let Plan { request, response, invalid } = Plan::new(&spec.filters);
        Self {
            id,
            route,
            name: spec.name.clone(),
            request_headers: request.into(),
            response_headers: response.into(),
            invalid,
            timeouts: spec.timeouts,
            retry: spec.retry.clone(),
            persistence: spec.persistence.clone(),
            split: Split::default(),
        }
    }

    /// A rule of a TCPRoute or a TLSRoute: connections are relayed as they are.
    pub fn relayed(id: u64, route: ObjectName, name: Option<Arc<str>>) -> Self {
        let spec = HttpRule {
            name,
            matches: Vec::new(),
            filters: Vec::new(),
            backends: Vec::new(),
            timeouts: Timeouts::default(),
            retry: None,
            persistence: None,
        };
        Self::new(id, route, &spec)
    }

    /// The same with one more backend, or the reason why its share is answered with 500.
    #[must_use]
    pub fn with_backend(
        mut self,
        weight: u32,
        target: Result<Arc<Backend>, Arc<str>>,
        filters: &[Filter],
    ) -> Self {
        let Plan { request, response, invalid } = Plan::new(filters);
        let share = match (target, invalid) {
            (Err(why), _) | (Ok(_), Some(why)) => Share::Invalid(why),
            (Ok(backend), None) => Share::Backend(WeightedBackend {
                backend,
                request_headers: request.into(),
                response_headers: response.into(),
            }),
        };
        self.split.push(weight, share);
        self
    }

    /// Where a request goes. `random` is uniform over all of `u64`.
    #[inline]
    pub fn backend(&self, random: u64) -> Choice<'_> {
        if let Some(why) = &self.invalid {
            return Choice::Invalid(why);
        }
        match self.split.at(random) {
            Some(Share::Backend(backend)) => Choice::Backend(backend),
            Some(Share::Invalid(why)) => Choice::Invalid(why),
            None => Choice::Invalid("the rule has no backend with a weight above 0"),
        }
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

// === impl Plan ===

impl Plan {
    fn new(filters: &[Filter]) -> Self {
        let mut plan = Self::default();
        for filter in filters {
            match filter {
                Filter::RequestHeaders(m) => plan.request.push(m.clone().first_of_each_name()),
                Filter::ResponseHeaders(m) => plan.response.push(m.clone().first_of_each_name()),
                Filter::Invalid { message } => {
                    plan.invalid.get_or_insert_with(|| Arc::clone(message));
                }
                Filter::Redirect(_) | Filter::Rewrite(_) | Filter::Mirror(_) | Filter::Cors(_) => {}
            }
        }
        plan
    }
}
