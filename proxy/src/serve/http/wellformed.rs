//! Whether a request says in one way only what it is for (RFC 9112, 3.2; RFC 9113, 8.3.1).
//!
//! Not for what it may ask for, nor for framing: the rules decide the one, the parsers the other.

use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, HOST};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Uri};

use crate::upstream::Version;

/// Why `request` must be refused with 400, if it must: its next reader could take it for another one.
#[inline]
pub(super) fn fault<B>(request: &Request<B>, version: Version) -> Option<&'static str> {
    let extended = version == Version::Http2 && request.extensions().get::<Protocol>().is_some();
    if !target_fits(request.method(), request.uri(), extended) {
        return Some("the target does not fit the method\n");
    }
    let authority = request.uri().authority();
    if authority.is_some_and(|authority| !is_host(authority.as_str().as_bytes())) {
        return Some("the target's authority is malformed\n");
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), authority) {
        (Some(_), _) if hosts.next().is_some() => Some("more than one Host field\n"),
        (Some(host), _) if !is_host(host.as_bytes()) => Some("the Host field is malformed\n"),
        // In HTTP/1 the target's authority replaces the field; in HTTP/2 they stand for the same.
        (Some(host), Some(authority))
            if version == Version::Http2 && !same(host.as_bytes(), authority) =>
        {
            Some("Host and :authority differ\n")
        }
        (None, None) if version == Version::Http2 => Some("there is no :authority\n"),
        (None, _) if request.version() == http::Version::HTTP_11 => {
            Some("there is no Host field\n")
        }
        _ if version == Version::Http2 && !length_is_clear(request.headers()) => {
            Some("Content-Length is ambiguous\n")
        }
        _ => None,
    }
}

/// Each form of a target goes with its methods; `extended` is CONNECT with a `:protocol` (RFC 8441).
#[inline]
fn target_fits(method: &Method, uri: &Uri, extended: bool) -> bool {
    if *method == Method::CONNECT && !extended {
        return uri.scheme().is_none()
            && uri.path_and_query().is_none()
            && uri.authority().is_some_and(|authority| authority.port_u16().is_some());
    }
    match uri.path().as_bytes() {
        [b'/', ..] => true,
        [b'*'] => *method == Method::OPTIONS,
        _ => false,
    }
}

fn same(host: &[u8], authority: &Authority) -> bool {
    host.eq_ignore_ascii_case(authority.as_str().as_bytes())
}

/// One length at the most: HTTP/2's own parser looks at the first field only.
fn length_is_clear(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_LENGTH).iter().nth(1).is_none()
}

/// `uri-host [ ":" port ]`, or nothing (RFC 9110, 7.2). No user information, and no comma: RFC 3986 would allow
/// it in a name, but a list of hosts is what it looks like.
#[inline]
fn is_host(value: &[u8]) -> bool {
    let port = match value {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|b| *b == b']') else { return false };
            let (address, rest) = rest.split_at(end);
            if !address.iter().all(|b| is_in_name(*b) || *b == b':') {
                return false;
            }
            rest.get(1..).unwrap_or_default()
        }
        _ => {
            let name = value.iter().take_while(|b| is_in_name(**b)).count();
            value.get(name..).unwrap_or_default()
        }
    };
    match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

fn is_in_name(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'%')
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str, hosts: &[&str]) -> Request<()> {
        let request = Request::builder().method(method).uri(target);
        hosts.iter().fold(request, |request, host| request.header(HOST, *host)).body(()).unwrap()
    }

    #[test]
    fn a_host_is_a_name_and_a_port() {
        for right in [
            "",
            "web",
            "WEB.shop",
            "web:80",
            "web:",
            "10.0.0.1:80",
            "[::1]",
            "[::1]:80",
            "a_b",
            "%41",
        ] {
            assert!(is_host(right.as_bytes()), "{right}");
        }
        for wrong in [
            "a b", "a,b", "a@b", "a/b", "a:80b", "a:b:c", "::1", "[::1", "[::1]a", "[a/b]",
            "a\u{e4}", "a?b", "a#b", "a\\b",
        ] {
            assert!(!is_host(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn each_form_of_a_target_has_its_methods() {
        for (method, target, right) in [
            ("GET", "/", true),
            ("GET", "http://web/", true),
            ("GET", "http://web", true),
            ("OPTIONS", "*", true),
            ("GET", "*", false),
            ("GET", "web:80", false),
            ("GET", "web", false),
            ("CONNECT", "web:80", true),
            ("CONNECT", "web", false),
            ("CONNECT", "/", false),
            ("CONNECT", "http://web/", false),
        ] {
            let fault = fault(&request(method, target, &["web"]), Version::Http1);
            assert_eq!(fault.is_none(), right, "{method} {target}: {fault:?}");
        }
    }

    #[test]
    fn who_is_asked_for_is_said_once() {
        let http1 = |hosts: &[&str]| fault(&request("GET", "/", hosts), Version::Http1);
        assert_eq!(http1(&["web"]), None);
        assert!(http1(&[]).is_some() && http1(&["web", "web"]).is_some());
        let mut old = request("GET", "/", &[]);
        *old.version_mut() = http::Version::HTTP_10;
        assert_eq!(fault(&old, Version::Http1), None);

        let http2 = |target: &str, hosts: &[&str]| {
            let mut request = request("GET", target, hosts);
            *request.version_mut() = http::Version::HTTP_2;
            fault(&request, Version::Http2)
        };
        assert_eq!(http2("http://web/", &[]), None);
        assert_eq!(http2("http://web/", &["WEB"]), None);
        assert_eq!(http2("/", &["web"]), None);
        assert!(http2("http://web/", &["evil"]).is_some() && http2("/", &[]).is_some());
        assert!(http2("http://evil@web/", &[]).is_some());
    }
}
