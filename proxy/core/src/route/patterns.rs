//! Which of many path patterns a path meets, found by one pass over the path.
//!
//! One lazily built DFA for all patterns (`regex-automata`), so that a path costs what its length asks and
//! not what the number of patterns does. Bounded: the automaton itself when it is made, what it
//! remembers by a cache of a fixed size. Where it will not do, the patterns are tried one by one.

use regex::Regex;
use regex_automata::hybrid::dfa::{Cache, DFA, OverlappingState};
use regex_automata::nfa::thompson;
use regex_automata::util::pool::Pool;
use regex_automata::{Anchored, Input, MatchKind};

/// As few as this are tried one by one.
const FEW: usize = 4;
/// Octets of the automaton of all patterns.
const MOST_NFA: usize = 8 << 20;
/// Octets that a thread remembers of an automaton's states. More are needed by an automaton that is as
/// big as it may be; then it is what it needs to go on at all.
const MOST_CACHE: usize = 1 << 20;
/// After so many times that the memory was full it must have been worth it, or it is given up for this
/// path: octets passed for each state made.
const FULL: usize = 4;
const WORTH: usize = 10;

/// Patterns that match a whole path.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    each: Vec<Regex>,
    all: Option<Automaton>,
}

struct Automaton {
    dfa: DFA,
    /// One a thread that routes.
    caches: Pool<Cache, Box<dyn Fn() -> Cache + Send + Sync>>,
}

// === impl Patterns ===

impl Patterns {
    pub(super) fn new(each: Vec<Regex>) -> Self {
        let all = (each.len() > FEW).then(|| Automaton::new(&each)).flatten();
        Self { each, all }
    }

    /// Whether these are the same ones, in the same order.
    pub(super) fn are(&self, others: &[Regex]) -> bool {
        self.each.iter().map(Regex::as_str).eq(others.iter().map(Regex::as_str))
    }

    /// Calls `met` with the place of each pattern that this path meets, in no order.
    #[inline]
    pub(super) fn each(&self, path: &str, mut met: impl FnMut(usize)) {
        if let Some(all) = &self.all
            && all.each(path, &mut met)
        {
            return;
        }
        for (place, pattern) in self.each.iter().enumerate() {
            if pattern.is_match(path) {
                met(place);
            }
        }
    }
}

// === impl Automaton ===

impl Automaton {
    fn new(each: &[Regex]) -> Option<Self> {
        let patterns: Vec<&str> = each.iter().map(Regex::as_str).collect();
        let nfa = thompson::Compiler::new()
            .configure(
                thompson::Config::new()
                    .nfa_size_limit(Some(MOST_NFA))
                    .which_captures(thompson::WhichCaptures::None),
            )
            .build_many(&patterns)
            .ok()?;
        let config = DFA::config()
            .match_kind(MatchKind::All)
            .unicode_word_boundary(true)
            .cache_capacity(MOST_CACHE)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(FULL))
            .minimum_bytes_per_state(Some(WORTH));
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa).ok()?;
        let maker = dfa.clone();
        let caches = Pool::new(Box::new(move || maker.create_cache()) as Box<_>);
        Some(Self { dfa, caches })
    }

    /// Whether it could tell. What it has told before it gave up is true all the same.
    fn each(&self, path: &str, mut met: impl FnMut(usize)) -> bool {
        let mut cache = self.caches.get();
        let input = Input::new(path).anchored(Anchored::Yes);
        let mut state = OverlappingState::start();
        loop {
            if self.dfa.try_search_overlapping_fwd(&mut cache, &input, &mut state).is_err() {
                return false;
            }
            let Some(found) = state.get_match() else { return true };
            // Patterns end where the path does.
            if found.offset() == path.len() {
                met(found.pattern().as_usize());
            }
        }
    }
}

impl std::fmt::Debug for Automaton {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Automaton")
            .field("patterns", &self.dfa.pattern_len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn met(patterns: &[&str], path: &str) -> Vec<usize> {
        let each = patterns.iter().map(|p| Regex::new(&format!("^(?:{p})$")).unwrap()).collect();
        let mut met = Vec::new();
        Patterns::new(each).each(path, |place| met.push(place));
        met.sort_unstable();
        met.dedup();
        met
    }

    #[test]
    fn all_that_meet_a_path_are_told() {
        let patterns = ["/a", "/.*", "/a|/b", "/[0-9]+", "/a/.*", "/a.*", "", ".*"];
        assert_eq!(met(&patterns, "/a"), [0, 1, 2, 5, 7]);
        assert_eq!(met(&patterns, "/a/"), [1, 4, 5, 7]);
        assert_eq!(met(&patterns, "/77"), [1, 3, 7]);
        assert_eq!(met(&patterns, ""), [6, 7]);
        assert!(met(&["/a", "/b", "/c", "/d", "/e"], "/ab").is_empty());
    }

    #[test]
    fn what_an_automaton_cannot_tell_is_tried_one_by_one() {
        // A word's boundary beside a letter that is not ASCII is more than a DFA knows.
        let patterns = ["/.*\\bü.*", "/a", "/b", "/c", "/d", "/.*"];
        assert_eq!(met(&patterns, "/x/ü"), [0, 5]);
        // Too big for one automaton.
        let big: Vec<String> = (0..9).map(|i| format!("/{i}/\\w{{200}}")).collect();
        let big: Vec<&str> = big.iter().map(String::as_str).collect();
        let all = big.iter().map(|p| Regex::new(&format!("^(?:{p})$")).unwrap()).collect();
        assert!(Patterns::new(all).all.is_none());
        assert_eq!(met(&big, &format!("/3/{}", "a".repeat(200))), [3]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn together_they_match_as_each_does(
            patterns in proptest::collection::vec("(/(a|b|\\.\\*|\\[ab\\]\\+|a\\?)){0,3}", 5..12),
            paths in proptest::collection::vec("(/[ab]{0,2}){0,3}", 1..10),
        ) {
            let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
            for path in &paths {
                let one_by_one: Vec<usize> = (0..patterns.len())
                    .filter(|i| Regex::new(&format!("^(?:{})$", patterns[*i])).unwrap().is_match(path))
                    .collect();
                prop_assert_eq!(met(&patterns, path), one_by_one, "{} {:?}", path, patterns);
            }
        }
    }
}
