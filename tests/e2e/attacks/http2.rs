//! HTTP/2 attacks: frames by hand, each case on its own connection, and before a backend of HTTP/1.1 that reads by the
//! letter.

use std::fmt;
use std::time::Duration;

use nodeway_tests::h2::{Event, H2, get};
use nodeway_tests::wait::within;

use super::http1::{World, world};
use super::{http2_frames, http2_heads};

/// One line of a table.
pub(super) struct Case {
    /// What is sent, in words; no two are the same.
    pub what: &'static str,
    /// What is sent after the preface and SETTINGS.
    pub sent: fn() -> Vec<u8>,
    /// What becomes of it.
    pub outcome: Outcome,
}

/// What becomes of an attack.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    /// The stream is reset with this code; nothing whole arrives, and the connection goes on.
    Stream(u32),
    /// The stream is answered with this status; nothing arrives, and the connection goes on.
    Status(u16),
    /// GOAWAY with this code, and the connection closed; nothing whole arrives, nor of what was sent with it.
    Goaway(u32),
    /// Answered with 200; this is what arrives, and the connection goes on.
    Passes(&'static [&'static str]),
}

pub(super) const fn case(what: &'static str, sent: fn() -> Vec<u8>, outcome: Outcome) -> Case {
    Case { what, sent, outcome }
}

#[test]
fn no_request_of_http_2_is_another_one_in_http_1() {
    run(http2_heads::CASES);
}

#[test]
fn no_frame_that_must_not_be_gets_through() {
    run(http2_frames::CASES);
}

fn run(cases: &[Case]) {
    // Declared to speak HTTP/1.1, whatever its clients speak.
    let mut world = world("kubernetes.io/ws");
    let wrong: Vec<String> = cases.iter().filter_map(|case| check(&mut world, case)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    world.assert_well();
}

/// What is wrong with what became of it.
fn check(world: &mut World, case: &Case) -> Option<String> {
    let became = became(world, case);
    // What had begun before it turned out to be wrong may still be on its way.
    if matches!(case.outcome, Outcome::Stream(_) | Outcome::Goaway(_)) {
        within(Duration::from_millis(20), || world.backend.has_begun());
    }
    let (arrived, doubts, others) = world.arrived();
    let arrives = match case.outcome {
        Outcome::Passes(arrives) => arrives,
        _ => &[],
    };
    let smuggled = arrived.iter().any(|request| request.contains("GET /smuggled"));
    let whole: Vec<&String> = arrived.iter().filter(|request| !request.ends_with(" ...")).collect();
    let fine =
        became.is_ok() && others == Ok(200) && whole == arrives && !smuggled && doubts.is_empty();
    (!fine).then(|| {
        format!(
            "{}:\n  should: {}\n  became: {became:?}\n  arrived: {arrived:?}\n  doubts: {doubts:?}, another's \
             request: {others:?}",
            case.what, case.outcome
        )
    })
}

/// Sends it, and holds what comes against the outcome.
fn became(world: &World, case: &Case) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut conn = H2::open(world.web, &[]).map_err(text)?;
    // It may be refused before all was sent.
    conn.send((case.sent)()).ok();
    let goes_on = |conn: &mut H2| {
        conn.send(get(101, "/after")).map_err(text)?;
        loop {
            match conn.event().map_err(text)? {
                Event::Status(101, 200) => return Ok(()),
                // The rest of a request that was answered early is not wanted.
                Event::Reset(1, _) => {}
                other => return Err(format!("then {other:?}")),
            }
        }
    };
    match (case.outcome, conn.event().map_err(text)?) {
        (Outcome::Stream(code), Event::Reset(1, got)) if got == code => goes_on(&mut conn),
        (Outcome::Status(status), Event::Status(1, got)) if got == status => goes_on(&mut conn),
        (Outcome::Passes(_), Event::Status(1, 200)) => goes_on(&mut conn),
        (Outcome::Goaway(code), event) => match (event, conn.event()) {
            (Event::Goaway(got), Ok(Event::End)) if got == code => Ok(()),
            other => Err(format!("{other:?}")),
        },
        (_, event) => Err(format!("{event:?}")),
    }
}

// === impl Outcome ===

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(code) => write!(f, "stream reset: {}", name(*code)),
            Self::Status(status) => write!(f, "{status}"),
            Self::Goaway(code) => write!(f, "GOAWAY: {}, closed", name(*code)),
            Self::Passes(arrives) => {
                let arrives: Vec<String> = arrives.iter().map(|one| format!("`{one}`")).collect();
                write!(f, "passes as {}", arrives.join(", "))
            }
        }
    }
}

/// An error code as RFC 9113, 7, names it.
pub(super) fn name(code: u32) -> &'static str {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    NAMES[usize::try_from(code).unwrap()]
}
