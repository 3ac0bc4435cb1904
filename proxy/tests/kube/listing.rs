//! The first state, and the ways to it.

use std::time::Duration;

use nodeway_apiserver::{ApiServer, Streaming};
use nodeway_core::model::{Change, Kind};
use serde_json::{Value, json};

use crate::follower::World;
use crate::objects::{KINDS, endpoint, one_of_each, route, service, slice};

fn many_services(server: &ApiServer, count: usize) {
    let services: Vec<Value> = (0..count)
        .map(|i| service(&format!("s{i:04}"), &format!("10.96.{}.{}", i / 250, i % 250 + 1)))
        .collect();
    server.put_all(&services);
}

#[test]
fn the_first_event_holds_all_of_all_kinds() {
    let world = World::with(|server| {
        server.put_all(&one_of_each());
        many_services(server, 1200);
        // These come late.
        let routes = "httproutes.gateway.networking.k8s.io".to_owned();
        server.faults(|faults| faults.cut = Some(("watch".to_owned(), routes, 10)));
    });
    world.until("the first state", |known| known.events > 0);
    let known = world.follower.known();
    assert_eq!(known.first.len(), 1200 + KINDS.len());
    for (kind, _) in KINDS {
        let of = |change: &Change| matches!(change, Change::Apply(o) if o.key().0 == kind);
        assert!(known.first.iter().any(of), "no {kind} in the first event");
    }
    assert_eq!(world.server.requests("list", "services"), 0, "it was streamed");
    assert_eq!(world.follower.health.age(), Duration::ZERO);
}

#[test]
fn a_server_that_cannot_stream_a_listing_is_asked_for_pages() {
    for streaming in [Streaming::Off, Streaming::OldEtcd, Streaming::Unknown] {
        let world = World::with(|server| {
            server.put_all(&one_of_each());
            many_services(server, 1200);
            server.faults(|faults| {
                faults.streaming = streaming;
                faults.bookmarks = Duration::from_millis(100);
            });
        });
        world.until("the first state", |known| known.events > 0);
        assert_eq!(world.follower.known().objects.len(), 1200 + KINDS.len(), "{streaming:?}");
        assert_eq!(world.server.requests("list", "services"), 3, "{streaming:?}");
        world.server.put(&service("s0000", "10.97.0.1"));
        world.until("news", |known| known.ip("s0000").as_deref() == Some("10.97.0.1"));
        assert_eq!(world.server.requests("list", "services"), 3, "{streaming:?}");
    }
}

#[test]
fn who_cannot_stream_is_not_asked_to_again() {
    for streaming in [Streaming::Off, Streaming::Unknown] {
        let world = World::with(|server| {
            server.put_all(&one_of_each());
            server.faults(|faults| {
                faults.streaming = streaming;
                faults.bookmarks = Duration::from_millis(100);
            });
        });
        listed_anew(&world);
        // To stream, to watch, what is gone, and to watch again.
        assert_eq!(world.server.requests("watch", "services"), 4, "{streaming:?}");
        assert_eq!(world.server.requests("list", "services"), 2, "{streaming:?}");
    }
}

#[test]
fn one_hiccup_does_not_end_streaming_for_good() {
    let world = World::with(|server| {
        server.put_all(&one_of_each());
        server.faults(|faults| faults.refuse = (KINDS.len(), 500));
    });
    listed_anew(&world);
    assert_eq!(world.server.requests("list", "services"), 1, "in pages once, and no more");
}

/// Waits for the first state and has all kinds listed once more.
fn listed_anew(world: &World) {
    let watched = |server: &ApiServer| KINDS.iter().all(|(_, r)| server.watches(r) == 1);
    world.until("the first state", |known| known.events > 0);
    world.until_server("watches", watched);
    world.server.away();
    world.server.put(&service("api", "10.96.0.2"));
    world.server.compact();
    world.server.back();
    world.until("news", |known| known.ip("api").is_some());
    world.until_server("watches", watched);
}

