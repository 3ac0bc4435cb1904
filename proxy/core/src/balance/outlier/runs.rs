//! Failures in a row, by kind, of one endpoint.
//!
//! Not how many are too many.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::Cause;
use crate::balance::Report;
use crate::model::OutlierDetection;

/// Bits of one count; it stays at its most: more than a policy can ask for.
const BITS: u32 = 15;
const MOST: u64 = (1 << BITS) - 1;
/// Set by an ejection, taken back when the endpoint's return has been told.
const WAS_OUT: u64 = 1 << 63;
/// More than one client has met the failures of the three runs that heads end,
const MIXED: u64 = 1 << 60;
/// and of the run of cuts.
const MIXED_CUTS: u64 = 1 << 61;
/// The three runs that heads end.
const HEADS: u64 = (1 << (3 * BITS)) - 1;

/// The failures in a row: an endpoint that is well costs a success one look.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// Four counts and three flags.
    counts: AtomicU64,
    /// Who has met the first failure of the runs that heads end, and of the run of cuts. Of a run that begins at
    /// two workers at once one may be named; the other one is a second client then.
    from: [AtomicU32; 2],
}

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
pub(super) struct Counts {
    after: u64,
    /// Whether more than one client has met these failures,
    pub(super) mixed: bool,
    /// and whether this report is the first of another one than before.
    turned: bool,
}

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

    fn less(self, word: u64, count: u64) -> u64 {
        word - (self.of(word).min(count) << (self as u32 * BITS))
    }
}

// === impl Runs ===

impl Runs {
    /// No failure, and nothing to tell.
    #[inline]
    pub(super) fn are_none(&self) -> bool {
        self.counts.load(Relaxed) == 0
    }

    /// Takes in what became of an attempt of `client`; if that is not known it stands for all.
    pub(super) fn take(&self, report: Report, client: Option<u64>) -> Counts {
        let (mixed, run, from) = match report {
            Report::Cut => (MIXED_CUTS, Kind::Cuts.mask(), &self.from[1]),
            _ => (MIXED, HEADS, &self.from[0]),
        };
        let tag = client.map(super::tag);
        let before = self.counts.load(Relaxed);
        let others = report.is_failure()
            && match tag {
                None => true,
                Some(tag) if before & run == 0 => {
                    from.store(tag, Relaxed);
                    false
                }
                Some(tag) => from.load(Relaxed) != tag,
            };
        let next = |word: u64| after(word, report) | if others { mixed } else { 0 };
        let counts = |before: u64| {
            let after = next(before);
            let (was, is) = (before & mixed != 0, after & mixed != 0);
            Counts { after, mixed: is, turned: is && !was }
        };
        if next(before) == before {
            return counts(before);
        }
        let update = self.counts.fetch_update(Relaxed, Relaxed, |word| Some(next(word)));
        counts(update.unwrap_or_else(|word| word))
    }

    /// A response has ended as it should.
    #[inline]
    pub(super) fn whole(&self) {
        if self.counts.load(Relaxed) & Kind::Cuts.mask() != 0 {
            self.counts.fetch_and(!(Kind::Cuts.mask() | MIXED_CUTS), Relaxed);
        }
    }

    /// The endpoint is left out: the runs are over.
    pub(super) fn out(&self) {
        self.counts.store(WAS_OUT, Relaxed);
    }

    /// The runs are over.
    pub(super) fn clear(&self) {
        self.counts.fetch_and(WAS_OUT, Relaxed);
    }

    /// Whether it has been out and nobody has told of its return.
    pub(super) fn was_out(&self) -> bool {
        self.counts.load(Relaxed) & WAS_OUT != 0
    }

    /// Whether it has been out and nobody has told of its return: of all that ask one alone is told so.
    pub(super) fn returned(&self) -> bool {
        self.counts.load(Relaxed) & WAS_OUT != 0
            && self.counts.fetch_and(!WAS_OUT, Relaxed) & WAS_OUT != 0
    }
}

/// Envoy's rules: what counts as one kind of failure goes on with that run, what does not ends it. 5xx
/// includes gateway errors, and both include attempts without an answer.
fn after(word: u64, report: Report) -> u64 {
    match report {
        Report::Answered { status: 502..=504, .. } => {
            Kind::Gateway.counted(Kind::Errors.counted(word)) & !Kind::Connect.mask()
        }
        Report::Answered { status: 500..=599, .. } => {
            Kind::Errors.counted(word) & !Kind::Gateway.mask() & !Kind::Connect.mask()
        }
        Report::Answered { .. } => word & !(HEADS | MIXED),
        // Says nothing of answers: what has failed to connect is made up for, and no more.
        Report::Connected { .. } => {
            let failed = Kind::Connect.of(word);
            let word = Kind::Gateway.less(Kind::Errors.less(word, failed), failed);
            let word = word & !Kind::Connect.mask();
            if word & HEADS == 0 { word & !MIXED } else { word }
        }
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
            let run = kind.of(self.after);
            let again = run.is_multiple_of(limit) || run == MOST || self.turned;
            let reached = run >= limit && again;
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
