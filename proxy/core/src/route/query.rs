//! Query parameters, read in place.
//!
//! Decoded as `application/x-www-form-urlencoded` (WHATWG URL, 5.1), which is what clients send:
//! `%41` is `A`, `+` is a space, and a `%` that starts no pair of hex digits stands for itself.

use super::scratch::with_collected;

/// The raw value of the first parameter of this (decoded) name; empty if it has no `=`.
pub(super) fn first<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    pairs(query).find(|(raw_name, _)| decodes_to(raw_name, name)).map(|(_, value)| value)
}

/// The raw names and values, in order.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Whether `raw` decodes to `text`; allocates nothing.
pub(super) fn decodes_to(raw: &str, text: &str) -> bool {
    Decoder { rest: raw.as_bytes() }.eq(text.bytes())
}

/// What `ask` says of `raw` decoded; nothing if that is longer than [`LONGEST`](super::scratch::LONGEST).
/// Allocates nothing.
pub(super) fn with_decoded<T>(raw: &str, ask: impl FnOnce(&[u8]) -> T) -> Option<T> {
    if raw.bytes().any(|b| matches!(b, b'%' | b'+')) {
        with_collected(Decoder { rest: raw.as_bytes() }, ask)
    } else {
        Some(ask(raw.as_bytes()))
    }
}

/// `raw` decoded, however long.
pub(super) fn decode(raw: &str) -> Vec<u8> {
    Decoder { rest: raw.as_bytes() }.collect()
}

struct Decoder<'a> {
    rest: &'a [u8],
}

impl Iterator for Decoder<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if let [b'%', high, low, rest @ ..] = self.rest
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            self.rest = rest;
            return Some(high << 4 | low);
        }
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(if byte == b'+' { b' ' } else { byte })
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_name_counts() {
        assert_eq!(first("a=1&b=2&a=3", "a"), Some("1"));
        assert_eq!(first("a=1&b=2", "b"), Some("2"));
        assert_eq!(first("a=1&b", "b"), Some(""));
        assert_eq!(first("ab=1", "a"), None);
        assert_eq!(first("", ""), None);
        assert_eq!(first("&&x=a=b", "x"), Some("a=b"));
    }

    #[test]
    fn names_and_values_are_decoded() {
        assert_eq!(first("%61=1", "a"), Some("1"));
        assert!(decodes_to("a%20b+c", "a b c"));
        assert!(decodes_to("100%", "100%"));
        assert!(decodes_to("%zz%4", "%zz%4"));
        assert!(!decodes_to("%41", "%41"));
        assert_eq!(decode("%c3%bc"), "ü".as_bytes());
        assert_eq!(with_decoded("%c3%bc", <[u8]>::to_vec), Some("ü".into()));
        assert_eq!(with_decoded(&"%61".repeat(1025), <[u8]>::len), None);
    }
}
