//! One endpoint of three fails: it costs what the policy says, and no more; well again, it is used again.

use std::ops::RangeInclusive;

use nodeway_tests::tls::{Authority, Names, policy};

use super::*;

/// Three failures in a row, and an endpoint is out for three seconds, whatever it has done before.
const POLICY: &str = "
loadBalancing: {algorithm: RoundRobin}
outlierDetection:
  consecutiveGatewayErrors: 3
  consecutiveConnectFailures: 3
  baseEjectionTime: 3s
  maxEjectionTime: 3s";
const OUT: Duration = Duration::from_secs(3);
/// What endpoints that hang are given, and more than a busy machine takes for those that do not.
const RULE: &str = "- timeouts: {request: 1s}\n  backendRefs: [{name: web, port: 80}]";

/// One of three fails like this; so many requests of clients do.
fn costs(mood: Mood, visible: RangeInclusive<usize>) {
    let world = World::new(&[Mood::Well, mood, Mood::Well], POLICY);
    world.plain.manifests.route("web", "web", RULE);
    let mut world = world.start();
    let (failed, since) = world.until_ejected();
    assert!(visible.contains(&failed), "{failed} requests failed");
    let asked = world.endpoints[1].requests();
    assert!(
        (world.state("ejected") - 1.0).abs() < 0.1 && (world.state("usable") - 2.0).abs() < 0.1
    );
    world.endpoints[1].be(Mood::Well);
    for _ in 0..60 {
        assert!(world.post(), "while it is out, and after, nobody is to notice");
        let now = world.endpoints[1].requests();
        // On a machine that is too busy it may be back in the middle of this.
        assert!(now == asked || since.elapsed() >= OUT, "it was asked while it was out");
    }
    let log = world.plain.node().log();
    assert!(log.contains("left out for 3 s"), "{log}");
    eventually(SOON, "it is used again", || {
        assert!(world.post(), "it is well");
        world.endpoints[1].requests() > asked
    });
    eventually(SOON, "all are usable", || {
        world.post() && (world.state("usable") - 3.0).abs() < 0.1
    });
    assert!((world.ejections() - 1.0).abs() < 0.1, "it was left out once");
}

#[test]
fn an_endpoint_that_says_503_costs_three_requests() {
    costs(Mood::Says(503), 3..=3);
}

#[test]
fn an_endpoint_that_resets_costs_three_requests() {
    costs(Mood::Resets, 3..=3);
}

#[test]
fn an_endpoint_that_hangs_up_costs_three_requests() {
    costs(Mood::HangsUp, 3..=3);
}

#[test]
fn an_endpoint_that_answers_garbage_costs_three_requests() {
    costs(Mood::Garbage, 3..=3);
}

#[test]
fn an_endpoint_that_hangs_costs_three_requests() {
    costs(Mood::Hangs, 3..=3);
}

#[test]
fn an_endpoint_whose_bodies_never_end_costs_three_requests() {
    costs(Mood::Dawdles, 3..=3);
}

#[test]
fn an_endpoint_whose_bodies_break_off_costs_three_requests() {
    costs(Mood::Cuts, 3..=3);
}

#[test]
fn an_endpoint_that_closes_new_connections_costs_three_requests_at_most() {
    // What was on its way when the connection closed may not be sent again.
    costs(Mood::Closes, 0..=3);
}

#[test]
fn a_500_is_the_application_s_own_unless_the_policy_says_otherwise() {
    let mut world = World::new(&[Mood::Well, Mood::Says(500)], POLICY).start();
    let failed = (0..100).filter(|_| !world.post()).count();
    assert_eq!(failed, 50, "each answer is the endpoint's own");
    assert!(world.ejections() < 0.1);
    let counted = POLICY.replace("consecutiveGatewayErrors: 3", "consecutive5xx: 3");
    world.plain.manifests.backend_policy("web", &counted);
    world.until_ejected();
}

#[test]
fn connections_that_are_closed_between_requests_cost_none_that_may_be_sent_again() {
    let mut world = World::new(&[Mood::Races, Mood::Races], POLICY).start();
    let mut conn = Plain::connect(world.web);
    for nth in 0..300 {
        conn.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
        assert_eq!(conn.response().unwrap().status, 200, "request {nth}");
    }
    assert!(world.ejections() < 0.1, "to close an idle connection is no failure");
}

#[test]
fn an_endpoint_that_speaks_no_tls_where_it_should_costs_no_request() {
    let authority = Authority::new("authority");
    let names = Names { dns: &["web.example.com"], uris: &[], expired: false };
    let mut plain = Plain::new();
    let (good, bad) = (Plain::backend(), Plain::backend());
    let file = plain.manifests.dir().with_file_name("server.pem");
    std::fs::write(&file, authority.issue(&names)).unwrap();
    let (at, file) = (good.to_string(), file.to_str().unwrap().to_owned());
    let args = ["http", "--name", "v1", "--tls", &file, "--alpn", "http/1.1", "--listen", &at];
    let _server = plain
        .place()
        .start(nodeway_tests::binaries::testserver(), &args)
        .until_it_says("listening");
    let shouting = Moody::start(bad, Mood::Shouts);
    plain.manifests.service(&World::service().to(good).to(bad));
    plain.manifests.put("ca.yaml", &Authority::config_map("ca", &[&authority]));
    let validation = "{caCertificateRefs: [{group: \"\", kind: ConfigMap, name: ca}], hostname: web.example.com}";
    plain.manifests.put("tls.yaml", &policy("tls", "web", validation));
    plain.manifests.backend_policy("web", POLICY);
    let web = plain.listen("web");
    let mut world = World { plain, web, endpoints: vec![shouting], at: vec![], conn: None }.start();
    assert_eq!(world.until_ejected().0, 0, "nothing was sent, so another one answers");
    let labels = [("cause", "connect_failure")];
    assert!(world.metric("nodeway_endpoint_ejections_total", &labels) >= 1.0);
}
