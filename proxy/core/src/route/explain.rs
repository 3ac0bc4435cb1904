//! Why a request meets the match that it meets, and not another one.
//!
//! Looks at each match by itself, with the conditions that the router asks: for people, not for traffic.

use super::request::{Conditions, RequestHead, header_matches, query_matches};
use super::router::{Candidate, Matched, Router};
use super::rule::Rule;
use crate::model::{HeaderMatch, PathMatch, QueryMatch, TextMatch};

/// One match of a rule, and what became of it.
#[derive(Debug)]
pub struct Trial<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// Where the rule stands in its route, counted from 0.
    pub place: usize,
    /// Which of its matches this is.
    pub matched: Matched,
    /// What it asks for, for people.
    pub wants: String,
    /// What became of it.
    pub verdict: Verdict,
}

/// What became of a match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The request meets it.
    Won,
    /// It would have held, but a better one does: by this criterion.
    Outranked(&'static str),
    /// It does not hold.
    Failed {
        /// Whether its path does.
        path: bool,
        /// What does not, for people; never empty.
        why: Vec<String>,
    },
}

// === impl Router ===

impl Router {
    /// All matches, the best first, each with what became of it.
    pub fn explain(&self, head: &RequestHead<'_>) -> Vec<Trial<'_>> {
        let mut winner: Option<&Candidate> = None;
        let mut trials = Vec::new();
        for candidate in self.candidates() {
            let path = candidate.path.holds(head.path);
            let mut why = Vec::new();
            if !path {
                why.push(format!("the path {:?} is not {}", head.path, path_text(&candidate.path)));
            }
            why.extend(candidate.conditions.failures(head));
            let verdict = match winner {
                _ if !why.is_empty() => Verdict::Failed { path, why },
                Some(winner) => Verdict::Outranked(candidate.rank.behind(&winner.rank)),
                None => {
                    winner = Some(candidate);
                    Verdict::Won
                }
            };
            trials.push(Trial {
                rule: &candidate.rule,
                place: candidate.rank.place_of_rule(),
                matched: candidate.matched,
                wants: wants(candidate),
                verdict,
            });
        }
        trials
    }
}

// === impl Conditions ===

impl Conditions {
    /// What keeps a request from meeting these, for people.
    fn failures(&self, head: &RequestHead<'_>) -> Vec<String> {
        let method = self.method.iter().filter(|method| *method != head.method);
        let mut why: Vec<String> =
            method.map(|method| format!("the method is {}, not {method}", head.method)).collect();
        let headers = self.headers.iter().filter(|h| !header_matches(h, head.headers));
        why.extend(headers.map(|wanted| {
            let mut values = head.headers.get_all(&wanted.name).iter().peekable();
            if values.peek().is_none() {
                return format!("there is no header {}", wanted.name);
            }
            let values: Vec<_> =
                values.map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned()).collect();
            let (name, value) = (&wanted.name, values.join(","));
            format!("the header {name} is {value:?}, not {}", text(&wanted.value))
        }));
        let queries = self.queries.iter().filter(|q| !query_matches(q, head.query));
        why.extend(queries.map(|wanted| {
            let name = &wanted.name;
            match head.query.and_then(|query| super::query::first(query, name)) {
                None => format!("there is no query parameter {name}"),
                Some(value) => {
                    let value = super::query::decode(value);
                    let value = String::from_utf8_lossy(&value);
                    format!("the query parameter {name} is {value:?}, not {}", text(&wanted.value))
                }
            }
        }));
        why
    }
}

fn wants(candidate: &Candidate) -> String {
    let Conditions { method, headers, queries } = &candidate.conditions;
    let mut parts = vec![path_text(&candidate.path)];
    parts.extend(method.iter().map(|method| format!("method {method}")));
    let header =
        |HeaderMatch { name, value }: &HeaderMatch| format!("header {name} {}", text(value));
    parts.extend(headers.iter().map(header));
    let query = |QueryMatch { name, value }: &QueryMatch| format!("query {name} {}", text(value));
    parts.extend(queries.iter().map(query));
    parts.join(", ")
}

fn path_text(path: &PathMatch) -> String {
    match path {
        PathMatch::Exact(path) => format!("exactly {path}"),
        PathMatch::Prefix(path) if path.is_empty() => "under /".to_owned(),
        PathMatch::Prefix(path) => format!("under {path}"),
        PathMatch::Regex(pattern) => format!("like {}", bare(pattern.as_str())),
        PathMatch::GrpcMethod(method) => format!("the gRPC method {method} of any service"),
    }
}

fn text(text: &TextMatch) -> String {
    match text {
        TextMatch::Exact(text) => format!("{text:?}"),
        TextMatch::Regex(pattern) => format!("like {}", bare(pattern.as_str())),
    }
}

/// A pattern as its author wrote it, without what anchors it.
fn bare(pattern: &str) -> &str {
    pattern.strip_prefix("^(?:").and_then(|p| p.strip_suffix(")$")).unwrap_or(pattern)
}
