//! What ends at this hop, and what HTTP/1 and HTTP/2 say differently.

use http::header::{
    CONNECTION, COOKIE, Entry, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING,
    UPGRADE,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Uri};

use crate::upstream::Version;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Whether a request asks to change protocols on this connection (RFC 9110, 7.8). Asking for another HTTP or for
/// TLS does not count, as if it were not said: behind it requests would reach the endpoint that no rule has seen.
pub(super) fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
        && connection_options(headers).any(|o| o.eq_ignore_ascii_case("upgrade"))
        && !headers.get_all(UPGRADE).iter().any(leads_past_the_rules)
}

fn leads_past_the_rules(upgrade: &HeaderValue) -> bool {
    const THEIR_NAMES: [&str; 4] = ["h2", "h2c", "http", "tls"];
    let Ok(protocols) = upgrade.to_str() else { return true };
    protocols
        .split([',', '/'])
        .any(|word| THEIR_NAMES.iter().any(|name| word.trim().eq_ignore_ascii_case(name)))
}

/// Takes away what is meant for this hop only (RFC 9110, 7.6.1): the fields that `Connection`
/// names, `Connection` itself and its older relatives, and `Transfer-Encoding`, which each hop sets
/// anew. `TE: trailers` stays as a statement, because trailers are passed on. With `upgrade` the two
/// fields that ask for or grant an upgrade stay.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap, upgrade: bool) {
    // One look at each name is cheaper than a search for each of these.
    let found = headers.keys().fold(0, |found, name| found | of_this_hop(name));
    let trailers = found & HOP_TE != 0 && headers.get_all(TE).iter().any(names_trailers);
    if found & HOP_CONNECTION != 0 {
        strip_connection(headers, upgrade);
    }
    if found & HOP_OTHERS != 0 {
        headers.remove(KEEP_ALIVE);
        headers.remove(PROXY_CONNECTION);
        headers.remove(TRANSFER_ENCODING);
    }
    if found & HOP_TE != 0 {
        headers.remove(TE);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    } else if found & HOP_UPGRADE != 0 {
        headers.remove(UPGRADE);
    }
}

const HOP_CONNECTION: u8 = 1;
const HOP_TE: u8 = 2;
const HOP_UPGRADE: u8 = 4;
const HOP_OTHERS: u8 = 8;

/// Which of the fields of a hop `name` is, if it is one.
#[inline]
fn of_this_hop(name: &HeaderName) -> u8 {
    match name.as_str() {
        "connection" => HOP_CONNECTION,
        "te" => HOP_TE,
        "upgrade" => HOP_UPGRADE,
        "keep-alive" | "proxy-connection" | "transfer-encoding" => HOP_OTHERS,
        _ => 0,
    }
}

/// Takes away `Connection` and what it names.
fn strip_connection(headers: &mut HeaderMap, upgrade: bool) {
    let mut said = headers.get_all(CONNECTION).iter().map(HeaderValue::as_bytes);
    // What servers say to each other all day needs no list.
    let usual = matches!(said.next(), Some(b"keep-alive" | b"close")) && said.next().is_none();
    if !usual {
        let named: Vec<HeaderName> =
            connection_options(headers).filter_map(|o| o.trim().parse().ok()).collect();
        for name in named {
            // Not even a client's `Connection: host` may take these from the next hop.
            let kept = name == HOST || (upgrade && name == UPGRADE) || is_framing(&name);
            if !kept {
                headers.remove(name);
            }
        }
    }
    headers.remove(CONNECTION);
}

/// Makes a request that came as `from` one that can be sent as `to`.
pub(super) fn translate<B>(request: &mut Request<B>, from: Version, to: Version) {
    match (from, to) {
        (Version::Http1, Version::Http1) => {
            if request.version() == http::Version::HTTP_10 {
                // RFC 9112, 3.2: HTTP/1.1 always has the field, if empty.
                let host = request.headers_mut().entry(HOST);
                host.or_insert(HeaderValue::from_static(""));
            }
            *request.version_mut() = http::Version::HTTP_11;
            host_of_target(request);
        }
        // The client may have said it in `Host`.
        (Version::Http2, Version::Http2) if request.uri().authority().is_none() => {
            to_http2(request);
        }
        (Version::Http2, Version::Http2) => {}
        (Version::Http1, Version::Http2) => to_http2(request),
        (Version::Http2, Version::Http1) => to_http1(request),
    }
    if to == Version::Http1 && request.headers().contains_key(TE) {
        // RFC 9110, 10.1.4: TE is a hop's own and must be named as such in HTTP/1.1.
        request.headers_mut().append(CONNECTION, HeaderValue::from_static("te"));
    }
}

