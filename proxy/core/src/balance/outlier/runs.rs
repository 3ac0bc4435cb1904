//! Failures in a row, by kind, of one endpoint.
//!
//! Not how many are too many.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Cause;
use crate::balance::Report;
use crate::model::OutlierDetection;

/// Bits of one count; it stays at its most.
const BITS: u32 = 15;
const MOST: u64 = (1 << BITS) - 1;
/// Set by an ejection, taken back when the endpoint's return has been told.
const WAS_OUT: u64 = 1 << 63;

/// Four counts and a flag in one word: an endpoint that is well costs a success one look at it.
#[derive(Debug, Default)]
pub(super) struct Runs(AtomicU64);

/// What is counted, and where in the word.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Any 5xx, or no answer.
    Errors,
    /// 502, 503, 504, or no answer.
    Gateway,
    /// No connection.
    Connect,
    /// A response that broke off after its head: the heads of the next ones do not end this run.
    Cuts,
}

/// The counts after a report.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts(u64);

// === impl Kind ===

impl Kind {
    fn mask(self) -> u64 {
        MOST << (self as u32 * BITS)
    }

    fn of(self, word: u64) -> u64 {
        (word & self.mask()) >> (self as u32 * BITS)
    }

    fn counted(self, word: u64) -> u64 {
        if self.of(word) == MOST { word } else { word + (1 << (self as u32 * BITS)) }
    }
}

// === impl Runs ===

impl Runs {
    /// No failure, and nothing to tell.
    #[inline]
    pub(super) fn are_none(&self) -> bool {
        self.0.load(Relaxed) == 0
    }

    /// Takes in what became of an attempt.
    pub(super) fn take(&self, report: Report) -> Counts {
        let next = |word: u64| after(word, report);
        let before = self.0.load(Relaxed);
        if next(before) == before {
            return Counts(before);
        }
        let update = self.0.fetch_update(Relaxed, Relaxed, |word| Some(next(word)));
        Counts(next(update.unwrap_or_else(|word| word)))
    }

    /// A response has ended as it should.
    #[inline]
    pub(super) fn whole(&self) {
        if self.0.load(Relaxed) & Kind::Cuts.mask() != 0 {
            self.0.fetch_and(!Kind::Cuts.mask(), Relaxed);
        }
    }

    /// The endpoint is left out: the runs are over.
    pub(super) fn out(&self) {
        self.0.store(WAS_OUT, Relaxed);
    }

    /// The runs are over.
    pub(super) fn clear(&self) {
        self.0.fetch_and(WAS_OUT, Relaxed);
    }

    /// Whether it has been out and nobody has told of its return.
    pub(super) fn was_out(&self) -> bool {
        self.0.load(Relaxed) & WAS_OUT != 0
    }

    /// Whether it has been out and nobody has told of its return: of all that ask one alone is told so.
    pub(super) fn returned(&self) -> bool {
        self.0.load(Relaxed) & WAS_OUT != 0 && self.0.fetch_and(!WAS_OUT, Relaxed) & WAS_OUT != 0
    }
}

/// Envoy's rules: what counts as one kind of failure goes on with that run, what does not ends it. 5xx
/// includes gateway errors, and both include attempts without an answer.
fn after(word: u64, report: Report) -> u64 {
    const SUCCESS: u64 = !((1 << (3 * BITS)) - 1);
    match report {
        Report::Answered { status: 502..=504, .. } => {
            Kind::Gateway.counted(Kind::Errors.counted(word)) & !Kind::Connect.mask()
        }
        Report::Answered { status: 500..=599, .. } => {
            Kind::Errors.counted(word) & !Kind::Gateway.mask() & !Kind::Connect.mask()
        }
        Report::Answered { .. } | Report::Connected { .. } => word & SUCCESS,
        Report::NotConnected => {
            Kind::Connect.counted(Kind::Gateway.counted(Kind::Errors.counted(word)))
        }
        // Says nothing about connecting: the connection may be an old one.
        Report::Lost => Kind::Gateway.counted(Kind::Errors.counted(word)),
        Report::Cut => Kind::Cuts.counted(word),
    }
}

// === impl Counts ===

impl Counts {
    /// Why this leaves the endpoint out, if it does: the most telling cause.
    ///
    /// If it could not be left out then (too many are), it is tried again each time it has failed as often
    /// once more: not with every failure, for trying means to count the others.
    pub(super) fn cause(self, limits: &OutlierDetection, report: Report) -> Option<Cause> {
        let reached = |kind: Kind, limit: Option<NonZeroU32>| {
            let limit = u64::from(limit?.get()).min(MOST);
            let run = kind.of(self.0);
            let reached = run >= limit && (run.is_multiple_of(limit) || run == MOST);
            reached.then(|| u32::try_from(run).unwrap_or(u32::MAX))
        };
        let (errors, gateway) = (limits.consecutive_5xx, limits.consecutive_gateway_errors);
        if report == Report::Cut {
            let limit = gateway.into_iter().chain(errors).min();
            return Some(Cause::Cuts { run: reached(Kind::Cuts, limit)? });
        }
        if !report.is_failure() {
            return None;
        }
        reached(Kind::Connect, limits.consecutive_connect_failures)
            .filter(|_| report == Report::NotConnected)
            .map(|run| Cause::ConnectFailures { run })
            .or_else(|| reached(Kind::Gateway, gateway).map(|run| Cause::GatewayErrors { run }))
            .or_else(|| reached(Kind::Errors, errors).map(|run| Cause::Errors { run }))
    }
}
