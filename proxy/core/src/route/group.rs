//! The matches of one path, laid out so that a request pays for those alone that it may meet.
//!
//! A match with conditions waits under one of them, the one that fewest others ask for, and is looked at
//! only by requests that meet it (an "access predicate": Fabret et al., Filtering Algorithms and
//! Implementation for Very Fast Publish/Subscribe Systems, SIGMOD 2001). What waits under one condition
//! is laid out by its next ones in the same way. So of a thousand matches that differ in a header's
//! value, a query parameter, a method or in several of them, a request looks at one or two.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use http::{HeaderName, Method};

use super::query;
use super::request::{Conditions, RequestHead};
use super::scratch::{LONGEST, with_joined};
use crate::model::TextMatch;

/// As few as this are looked at one after the other.
const FEW: usize = 4;
/// As few names of parameters as this are looked for in the query one by one.
const FEW_NAMES: usize = 4;
const AT_ONCE: usize = 1024;

type Map<K, V> = HashMap<K, V, RandomState>;
/// What waits for each value of a header or a parameter.
type Values = Map<Box<[u8]>, Group>;

/// Some of a router's matches, by number: the smaller goes first.
#[derive(Debug)]
pub(super) struct Group {
    /// The smallest number here.
    first: u32,
    /// Looked at by every request.
    plain: Box<[u32]>,
    waiting: Option<Box<Waiting>>,
}

/// Those that wait under a condition, each once.
#[derive(Debug, Default)]
struct Waiting {
    methods: Vec<(Method, Group)>,
    headers: Map<HeaderName, Values>,
    /// By decoded name and value.
    queries: Map<Box<[u8]>, Parameter>,
}

/// What waits for a parameter's first value.
#[derive(Debug)]
struct Parameter {
    name: Arc<str>,
    /// Counted from 0 among those beside it.
    place: usize,
    values: Values,
}

/// Which of [`AT_ONCE`] parameters have been seen: so many are looked for in one pass over a query.
#[derive(Debug, Default)]
struct Seen([u64; AT_ONCE / 64]);

/// What matches can wait under.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key<'a> {
    Method(&'a Method),
    Header(&'a HeaderName, &'a str),
    Query(&'a str, &'a str),
}

// === impl Group ===

impl Group {
    /// Of these `numbers`, in order; `all` are the conditions of each of the router's matches.
    pub(super) fn new(numbers: &[u32], all: &[&Conditions]) -> Self {
        let numbers: Vec<_> = numbers
            .iter()
            .filter_map(|number| Some((*number, keys(all.get(*number as usize)?))))
            .collect();
        Self::of(numbers)
    }

    /// With what each can still wait under.
    fn of(numbers: Vec<(u32, Vec<Key<'_>>)>) -> Self {
        let first = numbers.first().map_or(u32::MAX, |(number, _)| *number);
        if numbers.len() <= FEW {
            let plain = numbers.into_iter().map(|(number, _)| number).collect();
            return Self { first, plain, waiting: None };
        }
        let mut asked: Map<Key<'_>, usize> = Map::default();
        for key in numbers.iter().flat_map(|(_, keys)| keys) {
            *asked.entry(key.clone()).or_default() += 1;
        }
        let mut plain = Vec::new();
        let mut under: Map<Key<'_>, Vec<(u32, Vec<Key<'_>>)>> = Map::default();
        for (number, mut keys) in numbers {
            let rarest = (0..keys.len()).min_by_key(|i| asked.get(&keys[*i]));
            match rarest {
                None => plain.push(number),
                Some(rarest) => {
                    let key = keys.swap_remove(rarest);
                    under.entry(key).or_default().push((number, keys));
                }
            }
        }
        let mut waiting = Waiting::default();
        for (key, numbers) in under {
            let group = Self::of(numbers);
            match key {
                Key::Method(method) => waiting.methods.push((method.clone(), group)),
                Key::Header(name, value) => {
                    let values = waiting.headers.entry(name.clone()).or_default();
                    values.insert(value.as_bytes().into(), group);
                }
                Key::Query(name, value) => {
                    let place = waiting.queries.len();
                    let parameter = waiting.queries.entry(name.as_bytes().into());
                    let parameter = parameter.or_insert_with(|| Parameter {
                        name: name.into(),
                        place,
                        values: Map::default(),
                    });
                    parameter.values.insert(value.as_bytes().into(), group);
                }
            }
        }
        Self { first, plain: plain.into(), waiting: Some(Box::new(waiting)) }
    }

    /// The smallest number below `below` of which `holds` says so; nobody is asked about those that
    /// wait for what the request does not have.
    #[inline]
    pub(super) fn find(
        &self,
        head: &RequestHead<'_>,
        below: u32,
        holds: &impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let mut best = below;
        for &number in self.plain.iter().take_while(|number| **number < best) {
            if holds(number) {
                best = number;
                break;
            }
        }
        if let Some(waiting) = &self.waiting {
            waiting.find(head, &mut best, holds);
        }
        (best < below).then_some(best)
    }

    /// `best` becomes that number, if there is one.
    pub(super) fn improve(
        &self,
        head: &RequestHead<'_>,
        best: &mut u32,
        holds: &impl Fn(u32) -> bool,
    ) {
        if self.first < *best
            && let Some(better) = self.find(head, *best, holds)
        {
            *best = better;
        }
    }
}

