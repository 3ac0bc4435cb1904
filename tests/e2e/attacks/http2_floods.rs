//! Floods and stalls of HTTP/2: what costs a client little must not cost the proxy, its other clients or its backend
//! much.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nodeway_tests::Plain;
use nodeway_tests::backend::Flood as Bodies;
use nodeway_tests::h2::{
    ACK, END_HEADERS, END_STREAM, Event, H2, block, cancel, data, frame, get, headers, kind,
    settings, window,
};
use nodeway_tests::http::{self, Conn};

use super::http1::{World, world};
use super::http2::name;

/// What an attack may add to the proxy's memory, at its worst moment.
const MOST_MEMORY: u64 = 24 << 20;
/// How long another client may have to wait, on a busy machine.
const LONGEST_WAIT: Duration = Duration::from_secs(3);
/// How many requests of one that resets them all may get as far as a backend.
const MOST_REQUESTS: u64 = 300;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// One line of the table.
pub(super) struct Case {
    /// What is sent, in words.
    pub what: &'static str,
    /// Sends it; gives up when the other side does.
    pub send: fn(&mut H2),
    /// What becomes of the connection.
    pub outcome: Outcome,
}

/// What becomes of the connection that it comes over. In all cases other clients are served meanwhile, and memory
/// stays within bounds.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    /// GOAWAY with this code, and closed.
    Goaway(u32),
    /// Closed, within seconds.
    Closed,
    /// So many streams are refused; it goes on.
    Refuses(usize),
    /// It goes on, and is served.
    GoesOn,
}

pub(super) const CASES: &[Case] = &[
    Case {
        what: "rapid reset (CVE-2023-44487): 50 000 times HEADERS and RST_STREAM, as fast as can be",
        send: |conn| {
            each(conn, 50_000, |n| [get(2 * n + 1, "/reset"), cancel(2 * n + 1)].concat());
        },
        outcome: Outcome::Goaway(ENHANCE_YOUR_CALM),
    },
    Case {
        what: "patient reset: each request is given the time to reach the backend, then reset",
        send: |conn| {
            for n in 0..3000 {
                if conn.send(get(2 * n + 1, "/silent")).is_err() {
                    return;
                }
                thread::sleep(Duration::from_millis(1));
                if conn.send(cancel(2 * n + 1)).is_err() {
                    return;
                }
            }
        },
        outcome: Outcome::Closed,
    },
    Case {
        what: "resets that the server is made to send (CVE-2025-8671): 50 000 requests, each with a fault",
        send: |conn| each(conn, 50_000, |n| headers(2 * n + 1, &[(":method", "GET")], true)),
        outcome: Outcome::Goaway(ENHANCE_YOUR_CALM),
    },
    Case {
        what: "CONTINUATION flood (CVE-2024-27316): a header block of 100 000 frames without end",
        send: |conn| {
            conn.send(frame(kind::HEADERS, END_STREAM, 1, &block(&[(":method", "GET")]))).ok();
            let part = block(&[("x", "y")]);
            each(conn, 100_000, |_| frame(kind::CONTINUATION, 0, 1, &part));
        },
        outcome: Outcome::Goaway(ENHANCE_YOUR_CALM),
    },
    Case {
        what: "empty CONTINUATION flood: 100 000 frames",
        send: |conn| {
            conn.send(frame(kind::HEADERS, END_STREAM, 1, &block(&[(":method", "GET")]))).ok();
            each(conn, 100_000, |_| frame(kind::CONTINUATION, 0, 1, &[]));
        },
        outcome: Outcome::Goaway(ENHANCE_YOUR_CALM),
    },
    Case {
        what: "SETTINGS flood: 20 000 frames",
        send: |conn| each(conn, 20_000, |_| settings(&[(4, 65_535)])),
        outcome: Outcome::GoesOn,
    },
    Case {
        what: "PING flood: 20 000 frames",
        send: |conn| each(conn, 20_000, |_| frame(kind::PING, 0, 0, &[7; 8])),
        outcome: Outcome::GoesOn,
    },
    Case {
        what: "PING acknowledgements that nobody asked for: 100 000",
        send: |conn| each(conn, 100_000, |_| frame(kind::PING, ACK, 0, &[7; 8])),
        outcome: Outcome::GoesOn,
    },
    Case {
        what: "PRIORITY flood: 100 000 frames",
        send: |conn| {
            each(conn, 100_000, |n| frame(kind::PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 1]));
        },
        outcome: Outcome::GoesOn,
    },
    Case {
        what: "WINDOW_UPDATE flood: 100 000 times 1 octet",
        send: |conn| each(conn, 100_000, |_| window(0, 1)),
        outcome: Outcome::GoesOn,
    },
    Case {
        what: "frames nobody knows: 100 000",
        send: |conn| each(conn, 100_000, |_| frame(0xfe, 0, 0, &[])),
        outcome: Outcome::GoesOn,
    },
    Case {
        what: "empty DATA flood: 100 000 frames of no octet on one stream",
        send: |conn| {
            conn.send(open(1)).ok();
            each(conn, 100_000, |_| data(1, &[], false));
        },
        outcome: Outcome::Goaway(ENHANCE_YOUR_CALM),
    },
    Case {
        what: "DATA of one octet, 100 000 frames",
        send: |conn| {
            conn.send(open(1)).ok();
            each(conn, 100_000, |_| data(1, b"x", false));
        },
        outcome: Outcome::Goaway(ENHANCE_YOUR_CALM),
    },
    Case {
        what: "an HPACK bomb: one field of 4 000 octets in the table, named 16 000 times in one block",
        send: |conn| {
            // A literal with incremental indexing, then references to it: index 62.
            let mut bomb = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/")]);
            bomb.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
            bomb.extend([b'y'; 4000]);
            bomb.extend([0xbe; 11_000]);
            let first = frame(kind::HEADERS, END_STREAM, 1, &bomb);
            conn.send([first, frame(kind::CONTINUATION, END_HEADERS, 1, &[0xbe; 5000])].concat())
                .ok();
        },
        outcome: Outcome::Goaway(ENHANCE_YOUR_CALM),
    },
    Case {
        what: "1 000 requests at once, whose bodies do not come",
        send: |conn| each(conn, 1000, |n| open(2 * n + 1)),
        outcome: Outcome::Refuses(800),
    },
];

