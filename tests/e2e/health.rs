//! An endpoint that fails costs its clients as little as can be.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use nodeway_tests::backend::HangsUp;
use nodeway_tests::http::{Conn, Response, ended};
use nodeway_tests::mesh::VIP4;
use nodeway_tests::{Mesh, Plain, Pod, Service, eventually};

fn get(conn: &mut Conn) -> Response {
    conn.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    conn.response().unwrap()
}

fn one(web: SocketAddr) -> Response {
    get(&mut Plain::connect(web))
}

#[test]
fn a_killed_endpoint_costs_no_request() {
    kill_one_of_two(|service, pod| service.to(pod.v4(0)));
}

#[test]
fn a_killed_dual_stack_endpoint_costs_no_request() {
    // Both of its addresses die at once: a second try on the other one is no second try.
    kill_one_of_two(Service::to_pod);
}

fn kill_one_of_two(add: fn(Service, &Pod) -> Service) {
    let Some(mut mesh) = Mesh::new() else { return };
    let pods = ["web-1", "web-2"].map(|name| mesh.world.pod(name));
    mesh.manifests.service(&pods.iter().fold(Mesh::web_service(), add));
    let [_one, mut two] = pods.each_ref().map(|pod| pod.serve("http", "v1", 8080));
    mesh.start(&[]);
    // One curl, many requests, a line for each as it ends.
    let url = format!("http://{VIP4}/?[1-4000]");
    let args = ["-sS", "-o", "/dev/null", "-w", "%{http_code}\\n", &url];
    let mut asking = mesh.client.place.start("curl", &args);
    eventually(Duration::from_secs(30), "requests flow", || asking.out().lines().count() > 200);
    two.kill();
    assert!(asking.runs(), "the endpoint was killed too late to matter");
    let ran = asking.finish(Duration::from_secs(60));
    let bad: Vec<&str> = ran.out.lines().filter(|line| *line != "200").collect();
    assert_eq!((ran.out.lines().count(), bad), (4000, vec![]), "{}", ran.err);
}

#[test]
fn an_endpoint_that_refuses_is_left_out_and_comes_back() {
    let mut plain = Plain::new();
    let (good, refusing) = (Plain::backend(), Plain::backend());
    let _good = plain.testserver(good, "good");
    plain.manifests.service(&Plain::service("web", "http").to(good).to(refusing));
    // Peak-EWMA would shun it after its first failure.
    plain.manifests.backend_policy("web", "loadBalancing: {algorithm: LeastRequest}");
    let web = plain.listen("web");
    plain.start();
    let ejections =
        |plain: &mut Plain| plain.node().metrics().sum("nodeway_endpoint_ejections_total", &[]);
    // Who fails is drawn seldom, so it may take a while.
    eventually(Duration::from_secs(40), "somebody notices that it refuses", || {
        let response = one(web);
        assert_eq!((response.status, response.header("x-version")), (200, Some("good")));
        ejections(&mut plain) >= 1.0
    });
    assert!(plain.node().log().contains(&refusing.ip().to_string()), "the log does not say which");
    let _back = plain.testserver(refusing, "back");
    eventually(Duration::from_secs(40), "the endpoint gets requests again", || {
        one(web).header("x-version") == Some("back")
    });
}

#[test]
fn no_ready_endpoint_is_503() {
    let mut plain = Plain::new();
    let there = Plain::backend();
    let _server = plain.testserver(there, "unready");
    plain.manifests.service(&Plain::service("none", "http"));
    plain.manifests.service(&Plain::service("unready", "http").unready(there));
    let (none, unready) = (plain.listen("none"), plain.listen("unready"));
    plain.start();
    assert_eq!(one(none).status, 503);
    assert_eq!(one(unready).status, 503);
    let labels = [("response_code", "503"), ("response_flags", "UH")];
    assert!(plain.node().metrics().sum("nodeway_requests_total", &labels) >= 2.0);
    plain.manifests.service(&Plain::service("unready", "http").to(there));
    eventually(Duration::from_secs(30), "a ready endpoint is used", || one(unready).status == 200);
}