/// RFC 9112, 3.2.2: the authority of a target in absolute form replaces the Host field. The target
/// itself stays as it is: the Service may be a proxy.
fn host_of_target<B>(request: &mut Request<B>) {
    if request.uri().scheme().is_some()
        && let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
}

/// RFC 9113, 8.3.1: the authority moves from `Host` into the target.
fn to_http2<B>(request: &mut Request<B>) {
    *request.version_mut() = http::Version::HTTP_2;
    if request.method() == Method::CONNECT {
        return;
    }
    let host = request.headers_mut().remove(HOST);
    let authority = request
        .uri()
        .authority()
        .cloned()
        .or_else(|| host.and_then(|host| Authority::try_from(host.as_bytes()).ok()));
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = parts.scheme.or(Some(Scheme::HTTP));
    // hyper wants some authority; an HTTP/1.0 request may have had none.
    parts.authority = authority.or_else(|| Some(Authority::from_static("localhost")));
    parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// RFC 9113, 8.3.1 and 8.2.3: the authority becomes `Host`, and the crumbs of `Cookie` one field.
fn to_http1<B>(request: &mut Request<B>) {
    *request.version_mut() = http::Version::HTTP_11;
    if let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
    if request.method() != Method::CONNECT {
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.unwrap_or_else(|| PathAndQuery::from_static("/")).into();
    }
    join_cookies(request.headers_mut());
}

fn join_cookies(headers: &mut HeaderMap) {
    let Entry::Occupied(cookies) = headers.entry(COOKIE) else { return };
    let crumbs: Vec<&[u8]> = cookies.iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

pub(super) fn names_trailers(te: &HeaderValue) -> bool {
    te.to_str().is_ok_and(|te| {
        te.split(',').any(|coding| {
            coding.split(';').next().is_some_and(|c| c.trim().eq_ignore_ascii_case("trailers"))
        })
    })
}

fn is_framing(name: &HeaderName) -> bool {
    *name == http::header::CONTENT_LENGTH || *name == http::header::TRAILER
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    #[test]
    fn what_connection_names_goes_and_the_rest_stays() {
        let mut map = headers(&[
            ("connection", "close, X-Foo, host, content-length"),
            ("x-foo", "1"),
            ("x-forwarded-for", "192.0.2.1"),
            ("host", "web"),
            ("content-length", "5"),
            ("keep-alive", "timeout=5"),
            ("te", "deflate, trailers;q=0.5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
        ]);
        strip_hop_by_hop(&mut map, false);
        assert_eq!(
            map,
            headers(&[
                ("x-forwarded-for", "192.0.2.1"),
                ("host", "web"),
                ("content-length", "5"),
                ("te", "trailers"),
            ])
        );
    }

    #[test]
    fn an_upgrade_keeps_the_two_fields_that_ask_for_it() {
        let mut map = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert!(wants_upgrade(&map));
        strip_hop_by_hop(&mut map, true);
        assert_eq!(map, headers(&[("connection", "upgrade"), ("upgrade", "websocket")]));
        assert!(!wants_upgrade(&headers(&[("upgrade", "websocket")])));
        for past_the_rules in ["h2c", "H2C", "websocket, h2c", "HTTP/2.0", "TLS/1.2", "tls"] {
            let map = headers(&[("connection", "upgrade"), ("upgrade", past_the_rules)]);
            assert!(!wants_upgrade(&map), "{past_the_rules}");
        }
    }

    #[test]
    fn the_authority_moves_between_host_and_target() {
        let mut request = Request::get("/a?b").header("host", "web.shop:81").body(()).unwrap();
        translate(&mut request, Version::Http1, Version::Http2);
        assert_eq!(request.uri(), "http://web.shop:81/a?b");
        assert!(!request.headers().contains_key(HOST));

        let mut request = Request::get("http://web.shop/a?b")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("te", "trailers")
            .body(())
            .unwrap();
        translate(&mut request, Version::Http2, Version::Http1);
        assert_eq!(request.uri(), "/a?b");
        assert_eq!(request.headers()[HOST], "web.shop");
        assert_eq!(request.headers()[COOKIE], "a=1; b=2");
        assert_eq!(request.headers()[CONNECTION], "te");
    }

    proptest! {
        #[test]
        fn no_hop_by_hop_field_survives_and_no_other_is_lost(
            fields in proptest::collection::vec(
                (prop_oneof![
                    Just("connection"), Just("x-a"), Just("x-b"), Just("keep-alive"), Just("te"),
                    Just("transfer-encoding"), Just("upgrade"), Just("host"), Just("content-length"),
                 ],
                 prop_oneof![
                    Just("x-a"), Just("close, X-B"), Just("upgrade"), Just("trailers"), Just("host"),
                    Just(" ,, te;q=1"), Just("5"),
                 ]), 0..10),
            upgrade: bool,
        ) {
            let before = headers(&fields);
            let mut after = before.clone();
            strip_hop_by_hop(&mut after, upgrade);
            let named = |name: &str| {
                let values = before.get_all(CONNECTION).iter();
                let mut options = values.flat_map(|v| v.to_str().unwrap().split(','));
                options.any(|option| option.trim().eq_ignore_ascii_case(name))
            };
            for gone in ["keep-alive", "transfer-encoding"] {
                prop_assert!(!after.contains_key(gone));
            }
            prop_assert_eq!(after.contains_key(CONNECTION), upgrade);
            prop_assert!(after.get(TE).is_none_or(|te| te == "trailers"));
            for end_to_end in ["x-a", "x-b", "host", "content-length"] {
                let kept = matches!(end_to_end, "host" | "content-length") || !named(end_to_end);
                let expected: Vec<_> =
                    before.get_all(end_to_end).iter().filter(|_| kept).collect();
                prop_assert_eq!(after.get_all(end_to_end).iter().collect::<Vec<_>>(), expected);
            }
        }

        #[test]
        fn what_a_request_says_is_the_same_in_either_version(
            fields in proptest::collection::vec(
                (prop_oneof![
                    Just("cookie"), Just("x-a"), Just("accept"), Just("te"), Just("connection"),
                    Just("keep-alive"), Just("expect"), Just("proxy-connection"), Just("trailer"),
                 ],
                 prop_oneof![
                    Just("a=1"), Just("b=2; c=3"), Just("trailers"), Just("x-a"), Just("close"),
                    Just("100-continue"),
                 ]), 0..12),
            host in prop_oneof![Just("web"), Just("web.shop:8080"), Just("[::1]:80")],
            absolute: bool,
        ) {
            let target = if absolute { format!("http://{host}/a/b?c=d") } else { "/a/b?c=d".into() };
            let mut request = Request::get(target).body(()).unwrap();
            *request.headers_mut() = headers(&fields);
            request.headers_mut().insert(HOST, HeaderValue::from_static(host));
            strip_hop_by_hop(request.headers_mut(), false);
            let said = request.headers().clone();

            translate(&mut request, Version::Http1, Version::Http2);
            prop_assert_eq!(request.uri().to_string(), format!("http://{host}/a/b?c=d"));
            for never in ["host", "connection", "keep-alive", "proxy-connection", "upgrade"] {
                prop_assert!(!request.headers().contains_key(never), "{never} in HTTP/2");
            }
            prop_assert!(request.headers().get_all(TE).iter().all(|te| te == "trailers"));

            translate(&mut request, Version::Http2, Version::Http1);
            prop_assert_eq!(request.uri(), "/a/b?c=d");
            let hosts: Vec<_> = request.headers().get_all(HOST).iter().collect();
            prop_assert_eq!(hosts, [host]);
            let te = request.headers().contains_key(TE);
            let options: Vec<_> = request.headers().get_all(CONNECTION).iter().collect();
            prop_assert_eq!(options, if te { vec!["te"] } else { vec![] });
            let crumbs = |map: &HeaderMap| {
                let values = map.get_all(COOKIE).iter();
                values.map(|v| v.to_str().unwrap().to_owned()).collect::<Vec<_>>().join("; ")
            };
            prop_assert!(request.headers().get_all(COOKIE).iter().count() <= 1);
            prop_assert_eq!(crumbs(request.headers()), crumbs(&said));
            for same in ["x-a", "accept", "te", "expect", "trailer"] {
                let values = |map: &HeaderMap| {
                    map.get_all(same).iter().cloned().collect::<Vec<_>>()
                };
                prop_assert_eq!(values(request.headers()), values(&said), "{}", same);
            }
        }
    }
}
