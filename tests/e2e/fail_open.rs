//! When the proxy is away, traffic flows as if there were no mesh; or not at all, if so asked.

use nodeway_tests::netns;

use crate::shop::{Shop, V4, field};

/// Lets a pod answer on the Service's own address, as a cluster's kube-proxy would see to.
fn own_the_vip(shop: &Shop) -> nodeway_tests::Proc {
    let direct = shop.world.pod("direct");
    let name = format!("{}-direct", shop.world.name);
    netns::batch(Some(&name), &format!("addr add {V4}/32 dev eth0\n"));
    direct.serve("direct", 80)
}

#[test]
fn after_kill_9_the_next_connect_is_left_alone() {
    let Some(mut shop) = Shop::open(80, "", &[]) else { return };
    let _server = shop.server.serve("v1", 80);
    let _direct = own_the_vip(&shop);
    let url = format!("http://{V4}/");
    assert_eq!(field(&shop.client.curl(&[&url]), "version"), "v1");
    shop.nodeway.kill();
    assert_eq!(field(&shop.client.curl(&[&url]), "version"), "direct");
    // And when it is back, it catches again.
    shop.nodeway = nodeway_tests::Nodeway::start(&shop.world, &[]);
    shop.nodeway.until_metric("nodeway_pods", &["enrolled"], 1.0);
    assert_eq!(field(&shop.client.curl(&[&url]), "version"), "v1");
}

#[test]
fn somebody_else_on_the_dead_proxys_port_gets_nothing() {
    let Some(mut shop) = Shop::open(80, "", &[]) else { return };
    let _server = shop.server.serve("v1", 80);
    let _direct = own_the_vip(&shop);
    let ports = shop.client.place.ok("ss", &["-Hltn"]);
    let port = ports
        .lines()
        .find_map(|line| line.split_whitespace().find_map(|w| w.strip_prefix("127.0.0.1:")))
        .unwrap_or_else(|| panic!("no listener in the pod: {ports}"))
        .to_owned();
    shop.nodeway.kill();
    let _thief = shop.client.testserver(&["banner", &port]);
    let answer = shop.client.curl(&[&format!("http://{V4}/")]);
    assert_eq!(field(&answer, "version"), "direct");
}

#[test]
fn with_the_policy_closed_nobody_gets_past() {
    let Some(mut shop) = Shop::open(80, "", &["--fail-policy", "closed"]) else { return };
    let _server = shop.server.serve("v1", 80);
    let _direct = own_the_vip(&shop);
    let url = format!("http://{V4}/");
    assert_eq!(field(&shop.client.curl(&[&url]), "version"), "v1");
    shop.nodeway.kill();
    let ran = shop.client.place.run("curl", &["-sS", "--max-time", "10", &url]);
    assert!(!ran.ok, "{}", ran.out);
    // What is no Service's is nobody's business.
    let direct = format!("http://{}/", shop.server.ip4);
    assert_eq!(field(&shop.client.curl(&[&direct]), "version"), "v1");
}

#[test]
fn a_clean_end_hands_traffic_back_too() {
    let Some(mut shop) = Shop::open(80, "", &[]) else { return };
    let _direct = own_the_vip(&shop);
    assert!(shop.nodeway.stop());
    let answer = shop.client.curl(&[&format!("http://{V4}/")]);
    assert_eq!(field(&answer, "version"), "direct");
}
