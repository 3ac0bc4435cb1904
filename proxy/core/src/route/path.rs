//! Paths: which spellings are one path, and whether a path meets a match.
//!
//! Nothing is decoded here for anybody to read: what comes out is a path as it may be sent.

use std::borrow::Cow;
use std::sync::Arc;

use memchr::{memchr3, memrchr};

use crate::model::PathMatch;

/// The path as routes see it, and as the endpoint gets it: what RFC 3986 (6.2.2) calls equivalent is
/// spelled in one way, so that no spelling gets around a rule.
///
/// - `%41` is `A`: letters, digits, `-`, `.`, `_` and `~` are not percent-encoded; other octets stay
///   encoded, with capital digits. So `%2F` is never taken for a separator.
/// - `.` and `..` are resolved, also where they were encoded: `/a/../b` and `/a/%2e%2e/b` are `/b`.
/// - `\` is `/`, as the servers have it that know it at all (WHATWG URL, 4.4): in a URI it is no
///   character, so nobody needs it for itself.
/// - `%` that starts no pair of hex digits is `%25`, so that what is decoded beside it cannot make one.
///
/// Elements that are empty stay: `/a//b` is another path than `/a/b` (RFC 3986, 3.3), and servers whose
/// keys are paths tell them apart. What does not begin with `/` (`*`, an authority) is left as it is.
/// Allocates only if something changes.
pub fn normalised(path: &str) -> Cow<'_, str> {
    if !path.starts_with('/') || is_normal(path.as_bytes()) {
        return Cow::Borrowed(path);
    }
    Cow::Owned(without_dots(&respelled(path)))
}

fn is_normal(path: &[u8]) -> bool {
    let mut at = 0;
    while let Some(found) = memchr3(b'%', b'.', b'\\', path.get(at..).unwrap_or_default()) {
        let here = at + found;
        let good = match &path[here..] {
            rest @ [b'%', ..] => {
                let kept = escaped(rest).is_some_and(|octet| !unreserved(octet));
                kept && !rest[..3].iter().any(u8::is_ascii_lowercase)
            }
            [b'.', rest @ ..] => {
                let begins = path[..here].ends_with(b"/");
                !(begins && matches!(rest, [] | [b'/', ..] | [b'.'] | [b'.', b'/', ..]))
            }
            _ => false,
        };
        if !good {
            return false;
        }
        at = here + 1;
    }
    true
}

/// With one spelling for each character.
fn respelled(path: &str) -> String {
    let mut spelled = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find(['%', '\\']) {
        spelled.push_str(&rest[..at]);
        let (escape, octet) = (&rest.as_bytes()[at..], escaped(&rest.as_bytes()[at..]));
        let taken = match (escape, octet) {
            (_, Some(octet)) if unreserved(octet) => {
                spelled.push(char::from(octet));
                3
            }
            (_, Some(_)) => {
                spelled.push_str(&rest[at..at + 3].to_ascii_uppercase());
                3
            }
            ([b'%', ..], None) => {
                spelled.push_str("%25");
                1
            }
            _ => {
                spelled.push('/');
                1
            }
        };
        rest = &rest[at + taken..];
    }
    spelled.push_str(rest);
    spelled
}

/// RFC 3986, 5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept = String::with_capacity(path.len());
    let mut elements = path.split('/').skip(1).peekable();
    while let Some(element) = elements.next() {
        match element {
            "." | ".." => {
                if element == ".." {
                    kept.truncate(memrchr(b'/', kept.as_bytes()).unwrap_or(0));
                }
                if elements.peek().is_none() {
                    kept.push('/');
                }
            }
            _ => {
                kept.push('/');
                kept.push_str(element);
            }
        }
    }
    kept
}

/// RFC 3986, 2.3.
fn unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~".contains(&octet)
}