/// As many frames as it takes, in batches, until the other side gives up.
fn each(conn: &mut H2, count: u32, make: impl Fn(u32) -> Vec<u8>) {
    let batch = 500;
    for start in (0..count).step_by(batch) {
        let frames = (start..count).take(batch).map(&make).collect::<Vec<_>>().concat();
        if conn.send(frames).is_err() {
            return;
        }
    }
}

/// A POST whose body is to follow.
fn open(stream: u32) -> Vec<u8> {
    let fields =
        [(":method", "POST"), (":scheme", "http"), (":authority", "web"), (":path", "/sink")];
    headers(stream, &fields, false)
}

#[test]
fn no_flood_costs_the_proxy_or_others_much() {
    let mut world = world("kubernetes.io/ws");
    let wrong: Vec<String> = CASES.iter().filter_map(|case| check(&mut world, case)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    world.assert_well();
}

fn check(world: &mut World, case: &Case) -> Option<String> {
    let web = world.web;
    world.plain.node().reset_peak_rss();
    let before = world.plain.node().rss();
    let done = AtomicBool::new(false);
    let (became, longest) = thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            loop {
                let started = Instant::now();
                let status = http::get(web, "/good").map(|response| response.status);
                if !matches!(status, Ok(200)) {
                    return Err(format!("{status:?}"));
                }
                longest = longest.max(started.elapsed());
                if done.load(Ordering::Relaxed) {
                    return Ok(longest);
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        let became = became(web, case);
        done.store(true, Ordering::Relaxed);
        (became, others.join().unwrap())
    });
    let more = world.plain.node().peak_rss().saturating_sub(before);
    let (requests, doubts) = world.backend.take();
    let reached = requests.iter().filter(|request| !request.line.ends_with("/good")).count() as u64;
    let fine = became.is_ok()
        && longest.as_ref().is_ok_and(|longest| *longest < LONGEST_WAIT)
        && more < MOST_MEMORY
        && reached < MOST_REQUESTS
        && doubts.is_empty();
    let report = format!(
        "{}:\n  should: {}\n  became: {became:?}\n  others waited: {longest:?}, memory: {} KiB more, reached the \
         backend: {reached}, doubts: {doubts:?}",
        case.what,
        case.outcome,
        more >> 10
    );
    eprintln!("{report}");
    (!fine).then_some(report)
}

fn became(web: SocketAddr, case: &Case) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut conn = H2::open(web, &[]).map_err(text)?;
    (case.send)(&mut conn);
    match case.outcome {
        Outcome::Goaway(code) => loop {
            match conn.event().map_err(text)? {
                Event::Goaway(got) if got == code => return Ok(()),
                // What the flood began with.
                Event::Status(..) | Event::Reset(..) => {}
                other => return Err(format!("{other:?}")),
            }
        },
        Outcome::Closed => loop {
            match conn.event().map_err(text)? {
                Event::End => return Ok(()),
                Event::Goaway(_) | Event::Status(..) | Event::Reset(..) => {}
            }
        },
        Outcome::Refuses(count) => {
            for _ in 0..count {
                match conn.event().map_err(text)? {
                    Event::Reset(_, REFUSED_STREAM) => {}
                    other => return Err(format!("{other:?}")),
                }
            }
            Ok(())
        }
        Outcome::GoesOn => {
            let after = 200_001;
            conn.send(get(after, "/after")).map_err(text)?;
            loop {
                match conn.event().map_err(text)? {
                    Event::Status(stream, 200) if stream == after => return Ok(()),
                    // Too many at once: those that were open are given up, and it asks again.
                    other @ (Event::Goaway(_) | Event::End) => return Err(format!("{other:?}")),
                    Event::Status(..) | Event::Reset(..) => {}
                }
            }
        }
    }
}

