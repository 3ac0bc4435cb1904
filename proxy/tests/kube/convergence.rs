//! Whatever happens to objects and connections: what the source says ends as what the server has.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use nodeway::translate::{Identity, translate};
use nodeway_apiserver::{ApiServer, Options, Streaming};
use nodeway_core::model::{Kind, Object, ObjectName};
use serde_json::{Value, json};

use crate::follower::{Known, NODE, World};
use crate::objects::{
    KINDS, backend_policy, config_map, endpoint, grant, l4_route, namespace, node, pod, policy,
    route, service, slice, traffic_policy,
};

const SEEDS: u64 = 8;
const STEPS: usize = 150;
/// Names are few, so that objects come, change, go and come again.
const NAMES: u32 = 5;

type Objects = BTreeMap<(Kind, ObjectName), Object>;

#[test]
fn what_is_known_ends_as_what_the_server_has() {
    let runs: Vec<_> = (0..SEEDS).map(|seed| std::thread::spawn(move || run(seed))).collect();
    let failed: Vec<usize> = runs
        .into_iter()
        .map(|run| run.join().is_err())
        .enumerate()
        .filter(|r| r.1)
        .map(|r| r.0)
        .collect();
    assert!(failed.is_empty(), "seeds {failed:?}");
}

fn run(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let options = Options { history: random.usize(20..2000), ..Options::default() };
    let world = World::make(options, |server| {
        server.faults(|faults| {
            faults.bookmarks = Duration::from_millis(20);
            faults.streaming = *random.choice(&[Streaming::Yes, Streaming::Off]).unwrap();
        });
        for _ in 0..30 {
            change(server, &mut random);
        }
    });
    for _ in 0..STEPS {
        for _ in 0..random.usize(1..4) {
            change(&world.server, &mut random);
        }
        if random.u32(..10) == 0 {
            trouble(&world.server, &mut random);
        }
        std::thread::sleep(Duration::from_micros(random.u64(..4000)));
    }
    world.server.faults(|faults| {
        (faults.gone, faults.gone_events, faults.refuse, faults.cut) = (0, 0, (0, 0), None);
        faults.short_watches = false;
        faults.latency = Duration::ZERO;
    });
    let there = there(&world.server);
    assert!(there.len() > 10, "seed {seed}: {there:?}");
    world.until(&format!("seed {seed}: {there:#?}"), |known| known.objects == there);
    // What is compiled on the way is what is compiled at once.
    let known: &Known = &world.follower.known();
    let services = there.values().filter_map(|object| match object {
        Object::Service(service) => Some(service),
        _ => None,
    });
    for service in services {
        let frontend = known.snapshot.service_port(&service.name, 80);
        assert!(frontend.is_some(), "seed {seed}: {}", service.name);
    }
}

/// Something happens to an object.
fn change(server: &ApiServer, random: &mut fastrand::Rng) {
    let name = format!("o{}", random.u32(..NAMES));
    let kinds = kinds();
    let (kind, resource) = kinds[random.usize(..kinds.len())];
    if random.u32(..4) == 0 {
        let of_cluster = matches!(kind, Kind::Namespace | Kind::Node);
        return server.delete(resource, if of_cluster { "" } else { "shop" }, &name);
    }
    let ip = format!("10.96.0.{}", random.u8(1..));
    let mut object = match kind {
        Kind::Namespace => namespace(&name),
        Kind::Node => node(if random.bool() { NODE } else { "n2" }, &ip),
        Kind::Pod => pod(&name, if random.bool() { NODE } else { "n2" }),
        Kind::Service => service(&name, &ip),
        Kind::EndpointSlice => {
            let of = format!("o{}", random.u32(..NAMES));
            slice(&name, &of, &json!([endpoint(&ip)]))
        }
        Kind::HttpRoute => route("HTTPRoute", &name, &ip),
        Kind::GrpcRoute => route("GRPCRoute", &name, &ip),
        Kind::TlsRoute => l4_route("TLSRoute", &name, &ip),
        Kind::TcpRoute => l4_route("TCPRoute", &name, &ip),
        Kind::ReferenceGrant => grant(&name),
        Kind::BackendTlsPolicy => {
            let bundles = ["o0", "o1", "o2"].map(|bundle| random.bool().then_some(bundle));
            policy(&name, &name, &bundles.into_iter().flatten().collect::<Vec<_>>())
        }
        Kind::ConfigMap => config_map(&name, &ip),
        Kind::BackendPolicy => backend_policy(&name, &name, random.u32(..3)),
        Kind::BackendTrafficPolicy => traffic_policy(&name, &name, random.u32(1..9)),
        Kind::Mesh => unreachable!("the source does not ask for it"),
    };
    // In the mesh or not: all kinds have something to change.
    object["metadata"]["labels"]["nodeway.dev/mesh"] =
        json!(if random.bool() { "enabled" } else { "disabled" });
    server.put(&object);
}

/// With ConfigMaps, of which only those that policies name are asked for.
fn kinds() -> Vec<(Kind, &'static str)> {
    KINDS.into_iter().chain([(Kind::ConfigMap, "configmaps")]).collect()
}

fn trouble(server: &ApiServer, random: &mut fastrand::Rng) {
    match random.u32(..8) {
        0 => server.cut(),
        1 => {
            server.away();
            std::thread::sleep(Duration::from_millis(random.u64(..30)));
            server.back();
        }
        2 => server.compact(),
        3 => server.faults(|faults| faults.gone = random.usize(1..5)),
        4 => server.faults(|faults| faults.gone_events = random.usize(1..3)),
        5 => server.faults(|faults| faults.refuse = (random.usize(1..4), 500)),
        6 => {
            let kinds = kinds();
            let (_, resource) = kinds[random.usize(..kinds.len())];
            let verb = if random.bool() { "watch" } else { "list" }.to_owned();
            let octets = random.usize(1..3000);
            server.faults(|faults| faults.cut = Some((verb, resource.to_owned(), octets)));
        }
        _ => {
            server.compact();
            server.cut();
        }
    }
}

/// What there is for this node, in our words.
fn there(server: &ApiServer) -> Objects {
    let mut there = Objects::new();
    let mut named = HashSet::new();
    for (kind, resource) in kinds() {
        for object in server.all(resource) {
            if kind == Kind::Pod && object["spec"]["nodeName"] != NODE
                || kind == Kind::Node && object["metadata"]["name"] != NODE
            {
                continue;
            }
            let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
            let metadata = &object["metadata"];
            let name = ObjectName::new(text(&metadata["namespace"]), text(&metadata["name"]));
            let identity = Identity { kind, name: name.clone() };
            let object = translate(&identity, object).object.unwrap();
            if let Object::TlsPolicy(policy) = &object {
                named.extend(policy.bundles().cloned());
            }
            if kind != Kind::ConfigMap || named.contains(&name) {
                there.insert((kind, name), object);
            }
        }
    }
    there
}
