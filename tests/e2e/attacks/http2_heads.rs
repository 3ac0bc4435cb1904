//! Requests of HTTP/2 that HTTP/2 must not have, or that would be something else as HTTP/1.

use nodeway_tests::h2::{data, headers};

use super::http2::{Case, Outcome::*, case};

const PROTOCOL_ERROR: u32 = 1;
const PLAIN: &[&str] = &["GET / | host: web"];

pub(super) const CASES: &[Case] = &[
    // --- fields of a connection ---
    case("`connection: close`", || with(&[("connection", "close")]), Stream(PROTOCOL_ERROR)),
    case("`keep-alive`", || with(&[("keep-alive", "timeout=5")]), Stream(PROTOCOL_ERROR)),
    case("`proxy-connection`", || with(&[("proxy-connection", "x")]), Stream(PROTOCOL_ERROR)),
    case("`upgrade: h2c`", || with(&[("upgrade", "h2c")]), Stream(PROTOCOL_ERROR)),
    case("`te: gzip`", || with(&[("te", "gzip")]), Stream(PROTOCOL_ERROR)),
    case(
        "H2.TE: `transfer-encoding: chunked`, and a request in DATA",
        || {
            let head = post(&[("transfer-encoding", "chunked")]);
            [head, data(1, b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: web\r\n\r\n", true)].concat()
        },
        Stream(PROTOCOL_ERROR),
    ),
    case(
        "`te: trailers`, as is allowed",
        || with(&[("te", "trailers")]),
        Passes(&["GET / | te: trailers; host: web; connection: te"]),
    ),
    // --- names and values ---
    case("a name in capitals", || with(&[("X-A", "y")]), Goaway(PROTOCOL_ERROR)),
    case("an empty name", || with(&[("", "y")]), Goaway(PROTOCOL_ERROR)),
    case("a space in a name", || with(&[("x a", "y")]), Goaway(PROTOCOL_ERROR)),
    case("a colon in a name", || with(&[("x:a", "y")]), Goaway(PROTOCOL_ERROR)),
    case("a NUL in a name", || with(&[("x\0a", "y")]), Goaway(PROTOCOL_ERROR)),
    case("octets above 0x7f in a name", || with(&[("x\u{e4}", "y")]), Goaway(PROTOCOL_ERROR)),
    case(
        "CR LF in a name: a request within",
        || with(&[("x: y\r\n\r\nGET /smuggled HTTP/1.1\r\nhost", "web")]),
        Goaway(PROTOCOL_ERROR),
    ),
    case(
        "CR LF in a value: a field within",
        || with(&[("x", "y\r\ntransfer-encoding: chunked")]),
        Goaway(PROTOCOL_ERROR),
    ),
    case(
        "CR LF in a value: a request within",
        || with(&[("x", "y\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: web\r\n\r\n")]),
        Goaway(PROTOCOL_ERROR),
    ),
    case("LF in a value", || with(&[("x", "y\nz: 1")]), Goaway(PROTOCOL_ERROR)),
    case("CR in a value", || with(&[("x", "y\rz: 1")]), Goaway(PROTOCOL_ERROR)),
    case("NUL in a value", || with(&[("x", "y\0z")]), Goaway(PROTOCOL_ERROR)),
    case(
        "CR LF in a crumb of `cookie`",
        || with(&[("cookie", "a=1"), ("cookie", "b=2\r\nx: y")]),
        Goaway(PROTOCOL_ERROR),
    ),
    case(
        "crumbs of `cookie`: joined",
        || with(&[("cookie", "a=1"), ("cookie", "b=2")]),
        Passes(&["GET / | cookie: a=1; b=2; host: web"]),
    ),
    // --- pseudo-headers ---
    case(
        "a pseudo-header after a field",
        || {
            raw(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "web"),
                ("x", "y"),
                (":path", "/"),
            ])
        },
        Stream(PROTOCOL_ERROR),
    ),
    case("two `:path`s", || with(&[(":path", "/smuggled")]), Stream(PROTOCOL_ERROR)),
    case("two `:method`s", || with(&[(":method", "POST")]), Stream(PROTOCOL_ERROR)),
    case("two `:authority`s", || with(&[(":authority", "evil")]), Stream(PROTOCOL_ERROR)),
    case("a pseudo-header nobody knows", || with(&[(":evil", "y")]), Goaway(PROTOCOL_ERROR)),
    case("`:status` in a request", || with(&[(":status", "200")]), Stream(PROTOCOL_ERROR)),
    case(
        "no `:method`",
        || raw(&[(":scheme", "http"), (":authority", "web"), (":path", "/")]),
        Stream(PROTOCOL_ERROR),
    ),
    case(
        "no `:scheme`",
        || raw(&[(":method", "GET"), (":authority", "web"), (":path", "/")]),
        Stream(PROTOCOL_ERROR),
    ),
    case(
        "no `:path`",
        || raw(&[(":method", "GET"), (":scheme", "http"), (":authority", "web")]),
        Stream(PROTOCOL_ERROR),
    ),
    case(
        "`:protocol` without CONNECT",
        || with(&[(":protocol", "websocket")]),
        Stream(PROTOCOL_ERROR),
    ),
    case("an empty `:path`", || get("", "web"), Stream(PROTOCOL_ERROR)),
    case("a `:path` without a slash", || get("x", "web"), Stream(PROTOCOL_ERROR)),
    case(
        "a `:path` of another host: `http://evil/`",
        || get("http://evil/", "web"),
        Stream(PROTOCOL_ERROR),
    ),
    case("`:path: *` with GET", || get("*", "web"), Status(400)),
    case(
        "a space in `:path`: a request line within",
        || get("/ HTTP/1.1\r\nhost: evil\r\n\r\nGET /smuggled", "web"),
        Stream(PROTOCOL_ERROR),
    ),
    case("CR LF in `:path`", || get("/\r\nx:y", "web"), Stream(PROTOCOL_ERROR)),
    case("NUL in `:path`", || get("/\0", "web"), Stream(PROTOCOL_ERROR)),
    case(
        "a fragment in `:path`: it ends here",
        || get("/a#b", "web"),
        Passes(&["GET /a | host: web"]),
    ),
    case(
        "a request line in `:method`",
        || method("GET /smuggled HTTP/1.1\r\nx:"),
        Goaway(PROTOCOL_ERROR),
    ),
    case("a space in `:method`", || method("GET /smuggled"), Goaway(PROTOCOL_ERROR)),
    case("an empty `:method`", || method(""), Goaway(PROTOCOL_ERROR)),
    case(
        "a URI in `:scheme`",
        || {
            raw(&[
                (":method", "GET"),
                (":scheme", "http://evil/?"),
                (":authority", "web"),
                (":path", "/"),
            ])
        },
        Stream(PROTOCOL_ERROR),
    ),
    // --- whom it is for ---
    case("`:authority` and another `host`", || with(&[("host", "evil")]), Status(400)),
    case("`:authority` and the same `host`", || with(&[("host", "web")]), Passes(PLAIN)),
    case("two `host`s", || with(&[("host", "web"), ("host", "web")]), Status(400)),
    case(
        "`host` without `:authority`, as is allowed",
        || raw(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "web")]),
        Passes(PLAIN),
    ),
    case(
        "neither `:authority` nor `host`",
        || raw(&[(":method", "GET"), (":scheme", "http"), (":path", "/")]),
        Status(400),
    ),
    case("user information in `:authority`", || get("/", "evil@web"), Status(400)),
    case("a list in `:authority`", || get("/", "web,evil"), Status(400)),
    case("a path in `:authority`", || get("/", "web/evil"), Stream(PROTOCOL_ERROR)),
    case("a space in `:authority`", || get("/", "web evil"), Stream(PROTOCOL_ERROR)),
    case("CR LF in `:authority`", || get("/", "web\r\nx: y"), Stream(PROTOCOL_ERROR)),
    case("a port in `:authority` that is none", || get("/", "web:80evil"), Status(400)),
    // --- lengths ---
    case(
        "H2.CL: more DATA than `content-length` says, and a request in it",
        || {
            let head = post(&[("content-length", "3")]);
            [head, data(1, b"abcGET /smuggled HTTP/1.1\r\nhost: web\r\n\r\n", true)].concat()
        },
        Stream(PROTOCOL_ERROR),
    ),
    case(
        "less DATA than `content-length` says",
        || [post(&[("content-length", "30")]), data(1, b"abc", true)].concat(),
        Stream(PROTOCOL_ERROR),
    ),
    case(
        "`content-length: 0` and DATA",
        || {
            let head = post(&[("content-length", "0")]);
            [head, data(1, b"GET /smuggled HTTP/1.1\r\nhost: web\r\n\r\n", true)].concat()
        },
        Stream(PROTOCOL_ERROR),
    ),
    case(
        "`content-length: 5` and no DATA",
        || with(&[("content-length", "5")]),
        Stream(PROTOCOL_ERROR),
    ),
    case(
        "two `content-length`s that differ",
        || {
            let head = post(&[("content-length", "3"), ("content-length", "30")]);
            [head, data(1, b"abc", true)].concat()
        },
        Stream(PROTOCOL_ERROR),
    ),
    case(
        "`content-length: +3`",
        || [post(&[("content-length", "+3")]), data(1, b"abc", true)].concat(),
        Stream(PROTOCOL_ERROR),
    ),
    case(
        "`content-length: 3, 3`",
        || [post(&[("content-length", "3, 3")]), data(1, b"abc", true)].concat(),
        Stream(PROTOCOL_ERROR),
    ),
    case(
        "a body of the right length",
        || [post(&[("content-length", "3")]), data(1, b"abc", true)].concat(),
        Passes(&["POST / | content-length: 3; host: web | abc"]),
    ),
    // --- trailers ---
    case(
        "a pseudo-header in trailers: it ends here",
        || {
            [post(&[]), data(1, b"abc", false), headers(1, &[(":path", "/smuggled")], true)]
                .concat()
        },
        Passes(&["POST / | host: web; transfer-encoding: chunked | abc"]),
    ),
    case(
        "CR LF in a trailer",
        || {
            [
                post(&[]),
                data(1, b"abc", false),
                headers(1, &[("x", "y\r\n\r\nGET /smuggled")], true),
            ]
            .concat()
        },
        Goaway(PROTOCOL_ERROR),
    ),
    case(
        "trailers that do not end the stream",
        || [post(&[]), data(1, b"abc", false), headers(1, &[("x", "y")], false)].concat(),
        Stream(PROTOCOL_ERROR),
    ),
    case(
        "trailers named like framing and `host`: they end here",
        || {
            let trailers = [("content-length", "50"), ("host", "evil"), ("x-t", "1")];
            let head = post(&[("trailer", "x-t, host, content-length")]);
            [head, data(1, b"abc", false), headers(1, &trailers, true)].concat()
        },
        Passes(&[
            "POST / | trailer: x-t, host, content-length; host: web; transfer-encoding: chunked | abc | x-t: 1",
        ]),
    ),
];

const START: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "web"), (":path", "/")];

/// A GET with more fields.
fn with(more: &[(&str, &str)]) -> Vec<u8> {
    raw(&[&START, more].concat())
}

/// Just these fields.
fn raw(fields: &[(&str, &str)]) -> Vec<u8> {
    headers(1, fields, true)
}

fn get(path: &str, authority: &str) -> Vec<u8> {
    raw(&[(":method", "GET"), (":scheme", "http"), (":authority", authority), (":path", path)])
}

fn method(method: &str) -> Vec<u8> {
    raw(&[(":method", method), (":scheme", "http"), (":authority", "web"), (":path", "/")])
}

/// The head of a POST whose body is to follow.
fn post(more: &[(&str, &str)]) -> Vec<u8> {
    let start = [(":method", "POST"), (":scheme", "http"), (":authority", "web"), (":path", "/")];
    headers(1, &[&start, more].concat(), false)
}
