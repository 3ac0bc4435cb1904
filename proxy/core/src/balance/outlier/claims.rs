//! How many endpoints of a backend may be left out at once, and no more of them.
//!
//! Not for active checks: what they find ill is out, however many.

use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};

use crate::balance::{Endpoint, EndpointId, Millis};

/// A refusal holds for so long, unless somebody comes back before: to count all endpoints anew for each
/// failure would be dear where everybody fails.
const REFUSED_MS: u64 = 1000;

/// Who has been left out, by the backend's own account. Endpoints cannot tell by themselves: two workers
/// that left out two of them at the same moment would each see room for one.
#[derive(Debug, Default)]
pub(in crate::balance) struct Claims(ArcSwapOption<Claimed>);

#[derive(Debug)]
struct Claimed {
    /// Who is out, and until when, by id.
    out: Box<[(EndpointId, u64)]>,
    /// There is no room before this.
    full_until: u64,
}

/// Why an endpoint may not be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is already.
    Out,
    /// Too many others are: so many. `told` if this had been found out before.
    Full { out: usize, told: bool },
}

// === impl Claims ===

impl Claims {
    /// What has been claimed for these no longer holds: they are out for a shorter time, if at all. What
    /// others have claimed does, also if they are not out yet.
    pub(super) fn forget(&self, endpoints: &[EndpointId]) {
        self.0.rcu(|known| {
            let out = known.as_deref()?.out.iter().filter(|(id, _)| !endpoints.contains(id));
            Some(Arc::new(Claimed { out: out.copied().collect(), full_until: 0 }))
        });
    }

    /// Whether `endpoint`, one of `endpoints`, may be left out until then: not more than `most` are.
    pub(super) fn claim(
        &self,
        endpoints: &[Arc<Endpoint>],
        most: usize,
        endpoint: EndpointId,
        now: Millis,
        until: u64,
    ) -> Result<(), Refusal> {
        loop {
            let known = self.0.load();
            if let Some(known) = known.as_deref()
                && now.0 < known.full_until
            {
                return Err(Refusal::Full { out: known.out.len(), told: true });
            }
            let mut out = out_now(endpoints, known.as_deref(), now);
            let Err(place) = out.binary_search_by_key(&endpoint, |(id, _)| *id) else {
                return Err(Refusal::Out);
            };
            let full = out.len() >= most;
            let full_until = if full {
                let soonest = out.iter().map(|(_, until)| *until).min();
                soonest.unwrap_or(u64::MAX).min(now.0 + REFUSED_MS)
            } else {
                out.insert(place, (endpoint, until));
                0
            };
            let count = out.len();
            let new = Arc::new(Claimed { out: out.into(), full_until });
            let before = self.0.compare_and_swap(&known, Some(new));
            let swapped = same(&before, &known);
            match (swapped, full) {
                (true, true) => return Err(Refusal::Full { out: count, told: false }),
                (true, false) => return Ok(()),
                (false, _) => {}
            }
        }
    }
}

/// Those of `endpoints` that are out, by id: also those that others have left out (an endpoint may serve a
/// port's internal and its external addresses), and those that are just about to be.
fn out_now(
    endpoints: &[Arc<Endpoint>],
    known: Option<&Claimed>,
    now: Millis,
) -> Vec<(EndpointId, u64)> {
    let claimed = |id: EndpointId| {
        let out = &known?.out;
        let place = out.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        out.get(place).map(|(_, until)| *until)
    };
    let until = |e: &Endpoint| e.health().until().max(claimed(e.id).unwrap_or(0));
    let mut out: Vec<_> =
        endpoints.iter().map(|e| (e.id, until(e))).filter(|(_, until)| now.0 < *until).collect();
    out.sort_unstable();
    out
}

fn same(a: &Guard<Option<Arc<Claimed>>>, b: &Guard<Option<Arc<Claimed>>>) -> bool {
    match (&**a, &**b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (a, b) => a.is_none() && b.is_none(),
    }
}