#[test]
fn a_connection_that_is_not_http_is_reset_when_there_is_no_endpoint() {
    let mut plain = Plain::new();
    plain.manifests.service(&Plain::service("none", "tcp"));
    let none = plain.listen("none");
    plain.start();
    // It may be so quick that the reset comes before `connect` is back.
    match Conn::open(none) {
        Ok(mut conn) => {
            conn.send("anything").ok();
            assert_eq!(conn.rest().unwrap(), b"", "closed without a word");
        }
        Err(error) => assert!(ended(&error), "{error}"),
    }
}

#[test]
fn an_endpoint_taken_out_of_its_slice_gets_no_more_requests() {
    let mut plain = Plain::new();
    let (stays, goes) = (Plain::backend(), Plain::backend());
    let _servers = [plain.testserver(stays, "stays"), plain.testserver(goes, "goes")];
    plain.manifests.service(&Plain::service("web", "http").to(stays).to(goes));
    let web = plain.listen("web");
    plain.start();
    // Both pools are warm on this connection's worker.
    let mut conn = Plain::connect(web);
    let mut count = |version: &str, of: usize| {
        let hit = |_: &usize| get(&mut conn).header("x-version") == Some(version);
        (0..of).filter(hit).count()
    };
    assert!(count("goes", 100) > 0);
    plain.manifests.service(&Plain::service("web", "http").to(stays));
    eventually(Duration::from_secs(30), "the slice is in force", || count("goes", 50) == 0);
    assert_eq!(count("goes", 200), 0);
}

#[test]
fn a_post_that_was_sent_is_not_sent_again() {
    let mut plain = Plain::new();
    let (one, two) = (Plain::backend(), Plain::backend());
    let (first, second) = (HangsUp::start(one), HangsUp::start(two));
    plain.manifests.service(&Plain::service("web", "http").to(one).to(two));
    let web = plain.listen("web");
    plain.start();
    let mut conn = Plain::connect(web);
    conn.send("POST /order HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\n\r\nbuy!").unwrap();
    let response = conn.response().unwrap();
    assert!((502..=504).contains(&response.status), "{}", response.status);
    assert_eq!(first.requests() + second.requests(), 1, "an order was placed twice");
    let metrics = plain.node().metrics();
    assert!(metrics.sum("nodeway_requests_total", &[("response_flags", "UC")]) >= 1.0);
}

#[test]
fn a_get_whose_endpoint_hangs_up_is_tried_elsewhere() {
    let mut plain = Plain::new();
    let (good, bad) = (Plain::backend(), Plain::backend());
    let hangs_up = HangsUp::start(bad);
    let _good = plain.testserver(good, "good");
    plain.manifests.service(&Plain::service("web", "http").to(good).to(bad));
    let web = plain.listen("web");
    plain.start();
    for _ in 0..30 {
        assert_eq!(one(web).status, 200);
    }
    assert!(hangs_up.requests() > 0, "the bad one was never tried");
    assert!(plain.node().metrics().sum("nodeway_retries_total", &[]) > 0.0);
}

#[test]
fn an_endpoint_that_takes_no_connection_does_not_hang_its_clients() {
    let mut plain = Plain::new();
    let (good, deaf) = (Plain::backend(), Plain::backend());
    let _good = plain.testserver(good, "good");
    // Accepts and says nothing would be a slow server; this one is only slow to close.
    let _deaf = TcpListener::bind(deaf).unwrap();
    plain.manifests.service(&Plain::service("web", "http").to(good));
    plain.manifests.service(&Plain::service("deaf", "http").to(deaf));
    let (web, _) = (plain.listen("web"), plain.listen("deaf"));
    let held = plain.listen("deaf");
    plain.start();
    let mut waiting = Plain::connect(held);
    waiting.send("GET / HTTP/1.1\r\nHost: deaf\r\n\r\n").unwrap();
    for _ in 0..20 {
        assert_eq!(one(web).status, 200, "one Service's silence is another's");
    }
}
