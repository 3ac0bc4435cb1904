//! Endpoints that fail cost clients nothing, or as little as can be.

use std::time::Duration;

use nodeway_tests::{Nodeway, Pod, Proc, World, eventually, manifests as m};

use crate::shop::{Shop, V4};

struct Fleet {
    client: Pod,
    pods: Vec<Pod>,
    servers: Vec<Proc>,
    nodeway: Nodeway,
    world: World,
}

fn fleet(n: usize) -> Option<Fleet> {
    let world = World::new()?;
    let client = world.pod("client");
    let pods: Vec<Pod> = (0..n).map(|i| world.pod(&format!("web{i}"))).collect();
    let servers = pods.iter().map(|pod| pod.serve("v1", 80)).collect();
    let addresses: Vec<&str> = pods.iter().map(|pod| pod.ip4.as_str()).collect();
    let text = m::service("web", &[V4], 80, "appProtocol: http")
        + &m::slice("web", "web", "IPv4", &addresses, 80)
        + &m::pod(&client, "enabled");
    m::put(&world.manifests, "web.yaml", &text);
    let nodeway = Nodeway::start(&world, &[]);
    nodeway.until_metric("nodeway_pods", &["enrolled"], 1.0);
    Some(Fleet { client, pods, servers, nodeway, world })
}

fn codes(client: &Pod, range: &str) -> Vec<String> {
    let url = format!("http://{V4}/{range}");
    let text = client.curl(&["-o", "/dev/null", "-w", "%{http_code}\n", &url]);
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn requests_are_balanced_over_all_endpoints() {
    let Some(fleet) = fleet(3) else { return };
    let text = fleet.client.curl(&[&format!("http://{V4}/[1-300]")]);
    for pod in &fleet.pods {
        let share = text.matches(&format!("pod: {}\n", pod.name)).count();
        assert!((60..=140).contains(&share), "{}: {share} of 300", pod.name);
    }
}

#[test]
fn a_killed_endpoint_costs_no_request_is_left_out_and_comes_back() {
    let Some(mut fleet) = fleet(3) else { return };
    // Requests without a pause, while one endpoint is killed in their midst.
    let url = format!("http://{V4}/[1-6000]");
    let args = ["-sS", "--max-time", "60", "-o", "/dev/null", "-w", "%{http_code}\n", &url];
    let load = fleet.client.place.start("curl", &args);
    fleet.nodeway.until_metric("nodeway_requests_total", &[], 500.0);
    fleet.servers[0].kill();
    let ran = load.finish(Duration::from_secs(60));
    let good = ran.out.lines().filter(|line| *line == "200").count();
    assert_eq!(good, 6000, "{}", ran.err);
    fleet.nodeway.until_metric("nodeway_endpoint_ejections_total", &[], 1.0);
    assert!(fleet.nodeway.metric("nodeway_retries_total", &[]) >= 1.0);
    let log = fleet.nodeway.log();
    assert!(log.contains("endpoint left out") && log.contains(&fleet.pods[0].ip4), "{log}");
    fleet.servers[0] = fleet.pods[0].serve("v1", 80);
    eventually(Duration::from_secs(30), "the endpoint is back after its 10 s", || {
        let text = fleet.client.curl(&[&format!("http://{V4}/[1-20]")]);
        text.contains(&format!("pod: {}\n", fleet.pods[0].name))
    });
    let _ = &fleet.world;
}

#[test]
fn an_endpoint_that_resets_costs_no_replayable_request_and_a_post_is_not_sent_twice() {
    let Some(world) = World::new() else { return };
    let (client, good, bad) = (world.pod("client"), world.pod("good"), world.pod("bad"));
    let _good = good.serve("v1", 80);
    let _bad = bad.testserver(&["reset", "80"]);
    let text = |addresses: &[&str]| {
        m::service("web", &[V4], 80, "appProtocol: http")
            + &m::slice("web", "web", "IPv4", addresses, 80)
            + &m::pod(&client, "enabled")
    };
    m::put(&world.manifests, "web.yaml", &text(&[&good.ip4, &bad.ip4]));
    let nodeway = Nodeway::start(&world, &[]);
    nodeway.until_metric("nodeway_pods", &["enrolled"], 1.0);
    assert!(codes(&client, "[1-40]").iter().all(|code| code == "200"));
    assert!(nodeway.metric("nodeway_retries_total", &[]) >= 1.0);
    // With nobody but the bad one, a POST fails once and is not tried again.
    m::put(&world.manifests, "web.yaml", &text(&[&bad.ip4]));
    nodeway.until_metric("nodeway_snapshots_total", &[], 2.0);
    let retries = nodeway.metric("nodeway_retries_total", &[]);
    let url = format!("http://{V4}/");
    let code = client.curl(&["-d", "x", "-o", "/dev/null", "-w", "%{http_code}", &url]);
    assert_eq!(code, "502");
    assert!((nodeway.metric("nodeway_retries_total", &[]) - retries).abs() < 0.5);
    nodeway.until_metric("nodeway_requests_total", &["response_flags=\"UC\""], 1.0);
}

#[test]
fn without_a_ready_endpoint_http_is_503_and_tcp_is_reset() {
    let Some(shop) = Shop::open(80, "appProtocol: http", &[]) else { return };
    let none = |extra: &str| {
        m::service("web", &[V4], 80, extra) + &m::slice("web-4", "web", "IPv4", &[], 80)
    };
    m::put(&shop.world.manifests, "web.yaml", &none("appProtocol: http"));
    shop.nodeway.until_metric("nodeway_snapshots_total", &[], 2.0);
    assert_eq!(codes(&shop.client, ""), ["503"]);
    shop.nodeway.until_metric("nodeway_requests_total", &["response_flags=\"UH\""], 1.0);
    m::put(&shop.world.manifests, "web.yaml", &none("appProtocol: tcp"));
    shop.nodeway.until_metric("nodeway_snapshots_total", &[], 3.0);
    let url = format!("http://{V4}/");
    let ran = shop.client.place.run("curl", &["-sS", "--max-time", "10", &url]);
    // curl may hear of the reset before it knows that it was connected.
    let heard = ["reset", "Couldn't connect"].iter().any(|word| ran.err.contains(word));
    assert!(!ran.ok && heard, "{}", ran.err);
}
