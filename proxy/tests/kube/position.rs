//! Where a watch goes on.

use std::time::Duration;

use nodeway_apiserver::{ApiServer, Options, Streaming};
use nodeway_core::model::Kind;
use serde_json::json;

use crate::follower::{Follower, World, eventually};
use crate::objects::{KINDS, one_of_each, service};

/// In pages: a listing can be told from a watch by its verb.
fn in_pages(server: &ApiServer) {
    server.put_all(&one_of_each());
    server.faults(|faults| {
        faults.streaming = Streaming::Off;
        faults.bookmarks = Duration::from_millis(50);
    });
}

fn all_watched(server: &ApiServer) -> bool {
    KINDS.iter().all(|(_, resource)| server.watches(resource) == 1)
}

#[test]
fn a_cut_is_mended_without_a_listing_while_the_history_is_there() {
    let world = World::with(in_pages);
    world.until_server("watches", all_watched);
    world.server.cut();
    world.server.put(&service("api", "10.96.0.2"));
    world.until("news", |known| known.ip("api").is_some());
    world.until_server("watches", all_watched);
    for (_, resource) in KINDS {
        assert_eq!(world.server.requests("list", resource), 1, "{resource}");
    }
}

#[test]
fn bookmarks_save_a_listing_when_the_history_has_moved_on() {
    let options = Options { history: 20, ..Options::default() };
    let world = World::make(options, in_pages);
    world.until_server("watches", all_watched);
    let bookmarked = |what: &str| {
        let said = KINDS.map(|(_, resource)| world.server.bookmarks(resource));
        world.until_server(what, |server| {
            KINDS
                .iter()
                .zip(said)
                .all(|((_, resource), said)| server.bookmarks(resource) >= said + 3)
        });
    };
    bookmarked("bookmarks");
    // Nothing of ours, but more than the history holds.
    for i in 0..40 {
        world.server.put(&json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("c{i}"), "namespace": "shop"}}));
        if i % 10 == 9 {
            bookmarked("more bookmarks");
        }
    }
    let asked = world.server.requests("watch", "services");
    world.server.cut();
    world.until_server("a watch", |server| server.requests("watch", "services") > asked);
    world.server.put(&service("api", "10.96.0.2"));
    world.until("news", |known| known.ip("api").is_some());
    assert_eq!(world.server.requests("list", "services"), 1, "it knew where it was");
}

#[test]
fn a_410_as_the_answer_leads_to_a_listing_that_notices_what_is_gone() {
    for streaming in [Streaming::Yes, Streaming::Off] {
        let world = World::with(|server| {
            in_pages(server);
            server.faults(|faults| faults.streaming = streaming);
            server.put(&service("old", "10.96.0.9"));
        });
        world.until("the first state", |known| known.events > 0);
        world.server.away();
        world.server.delete("services", "shop", "old");
        world.server.put(&service("web", "10.96.0.7"));
        world.server.put(&service("new", "10.96.0.8"));
        world.server.compact();
        world.server.back();
        world.until("all news", |known| {
            known.ip("old").is_none()
                && known.ip("new").is_some()
                && known.ip("web").as_deref() == Some("10.96.0.7")
        });
        world.until_server("watches", all_watched);
        let known = world.follower.known();
        assert_eq!(known.deleted.len(), 1, "{streaming:?}: {:?}", known.deleted);
        assert_eq!(known.objects.len(), KINDS.len() + 1, "{streaming:?}");
    }
}

#[test]
fn a_410_as_an_event_leads_to_a_listing_too() {
    let world = World::with(in_pages);
    world.until("the first state", |known| known.events > 0);
    world.until_server("watches", all_watched);
    world.server.faults(|faults| faults.gone_events = 1);
    world.server.delete("services", "shop", "web");
    world.until("its end", |known| !known.has(Kind::Service, "shop", "web"));
    assert_eq!(world.server.requests("list", "services"), 2);
    assert_eq!(world.follower.known().deleted.len(), 1);
    assert_eq!(world.server.requests("list", "pods"), 1, "the others go on");
}

#[test]
fn after_a_410_the_state_is_old_until_the_listing_is_through() {
    let world = World::with(in_pages);
    world.until("the first state", |known| known.events > 0);
    world.until_server("watches", all_watched);
    eventually("a current state", || world.follower.health.age() == Duration::ZERO);
    world.server.faults(|faults| {
        (faults.gone_events, faults.latency) = (1, Duration::from_millis(500));
    });
    world.server.delete("services", "shop", "web");
    eventually("an age", || world.follower.health.age() > Duration::ZERO);
    eventually("a current state", || {
        let current = world.follower.health.age() == Duration::ZERO;
        assert!(!current || world.server.requests("list", "services") == 2);
        current
    });
    world.until("its end", |known| !known.has(Kind::Service, "shop", "web"));
}

#[test]
fn a_server_that_says_410_again_and_again_is_not_hammered() {
    let world = World::with(in_pages);
    world.until_server("watches", all_watched);
    let asked = world.server.requests("list", "services");
    let began = std::time::Instant::now();
    world.server.faults(|faults| faults.gone = 8 * 3);
    world.server.cut();
    world.server.put(&service("api", "10.96.0.2"));
    world.until("news", |known| known.ip("api").is_some());
    world.until_server("watches", all_watched);
    let asked = world.server.requests("list", "services") - asked;
    // Each wait is at least half of the doubled one before: 0.1 s, 0.2 s, and so on.
    let least: u32 = (1..asked).map(|i| 100 << (i - 1).min(5)).sum::<usize>().try_into().unwrap();
    assert!(began.elapsed() >= Duration::from_millis(least.into()), "{asked} listings");
}

#[test]
fn a_token_that_has_expired_is_read_again() {
    let server = ApiServer::start(Options::default());
    server.put_all(&one_of_each());
    let folder = tempfile::TempDir::new().unwrap();
    let (token, kubeconfig) = (folder.path().join("token"), folder.path().join("kubeconfig"));
    std::fs::write(&token, server.token()).unwrap();
    std::fs::write(&kubeconfig, server.kubeconfig_with_token_file(&token)).unwrap();
    let follower = Follower::start(&kubeconfig);
    follower.until("the first state", |known| known.events > 0);
    // The old one is refused before the new one is there.
    server.faults(|faults| faults.tokens = ["fresh".to_owned()].into());
    let asked = || server.refused_tokens();
    server.cut();
    eventually("a refusal", || asked() > 0);
    eventually("an age", || follower.health.age() > Duration::ZERO);
    server.put(&service("api", "10.96.0.2"));
    std::fs::write(&token, "fresh").unwrap();
    follower.until("news", |known| known.ip("api").is_some());
    eventually("a current state", || follower.health.age() == Duration::ZERO);
    assert!(follower.known().deleted.is_empty());
}
