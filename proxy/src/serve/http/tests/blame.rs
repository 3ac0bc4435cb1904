//! What says something of an endpoint, and what its clients, or other requests, have done.

use super::held_up::{is_blamed, strict};
use super::*;

/// So long a client takes for its body.
const UPLOAD: Duration = Duration::from_secs(1);

/// Answers when it has heard the end of a chunked body.
async fn patient() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"0\r\n\r\n") {
            assert!(stream.read_buf(&mut heard).await.unwrap() > 0, "{heard:?}");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        while stream.read_buf(&mut heard).await.unwrap_or(0) > 0 {}
    });
    at
}

fn latency(world: &World) -> Option<Duration> {
    let now = world.worker.clock.now();
    let us = world.with("web", |web| web.endpoints()[0].latency_us(now)).unwrap();
    us.map(|us| Duration::from_secs_f32(us / 1e6))
}

#[test]
fn a_client_that_is_slow_to_say_its_request_makes_no_slow_endpoint() {
    run(async {
        let world = World::new(Version::Http1, patient().await, Setting::default());
        let (says, body) = Inbound::later();
        let mut request = world.get().map(|_| body);
        *request.method_mut() = Method::POST;
        let asked = tokio::task::spawn_local(ask(world.conn(), request));
        tokio::time::sleep(UPLOAD).await;
        says.send(Inbound::Empty).unwrap();
        assert_eq!(asked.await.unwrap().0, StatusCode::OK);
        let latency = latency(&world).expect("it has answered all of a request");
        assert!(latency < UPLOAD / 2, "{latency:?}");
    });
}

#[test]
fn an_answer_to_half_a_request_says_nothing_of_how_quick_its_endpoint_is() {
    run(async {
        let at = Server::default().start(Version::Http2).await;
        let world = World::new(Version::Http2, at, Setting::default());
        let (_says, body) = Inbound::later();
        let mut request = world.get().map(|_| body);
        *request.method_mut() = Method::POST;
        assert_eq!(ask(world.conn(), request).await.0, StatusCode::OK);
        assert_eq!(latency(&world), None);
        assert_eq!(ask(world.conn(), world.get()).await.0, StatusCode::OK);
        assert!(latency(&world).is_some());
    });
}

#[test]
fn where_nothing_has_left_the_client_s_network_no_endpoint_has_failed() {
    for version in [Version::Http1, Version::Http2] {
        run(async move {
            // connect(2): no TCP to all of a network.
            let at = "255.255.255.255:80".parse().unwrap();
            let world = World::new(version, at, strict(Limits::default()));
            let (status, _) = ask(world.conn(), world.get()).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
            assert!(!is_blamed(&world), "{version:?}");
        });
    }
}

#[test]
fn a_connection_that_many_requests_have_waited_for_fails_once() {
    run(async {
        let at = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let mut setting = strict(Limits::default());
        let outliers = &mut setting.settings.outliers;
        (outliers.consecutive_5xx, outliers.consecutive_gateway_errors) = (None, None);
        outliers.consecutive_connect_failures = NonZeroU32::new(10);
        let world = World::new(Version::Http2, at, setting);
        let conn = world.conn();
        let asked = [(); 40].map(|()| {
            let asked = ask(Rc::clone(&conn), world.get());
            tokio::task::spawn_local(asked)
        });
        for asked in asked {
            assert_eq!(asked.await.unwrap().0, StatusCode::SERVICE_UNAVAILABLE);
        }
        assert!(!is_blamed(&world));
        for _ in 0..10 {
            ask(Rc::clone(&conn), world.get()).await;
        }
        assert!(is_blamed(&world), "each by itself");
    });
}
