//! ConfigMaps are asked for where a BackendTLSPolicy names them, and nowhere else.

use nodeway_core::model::{Change, Kind, ObjectName};
use nodeway_core::snapshot::PolicyFault;
use serde_json::json;

use crate::follower::{Known, World};
use crate::objects::{config_map, one_of_each, policy, service};

const POLICIES: &str = "backendtlspolicies.gateway.networking.k8s.io";

fn name(name: &str) -> ObjectName {
    ObjectName::new("shop", name)
}

fn bundles(known: &Known) -> Vec<String> {
    let maps = known.objects.keys().filter(|(kind, _)| *kind == Kind::ConfigMap);
    maps.map(|(_, name)| name.name.to_string()).collect()
}

#[test]
fn config_maps_are_followed_as_long_as_a_policy_names_them() {
    let world = World::with(|server| {
        server.put_all(&one_of_each());
        server.put_all(&["a", "b", "kube-root-ca.crt"].map(|name| config_map(name, "-")));
        server.put(&policy("tls", "web", &["a", "later"]));
    });
    world.until("the first state", |known| known.events > 0);
    {
        // Policy and ConfigMap come together: nobody is refused a request for the order of listings.
        let known = world.follower.known();
        let first = |kind, of: &str| {
            known.first.iter().any(|change| match change {
                Change::Apply(object) => object.key() == (kind, &name(of)),
                _ => false,
            })
        };
        assert!(first(Kind::BackendTlsPolicy, "tls") && first(Kind::ConfigMap, "a"));
        assert_eq!(bundles(&known), ["a"]);
    }
    world.until_server("a watch each", |server| server.watches("configmaps") == 2);

    let changed =
        |known: &Known, of: &str| format!("{:?}", known.objects.get(&(Kind::ConfigMap, name(of))));
    let before = changed(&world.follower.known(), "a");
    let mut other = config_map("a", "-");
    other["data"] = json!({});
    world.server.put(&other);
    world.until("the change", |known| changed(known, "a") != before);
    world.server.put(&config_map("later", "-"));
    world.until("the one that came later", |known| bundles(known) == ["a", "later"]);
    world.server.put(&policy("more", "web", &["b", "a"]));
    world.until("another one", |known| bundles(known) == ["a", "b", "later"]);
    world.server.delete(POLICIES, "shop", "tls");
    world.until("one less", |known| bundles(known) == ["a", "b"]);
    world.until_server("a watch less", |server| server.watches("configmaps") == 2);
    world.server.delete(POLICIES, "shop", "more");
    world.until("none", |known| bundles(known).is_empty());
    world.until_server("no watch", |server| server.watches("configmaps") == 0);
}

#[test]
fn a_config_map_that_is_not_there_or_not_allowed_holds_nothing_up() {
    let world = World::with(|server| {
        server.put_all(&one_of_each());
        server.put(&policy("tls", "web", &["gone"]));
    });
    let closed = |known: &Known| {
        let status = known.snapshot.policy_status(&(Kind::BackendTlsPolicy, name("tls")));
        status.is_some_and(|status| {
            matches!(status.targets[0].accepted, Err((PolicyFault::NoValidCaCertificate, _)))
        })
    };
    world.until("the policy", closed);
    world.server.faults(|faults| {
        faults.forbid("list", "configmaps");
        faults.forbid("watch", "configmaps");
    });
    world.server.put(&config_map("secret", "-"));
    world.server.put(&policy("other", "web", &["secret"]));
    world.until("word of it", |known| known.told(&["configmaps", "list and watch"]));
    world.until("the other", |known| {
        known.snapshot.policy_status(&(Kind::BackendTlsPolicy, name("other"))).is_some()
    });
    world.server.delete(POLICIES, "shop", "other");
    world.until("nothing more of it", |known| known.problems.is_empty());
}

#[test]
fn a_config_map_that_the_server_does_not_answer_for_holds_nobody_up() {
    let closed = |known: &Known, of: &str| {
        let status = known.snapshot.policy_status(&(Kind::BackendTlsPolicy, name(of)));
        status.is_some_and(|status| {
            matches!(status.targets[0].accepted, Err((PolicyFault::NoValidCaCertificate, _)))
        })
    };
    let world = World::with(|server| {
        server.put_all(&one_of_each());
        server.put_all(&["broken", "refused"].map(|name| config_map(name, "-")));
        server.put_all(&["s1", "s2", "s3"].map(|name| service(name, "10.96.0.70")));
        server.put(&policy("broken", "s1", &["broken"]));
        server.put(&policy("bad", "s2", &["a=b"]));
        server.faults(|faults| {
            faults.selectors.insert("metadata.name=broken".to_owned(), 500);
            faults.selectors.insert("metadata.name=refused".to_owned(), 400);
        });
    });
    world.until("the first state", |known| known.events > 0);
    for of in ["broken", "bad"] {
        assert!(closed(&world.follower.known(), of), "{of}: nobody speaks in the clear");
    }
    world.server.put(&policy("late", "s3", &["refused"]));
    world.until("the late one", |known| closed(known, "late"));
    world.until("word of it", |known| known.told(&["shop/refused"]));
    // One object's trouble is not the others'.
    world.server.faults(|faults| faults.gone = 30);
    world.server.cut();
    world.until_server("new listings", |server| server.faults(|faults| faults.gone) == 0);
    world.server.put(&service("new", "10.96.0.77"));
    world.until("what is new", |known| known.has(Kind::Service, "shop", "new"));
    let mut listed = world.server.all_requests();
    listed.retain(|(verb, of), _| verb == "list" && of != "configmaps");
    assert!(listed.is_empty(), "the others are streamed: {listed:?}");
}
