//! EndpointSlices as they should not be.

use nodeway_apiserver::ApiServer;
use nodeway_core::model::Kind;
use serde_json::{Value, json};

use crate::follower::{Known, World};
use crate::objects::{endpoint, service, slice};

fn web(server: &ApiServer) {
    server.put(&service("web", "10.96.0.1"));
}

fn endpoints(known: &Known) -> Vec<String> {
    known.endpoints("web").iter().map(ToString::to_string).collect()
}

fn until(world: &World, wanted: &[&str]) {
    world.until(&format!("{wanted:?}"), |known| endpoints(known) == wanted);
}

#[test]
fn a_service_has_the_endpoints_of_all_its_slices_each_once() {
    let world = World::with(web);
    let put = |name: &str, endpoints: Value| world.server.put(&slice(name, "web", &endpoints));
    put("web-1", json!([endpoint("10.0.0.1"), endpoint("10.0.0.2")]));
    put("web-2", json!([endpoint("10.0.0.2"), endpoint("10.0.0.3")]));
    until(&world, &["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"]);
    // It moves from one to the other, in whichever order.
    put("web-1", json!([endpoint("10.0.0.1")]));
    put("web-2", json!([endpoint("10.0.0.3")]));
    until(&world, &["10.0.0.1:8080", "10.0.0.3:8080"]);
    // Of two words about one address the better one counts.
    let mut ending = endpoint("10.0.0.1");
    ending["conditions"] = json!({"ready": false, "serving": true, "terminating": true});
    put("web-2", json!([ending]));
    until(&world, &["10.0.0.1:8080"]);
    put("web-1", json!(null));
    world.until("it still serves", |known| {
        endpoints(known) == ["10.0.0.1:8080"] && known.problems.is_empty()
    });
    world.server.delete("endpointslices.discovery.k8s.io", "shop", "web-1");
    world.server.delete("endpointslices.discovery.k8s.io", "shop", "web-2");
    until(&world, &[]);
}

#[test]
fn garbage_in_a_slice_costs_what_is_garbage_and_is_named() {
    let world = World::with(web);
    world.server.put(&slice(
        "web-1",
        "web",
        &json!([
            endpoint("fd00::1"),
            endpoint("10.0.0.1"),
            endpoint("10.0.0.300"),
            endpoint(""),
            {"addresses": []},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": null, "odd": "maybe", "serving": null}},
            {"addresses": ["10.0.0.3"]},
            {"addresses": ["10.0.0.4"], "conditions": {}, "hints": {"forZones": []}, "zone": "", "deprecatedTopology": {"a": "b"}},
        ]),
    ));
    until(&world, &["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080", "10.0.0.4:8080"]);
    {
        let known = world.follower.known();
        let told = [
            ("endpoints[0].addresses[0]", "not an IPv4 address"),
            ("endpoints[2].addresses[0]", "\"10.0.0.300\""),
            ("endpoints[3].addresses[0]", "\"\""),
            ("endpoints[4].addresses[0]", "\"\""),
        ];
        for (field, why) in told {
            let parts = ["EndpointSlice shop/web-1: ", field, why];
            assert!(known.told(&parts), "{parts:?} in {:?}", known.problems);
        }
        assert_eq!(known.problems.len(), told.len(), "{:?}", known.problems);
    }
    // No port at all is no endpoint; others' slices are not touched.
    let mut portless = slice("web-1", "web", &json!([endpoint("10.0.0.1")]));
    portless["ports"] =
        json!([{"name": "http", "port": 0}, {"name": "http", "port": 70000}, {"name": "http"}]);
    world.server.put(&slice("web-2", "web", &json!([endpoint("10.0.0.9")])));
    world.server.put(&portless);
    until(&world, &["10.0.0.9:8080"]);
    let port = |i: usize| format!("ports[{i}].port");
    world.until("word of it", |known| {
        (0..3).all(|i| known.told(&["EndpointSlice shop/web-1: ", &port(i)]))
    });
    // Nobody's slice.
    let mut stray = slice("stray", "web", &json!([endpoint("10.0.0.5")]));
    stray["metadata"]["labels"] = json!({});
    world.server.put(&stray);
    world.until("word of it", |known| known.told(&["shop/stray", "kubernetes.io/service-name"]));
    assert_eq!(endpoints(&world.follower.known()), ["10.0.0.9:8080"]);
    world.server.delete("endpointslices.discovery.k8s.io", "shop", "stray");
    world.server.put(&slice("web-1", "web", &json!([])));
    world.until("no more problems", |known| known.problems.is_empty());
}

#[test]
fn a_slice_that_changes_its_service_leaves_the_old_one() {
    let world = World::with(|server| {
        web(server);
        server.put(&service("api", "10.96.0.2"));
        server.put(&slice("s", "web", &json!([endpoint("10.0.0.1")])));
    });
    until(&world, &["10.0.0.1:8080"]);
    world.server.put(&slice("s", "api", &json!([endpoint("10.0.0.1")])));
    world.until("it is the other's", |known| {
        endpoints(known).is_empty() && known.endpoints("api").len() == 1
    });
}

#[test]
fn a_slice_that_flaps_ends_as_it_was_last() {
    let world = World::with(web);
    world.until("the first state", |known| known.events > 0);
    let address = |i: usize| format!("10.0.{}.{}", i / 250, i % 250 + 1);
    for i in 0..1000 {
        let endpoints: Vec<Value> = (0..i % 7).map(|j| endpoint(&address(i + j))).collect();
        if i % 11 == 0 {
            world.server.delete("endpointslices.discovery.k8s.io", "shop", "web-1");
        }
        world.server.put(&slice("web-1", "web", &json!(endpoints)));
    }
    world.server.put(&slice("web-1", "web", &json!([endpoint("10.9.9.9")])));
    until(&world, &["10.9.9.9:8080"]);
    assert!(world.follower.known().has(Kind::EndpointSlice, "shop", "web-1"));
}

#[test]
fn a_service_of_a_thousand_endpoints_has_them_all() {
    let all: Vec<Value> =
        (0..1000).map(|i| endpoint(&format!("10.0.{}.{}", i / 250, i % 250 + 1))).collect();
    let world = World::with(|server| {
        web(server);
        server.put(&slice("web-1", "web", &json!(all)));
    });
    world.until("all of them", |known| known.endpoints("web").len() == 1000);
}
