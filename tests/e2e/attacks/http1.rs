//! HTTP/1 attacks: each case on its own connection, and before a backend that reads by the letter.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use nodeway_tests::Plain;
use nodeway_tests::http::{Conn, ended};
use nodeway_tests::strict::Strict;
use nodeway_tests::wait::within;

use super::outcome::{Case, Outcome};
use super::{http1_framing, http1_heads};

/// No outcome takes longer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A proxy and its only backend.
pub(super) struct World {
    pub plain: Plain,
    pub web: SocketAddr,
    pub backend: Strict,
}

/// A world whose only backend reads by the letter.
pub(super) fn world(app_protocol: &'static str) -> World {
    let mut plain = Plain::new();
    let at = Plain::backend();
    let backend = Strict::start(at);
    plain.manifests.service(&Plain::service("web", app_protocol).to(at));
    let web = plain.listen("web");
    plain.start();
    World { plain, web, backend }
}

#[test]
fn no_framing_can_be_read_in_two_ways() {
    run(http1_framing::CASES);
}

#[test]
fn no_head_can_be_read_in_two_ways() {
    run(http1_heads::CASES);
}

fn run(cases: &[Case]) {
    let mut world = world("http");
    let wrong: Vec<String> = cases.iter().filter_map(|case| world.check(case)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    world.assert_well();
}

// === impl World ===

impl World {
    pub(super) fn assert_well(&mut self) {
        let node = self.plain.node();
        assert_eq!(node.status("/livez"), Some(200));
        assert!(!node.log().contains("panicked"), "{}", node.log());
    }

    /// What has arrived of a case, what of it was ambiguous, and how another client is served meanwhile.
    pub(super) fn arrived(&self) -> (Vec<String>, Vec<String>, Result<u16, String>) {
        // By the time that it is served, all that was under way has arrived.
        let good = ask(self.web, b"GET /good HTTP/1.1\r\nHost: other\r\n\r\n");
        within(PATIENCE, || self.backend.has("GET /good"));
        let (requests, doubts) = self.backend.take();
        let arrived = requests.iter().map(ToString::to_string);
        let ours = ["GET /good | host: other", "GET /after | host: web"];
        let arrived = arrived.filter(|request| !ours.contains(&request.as_str())).collect();
        (arrived, doubts, good)
    }

    /// What is wrong with what became of it.
    fn check(&mut self, case: &Case) -> Option<String> {
        let became = self.became(case);
        // How much of it has been written when it breaks is up to the moment, and so is when it arrives.
        let cut = matches!(case.outcome, Outcome::Cut { .. });
        if cut {
            within(Duration::from_millis(500), || self.backend.has_begun());
        }
        let (arrived, doubts, others) = self.arrived();
        let fine = became.is_ok()
            && others == Ok(200)
            && (arrived == case.outcome.arrives() || cut && arrived.is_empty())
            && doubts.is_empty();
        (!fine).then(|| {
            format!(
                "{}:\n  should: {}\n  became: {became:?}\n  arrived: {arrived:?}\n  doubts: {doubts:?}, \
                 another's request: {others:?}",
                case.what, case.outcome
            )
        })
    }

    /// Sends it, and holds the answers against the outcome.
    fn became(&self, case: &Case) -> Result<(), String> {
        let mut conn = Conn::open(self.web).map_err(|error| error.to_string())?;
        conn.socket().set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        // A refusal may come before all was sent.
        match conn.send(case.sent.octets()) {
            Err(error) if !ended(&error) => return Err(error.to_string()),
            _ => {}
        }
        match &case.outcome {
            Outcome::Refused(status) => {
                expect(&mut conn, *status)?;
                closed(&mut conn)
            }
            Outcome::Closed => closed(&mut conn),
            Outcome::Passes { arrives } => {
                for _ in *arrives {
                    expect(&mut conn, 200)?;
                }
                // Still in step: what comes next is answered as what it is.
                conn.send("BAD").map_err(|error| error.to_string())?;
                conn.send(" LINE\r\n\r\n").map_err(|error| error.to_string())?;
                expect(&mut conn, 400)?;
                closed(&mut conn)
            }
            Outcome::Last { arrives } => {
                for _ in *arrives {
                    expect(&mut conn, 200)?;
                }
                closed(&mut conn)
            }
            Outcome::Stops { arrives, status } => {
                for _ in *arrives {
                    expect(&mut conn, 200)?;
                }
                expect(&mut conn, *status)?;
                closed(&mut conn)
            }
            Outcome::Cut { status, .. } => match conn.response() {
                Ok(response) if response.status == *status => closed(&mut conn),
                Err(error) if ended(&error) => Ok(()),
                other => Err(format!("{other:?}")),
            },
        }
    }
}

/// The next answer has this status.
fn expect(conn: &mut Conn, status: u16) -> Result<(), String> {
    match conn.response() {
        Ok(response) if response.status == status => Ok(()),
        Ok(response) => Err(format!("{} {}", response.status, response.text().trim_end())),
        Err(error) if ended(&error) => Err("closed".into()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err("silence".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Nothing more comes but the connection's end.
fn closed(conn: &mut Conn) -> Result<(), String> {
    match conn.rest() {
        Ok(rest) if rest.is_empty() => Ok(()),
        Ok(rest) => Err(format!("then {:?}", String::from_utf8_lossy(&rest))),
        Err(_) => Err("not closed".into()),
    }
}

fn ask(to: SocketAddr, request: &[u8]) -> Result<u16, String> {
    let mut conn = Conn::open(to).map_err(|error| error.to_string())?;
    conn.send(request).map_err(|error| error.to_string())?;
    conn.response().map(|response| response.status).map_err(|error| error.to_string())
}