#[test]
fn pages_of_routes_are_short_for_they_may_be_long() {
    let routes: Vec<Value> =
        (0..250).map(|i| route("HTTPRoute", &format!("r{i}"), "web")).collect();
    let world = World::with(|server| {
        server.put_all(&routes);
        server.faults(|faults| faults.streaming = Streaming::Off);
    });
    world.until("the first state", |known| known.events > 0);
    assert_eq!(world.server.requests("list", "httproutes.gateway.networking.k8s.io"), 3);
}

#[test]
fn a_page_that_breaks_off_is_asked_for_again() {
    let world = World::with(|server| {
        many_services(server, 600);
        server.faults(|faults| {
            faults.streaming = Streaming::Off;
            faults.cut = Some(("list".to_owned(), "services".to_owned(), 10_000));
        });
    });
    world.until("the first state", |known| known.events > 0);
    assert_eq!(world.follower.known().count(Kind::Service), 600);
}

#[test]
fn a_streamed_listing_that_breaks_off_begins_anew() {
    let world = World::with(|server| {
        // The newest is shown first, and the connection breaks before the oldest.
        server.put(&service("z", "10.96.0.1"));
        server.put(&service("a", "10.96.0.2"));
        let newest = server.get("services", "shop", "a").unwrap().to_string();
        let octets = newest.len() + 100;
        server.faults(|f| f.cut = Some(("watch".to_owned(), "services".to_owned(), octets)));
    });
    world.until("the first state", |known| known.events > 0);
    assert!(world.server.faults(|faults| faults.cut.is_none()), "it was cut");
    let known = world.follower.known();
    assert!(known.ip("a").is_some() && known.ip("z").is_some(), "{:?}", known.first);
}

#[test]
fn an_event_that_breaks_off_in_its_middle_is_said_again() {
    let world = World::with(|server| server.put(&service("web", "10.96.0.1")));
    world.until("the first state", |known| known.events > 0);
    world.until_server("a watch", |server| server.watches("services") == 1);
    let asked = world.server.requests("watch", "services");
    world.server.faults(|f| f.cut = Some(("watch".to_owned(), "services".to_owned(), 5000)));
    world.server.cut();
    world.until_server("the next watch", |server| server.requests("watch", "services") > asked);
    let mut big = service("web", "10.96.0.2");
    big["metadata"]["annotations"] = json!({"note": "x".repeat(10_000)});
    world.server.put(&big);
    world.server.put(&service("api", "10.96.0.3"));
    world.until("both", |known| {
        known.ip("web").as_deref() == Some("10.96.0.2") && known.ip("api").is_some()
    });
    assert!(world.server.faults(|faults| faults.cut.is_none()), "it was cut");
}

#[test]
fn an_object_of_megabytes_is_an_object_like_others() {
    let endpoints: Vec<Value> =
        (0..1000).map(|i| endpoint(&format!("10.0.{}.{}", i / 250, i % 250 + 1))).collect();
    let big = |note: &str| {
        let mut slice = slice("web-1", "web", &json!(endpoints));
        slice["metadata"]["annotations"] = json!({"note": note.repeat(1_200_000)});
        slice
    };
    let world = World::with(|server| {
        server.put(&service("web", "10.96.0.1"));
        server.put(&big("x"));
    });
    world.until("all endpoints", |known| known.endpoints("web").len() == 1000);
    let mut less = big("y");
    less["endpoints"].as_array_mut().unwrap().truncate(900);
    world.server.put(&less);
    world.until("some less", |known| known.endpoints("web").len() == 900);
}

#[test]
fn a_slow_server_is_waited_for() {
    let world = World::with(|server| {
        server.put_all(&one_of_each());
        server.faults(|faults| faults.latency = Duration::from_millis(700));
    });
    world.until("the first state", |known| known.events > 0);
    assert_eq!(world.follower.known().objects.len(), KINDS.len());
    assert_eq!(world.server.requests("watch", "services"), 1, "asked once");
}