#[test]
fn a_window_of_zero_holds_neither_memory_nor_others_up() {
    // A hundred bodies without end are asked for, and no octet of them is taken.
    const LENGTH: u64 = 1 << 40;
    let mut plain = Plain::new();
    let at = Plain::backend();
    let bodies = Bodies::sends(at, LENGTH);
    plain.manifests.service(&Plain::service("web", "kubernetes.io/ws").to(at));
    let web = plain.listen("web");
    plain.start();
    plain.node().reset_peak_rss();
    let before = plain.node().rss();
    let mut conn = H2::open(web, &[(4, 0)]).unwrap();
    for n in 0..100 {
        conn.send(get(2 * n + 1, "/")).unwrap();
    }
    for _ in 0..100 {
        assert!(matches!(conn.event().unwrap(), Event::Status(_, 200)));
    }
    // The kernel's buffers and the proxy's own few are filled; no more is asked of the backend.
    let settled = Duration::from_millis(500);
    nodeway_tests::wait::settled(Duration::from_secs(10), settled, || bodies.sent());
    let more = plain.node().peak_rss().saturating_sub(before);
    assert!(more < 2 * MOST_MEMORY, "{} KiB more", more >> 10);
    // Another client's body flows meanwhile, and so does another stream whose window is open.
    let mut other = Conn::open(web).unwrap();
    other.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    other.exactly(1 << 20).unwrap();
    conn.send(window(1, 1 << 20)).unwrap();
    let mut got = 0;
    while got < 60_000 {
        let frame = conn.frame().unwrap();
        if (frame.kind, frame.stream) == (kind::DATA, 1) {
            got += frame.payload.len();
        }
    }
}

// === impl Outcome ===

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goaway(code) => write!(f, "GOAWAY: {}, closed", name(*code)),
            Self::Closed => write!(f, "closed"),
            Self::Refuses(count) => write!(f, "{count} streams reset: {}", name(REFUSED_STREAM)),
            Self::GoesOn => write!(f, "goes on: costs its sender as much"),
        }
    }
}
