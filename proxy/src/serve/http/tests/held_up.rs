//! Who is to blame where a request's time is over.

use super::*;

/// Whether the endpoint is left out at once if anything is held against it.
pub(super) fn strict(limits: Limits) -> Setting {
    let one = NonZeroU32::new(1);
    let outliers = OutlierDetection {
        consecutive_5xx: one,
        consecutive_gateway_errors: one,
        consecutive_connect_failures: one,
        max_ejected: 100,
        ..OutlierDetection::default()
    };
    let settings = BackendSettings { limits, outliers, ..BackendSettings::default() };
    let timeouts = Timeouts { request: Some(50 * MS), ..Timeouts::default() };
    Setting { settings, timeouts, ..Setting::default() }
}

pub(super) fn is_blamed(world: &World) -> bool {
    let now = world.worker.clock.now();
    world.with("web", |web| web.endpoints()[0].ejected(now)).unwrap()
}

#[test]
fn an_endpoint_that_does_not_answer_in_time_has_failed() {
    for version in [Version::Http1, Version::Http2] {
        run(async move {
            let server = Server { mute: true, ..Server::default() };
            let world = World::new(version, server.start(version).await, strict(Limits::default()));
            let (status, _) = ask(world.conn(), world.get()).await;
            assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
            assert!(is_blamed(&world));
        });
    }
}

#[test]
fn an_endpoint_is_not_to_blame_for_a_request_that_was_never_sent_for_want_of_a_connection() {
    // Not HTTP/2: there each client has one of its own.
    run(async {
        let at = Server::default().start(Version::Http1).await;
        let world = World::new(Version::Http1, at, strict(one_connection().limits));
        let held = exchange::handle(world.conn(), world.get(), None).await;
        assert_eq!(held.status(), StatusCode::OK);
        let conn = world.conn();
        let asked = [(); 2].map(|()| tokio::task::spawn_local(ask(Rc::clone(&conn), world.get())));
        for asked in asked {
            assert_eq!(asked.await.unwrap().0, StatusCode::GATEWAY_TIMEOUT);
        }
        assert!(!is_blamed(&world));
        drop(held);
    });
}

#[test]
fn an_endpoint_is_not_to_blame_for_a_request_that_was_never_sent_for_want_of_a_stream() {
    run(async {
        let server = Server { streams: Some(1), ..Server::default() };
        let at = server.start(Version::Http2).await;
        let world = World::new(Version::Http2, at, strict(one_connection().limits));
        let conn = world.conn();
        let held = exchange::handle(Rc::clone(&conn), world.get(), None).await;
        assert_eq!(held.status(), StatusCode::OK);
        let (status, _) = ask(conn, world.get()).await;
        assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
        assert!(!is_blamed(&world));
        drop(held);
    });
}
