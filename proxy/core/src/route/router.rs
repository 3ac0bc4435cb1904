//! The matches of all routes of one frontend, best first.

use std::sync::Arc;

use super::RequestHead;
use super::rank::Rank;
use crate::model::{HttpMatch, HttpRoute};

/// What all matches of one frontend lead to.
#[derive(Debug)]
pub struct Router<R> {
    /// Best first.
    candidates: Box<[Candidate<R>]>,
}

/// One match and the rule it leads to.
#[derive(Debug)]
pub(crate) struct Candidate<R> {
    rank: Rank,
    matched: HttpMatch,
    rule: Arc<R>,
}

impl<R> Candidate<R> {
    /// The candidates of rule number `index` of `route`, which lead to `rule`.
    pub(crate) fn of(route: &HttpRoute, index: usize, rule: &Arc<R>) -> Vec<Self> {
        let matches = route.rules.get(index).map_or(&[][..], |rule| &rule.matches);
        matches
            .iter()
            .enumerate()
            .map(|(i, matched)| Self {
                rank: Rank::of(route, index, i, matched),
                matched: matched.clone(),
                rule: Arc::clone(rule),
            })
            .collect()
    }
}

impl<R> Router<R> {
    /// A router over `candidates` of any order.
    pub(crate) fn new(mut candidates: Vec<Candidate<R>>) -> Self {
        candidates.sort_by(|a, b| b.rank.cmp(&a.rank));
        Self { candidates: candidates.into() }
    }

    /// The rule that `head` meets. Allocates nothing, but for headers of several fields and encoded
    /// queries.
    pub fn route(&self, head: &RequestHead<'_>) -> Option<&R> {
        self.candidates.iter().find(|candidate| candidate.matched.matches(head)).map(|c| &*c.rule)
    }
}
