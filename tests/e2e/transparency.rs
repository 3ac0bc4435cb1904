//! Unmodified programs work through a ClusterIP, and see what they would see without us.

use std::time::Duration;

use nodeway_tests::{Nodeway, Pod, World, manifests as m};

/// A client and a server pod with one Service of both families.
struct Shop {
    client: Pod,
    server: Pod,
    nodeway: Nodeway,
    world: World,
}

const V4: &str = "10.96.0.10";
const V6: &str = "fd00:96::10";

fn shop(port: u16, extra: &str) -> Option<Shop> {
    let world = World::new()?;
    let (client, server) = (world.pod("client"), world.pod("server"));
    let text = m::service("web", &[V4, V6], port, extra)
        + &m::slice("web-4", "web", "IPv4", &[&server.ip4], port)
        + &m::pod(&client, "enabled");
    m::put(&world.manifests, "shop.yaml", &text);
    let nodeway = Nodeway::start(&world, &[]);
    nodeway.until_metric("nodeway_pods", &["enrolled"], 1.0);
    Some(Shop { client, server, nodeway, world })
}

#[test]
fn curl_sees_the_server_and_the_server_sees_the_pod() {
    let Some(shop) = shop(80, "") else { return };
    let _server = shop.server.serve("v1", 80);
    for url in [format!("http://{V4}/a?b"), format!("http://[{V6}]/a?b")] {
        let answer = shop.client.curl(&[&url]);
        assert!(answer.contains(&format!("source: {}", shop.client.ip4)), "{answer}");
        assert!(answer.contains("request: GET /a?b"), "{answer}");
    }
    shop.nodeway.until_metric("nodeway_requests_total", &["parent_name=\"web\""], 2.0);
    let _ = (&shop.world, Duration::ZERO);
}