fn keys<'a>(conditions: &'a Conditions) -> Vec<Key<'a>> {
    let exact = |value: &'a TextMatch| match value {
        TextMatch::Exact(text) if text.len() <= LONGEST => Some(&**text),
        TextMatch::Exact(_) | TextMatch::Regex(_) => None,
    };
    let headers = conditions.headers.iter();
    let headers = headers.filter_map(|h| Some(Key::Header(&h.name, exact(&h.value)?)));
    let queries = conditions.queries.iter();
    let queries = queries.filter(|q| q.name.len() <= LONGEST);
    let queries = queries.filter_map(|q| Some(Key::Query(&q.name, exact(&q.value)?)));
    headers.chain(queries).chain(conditions.method.iter().map(Key::Method)).collect()
}

// === impl Waiting ===

impl Waiting {
    fn find(&self, head: &RequestHead<'_>, best: &mut u32, holds: &impl Fn(u32) -> bool) {
        if let Some((_, group)) = self.methods.iter().find(|(method, _)| method == head.method) {
            group.improve(head, best, holds);
        }
        if self.headers.len() <= head.headers.keys_len() {
            for (name, values) in &self.headers {
                header(name, values, head, best, holds);
            }
        } else {
            for name in head.headers.keys() {
                if let Some(values) = self.headers.get(name) {
                    header(name, values, head, best, holds);
                }
            }
        }
        let Some(text) = head.query.filter(|_| !self.queries.is_empty()) else { return };
        if self.queries.len() <= FEW_NAMES {
            for Parameter { name, values, .. } in self.queries.values() {
                if let Some(value) = query::first(text, name) {
                    parameter(value, values, head, best, holds);
                }
            }
        } else {
            for from in (0..self.queries.len()).step_by(AT_ONCE) {
                self.parameters(from, text, head, best, holds);
            }
        }
    }

    /// Those at the places from `from` on, up to [`AT_ONCE`].
    ///
    /// Each counts once: the second of a name would enter the same group again, and what waits there in
    /// the same way, so that a query that repeats its names would cost a power of its length.
    fn parameters(
        &self,
        from: usize,
        text: &str,
        head: &RequestHead<'_>,
        best: &mut u32,
        holds: &impl Fn(u32) -> bool,
    ) {
        let mut seen = Seen::default();
        for (name, value) in query::pairs(text) {
            let found = query::with_decoded(name, |name| self.queries.get(name)).flatten();
            if let Some(Parameter { place, values, .. }) = found
                && let Some(place) = place.checked_sub(from)
                && seen.first(place)
            {
                parameter(value, values, head, best, holds);
            }
        }
    }
}

// === impl Seen ===

impl Seen {
    /// Whether that is the first time that it is asked for this one; never beyond [`AT_ONCE`].
    #[inline]
    fn first(&mut self, place: usize) -> bool {
        let bit = 1 << (place % 64);
        self.0.get_mut(place / 64).is_some_and(|word| {
            let first = *word & bit == 0;
            *word |= bit;
            first
        })
    }
}

fn header(
    name: &HeaderName,
    values: &Values,
    head: &RequestHead<'_>,
    best: &mut u32,
    holds: &impl Fn(u32) -> bool,
) {
    let fields = || head.headers.get_all(name).iter().map(|value| value.as_bytes());
    let mut each = fields();
    let group = match (each.next(), each.next()) {
        (None, _) => None,
        (Some(only), None) => values.get(only),
        (Some(_), Some(_)) => with_joined(fields(), |joined| values.get(joined)).flatten(),
    };
    if let Some(group) = group {
        group.improve(head, best, holds);
    }
}

/// `value` is as received.
fn parameter(
    value: &str,
    values: &Values,
    head: &RequestHead<'_>,
    best: &mut u32,
    holds: &impl Fn(u32) -> bool,
) {
    if let Some(group) = query::with_decoded(value, |value| values.get(value)).flatten() {
        group.improve(head, best, holds);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use http::HeaderMap;

    use super::*;
    use crate::model::QueryMatch;

    fn asking(name: String) -> QueryMatch {
        QueryMatch { name: name.into(), value: TextMatch::Exact("1".into()) }
    }

    /// How many matches are asked by a request with this query, which meets none.
    fn asked(group: &Group, query: &str) -> usize {
        let headers = HeaderMap::new();
        let (method, path) = (&Method::GET, "/");
        let head =
            RequestHead { method, path, query: Some(query), headers: &headers, client: None };
        let asked = Cell::new(0);
        let found = group.find(&head, u32::MAX, &|_| {
            asked.set(asked.get() + 1);
            false
        });
        assert_eq!(found, None);
        asked.get()
    }

    #[test]
    fn a_parameter_that_is_repeated_is_looked_up_once() {
        let conditions: Vec<Conditions> = (0..25)
            .map(|n| {
                let names = [format!("a{}", n / 5), format!("b{}", n % 5), "c".to_owned()];
                let queries = names.map(asking).into();
                Conditions { method: None, headers: Box::default(), queries }
            })
            .collect();
        // Besides, so many that one level has more than it remembers at once.
        let many: Vec<Conditions> = (0..3000)
            .map(|n| Conditions {
                method: None,
                headers: Box::default(),
                queries: [asking(format!("p{n}"))].into(),
            })
            .collect();
        for all in [conditions, many] {
            let all: Vec<&Conditions> = all.iter().collect();
            let numbers: Vec<u32> = (0..).zip(&all).map(|(number, _)| number).collect();
            let group = Group::new(&numbers, &all);
            for query in ["a1=1&b1=1&b2=1&b%31=1&", "p0=1&p2999=1&%702999=1&p1500=1&"] {
                let once = asked(&group, query);
                assert_eq!(asked(&group, &query.repeat(300)), once, "{query}");
            }
        }
    }
}
