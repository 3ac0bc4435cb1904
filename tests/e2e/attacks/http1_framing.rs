//! Where a request's body ends: request smuggling, by each way in which two readers have disagreed.

use super::outcome::Outcome::{Cut, Last, Refused, Stops};
use super::outcome::{Case, case, made, passes};

const CHUNKED: &[&str] = &["POST / | host: web; transfer-encoding: chunked | abc"];
const BEGUN_ABC: &[&str] = &["POST / | host: web; transfer-encoding: chunked | abc ..."];

const BEGUN_TRAILER: &[&str] =
    &["POST / | host: web; trailer: x; transfer-encoding: chunked | abc ..."];

pub(super) const CASES: &[Case] = &[
    // --- two framings ---
    case(
        "CL.TE: `Content-Length`, then `Transfer-Encoding: chunked`",
        b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n\
          0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n",
        Refused(400),
    ),
    case(
        "TE.CL: `Transfer-Encoding: chunked`, then `Content-Length`",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n\
          28\r\nGET /smuggled HTTP/1.1\r\nHost: web\r\nX: y\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "CL.TE in one field's fold: `Content-Length`, and `Transfer-Encoding` on a folded line",
        b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n\
          0\r\n\r\n",
        Refused(400),
    ),
    case(
        "`Content-Length: 0` beside `Transfer-Encoding: chunked`",
        b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n\
          0\r\n\r\n",
        Refused(400),
    ),
    case(
        "both framings on the second request of a connection",
        b"GET /first HTTP/1.1\r\nHost: web\r\n\r\n\
          POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n\
          0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n",
        Stops { arrives: &["GET /first | host: web"], status: 400 },
    ),
    // --- obfuscated codings ---
    case(
        "TE.TE: `Transfer-Encoding: xchunked`",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "TE.TE: `chunked, identity`",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "TE.TE: `identity`",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: identity\r\n\r\n",
        Refused(400),
    ),
    case(
        "TE.TE: `gzip, chunked`, a coding that would be lost on the way",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "TE.TE: `chunked, chunked`",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "TE.TE: two fields, `chunked` and `identity`",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n\
          0\r\n\r\n",
        Refused(400),
    ),
    case(
        "TE.TE: two fields, `identity` and `chunked`",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n\
          0\r\n\r\n",
        Refused(400),
    ),
    case(
        "TE.TE: two fields, both `chunked`",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n\
          0\r\n\r\n",
        Refused(400),
    ),
    case(
        "TE.TE: an empty `Transfer-Encoding`",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "TE.TE: `, chunked`, an empty coding first",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: , chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "TE.TE: `chunked;q=1`, a parameter",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "TE.TE: `\"chunked\"` in quotes",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "TE.TE: a vertical tab before `chunked`",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "TE.TE: an octet above 0x7f after `chunked`",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\xa0\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "TE.TE: a space before the colon of `Transfer-Encoding`",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "TE.TE: a tab before the colon of `Transfer-Encoding`",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "TE.TE: `chunked` on a folded line",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "`Transfer-Encoding: chunked` in HTTP/1.0",
        b"POST / HTTP/1.0\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n\
          0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n",
        Refused(400),
    ),
    passes(
        "`CHUNKED` in capitals",
        b"POST / HTTP/1.1\r\nHost: web\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        CHUNKED,
    ),
    passes(
        "a tab between the colon and `chunked`, as is allowed",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding:\tchunked \t\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        CHUNKED,
    ),
    passes(
        "`Transfer_Encoding` with an underscore: another field, which says nothing here",
        b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\nTransfer_Encoding: chunked\r\n\r\nabc",
        &["POST / | host: web; content-length: 3; transfer_encoding: chunked | abc"],
    ),
    // --- lengths ---
    case(
        "two `Content-Length`s that differ",
        b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        Refused(400),
    ),
    passes(
        "two `Content-Length`s that say the same",
        b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        &["POST / | host: web; content-length: 3 | abc"],
    ),
    case(
        "`Content-Length: 5, 6`",
        b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5, 6\r\n\r\nabcdef",
        Refused(400),
    ),
    case(
        "`Content-Length: 3, 3`",
        b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 3, 3\r\n\r\nabc",
        Refused(400),
    ),
    case(
        "`Content-Length: +5`",
        b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: +5\r\n\r\nabcde",
        Refused(400),
    ),
    case(
        "`Content-Length: -1`",
        b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: -1\r\n\r\n",
        Refused(400),
    ),
    case(
        "`Content-Length: 0x5`",
        b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 0x5\r\n\r\nabcde",
        Refused(400),
    ),
    case(
        "`Content-Length: 5 5`",
        b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5 5\r\n\r\nabcde",
        Refused(400),
    ),
    case(
        "`Content-Length: 1e1`",
        b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 1e1\r\n\r\nabcdefghij",
        Refused(400),
    ),
    case(
        "`Content-Length: five`",
        b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: five\r\n\r\n",
        Refused(400),
    ),
    case(
        "an empty `Content-Length`",
        b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length:\r\n\r\n",
        Refused(400),
    ),
    case(
        "a `Content-Length` of 2^64",
        b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 18446744073709551616\r\n\r\n",
        Refused(400),
    ),
    case(
        "a `Content-Length` of 2^64 - 1",
        b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 18446744073709551615\r\n\r\n",
        Refused(400),
    ),
    case(
        "a space before the colon of `Content-Length`",
        b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length : 3\r\n\r\nabc",
        Refused(400),
    ),
    passes(
        "a `Content-Length` with spaces around it, as is allowed",
        b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: \t 3 \t\r\n\r\nabc",
        &["POST / | host: web; content-length: 3 | abc"],
    ),
    passes(
        "a GET with a body",
        b"GET / HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\n\r\nabc",
        &["GET / | host: web; content-length: 3 | abc"],
    ),
    passes(
        "a POST with neither length nor chunks, and a request behind it",
        b"POST / HTTP/1.1\r\nHost: web\r\n\r\nGET /second HTTP/1.1\r\nHost: web\r\n\r\n",
        &["POST / | host: web", "GET /second | host: web"],
    ),
    case(
        "an HTTP/1.0 POST without a length, and a request behind it",
        b"POST / HTTP/1.0\r\nHost: web\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n",
        Last { arrives: &["POST / | host: web"] },
    ),
    // --- chunks ---
    case(
        "a chunk's size that is no number",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nabc\r\n0\r\n\r\n\
          GET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n",
        Refused(400),
    ),
    case(
        "a chunk of `0x3`",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "a chunk of `+3`",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "a chunk of `-1`",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "a chunk of 2^64",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "a chunk whose size overflows into 3",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\nF0000000000000003\r\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "a space before a chunk's size",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "a line without a size",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "a bare LF after a chunk's size",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "a bare CR after a chunk's size",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\rabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "a bare LF in a chunk's extension",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3;a\nb\r\nabc\r\n0\r\n\r\n",
        Refused(400),
    ),
    case(
        "more octets than the chunk's size",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n\
          GET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n",
        Cut { arrives: BEGUN_ABC, status: 400 },
    ),
    case(
        "a bare LF after a chunk's octets",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n",
        Cut { arrives: BEGUN_ABC, status: 400 },
    ),
    made("chunk extensions of 100 KiB", endless_extension, Refused(400)),
    passes(
        "a chunk's extension: it ends here",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b;c\"\r\nabc\r\n0;d\r\n\r\n",
        CHUNKED,
    ),
    passes(
        "a chunk's size with zeros before it",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n0003\r\nabc\r\n000\r\n\r\n",
        CHUNKED,
    ),
    // --- trailers ---
    passes(
        "trailers named like framing, `Host` and credentials: they end here",
        b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\
          Trailer: content-length, transfer-encoding, host, authorization, x-t\r\n\r\n3\r\nabc\r\n0\r\n\
          Content-Length: 50\r\nTransfer-Encoding: chunked\r\nHost: evil\r\nAuthorization: x\r\nX-T: 1\r\n\r\n",
        &["POST / | host: web; trailer: content-length, transfer-encoding, host, authorization, x-t; \
           transfer-encoding: chunked | abc | x-t: 1"],
    ),
    case(
        "a trailer with a bare LF",
        b"POST / HTTP/1.1\r\nHost: web\r\nTrailer: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\
          X: y\nGET /smuggled HTTP/1.1\r\n\r\n",
        Cut { arrives: BEGUN_TRAILER, status: 400 },
    ),
    case(
        "a folded trailer",
        b"POST / HTTP/1.1\r\nHost: web\r\nTrailer: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\
          X: y\r\n z\r\n\r\n",
        Cut { arrives: BEGUN_TRAILER, status: 400 },
    ),
    made("trailers of 1 MiB", endless_trailers, Cut { arrives: BEGUN_ABC, status: 400 }),
];

fn endless_extension() -> Vec<u8> {
    let head = "POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n";
    format!("{head}3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(100 << 10)).into_bytes()
}

fn endless_trailers() -> Vec<u8> {
    let head =
        "POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n";
    format!("{head}{}\r\n", "X: y\r\n".repeat((1 << 20) / 6)).into_bytes()
}
