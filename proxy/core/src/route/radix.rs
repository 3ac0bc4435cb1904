//! A radix tree of literal paths, element by element, built once and read often.
//!
//! Our own, and small, because what Gateway API asks is not what crates offer: `matchit` finds the one
//! best entry, while here the next shorter prefix is asked when the best one's conditions fail, and a
//! prefix ends where an element does. It is a PATRICIA (Morrison, JACM 15(4), 1968) whose letters are
//! whole elements: one look-up an element at most, however many paths there are and however much of
//! their spelling they share.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// As few children as this are compared one by one.
const FEW: usize = 4;

/// A tree whose entries are numbers: of a path as it stands, of a path as a prefix, or of both.
#[derive(Debug, Default)]
pub(super) struct Radix {
    /// The root first.
    nodes: Vec<Node>,
}

/// What is known of a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The entry of this very path.
    pub(super) exact: Option<u32>,
    /// That of the longest prefix that ends where an element of the path does.
    pub(super) prefix: Option<u32>,
}

#[derive(Debug)]
struct Node {
    /// Elements that everything below has, each with a `/` behind it.
    label: Box<str>,
    entry: Found,
    /// By their first element, which their labels leave out.
    kids: Kids,
}

#[derive(Debug)]
enum Kids {
    Few(Box<[(Box<str>, u32)]>),
    Many(HashMap<Box<str>, u32, RandomState>),
}

// === impl Radix ===

impl Radix {
    /// Of these entries, each path once.
    pub(super) fn new<'a>(entries: impl IntoIterator<Item = (&'a str, Found)>) -> Self {
        let elements = |(path, entry): (&'a str, Found)| (path.split('/').collect(), entry);
        let mut entries: Vec<(Vec<&str>, Found)> = entries.into_iter().map(elements).collect();
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut radix = Self::default();
        if !entries.is_empty() {
            radix.grow(&entries, 0);
        }
        radix
    }

    /// The node of `entries`, which share their first `depth` elements; its number.
    fn grow(&mut self, entries: &[(Vec<&str>, Found)], depth: usize) -> u32 {
        let elements = |i: usize| entries.get(i).map_or(&[][..], |(elements, _)| elements);
        let (first, last) = (elements(0), elements(entries.len() - 1));
        // In order, what the first and the last have in common all have.
        let common = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        let label: String = first[depth..common].iter().flat_map(|e| [e, "/"]).collect();
        let (here, below) = entries.split_at(usize::from(first.len() == common));
        let entry = here.first().map_or(Found::default(), |(_, entry)| *entry);
        let number = self.nodes.len();
        self.nodes.push(Node { label: label.into(), entry, kids: Kids::Few(Box::default()) });
        let next =
            |(elements, _): &(Vec<&'_ str>, Found)| elements.get(common).map(|e| Box::from(*e));
        let kids = below
            .chunk_by(|(a, _), (b, _)| a.get(common) == b.get(common))
            .filter_map(|chunk| Some((next(chunk.first()?)?, self.grow(chunk, common + 1))));
        let kids: Vec<(Box<str>, u32)> = kids.collect();
        self.nodes[number].kids = if kids.len() <= FEW {
            Kids::Few(kids.into())
        } else {
            Kids::Many(kids.into_iter().collect())
        };
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    /// One way down, as long as the path at most.
    #[inline]
    pub(super) fn find(&self, path: &str) -> Found {
        let mut found = Found::default();
        // What is left of the path; none if no element is.
        let mut rest = Some(path);
        let mut at = self.nodes.first();
        while let Some(node) = at {
            match after(rest, &node.label) {
                Some(after) => rest = after,
                None => break,
            }
            found.prefix = node.entry.prefix.or(found.prefix);
            let Some(left) = rest else {
                found.exact = node.entry.exact;
                break;
            };
            let (element, after) = match memchr::memchr(b'/', left.as_bytes()) {
                Some(end) => (&left[..end], Some(&left[end + 1..])),
                None => (left, None),
            };
            rest = after;
            at = node.kids.get(element).and_then(|kid| self.nodes.get(kid as usize));
        }
        found
    }
}

/// What is left after the elements of `label`, if `rest` begins with them.
#[inline]
fn after<'a>(rest: Option<&'a str>, label: &str) -> Option<Option<&'a str>> {
    let Some(elements) = label.strip_suffix('/') else { return Some(rest) };
    match rest?.strip_prefix(elements)? {
        "" => Some(None),
        after => after.strip_prefix('/').map(Some),
    }
}

// === impl Kids ===

impl Kids {
    #[inline]
    fn get(&self, element: &str) -> Option<u32> {
        match self {
            Self::Few(few) => few.iter().find(|(e, _)| **e == *element).map(|(_, kid)| *kid),
            Self::Many(many) => many.get(element).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop_oneof!["a", "b", "ab", "abc", ""], 0..4)
            .prop_map(|elements| elements.iter().fold(String::new(), |path, e| path + "/" + e))
    }

    proptest! {
        #[test]
        fn it_finds_what_a_look_at_each_entry_finds(
            entries in proptest::collection::btree_map(path(), (any::<bool>(), any::<bool>()), 0..12),
            asked in proptest::collection::vec(path(), 1..10),
        ) {
            let number = |i: usize, there: bool| there.then(|| u32::try_from(i).unwrap());
            let list: Vec<_> = entries.iter().enumerate().map(|(i, (path, (exact, prefix)))| {
                (path.as_str(), Found { exact: number(i, *exact), prefix: number(i, *prefix) })
            }).collect();
            let radix = Radix::new(list.iter().copied());
            for path in asked.iter().chain(entries.keys()) {
                let exact = list.iter().find(|(entry, _)| **entry == **path).and_then(|(_, e)| e.exact);
                let covers = |entry: &str| {
                    path.strip_prefix(entry).is_some_and(|r| r.is_empty() || r.starts_with('/'))
                };
                let longest = list.iter().filter(|(e, f)| f.prefix.is_some() && covers(e));
                let prefix = longest.max_by_key(|(e, _)| e.len()).and_then(|(_, f)| f.prefix);
                prop_assert_eq!(radix.find(path), Found { exact, prefix }, "{}", path);
            }
        }
    }
}
