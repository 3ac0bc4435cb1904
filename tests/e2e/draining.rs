//! What is under way ends well when Nodeway is stopped.

use std::time::Duration;

use nodeway_tests::wait::over;
use nodeway_tests::{Plain, eventually};

const SOON: Duration = Duration::from_secs(30);
/// Longer than a connection on which nothing is under way is kept.
const LAST_CALL: Duration = Duration::from_millis(1500);

fn ends_well(plain: &mut Plain) {
    let (status, log) = plain.node().end(SOON);
    assert!(status.success(), "{status}\n{log}");
    assert!(!log.contains("connections are cut"), "{log}");
}

#[test]
fn an_upgraded_connection_goes_on_while_draining() {
    let (mut plain, web, _server) = Plain::with_testserver("http");
    let mut conn = Plain::connect(web);
    conn.send("GET /upgrade HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        .unwrap();
    assert_eq!(conn.response().unwrap().status, 101);
    plain.node().drain();
    over(LAST_CALL, || ());
    conn.send("still there?").unwrap();
    assert_eq!(conn.exactly(12).unwrap(), b"still there?");
    drop(conn);
    ends_well(&mut plain);
}

#[test]
fn who_has_waited_for_a_long_response_may_ask_once_more() {
    let (mut plain, web, _server) = Plain::with_testserver("http");
    let mut conn = Plain::connect(web);
    // More than all buffers on the way hold: it is under way as long as nobody reads.
    conn.send("GET /bytes/50000000 HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    assert_eq!(conn.head().unwrap().status, 200);
    plain.node().drain();
    over(LAST_CALL, || ());
    assert_eq!(conn.exactly(50_000_000).unwrap().len(), 50_000_000);
    conn.send("GET /last HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    let last = conn.response().unwrap();
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    ends_well(&mut plain);
}

#[test]
fn who_has_just_connected_is_still_answered() {
    let (mut plain, web, _server) = Plain::with_testserver("http");
    let mut conn = Plain::connect(web);
    eventually(SOON, "the connection is accepted", || {
        plain.node().metrics().sum("nodeway_downstream_connections_active", &[]) > 0.0
    });
    plain.node().drain();
    conn.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    let answer = conn.response().unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    ends_well(&mut plain);
}
