//! Frames of HTTP/2 that must not be, or not there; and header blocks that cannot be decoded.

use nodeway_tests::h2::{
    ACK, END_HEADERS, END_STREAM, PADDED, PREFACE, block, cancel, data, frame, get, headers, kind,
    settings, window,
};

use super::http2::{Case, Outcome::*, case};

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const FRAME_SIZE_ERROR: u32 = 6;
const ENHANCE_YOUR_CALM: u32 = 11;

/// SETTINGS_ENABLE_PUSH, SETTINGS_INITIAL_WINDOW_SIZE, SETTINGS_MAX_FRAME_SIZE.
const PUSH: u16 = 2;
const WINDOW: u16 = 4;
const FRAME: u16 = 5;

pub(super) const CASES: &[Case] = &[
    // --- streams ---
    case("HEADERS on stream 0", || get(0, "/"), Goaway(PROTOCOL_ERROR)),
    case("HEADERS on a stream of the server's", || get(2, "/"), Goaway(PROTOCOL_ERROR)),
    case(
        "a stream's number below the last one",
        || [get(5, "/"), get(3, "/smuggled")].concat(),
        Goaway(PROTOCOL_ERROR),
    ),
    case("DATA on stream 0", || data(0, b"x", false), Goaway(PROTOCOL_ERROR)),
    case("DATA on a stream that is not open", || data(1, b"x", false), Goaway(PROTOCOL_ERROR)),
    case(
        "DATA after the stream's end",
        || [get(1, "/"), data(1, b"GET /smuggled HTTP/1.1\r\n\r\n", true)].concat(),
        Goaway(PROTOCOL_ERROR),
    ),
    case("RST_STREAM on stream 0", || cancel(0), Goaway(PROTOCOL_ERROR)),
    case("RST_STREAM on a stream that is not open", || cancel(1), Goaway(PROTOCOL_ERROR)),
    case(
        "RST_STREAM of 3 octets",
        || frame(kind::RST_STREAM, 0, 1, &[0; 3]),
        Goaway(PROTOCOL_ERROR),
    ),
    case(
        "PUSH_PROMISE from a client",
        || frame(kind::PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
        Goaway(PROTOCOL_ERROR),
    ),
    case(
        "PRIORITY that depends on itself",
        || frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 1, 0]),
        Stream(PROTOCOL_ERROR),
    ),
    case("PRIORITY of 4 octets", || frame(kind::PRIORITY, 0, 1, &[0; 4]), Goaway(PROTOCOL_ERROR)),
    case(
        "a frame of a type nobody knows: passed over",
        || [frame(0xfe, 0xff, 1, b"GET /smuggled HTTP/1.1\r\n\r\n"), get(1, "/")].concat(),
        Passes(&["GET / | host: web"]),
    ),
    // --- the connection ---
    case(
        "an HTTP/1 request after the preface",
        || b"GET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n".to_vec(),
        Goaway(FRAME_SIZE_ERROR),
    ),
    case("the preface a second time", || PREFACE.to_vec(), Goaway(FRAME_SIZE_ERROR)),
    case("a frame above 16 384 octets", || data(1, &[0; 16_385], false), Goaway(FRAME_SIZE_ERROR)),
    case("SETTINGS of 5 octets", || frame(kind::SETTINGS, 0, 0, &[0; 5]), Goaway(PROTOCOL_ERROR)),
    case("SETTINGS on a stream", || frame(kind::SETTINGS, 0, 1, &[]), Goaway(PROTOCOL_ERROR)),
    case(
        "an acknowledgement of SETTINGS with settings",
        || frame(kind::SETTINGS, ACK, 0, &[0, 3, 0, 0, 0, 1]),
        Goaway(PROTOCOL_ERROR),
    ),
    case("a window of 2^31 in SETTINGS", || settings(&[(WINDOW, 1 << 31)]), Goaway(PROTOCOL_ERROR)),
    case("a frame size of 1 in SETTINGS", || settings(&[(FRAME, 1)]), Goaway(PROTOCOL_ERROR)),
    case("ENABLE_PUSH of 2 in SETTINGS", || settings(&[(PUSH, 2)]), Goaway(PROTOCOL_ERROR)),
    case("PING of 7 octets", || frame(kind::PING, 0, 0, &[0; 7]), Goaway(PROTOCOL_ERROR)),
    case("PING on a stream", || frame(kind::PING, 0, 1, &[0; 8]), Goaway(PROTOCOL_ERROR)),
    case(
        "padding longer than its frame",
        || [open(), frame(kind::DATA, PADDED, 1, &[9, 0])].concat(),
        Goaway(PROTOCOL_ERROR),
    ),
    // --- windows ---
    case("WINDOW_UPDATE of 0 for the connection", || window(0, 0), Goaway(PROTOCOL_ERROR)),
    case(
        "WINDOW_UPDATE of 0 for a stream",
        || [open(), window(1, 0)].concat(),
        Goaway(PROTOCOL_ERROR),
    ),
    case(
        "a connection's window beyond 2^31 - 1",
        || window(0, 0x7fff_ffff),
        Goaway(FLOW_CONTROL_ERROR),
    ),
    case(
        "a stream's window beyond 2^31 - 1",
        || [open(), window(1, 0x7fff_ffff)].concat(),
        Stream(FLOW_CONTROL_ERROR),
    ),
    case(
        "WINDOW_UPDATE of 3 octets",
        || frame(kind::WINDOW_UPDATE, 0, 0, &[0; 3]),
        Goaway(PROTOCOL_ERROR),
    ),
    case("WINDOW_UPDATE on a stream that is not open", || window(1, 1), Goaway(PROTOCOL_ERROR)),
    // --- header blocks ---
    case(
        "CONTINUATION without HEADERS",
        || frame(kind::CONTINUATION, END_HEADERS, 1, &[]),
        Goaway(PROTOCOL_ERROR),
    ),
    case(
        "DATA between HEADERS and CONTINUATION",
        || [frame(kind::HEADERS, 0, 1, &[]), data(1, b"x", false)].concat(),
        Goaway(PROTOCOL_ERROR),
    ),
    case(
        "CONTINUATION of another stream",
        || {
            [frame(kind::HEADERS, 0, 1, &[]), frame(kind::CONTINUATION, END_HEADERS, 3, &[])]
                .concat()
        },
        Goaway(PROTOCOL_ERROR),
    ),
    case(
        "a request cut into CONTINUATIONs of one octet",
        || {
            let fields =
                [(":method", "GET"), (":scheme", "http"), (":authority", "web"), (":path", "/")];
            let block = block(&fields);
            let (last, rest) = block.split_last().unwrap();
            let first = frame(kind::HEADERS, END_STREAM, 1, &[]);
            let rest = rest.iter().map(|octet| frame(kind::CONTINUATION, 0, 1, &[*octet]));
            let rest = rest.collect::<Vec<_>>().concat();
            [first, rest, frame(kind::CONTINUATION, END_HEADERS, 1, &[*last])].concat()
        },
        Goaway(ENHANCE_YOUR_CALM),
    ),
    case("an index beyond HPACK's tables", || head(&[0xff, 0xff, 0x7f]), Goaway(PROTOCOL_ERROR)),
    case("index 0 of HPACK's tables", || head(&[0x80]), Goaway(PROTOCOL_ERROR)),
    case("an HPACK integer without end", || head(&[0xff; 40]), Goaway(PROTOCOL_ERROR)),
    case(
        "an HPACK string longer than its block",
        || head(&[0, 0x7e, b'x']),
        Goaway(PROTOCOL_ERROR),
    ),
    case(
        "an HPACK table of 1 GiB",
        || head(&[0x3f, 0xe1, 0xff, 0xff, 0xff, 0x03]),
        Goaway(PROTOCOL_ERROR),
    ),
    case(
        "Huffman's EOS in a string",
        || head(&[0, 0x84, 0xff, 0xff, 0xff, 0xff, 0]),
        Goaway(PROTOCOL_ERROR),
    ),
    case(
        "a header list of 1 MiB in 64 frames",
        || {
            let start =
                [(":method", "GET"), (":scheme", "http"), (":authority", "web"), (":path", "/")];
            let long = "y".repeat(1 << 20);
            let block = block(&[&start[..], &[("x", &long)]].concat());
            let mut parts = block.chunks(16_384).peekable();
            let mut all = frame(kind::HEADERS, END_STREAM, 1, parts.next().unwrap());
            while let Some(part) = parts.next() {
                let last = if parts.peek().is_none() { END_HEADERS } else { 0 };
                all.extend(frame(kind::CONTINUATION, last, 1, part));
            }
            all
        },
        Goaway(ENHANCE_YOUR_CALM),
    ),
    case(
        "a header list of 80 KiB, in fields of 8 KiB",
        || {
            let long = "y".repeat(8 << 10);
            let mut block = block(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "web"),
                (":path", "/"),
            ]);
            (0..10).for_each(|_| block.extend(nodeway_tests::h2::block(&[("x", &long)])));
            let mut all = frame(kind::HEADERS, END_STREAM, 1, &block[..16_384]);
            let rest: Vec<_> = block[16_384..].chunks(16_384).collect();
            for (n, part) in rest.iter().enumerate() {
                let last = if n + 1 == rest.len() { END_HEADERS } else { 0 };
                all.extend(frame(kind::CONTINUATION, last, 1, part));
            }
            all
        },
        Status(431),
    ),
];

/// A POST whose body is to follow.
fn open() -> Vec<u8> {
    let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "web"), (":path", "/")];
    headers(1, &fields, false)
}

/// A request whose header block is these octets.
fn head(block: &[u8]) -> Vec<u8> {
    frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, block)
}
