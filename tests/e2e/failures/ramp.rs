//! Who comes back gets its share by and by.

use super::*;

#[test]
fn an_endpoint_that_comes_back_is_not_given_its_whole_share_at_once() {
    let policy = "
loadBalancing: {algorithm: RoundRobin, slowStart: {window: 10s, minWeightPercent: 5}}
outlierDetection: {consecutiveGatewayErrors: 3, baseEjectionTime: 1s}";
    let mut world = World::new(&[Mood::Well, Mood::Says(503), Mood::Well], policy).start();
    world.until_ejected();
    world.endpoints[1].be(Mood::Well);
    let asked = world.endpoints[1].requests();
    eventually(SOON, "it is used again", || world.post() && world.endpoints[1].requests() > asked);
    let share = |world: &mut World| {
        let (before, mut all) = (world.endpoints[1].requests(), 0);
        while all < 120 {
            assert!(world.post());
            all += 1;
        }
        (world.endpoints[1].requests() - before) as f64 / f64::from(all)
    };
    let first = share(&mut world);
    assert!(first < 0.2, "{first} of the requests at once");
    eventually(SOON, "it has its share", || share(&mut world) > 0.3);
}
