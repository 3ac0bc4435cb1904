//! A route's rule, compiled: filters in order, backends by weight.

use std::sync::Arc;

use super::Backend;
use crate::model::{Filter, HeaderModifier, ObjectName};

/// A rule that requests meet.
#[derive(Debug)]
pub struct Rule {
    /// A number of its own among all frontends, backends and rules of its snapshot.
    pub id: u64,
    /// The route it is of.
    pub route: ObjectName,
    /// Its name, if it has one.
    pub name: Option<Arc<str>>,
    /// For each request, in order.
    pub request_headers: Vec<HeaderModifier>,
    /// For each response, in order.
    pub response_headers: Vec<HeaderModifier>,
    shares: Shares,
}

/// A backend and what happens to its share.
#[derive(Debug)]
pub struct WeightedBackend {
    /// Where the share goes.
    pub backend: Arc<Backend>,
    /// For each request of the share, after the rule's.
    pub request_headers: Vec<HeaderModifier>,
    /// For each response of the share, before the rule's.
    pub response_headers: Vec<HeaderModifier>,
}

/// What a request's share is.
#[derive(Debug)]
pub enum Choice<'a> {
    /// Goes here.
    Backend(&'a WeightedBackend),
    /// Is answered with 500, for this reason.
    Invalid(&'a str),
}

/// A backend that may be invalid: it keeps its share all the same.
pub(super) type Share = Result<WeightedBackend, Arc<str>>;

/// Shares with the sums of their weights so far: a choice is a search.
#[derive(Debug)]
enum Shares {
    All(Arc<str>),
    Some { total: u64, upto: Vec<(u64, Share)> },
}

// === impl Rule ===

impl Rule {
    /// A rule with `filters` and `shares` (weight and backend).
    pub(super) fn new(
        id: u64,
        route: ObjectName,
        name: Option<Arc<str>>,
        filters: &[Filter],
        shares: Vec<(u32, Share)>,
    ) -> Self {
        let (request_headers, response_headers, invalid) = split(filters);
        let shares = match invalid {
            Some(message) => Shares::All(message),
            None => Shares::new(shares),
        };
        Self { id, route, name, request_headers, response_headers, shares }
    }

    /// The share that a request falls into; `random` is even over all values.
    #[inline]
    pub fn backend(&self, random: u64) -> Choice<'_> {
        let (total, upto) = match &self.shares {
            Shares::All(message) => return Choice::Invalid(message),
            Shares::Some { total, upto } => (total, upto),
        };
        // D. Lemire, "Fast Random Integer Generation in an Interval", 2019: a multiplication
        // instead of a division; the bias is below 2^-30 for any weights that fit.
        let point = ((u128::from(random) * u128::from(*total)) >> 64) as u64;
        let index = upto.partition_point(|(end, _)| *end <= point);
        match upto.get(index) {
            Some((_, Ok(backend))) => Choice::Backend(backend),
            Some((_, Err(message))) => Choice::Invalid(message),
            None => Choice::Invalid("the rule has no backend"),
        }
    }
}

// === impl WeightedBackend ===

impl WeightedBackend {
    /// `backend` with its own filters; an invalid filter makes the share invalid.
    pub(super) fn share(backend: Arc<Backend>, filters: &[Filter]) -> Share {
        let (request_headers, response_headers, invalid) = split(filters);
        match invalid {
            Some(message) => Err(message),
            None => Ok(Self { backend, request_headers, response_headers }),
        }
    }
}

// === impl Shares ===

impl Shares {
    fn new(shares: Vec<(u32, Share)>) -> Self {
        if shares.is_empty() {
            return Self::All("the rule has no backendRefs".into());
        }
        let mut total = 0;
        let mut upto = Vec::with_capacity(shares.len());
        for (weight, share) in shares {
            total += u64::from(weight);
            if weight > 0 {
                upto.push((total, share));
            }
        }
        if total == 0 {
            return Self::All("all weights of the rule's backendRefs are 0".into());
        }
        Self::Some { total, upto }
    }
}

type Split = (Vec<HeaderModifier>, Vec<HeaderModifier>, Option<Arc<str>>);

fn split(filters: &[Filter]) -> Split {
    let (mut requests, mut responses, mut invalid) = (Vec::new(), Vec::new(), None);
    for filter in filters {
        match filter {
            Filter::RequestHeaders(modifier) => requests.push(modifier.clone()),
            Filter::ResponseHeaders(modifier) => responses.push(modifier.clone()),
            Filter::Invalid { message } => {
                invalid.get_or_insert_with(|| Arc::clone(message));
            }
        }
    }
    (requests, responses, invalid)
}
