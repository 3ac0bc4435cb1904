//! Who is caught, and who is not.

use nodeway_tests::{Nodeway, World, eventually, manifests as m, netns};
use std::time::Duration;

use crate::shop::{Shop, V4, field};

#[test]
fn only_labelled_pods_are_caught_and_opting_out_takes_effect_for_new_connections() {
    let Some(shop) = Shop::open(80, "", &[]) else { return };
    let _server = shop.server.serve("v1", 80);
    let direct = shop.world.pod("direct");
    netns::batch(
        Some(&format!("{}-direct", shop.world.name)),
        &format!("addr add {V4}/32 dev eth0\n"),
    );
    let _direct = direct.serve("direct", 80);
    let url = format!("http://{V4}/");
    assert_eq!(field(&shop.client.curl(&[&url]), "version"), "v1");
    assert_eq!(
        field(&shop.server.curl(&[&url]), "version"),
        "direct",
        "the server is not enrolled"
    );
    // A Namespace's label counts for pods without one; the pod's own wins.
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {nodeway.dev/mesh: enabled}}\n";
    m::put(&shop.world.manifests, "namespace.yaml", namespace);
    let pods = m::pod(&shop.client, "disabled") + &m::pod(&shop.server, "");
    m::put(&shop.world.manifests, "pods.yaml", &pods);
    let soon = Duration::from_secs(10);
    eventually(soon, "the client is left alone", || {
        field(&shop.client.curl(&[&url]), "version") == "direct"
    });
    eventually(soon, "the server is caught", || {
        field(&shop.server.curl(&[&url]), "version") == "v1"
    });
}

#[test]
fn a_pod_without_a_namespace_yet_is_enrolled_when_it_has_one() {
    let Some(world) = World::new() else { return };
    let server = world.pod("server");
    let missing = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: late\n  namespace: shop\n  labels: \
         {{nodeway.dev/mesh: enabled}}\n  annotations: {{nodeway.dev/netns: /var/run/netns/{}-late}}\n",
        world.name
    );
    let web =
        m::service("web", &[V4], 80, "") + &m::slice("web", "web", "IPv4", &[&server.ip4], 80);
    m::put(&world.manifests, "all.yaml", &(web + "---\n" + &missing));
    let nodeway = Nodeway::start(&world, &[]);
    nodeway.until_metric("nodeway_pods", &["failed"], 1.0);
    let _server = server.serve("v1", 80);
    let late = world.pod("late");
    nodeway.until_metric("nodeway_pods", &["enrolled"], 1.0);
    assert_eq!(field(&late.curl(&[&format!("http://{V4}/")]), "version"), "v1");
}

#[test]
fn dialling_the_in_pod_listener_itself_leads_nowhere() {
    let Some(shop) = Shop::open(80, "", &[]) else { return };
    let listeners = shop.client.place.ok("ss", &["-Hltn"]);
    let listener = listeners.split_whitespace().find(|word| word.starts_with("127.0.0.1:"));
    let url = format!("http://{}/", listener.unwrap());
    let ran = shop.client.place.run("curl", &["-sS", "--max-time", "10", &url]);
    assert!(!ran.ok);
    shop.nodeway.until_metric("nodeway_unknown_destination_total", &[], 1.0);
}

#[test]
fn a_pod_that_is_made_anew_under_its_old_path_is_enrolled_again() {
    let Some(shop) = Shop::open(80, "", &[]) else { return };
    let _server = shop.server.serve("v1", 80);
    netns::remove(&format!("{}-client", shop.world.name));
    let again = shop.world.pod("client");
    eventually(Duration::from_secs(20), "the new pod is caught", || {
        let url = format!("http://{V4}/");
        let ran = again.place.run("curl", &["-s", "--max-time", "2", &url]);
        ran.out.contains("version: v1")
    });
    assert!(shop.nodeway.log().contains("no longer enrolled"));
}
