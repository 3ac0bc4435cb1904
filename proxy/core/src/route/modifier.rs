//! What a filter makes of a request's path. The query is not its business.

use std::borrow::Cow;

use crate::model::PathModifier;

// === impl PathModifier ===

impl PathModifier {
    /// The path instead of `path`, of which the match named the first `prefix` octets (without a
    /// trailing slash). If the match was none of a prefix, [`PathModifier::Prefix`] changes nothing:
    /// `translate` refuses such a rule.
    ///
    /// A prefix is replaced by whole elements (Gateway API, `HTTPPathModifier.replacePrefixMatch`): what
    /// is behind it stays as it is, slashes too, and a trailing slash of the replacement does not count.
    pub(super) fn apply<'a>(&'a self, path: &'a str, prefix: Option<usize>) -> Cow<'a, str> {
        match self {
            Self::Full(full) => Cow::Borrowed(rooted(full)),
            Self::Prefix(replacement) => {
                let Some(rest) = prefix.and_then(|length| path.get(length..)) else {
                    return Cow::Borrowed(path);
                };
                let replacement = unslashed(replacement);
                match (replacement, rest) {
                    ("", rest) => Cow::Borrowed(rooted(rest)),
                    (replacement, "") => Cow::Borrowed(replacement),
                    (replacement, rest) => Cow::Owned([replacement, rest].concat()),
                }
            }
        }
    }

    /// How much of the path that [`PathModifier::apply`] gives stands for the first `prefix` octets.
    pub(super) fn prefix_after(&self, prefix: Option<usize>) -> Option<usize> {
        match self {
            Self::Full(_) => None,
            Self::Prefix(replacement) => prefix.map(|_| unslashed(replacement).len()),
        }
    }
}

fn unslashed(replacement: &str) -> &str {
    replacement.strip_suffix('/').unwrap_or(replacement)
}

fn rooted(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_prefix_is_replaced_by_whole_elements() {
        for (path, prefix, replacement, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/bar", "/foo", "/", "/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo", "/foo", "/xyz/", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/", "/foo", "/xyz/", "/xyz/"),
            ("/foo", "/foo", "", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/foo/", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/bar", "", "/xyz", "/xyz/bar"),
            ("/bar", "", "/", "/bar"),
            ("/", "", "/", "/"),
            ("/foo//bar/", "/foo", "/xyz", "/xyz//bar/"),
        ] {
            let modifier = PathModifier::Prefix(replacement.into());
            let modified = modifier.apply(path, Some(prefix.len()));
            assert_eq!(modified, expected, "{path} with {prefix} -> {replacement:?}");
        }
    }

    #[test]
    fn a_full_path_replaces_whatever_was_there() {
        let full = PathModifier::Full("/new".into());
        assert_eq!(full.apply("/a/b", Some(2)), "/new");
        assert_eq!(full.apply("/a/b", None), "/new");
        assert_eq!(PathModifier::Full("".into()).apply("/a", None), "/");
    }

    #[test]
    fn without_a_prefix_match_there_is_no_prefix_to_replace() {
        assert_eq!(PathModifier::Prefix("/x".into()).apply("/a/b", None), "/a/b");
    }

    proptest! {
        #[test]
        fn a_replaced_prefix_can_be_put_back(
            prefix in "(/[a-z]{1,3}){0,3}", rest in "(/[a-z]{0,3}){0,4}", other in "(/[a-z]{1,3}){1,3}",
        ) {
            let path = format!("{prefix}{rest}");
            let there = PathModifier::Prefix(other.as_str().into());
            let there = there.apply(&path, Some(prefix.len())).into_owned();
            prop_assert!(there.starts_with('/'));
            let back = PathModifier::Prefix(prefix.as_str().into());
            let back = back.apply(&there, Some(other.len()));
            let expected = if path.is_empty() { "/" } else { &path };
            prop_assert_eq!(back, expected);
        }
    }
}
