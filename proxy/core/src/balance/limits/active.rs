//! Who may go to an endpoint now, and is counted until he is done.

use std::sync::Arc;

use super::budget::Retrying;
use super::counts::UnderWay;
use super::overflow::{Limit, Overflow};
use crate::balance::{Backend, Caller, Endpoint, Millis};

/// How often another endpoint is picked where one is full, before they are looked at one by one.
const MOST_PICKS: usize = 3;

/// Counts as one that is under way with an endpoint and its backend as long as it lives.
#[derive(Debug)]
pub struct Active {
    endpoint: Arc<Endpoint>,
    began: Millis,
    _of: OfBackend,
    retrying: Option<Retrying>,
}

/// The half that the backend counts.
#[derive(Debug)]
struct OfBackend(Arc<UnderWay>);

/// Why nobody may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is no endpoint at all.
    NoEndpoint,
    /// As much is under way as may be.
    Overflow(Overflow),
}

// === impl Backend ===

impl Backend {
    /// The endpoint for the next request, as [`Backend::pick`] has it, and the right to send it there.
    /// Endpoints that are full are passed over; `wanted`, the one that the request's session is with, is
    /// not replaced by another.
    ///
    /// # Errors
    /// Why the request goes nowhere.
    #[inline]
    pub fn admit(
        &self,
        now: Millis,
        random: &mut fastrand::Rng,
        caller: Caller,
        avoid: Option<&Endpoint>,
        wanted: Option<&Arc<Endpoint>>,
    ) -> Result<Active, Refused> {
        let of = self.admit_to_backend(now)?;
        let picked = match wanted {
            Some(wanted) => wanted,
            None => self.pick(now, random, caller, avoid).ok_or(Refused::NoEndpoint)?,
        };
        match picked.take(self.settings().limits.endpoint.active) {
            Ok(()) => Ok(Active::new(Arc::clone(picked), now, of)),
            Err(most) if wanted.is_some() => {
                Err(Refused::Overflow(Overflow::of_endpoint(Limit::Active, most)))
            }
            Err(most) => self.admit_elsewhere(now, random, caller, picked, (of, most)),
        }
    }

    /// The right to use `endpoint`, which has been chosen already.
    ///
    /// # Errors
    /// It, or the backend, is full.
    pub fn admit_to(&self, now: Millis, endpoint: &Arc<Endpoint>) -> Result<Active, Refused> {
        let of = self.admit_to_backend(now)?;
        let most = self.settings().limits.endpoint.active;
        let overflow = |most| Refused::Overflow(Overflow::of_endpoint(Limit::Active, most));
        endpoint.take(most).map_err(overflow)?;
        Ok(Active::new(Arc::clone(endpoint), now, of))
    }

    #[inline]
    fn admit_to_backend(&self, now: Millis) -> Result<OfBackend, Refused> {
        let settings = self.settings();
        let under_way = self.lasting().under_way();
        let fixed = settings.limits.backend.active.map(std::num::NonZeroU32::get);
        let (most, limit) = match &settings.limits.adaptive {
            None => (fixed, Limit::Active),
            Some(adaptive) => {
                let found = under_way.adaptive(adaptive).limit();
                // The policy may be another than the one that it was found under.
                let (least, highest) = (adaptive.least.get(), adaptive.most.get());
                let found = found.min(highest).max(least);
                if fixed.is_some_and(|fixed| fixed < found) {
                    (fixed, Limit::Active)
                } else {
                    (Some(found), Limit::Adaptive)
                }
            }
        };
        let overflow = |most| Refused::Overflow(Overflow::of_backend(limit, most));
        under_way.active.take(most).map_err(overflow)?;
        if let Some(budget) = &settings.retry_budget {
            under_way.count_request(now, budget);
        }
        Ok(OfBackend(Arc::clone(under_way)))
    }

    /// One that has room, where `full` has none.
    #[cold]
    fn admit_elsewhere(
        &self,
        now: Millis,
        random: &mut fastrand::Rng,
        caller: Caller,
        full: &Endpoint,
        (of, most): (OfBackend, u32),
    ) -> Result<Active, Refused> {
        let limit = self.settings().limits.endpoint.active;
        let mut avoid = full;
        for _ in 1..MOST_PICKS {
            let Some(picked) = self.pick(now, random, caller, Some(avoid)) else { break };
            if picked.take(limit).is_ok() {
                return Ok(Active::new(Arc::clone(picked), now, of));
            }
            avoid = picked;
        }
        let overflow = Refused::Overflow(Overflow::of_endpoint(Limit::Active, most));
        let endpoints = self.endpoints();
        // This one is counted already. With as many under way as all may have none has room: whoever is
        // refused under load must not cost a walk along all of them.
        let all = u64::from(most) * endpoints.len() as u64;
        if u64::from(of.0.active()) > all {
            return Err(overflow);
        }
        let roster = self.roster(now);
        let group = roster.as_ref().and_then(|roster| roster.group(caller.family));
        let group = group.ok_or(overflow)?;
        let endpoints = endpoints.get(group.places.0..group.places.1).ok_or(overflow)?;
        let start = random.usize(..endpoints.len().max(1)).min(endpoints.len());
        let (before, after) = endpoints.split_at(start);
        // In a panic all are used, as a pick has it.
        let found = after
            .iter()
            .chain(before)
            .find(|e| (group.panic || e.usable(now)) && e.take(limit).is_ok());
        let endpoint = Arc::clone(found.ok_or(overflow)?);
        Ok(Active::new(endpoint, now, of))
    }
}

// === impl Active ===

impl Active {
    fn new(endpoint: Arc<Endpoint>, began: Millis, of: OfBackend) -> Self {
        Self { endpoint, began, _of: of, retrying: None }
    }

    /// When it began.
    #[inline]
    pub fn began(&self) -> Millis {
        self.began
    }

    /// The endpoint.
    #[inline]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// It is a retry, and counted as one.
    pub fn is_retry(&mut self, retrying: Option<Retrying>) {
        self.retrying = retrying;
    }
}

impl Drop for Active {
    #[inline]
    fn drop(&mut self) {
        self.endpoint.end();
    }
}

// === impl OfBackend ===

impl Drop for OfBackend {
    #[inline]
    fn drop(&mut self) {
        self.0.active.sub();
    }
}
