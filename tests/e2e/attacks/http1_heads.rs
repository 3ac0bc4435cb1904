//! What a request's head says: lines, names, values, targets, whom it is for, and how much of it there is.

use super::outcome::Outcome::{Closed, Last, Refused, Stops};
use super::outcome::{Case, case, made, passes};

const PLAIN: &[&str] = &["GET / | host: web"];

pub(super) const CASES: &[Case] = &[
    // --- lines ---
    case(
        "obs-fold: a field's value on two lines",
        b"GET / HTTP/1.1\r\nHost: web\r\nX: a\r\n b\r\n\r\n",
        Refused(400),
    ),
    case(
        "obs-fold by a tab",
        b"GET / HTTP/1.1\r\nHost: web\r\nX: a\r\n\tb\r\n\r\n",
        Refused(400),
    ),
    case("a space before the first field", b"GET / HTTP/1.1\r\n Host: web\r\n\r\n", Refused(400)),
    case(
        "a line of a space in the head",
        b"GET / HTTP/1.1\r\nHost: web\r\n \r\nX: y\r\n\r\n",
        Refused(400),
    ),
    passes("bare LF as lines' ends: mended", b"GET / HTTP/1.1\nHost: web\n\n", PLAIN),
    case(
        "a bare CR in a value",
        b"GET / HTTP/1.1\r\nHost: web\r\nX: a\rGET /smuggled\r\n\r\n",
        Refused(400),
    ),
    case(
        "a bare CR for the head's end",
        b"GET / HTTP/1.1\r\nHost: web\r\n\rX: y\r\n\r\n",
        Refused(400),
    ),
    case("a NUL in a value", b"GET / HTTP/1.1\r\nHost: web\r\nX: a\0b\r\n\r\n", Refused(400)),
    case("a NUL in a name", b"GET / HTTP/1.1\r\nHost: web\r\nX\0: a\r\n\r\n", Refused(400)),
    case("a DEL in a value", b"GET / HTTP/1.1\r\nHost: web\r\nX: a\x7fb\r\n\r\n", Refused(400)),
    passes(
        "empty lines before the request: passed over",
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: web\r\n\r\n",
        PLAIN,
    ),
    case("a space before the request line", b" GET / HTTP/1.1\r\nHost: web\r\n\r\n", Refused(400)),
    // --- names ---
    case("a space before a colon", b"GET / HTTP/1.1\r\nHost : web\r\n\r\n", Refused(400)),
    case(
        "a space before another field's colon",
        b"GET / HTTP/1.1\r\nHost: web\r\nX-A : y\r\n\r\n",
        Refused(400),
    ),
    case("an empty name", b"GET / HTTP/1.1\r\nHost: web\r\n: y\r\n\r\n", Refused(400)),
    case("a field without a colon", b"GET / HTTP/1.1\r\nHost: web\r\nX\r\n\r\n", Refused(400)),
    case("a name with a slash", b"GET / HTTP/1.1\r\nHost: web\r\nX/Y: a\r\n\r\n", Refused(400)),
    case("a name with `@`", b"GET / HTTP/1.1\r\nHost: web\r\nX@Y: a\r\n\r\n", Refused(400)),
    case("a name in quotes", b"GET / HTTP/1.1\r\nHost: web\r\n\"X\": a\r\n\r\n", Refused(400)),
    case(
        "a name with octets above 0x7f",
        b"GET / HTTP/1.1\r\nHost: web\r\nX\xc3\xa4: a\r\n\r\n",
        Refused(400),
    ),
    case(
        "a name like a pseudo-header of HTTP/2",
        b"GET / HTTP/1.1\r\nHost: web\r\n:authority: evil\r\n\r\n",
        Refused(400),
    ),
    passes(
        "a value with octets above 0x7f: as it is",
        b"GET / HTTP/1.1\r\nHost: web\r\nX: \xe4\r\n\r\n",
        &["GET / | host: web; x: \u{e4}"],
    ),
    // --- the request line ---
    case("HTTP/0.9", b"GET /\r\n\r\n", Refused(400)),
    case("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: web\r\n\r\n", Refused(400)),
    case("HTTP/2.0 in HTTP/1's form", b"GET / HTTP/2.0\r\nHost: web\r\n\r\n", Refused(400)),
    case("`http/1.1` in small letters", b"GET / http/1.1\r\nHost: web\r\n\r\n", Refused(400)),
    case("a version with a space behind it", b"GET / HTTP/1.1 \r\nHost: web\r\n\r\n", Refused(400)),
    case(
        "a preface of HTTP/2 that breaks off into something else",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n",
        Closed,
    ),
    case("no target", b"GET HTTP/1.1\r\nHost: web\r\n\r\n", Refused(400)),
    case("two spaces before the target", b"GET  / HTTP/1.1\r\nHost: web\r\n\r\n", Refused(400)),
    case("a tab before the target", b"GET\t/ HTTP/1.1\r\nHost: web\r\n\r\n", Refused(400)),
    case(
        "a space in the target, and a request in what follows",
        b"GET / HTTP/1.1 /smuggled HTTP/1.1\r\nHost: web\r\n\r\n",
        Refused(400),
    ),
    case("a NUL in the target", b"GET /a\0b HTTP/1.1\r\nHost: web\r\n\r\n", Refused(400)),
    case("a method that is no token", b"G@T / HTTP/1.1\r\nHost: web\r\n\r\n", Refused(400)),
    case("a method with a colon", b"GET:X / HTTP/1.1\r\nHost: web\r\n\r\n", Refused(400)),
    passes(
        "a method nobody knows: as it is",
        b"FROBNICATE / HTTP/1.1\r\nHost: web\r\n\r\n",
        &["FROBNICATE / | host: web"],
    ),
    passes(
        "a method in small letters: as it is, it is another",
        b"get / HTTP/1.1\r\nHost: web\r\n\r\n",
        &["get / | host: web"],
    ),
    passes(
        "a fragment in the target: it ends here",
        b"GET /a#b HTTP/1.1\r\nHost: web\r\n\r\n",
        &["GET /a | host: web"],
    ),
    // --- whom it is for ---
    case("no `Host`", b"GET / HTTP/1.1\r\n\r\n", Refused(400)),
    case(
        "two `Host`s that differ",
        b"GET / HTTP/1.1\r\nHost: web\r\nHost: evil\r\n\r\n",
        Refused(400),
    ),
    case(
        "two `Host`s that say the same",
        b"GET / HTTP/1.1\r\nHost: web\r\nHost: web\r\n\r\n",
        Refused(400),
    ),
    case("two `Host`s in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: web\r\nHost: evil\r\n\r\n", Refused(400)),
    case("a list in `Host`", b"GET / HTTP/1.1\r\nHost: web, evil\r\n\r\n", Refused(400)),
    case("a space in `Host`", b"GET / HTTP/1.1\r\nHost: web evil\r\n\r\n", Refused(400)),
    case("a path in `Host`", b"GET / HTTP/1.1\r\nHost: web/evil\r\n\r\n", Refused(400)),
    case("user information in `Host`", b"GET / HTTP/1.1\r\nHost: evil@web\r\n\r\n", Refused(400)),
    case("a port in `Host` that is none", b"GET / HTTP/1.1\r\nHost: web:80evil\r\n\r\n", Refused(400)),
    case("octets above 0x7f in `Host`", b"GET / HTTP/1.1\r\nHost: w\xc3\xa4b\r\n\r\n", Refused(400)),
    passes("an IPv6 address in `Host`", b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", &["GET / | host: [::1]:80"]),
    passes("an empty `Host`, as is allowed", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", &["GET / | host: "]),
    passes(
        "absolute-form that disagrees with `Host`: the target's counts (RFC 9112, 3.2.2)",
        b"GET http://web/x HTTP/1.1\r\nHost: evil\r\n\r\n",
        &["GET http://web/x | host: web"],
    ),
    case(
        "absolute-form without `Host`",
        b"GET http://web/x HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    case(
        "absolute-form with user information",
        b"GET http://web@evil/x HTTP/1.1\r\nHost: web\r\n\r\n",
        Refused(400),
    ),
    case("authority-form without CONNECT", b"GET web:80 HTTP/1.1\r\nHost: web\r\n\r\n", Refused(400)),
    case("a target without a slash", b"GET x HTTP/1.1\r\nHost: web\r\n\r\n", Refused(400)),
    case("asterisk-form without OPTIONS", b"GET * HTTP/1.1\r\nHost: web\r\n\r\n", Refused(400)),
    passes(
        "asterisk-form with OPTIONS",
        b"OPTIONS * HTTP/1.1\r\nHost: web\r\n\r\n",
        &["OPTIONS * | host: web"],
    ),
    case("CONNECT with a path", b"CONNECT /x HTTP/1.1\r\nHost: web\r\n\r\n", Refused(400)),
    case("CONNECT with an absolute URI", b"CONNECT http://web/ HTTP/1.1\r\nHost: web\r\n\r\n", Refused(400)),
    // --- what ends at this hop ---
    passes(
        "`Connection` that names `Host` and `Content-Length`: they stay",
        b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\nConnection: host, content-length\r\n\r\nabc",
        &["POST / | host: web; content-length: 3 | abc"],
    ),
    passes(
        "`Connection: close, x-a` and its relatives: they end here",
        b"GET / HTTP/1.1\r\nHost: web\r\nConnection: keep-alive, x-a\r\nX-A: 1\r\nKeep-Alive: timeout=9\r\n\
          Proxy-Connection: keep-alive\r\nTE: gzip\r\n\r\n",
        PLAIN,
    ),
    passes(
        "`Upgrade: h2c`: not asked of the backend, or it would answer what no rule has seen",
        b"GET / HTTP/1.1\r\nHost: web\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
          HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
        PLAIN,
    ),
    passes(
        "`Upgrade: websocket, H2C`",
        b"GET / HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket, H2C\r\n\r\n",
        PLAIN,
    ),
    passes(
        "`Upgrade: TLS/1.2`",
        b"GET / HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2\r\n\r\n",
        PLAIN,
    ),
    passes(
        "`Upgrade` that `Connection` does not name",
        b"GET / HTTP/1.1\r\nHost: web\r\nUpgrade: websocket\r\n\r\n",
        PLAIN,
    ),
    passes(
        "a refused upgrade with a request behind it: the request is one",
        b"GET /up HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\
          GET /second HTTP/1.1\r\nHost: web\r\n\r\n",
        &["GET /up | host: web; upgrade: websocket; connection: upgrade", "GET /second | host: web"],
    ),
    // --- HTTP/1.0 ---
    case(
        "HTTP/1.0 without `Host`: it goes on with an empty one",
        b"GET / HTTP/1.0\r\n\r\n",
        Last { arrives: &["GET / | host: "] },
    ),
    case(
        "`Upgrade` in HTTP/1.0, which knows none",
        b"GET / HTTP/1.0\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        Last { arrives: PLAIN },
    ),
    case(
        "HTTP/1.0, and a request behind it",
        b"GET / HTTP/1.0\r\nHost: web\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n",
        Last { arrives: PLAIN },
    ),
    passes(
        "HTTP/1.0 that asks to be kept alive, and a request behind it",
        b"GET / HTTP/1.0\r\nHost: web\r\nConnection: keep-alive\r\n\r\nGET /second HTTP/1.1\r\nHost: web\r\n\r\n",
        &["GET / | host: web", "GET /second | host: web"],
    ),
    // --- one behind the other ---
    case(
        "a request behind a bad one",
        b"GET / HTTP/1.1\r\nHost: web\r\nX : y\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n",
        Refused(400),
    ),
    case(
        "a bad one between two",
        b"GET / HTTP/1.1\r\nHost: web\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n\
          GET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n",
        Stops { arrives: PLAIN, status: 400 },
    ),
    case(
        "a request behind one that says `Connection: close`",
        b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n",
        Last { arrives: PLAIN },
    ),
    // --- how much ---
    made("a field of 1 MiB", large_field, Refused(431)),
    made("1 000 fields", many_fields, Refused(431)),
    made("fields without end", endless_fields, Refused(431)),
    made("a name of 1 MiB", large_name, Refused(431)),
    made("a target of 1 MiB", large_target, Refused(431)),
];

fn large_field() -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: web\r\nX: {}\r\n\r\n", "y".repeat(1 << 20)).into_bytes()
}

fn many_fields() -> Vec<u8> {
    let fields: String = (0..1000).map(|n| format!("X-{n}: y\r\n")).collect();
    format!("GET / HTTP/1.1\r\nHost: web\r\n{fields}\r\n").into_bytes()
}

fn endless_fields() -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: web\r\n{}", "X: y\r\n".repeat(200_000)).into_bytes()
}

fn large_name() -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: web\r\n{}: y\r\n\r\n", "X".repeat(1 << 20)).into_bytes()
}

fn large_target() -> Vec<u8> {
    format!("GET /{} HTTP/1.1\r\nHost: web\r\n\r\n", "y".repeat(1 << 20)).into_bytes()
}
