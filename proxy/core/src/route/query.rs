//! Query parameters (WHATWG URL, application/x-www-form-urlencoded parsing).

use std::borrow::Cow;

/// The value of the first parameter `name`, decoded. Allocates only for what is percent-encoded.
pub(super) fn first_value<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    query.split('&').filter(|pair| !pair.is_empty()).find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key) == name).then(|| decode(value))
    })
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
        match (bytes[i], hex(i + 1), hex(i + 2)) {
            (b'+', ..) => out.push(b' '),
            (b'%', Some(high), Some(low)) => {
                // Two hexadecimal digits fit an octet.
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                i += 2;
            }
            (byte, ..) => out.push(byte),
        }
        i += 1;
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_of_a_name_counts_and_is_decoded() {
        let query = "a=1&b%20c=x%2Fy+z&a=2&flag&&bad=%zz";
        assert_eq!(first_value(query, "a").as_deref(), Some("1"));
        assert_eq!(first_value(query, "b c").as_deref(), Some("x/y z"));
        assert_eq!(first_value(query, "flag").as_deref(), Some(""));
        assert_eq!(first_value(query, "bad").as_deref(), Some("%zz"));
        assert_eq!(first_value(query, "none"), None);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(query in ".{0,60}", name in ".{0,4}") {
            first_value(&query, &name);
        }
    }
}
