//! The worlds that most tests need: a client pod, a server pod, a Service `web` between them.

use nodeway_tests::{Nodeway, Pod, World, manifests as m, nodeway::free_ports, skip};

/// The Service's addresses.
pub(crate) const V4: &str = "10.96.0.10";
/// The Service's addresses.
pub(crate) const V6: &str = "fd00:96::10";

/// A client and a server pod with one Service of both families, caught by eBPF.
pub(crate) struct Shop {
    pub client: Pod,
    pub server: Pod,
    pub nodeway: Nodeway,
    pub world: World,
}

impl Shop {
    /// A shop whose Service has `port`; `extra` goes into the Service's port, `args` to Nodeway.
    pub(crate) fn open(port: u16, extra: &str, args: &[&str]) -> Option<Self> {
        let world = World::new()?;
        let (client, server) = (world.pod("client"), world.pod("server"));
        let text = m::service("web", &[V4, V6], port, extra)
            + &m::slice("web-4", "web", "IPv4", &[&server.ip4], port);
        m::put(&world.manifests, "web.yaml", &text);
        m::put(&world.manifests, "pods.yaml", &m::pod(&client, "enabled"));
        let nodeway = Nodeway::start(&world, args);
        nodeway.until_metric("nodeway_pods", &["enrolled"], 1.0);
        Some(Self { client, server, nodeway, world })
    }
}

/// A Nodeway with a plain listener for Service `shop/web` on the host's loopback: no eBPF.
pub(crate) struct Plain {
    pub nodeway: Nodeway,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// Where its one endpoint is to listen, on 127.0.0.1.
    pub endpoint: u16,
    pub world: World,
}

impl Plain {
    pub(crate) fn open(extra: &str) -> Option<Self> {
        let world = World::new()?;
        let [port, endpoint] = free_ports();
        let text = m::service("web", &[], 80, extra)
            + &m::slice("web-4", "web", "IPv4", &["127.0.0.1"], endpoint);
        m::put(&world.manifests, "web.yaml", &text);
        let listen = format!("127.0.0.1:{port}=shop/web:80");
        let nodeway = Nodeway::start(&world, &["--no-ebpf", "--listen", &listen]);
        Some(Self { nodeway, port, endpoint, world })
    }
}

/// The value of `name: value` in the test server's answer.
pub(crate) fn field<'a>(answer: &'a str, name: &str) -> &'a str {
    let value = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value.unwrap_or_else(|| panic!("no {name} in {answer:?}"))
}

/// Says SKIPPED if one of `programs` is missing.
pub(crate) fn have(programs: &[&str]) -> bool {
    programs.iter().all(|program| skip::has(program))
}
