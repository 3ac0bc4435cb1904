//! Endpoints of the client's own zone, and what becomes of requests when these fail.

use super::*;

/// Both of a zone may be out, and not for long.
const POLICY: &str =
    "outlierDetection: {consecutiveGatewayErrors: 3, baseEjectionTime: 1s, maxEjectionTime: 1s}";

#[test]
fn far_endpoints_take_over_when_the_near_ones_fail_and_give_back_when_they_are_well() {
    let mut plain = Plain::new();
    let node = "apiVersion: v1\nkind: Node\n\
                metadata: {name: node-a, labels: {topology.kubernetes.io/zone: zone-a}}";
    plain.manifests.put("node.yaml", node);
    let at = [(); 4].map(|()| Plain::backend());
    let endpoints = at.map(|at| Moody::start(at, Mood::Well)).to_vec();
    let zones = ["zone-a", "zone-a", "zone-b", "zone-b"];
    let service = at
        .into_iter()
        .zip(zones)
        .fold(World::service(), |service, (at, zone)| service.to_in(at, zone));
    plain.manifests.service(&service);
    plain.manifests.backend_policy("web", POLICY);
    let web = plain.listen("web");
    let mut world = World { plain, web, endpoints, at: at.to_vec(), conn: None }.start();
    let far = |world: &World| world.endpoints[2].requests() + world.endpoints[3].requests();
    assert!((0..50).all(|_| world.post()));
    assert_eq!(far(&world), 0, "the near ones are well");
    assert!(world.endpoints[..2].iter().all(|endpoint| endpoint.requests() > 0));

    let be = |world: &World, mood| world.endpoints[..2].iter().for_each(|near| near.be(mood));
    be(&world, Mood::Says(503));
    eventually(SOON, "the far ones take over", || (0..50).all(|_| world.post()));
    assert!(far(&world) >= 50, "{}", far(&world));

    be(&world, Mood::Well);
    eventually(SOON, "the near ones are used again, and they alone", || {
        let before = far(&world);
        (0..50).all(|_| world.post()) && far(&world) == before
    });
}
