//! What is held against an endpoint, and what is not its doing.

use nodeway_tests::http2::{self, Endpoint, Script};
use nodeway_tests::wait::over;

use super::*;

/// Three failures in a row, and an endpoint is out.
const POLICY: &str = "
loadBalancing: {algorithm: RoundRobin}
outlierDetection: {consecutiveGatewayErrors: 3, baseEjectionTime: 30s}";
const RULE: &str = "- timeouts: {request: 200ms}\n  backendRefs: [{name: web, port: 80}]";

#[test]
fn a_client_that_does_not_say_all_of_its_request_is_nobody_s_failure() {
    let world = World::new(&[Mood::Well, Mood::Well], POLICY);
    world.plain.manifests.route("web", "web", RULE);
    let mut world = world.start();
    for _ in 0..10 {
        let mut conn = Plain::connect(world.web);
        conn.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
        assert_eq!(conn.response().unwrap().status, 504);
    }
    assert!(world.ejections() < 0.1, "the endpoints had nothing to answer yet");
    assert!(world.post());
}

#[test]
fn a_client_that_does_not_read_its_response_is_nobody_s_failure() {
    let mut plain = Plain::new();
    let at = Plain::backend();
    let _server = plain.testserver(at, "v1");
    plain.manifests.service(&World::service().to(at));
    plain.manifests.backend_policy("web", POLICY);
    // Time enough to fill all buffers on the way.
    plain.manifests.route("web", "web", &RULE.replace("200ms", "2s"));
    let web = plain.listen("web");
    let mut world = World { plain, web, endpoints: vec![], at: vec![], conn: None }.start();
    let mut conns: Vec<Conn> = (0..3).map(|_| Plain::connect(web)).collect();
    for conn in &mut conns {
        conn.send("GET /bytes/100000000 HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    }
    over(Duration::from_secs(3), || ());
    for conn in &mut conns {
        assert!(conn.rest().map_or(0, |rest| rest.len()) < 100_000_000, "it was not cut");
    }
    assert!(world.ejections() < 0.1, "the endpoint would have said more");
}

#[test]
fn a_grpc_endpoint_that_says_unavailable_is_left_out() {
    let mut plain = Plain::new();
    let (good, bad) = (Plain::backend(), Plain::backend());
    let _well = Endpoint::start(good, Script::default());
    let broken = Endpoint::start(bad, Script { unavailable: true, ..Script::default() });
    plain.manifests.service(&Plain::service("web", "grpc").to(good).to(bad));
    plain.manifests.backend_policy("web", POLICY);
    let web = plain.listen("web");
    let mut world = World { plain, web, endpoints: vec![], at: vec![], conn: None }.start();
    let said = http2::run(async {
        let mut client = http2::connect(web).await;
        let mut said = Vec::new();
        for _ in 0..20 {
            let call = hyper::Request::post(format!("http://{web}/shop.Cart/Get"))
                .header("te", "trailers")
                .header("content-type", "application/grpc")
                .body(())
                .unwrap();
            let (response, _) = client.send_request(call, true).unwrap();
            let answer = http2::read(response).await.unwrap();
            let status = answer.head.headers().get("grpc-status");
            said.push(status.map(|status| status.to_str().unwrap().to_owned()));
        }
        said
    });
    let unavailable = said.iter().filter(|status| status.as_deref() == Some("14")).count();
    assert_eq!((unavailable, broken.requests()), (3, 3), "its own answers, and no more: {said:?}");
    assert!((world.ejections() - 1.0).abs() < 0.1);
    assert!((world.state("ejected") - 1.0).abs() < 0.1);
}

#[test]
fn an_endpoint_that_resets_relayed_connections_before_a_word_is_left_out() {
    let world = World::new(&[Mood::Well, Mood::Resets], POLICY);
    let service = world.at.iter().fold(Plain::service("web", "tcp"), |service, at| service.to(*at));
    world.plain.manifests.service(&service);
    let mut world = world.start();
    let (mut failed, deadline) = (0, Instant::now() + SOON);
    while world.ejections() < 1.0 {
        assert!(Instant::now() < deadline, "nobody is left out; {failed} connections failed");
        failed += usize::from(!world.post());
        world.conn = None;
    }
    assert_eq!(failed, 3);
    let failed = (0..20).filter(|_| {
        world.conn = None;
        !world.post()
    });
    assert_eq!(failed.count(), 0);
}
