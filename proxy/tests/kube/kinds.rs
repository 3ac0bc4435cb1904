//! Kinds that are not served, not yet, or not to us.

use std::time::Duration;

use nodeway_apiserver::{Options, Resource};
use nodeway_core::model::Kind;

use crate::follower::{World, eventually};
use crate::objects::{GATEWAY, KINDS, namespace, one_of_each, route, service};

#[test]
fn a_kind_that_is_forbidden_is_named_with_the_verbs_it_needs_and_heals() {
    const SLICES: &str = "endpointslices.discovery.k8s.io";
    let world = World::with(|server| {
        server.put_all(&one_of_each());
        server.faults(|faults| ["list", "watch"].map(|verb| faults.forbid(verb, SLICES)));
    });
    world.until("the first state", |known| known.events > 0);
    {
        let known = world.follower.known();
        assert_eq!(known.objects.len(), KINDS.len() - 1, "the rest works");
        let told = ["EndpointSlice: ", "is forbidden", "verbs list and watch on ", SLICES];
        assert!(known.told(&told), "{:?}", known.problems);
    }
    assert_eq!(world.follower.health.age(), Duration::ZERO, "the API is not away");
    world.server.put(&service("api", "10.96.0.2"));
    world.until("news of other kinds", |known| known.ip("api").is_some());
    // It is still so while the API is away.
    world.server.away();
    eventually("an age", || world.follower.health.age() > Duration::ZERO);
    assert!(world.follower.known().told(&["EndpointSlice: "]));
    world.server.back();
    world.server.faults(|faults| faults.forbidden.clear());
    world.until("its objects", |known| known.has(Kind::EndpointSlice, "shop", "web-1"));
    world.until("no more problems", |known| known.problems.is_empty());
}

#[test]
fn a_kind_that_is_forbidden_later_keeps_what_is_known() {
    let world = World::with(|server| server.put_all(&one_of_each()));
    world.until("the first state", |known| known.events > 0);
    world.server.faults(|faults| ["list", "watch"].map(|verb| faults.forbid(verb, "services")));
    world.server.cut();
    world.until("word of it", |known| known.told(&["Service: ", "verbs list and watch"]));
    assert!(world.follower.known().ip("web").is_some());
    assert!(world.follower.known().deleted.is_empty());
}

#[test]
fn kinds_that_are_installed_later_are_found_and_go_when_they_are_withdrawn() {
    let options = Options { gateway_api: false, ..Options::default() };
    let world = World::make(options, |server| {
        server.put(&namespace("shop"));
        server.put(&service("web", "10.96.0.1"));
    });
    world.until("the first state", |known| known.events > 0);
    assert!(world.follower.known().problems.is_empty(), "they are nobody's duty");
    for _ in 0..2 {
        world.server.install(Resource::gateway_api());
        world.server.put(&route("HTTPRoute", "r", "web"));
        world.until("the route", |known| known.has(Kind::HttpRoute, "shop", "r"));
        world.server.withdraw(GATEWAY);
        world.until("its end", |known| !known.has(Kind::HttpRoute, "shop", "r"));
    }
    eventually("a current state", || world.follower.health.age() == Duration::ZERO);
    assert!(world.follower.known().ip("web").is_some());
}

#[test]
fn a_server_that_knows_the_older_version_only_is_asked_for_that() {
    let options = Options { gateway_api: false, ..Options::default() };
    let world = World::make(options, |server| {
        let older = Resource::gateway_api().into_iter().map(|mut resource| {
            resource.version = "v1beta1".to_owned();
            resource
        });
        server.install(older.collect());
        let mut route = route("HTTPRoute", "r", "web");
        route["apiVersion"] = format!("{GATEWAY}/v1beta1").into();
        server.put(&route);
    });
    world.until("the first state", |known| known.events > 0);
    assert!(world.follower.known().has(Kind::HttpRoute, "shop", "r"));
}

#[test]
fn one_word_of_a_server_that_knows_no_kind_costs_nothing() {
    let world = World::with(|server| server.put_all(&one_of_each()));
    world.until("the first state", |known| known.events > 0);
    // One for each kind: other versions of it are not served anyway.
    world.server.faults(|faults| faults.refuse = (KINDS.len(), 404));
    world.server.cut();
    world.server.put(&service("api", "10.96.0.2"));
    world.until("news", |known| known.ip("api").is_some());
    world.until_server("watches", |server| KINDS.iter().all(|(_, r)| server.watches(r) == 1));
    assert_eq!(world.follower.known().deleted, []);
}
