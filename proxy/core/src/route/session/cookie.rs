//! Cookies as requests bring them (RFC 6265, 4.2), read where they are: nothing is copied.
//!
//! Not what they mean: that is `token`'s.

use http::HeaderMap;
use http::header::COOKIE;

/// The values of all cookies called `name`, in order: of two for different paths both come.
pub(in crate::route) fn values<'a>(
    headers: &'a HeaderMap,
    name: &'a str,
) -> impl Iterator<Item = &'a [u8]> + 'a {
    let fields = headers.get_all(COOKIE).into_iter();
    let pairs = fields.flat_map(|field| field.as_bytes().split(|octet| *octet == b';'));
    pairs.filter_map(move |pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(fields: &[&[u8]], name: &str) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(COOKIE, HeaderValue::from_bytes(field).unwrap());
        }
        values(&headers, name).map(|v| String::from_utf8_lossy(v).into_owned()).collect()
    }

    #[test]
    fn all_values_of_a_name_are_found_in_order() {
        let fields: [&[u8]; 3] =
            [b"a=1; sid=2; b=sid=9", b" sid=\"3\" ;xsid=4;sid", b"sid=; SID=5"];
        assert_eq!(read(&fields, "sid"), ["2", "3", ""]);
        assert_eq!(read(&[], "sid"), [""; 0]);
    }

    proptest! {
        #[test]
        fn a_cookie_among_others_is_found(
            before in "[a-z=\"; ]{0,20}",
            value in "[A-Za-z0-9_-]{0,100}",
            behind in "[a-z=\"; ]{0,20}",
        ) {
            let field = format!("{before}; Sid={value}; {behind}");
            prop_assert_eq!(read(&[field.as_bytes()], "Sid"), [value]);
        }

        #[test]
        fn no_field_makes_it_panic(field in prop::collection::vec(0x20..=0xff_u8, 0..60), name in "[a-z=]{0,3}") {
            prop_assume!(!field.contains(&0x7f));
            read(&[&field], &name);
        }
    }
}