/// The octet that is percent-encoded at the beginning of `text`.
fn escaped(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |digit: &u8| char::from(*digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

// === impl PathMatch ===

impl PathMatch {
    /// Whether `path` meets this one; both are normalised, and a prefix has no trailing slash.
    pub(super) fn holds(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == &**exact,
            Self::Prefix(prefix) => {
                path.strip_prefix(&**prefix).is_some_and(|r| r.is_empty() || r.starts_with('/'))
            }
            Self::Regex(pattern) => pattern.is_match(path),
            Self::GrpcMethod(method) => grpc_method(path) == Some(method),
        }
    }

    /// The same for normalised paths, without a prefix's trailing slash (Gateway API ignores it:
    /// `PathMatchPathPrefix`).
    pub(super) fn tidy(&self) -> Self {
        match self {
            Self::Exact(path) => Self::Exact(same(path, normalised(path))),
            Self::Prefix(path) => Self::Prefix(same(path, trimmed(normalised(path)))),
            Self::Regex(_) | Self::GrpcMethod(_) => self.clone(),
        }
    }
}

fn trimmed(path: Cow<'_, str>) -> Cow<'_, str> {
    match path {
        Cow::Borrowed(path) => Cow::Borrowed(path.trim_end_matches('/')),
        Cow::Owned(path) => Cow::Owned(path.trim_end_matches('/').to_owned()),
    }
}

/// Without a copy if nothing has changed.
fn same(text: &Arc<str>, now: Cow<'_, str>) -> Arc<str> {
    if now == **text { Arc::clone(text) } else { now.into() }
}

/// The method of `/SERVICE/METHOD`.
pub(super) fn grpc_method(path: &str) -> Option<&str> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (!service.is_empty() && !method.contains('/')).then_some(method)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_path_has_one_spelling() {
        for (path, normal) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/./b/", "/a/b/"),
            ("/../../b", "/b"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a/..;/b", "/a/..;/b"),
            ("/a/...", "/a/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/%61%2db", "/a-b"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%2F..%2Fb", "/a%2F..%2Fb"),
            ("/%252e%252e/b", "/%252e%252e/b"),
            ("/%%32%65/b", "/%252e/b"),
            ("/100%", "/100%25"),
            ("/100%/%4", "/100%25/%254"),
            ("/a\\..\\b", "/b"),
            ("/a%5c..%5cb", "/a%5C..%5Cb"),
            ("/a//b", "/a//b"),
            ("/a//../b", "/a/b"),
            ("//b", "//b"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(normalised(path), normal, "{path}");
        }
    }

    #[test]
    fn what_is_normal_is_not_copied() {
        for path in ["/a/b.html", "/.x/..y/z.", "/caf%C3%A9/a%2Fb", "*"] {
            assert!(matches!(normalised(path), Cow::Borrowed(_)), "{path}");
        }
    }

    /// What servers make of a path: its octets, element by element, with `.` and `..` resolved.
    fn resource(path: &str) -> Vec<Vec<u8>> {
        let mut elements: Vec<Vec<u8>> = Vec::new();
        for element in path.replace('\\', "/").split('/').skip(1) {
            let octets: Vec<u8> = percent_decoded(element);
            match &octets[..] {
                b"." => {}
                b".." => {
                    elements.pop();
                }
                _ => elements.push(octets),
            }
        }
        elements
    }

    fn percent_decoded(text: &str) -> Vec<u8> {
        let (mut octets, mut rest) = (Vec::new(), text.as_bytes());
        while let [first, after @ ..] = rest {
            rest = if escaped(rest).is_some() { &rest[3..] } else { after };
            octets.push(escaped(&[&[*first], after].concat()).unwrap_or(*first));
        }
        octets
    }

    fn any_path() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            3 => Just("/"), 2 => Just("."), 1 => Just(".."), 1 => Just("%2e"), 1 => Just("%2E"),
            1 => Just("%2f"), 1 => Just("%"), 1 => Just("%25"), 1 => Just("2"), 1 => Just("e"),
            1 => Just("\\"), 1 => Just("%5c"), 2 => Just("a"), 1 => Just("%61"), 1 => Just("%C3%a9"),
            1 => Just("ü"), 1 => Just("%00"), 1 => Just(";"),
        ];
        proptest::collection::vec(piece, 0..14).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #[test]
        fn normalising_twice_is_normalising_once(path in any_path()) {
            let once = normalised(&path).into_owned();
            prop_assert!(matches!(normalised(&once), Cow::Borrowed(_)), "{} {}", path, once);
        }

        #[test]
        fn a_normal_path_has_no_dots_to_resolve_and_nothing_encoded_in_vain(path in any_path()) {
            let path = normalised(&path).into_owned();
            prop_assert!(path.starts_with('/'));
            prop_assert!(path.split('/').all(|element| !matches!(element, "." | "..")), "{}", path);
            prop_assert!(!path.contains('\\'));
            for (at, _) in path.match_indices('%') {
                let octet = u8::from_str_radix(&path[at + 1..at + 3], 16);
                prop_assert!(octet.is_ok_and(|octet| !unreserved(octet)), "{}", path);
            }
        }

        /// Servers that decode, and resolve what they find then, see the same with and without us.
        #[test]
        fn a_server_finds_the_same_by_the_normal_path(path in any_path()) {
            let normal = normalised(&path).into_owned();
            let whole = |path: &str| {
                resource(path).into_iter().filter(|e| !e.is_empty()).collect::<Vec<_>>()
            };
            // Empty elements count when `..` takes one away.
            prop_assume!(!path.replace('\\', "/").contains("//"));
            prop_assert_eq!(whole(&path), whole(&normal), "{} {}", path, normal);
        }
    }
}
