//! The cluster: an API server full of objects, and the few pods of it that run.

use nodeway_apiserver::{ApiServer, Options};
use nodeway_tests::kubelet::{Driver, Kubelet, Sandbox};
use nodeway_tests::{Pod, Proc, World};
use serde_json::Value;

use crate::objects::{self, Names};

const SERVICES: usize = 10_000;
const ENDPOINTS: usize = 10;
const ROUTES: usize = 5000;
pub(crate) const SIZE: &str = "10 000 Services with 100 000 endpoints, and 5 000 HTTPRoutes";
/// Whose endpoint is changed again and again; a route is attached to it.
pub(crate) const PROBED: usize = 17;
/// Whose endpoints stay while others change.
pub(crate) const STEADY: usize = 18;
/// The node that Nodeway runs on.
pub(crate) const NODE: &str = "node-a";
const UID: &str = "0e2a3ad8-5f66-4f63-9a4e-6f5c1d8f4a10";

/// See the module.
pub(crate) struct Cluster {
    // Fields go in this order: processes before the world they run in.
    _servers: Vec<Proc>,
    /// A pod of the mesh.
    pub(crate) client: Sandbox,
    /// The two that serve.
    pub(crate) pods: [Pod; 2],
    pub(crate) server: ApiServer,
    pub(crate) slices: Vec<Value>,
    pub(crate) world: World,
}

// === impl Cluster ===

impl Cluster {
    pub(crate) fn make() -> Self {
        let world = World::new().expect("a world");
        let pods = ["a", "b"].map(|name| world.pod(name));
        let servers = pods.iter().map(|pod| pod.serve("http", "1", 8080)).collect();
        let client = world.pod("client");
        let ip = client.ipv4;
        let client = Kubelet::new(&world, Driver::Systemd).run(&client, UID);

        let server = ApiServer::start(Options { history: 20_000, ..Options::default() });
        server.put(&objects::namespace("bench"));
        server.put(&objects::node(NODE));
        server.put(&objects::pod("client", UID, NODE, ip));
        let teams = (0..SERVICES).step_by(100).map(|i| objects::namespace(&Names::of(i).namespace));
        server.put_all(&teams.collect::<Vec<_>>());
        server.put_all(&(0..SERVICES).map(objects::service).collect::<Vec<_>>());
        let both = [pods[0].v4(8080), pods[1].v4(8080)];
        let slice = |number: usize| match number {
            PROBED => objects::slice_of(number, &both[..1]),
            STEADY => objects::slice_of(number, &both),
            _ => objects::slice(number, ENDPOINTS),
        };
        let slices: Vec<Value> = (0..SERVICES).map(slice).collect();
        server.put_all(&slices);
        let routes = (0..ROUTES).map(|i| objects::route(i, i + 1));
        server.put_all(&routes.collect::<Vec<_>>());
        Self { _servers: servers, client, pods, server, slices, world }
    }

    /// From now on the probed Service's only endpoint is this pod.
    pub(crate) fn lead_to(&self, pod: &Pod) {
        self.server.put(&objects::slice_of(PROBED, &[pod.v4(8080)]));
    }

    /// Some endpoint of some other Service is ready, or is not any more.
    pub(crate) fn flip_any(&mut self) {
        let number = fastrand::usize(PROBED.max(STEADY) + 1..SERVICES);
        let slice = &mut self.slices[number];
        let ready = &mut slice["endpoints"][fastrand::usize(..ENDPOINTS)]["conditions"]["ready"];
        *ready = (*ready != true).into();
        self.server.put(slice);
    }
}
