//! All endpoints fail: all are used, little is said of it, and what is well again is used at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::*;

const POLICY: &str = "
loadBalancing: {algorithm: RoundRobin, panicThresholdPercent: 50}
outlierDetection:
  consecutiveGatewayErrors: 3
  baseEjectionTime: 1s
  maxEjectionTime: 1s
  maxEjectionPercent: 100";

#[test]
fn if_all_fail_all_are_used_and_the_log_says_so_in_a_few_lines() {
    let mut world = World::new(&[Mood::Says(503); 4], POLICY);
    // Another Service has nothing to do with it.
    let at = Plain::backend();
    let _well = Moody::start(at, Mood::Well);
    world.plain.manifests.service(&Plain::service("other", "http").to(at));
    let other = world.plain.listen("other");
    let mut world = world.start();
    let (stop, web, start) = (Arc::new(AtomicBool::new(false)), world.web, Instant::now());
    let asked = Arc::new(AtomicUsize::new(0));
    let hammers: Vec<_> = (0..3)
        .map(|_| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            thread::spawn(move || {
                let mut conn = Plain::connect(web);
                while !stop.load(Ordering::SeqCst) {
                    conn.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
                    assert_eq!(conn.response().unwrap().status, 503, "the endpoint's own answer");
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let panics = [("backend_name", "web")];
    eventually(SOON, "all are used", || world.metric("nodeway_backend_panics", &panics) > 0.9);
    let mut conn = Plain::connect(other);
    eventually(SOON, "some seconds go by, with many requests", || {
        conn.send("GET / HTTP/1.1\r\nHost: other\r\n\r\n").unwrap();
        assert_eq!(conn.response().unwrap().status, 200, "another Service's failures");
        start.elapsed() > Duration::from_secs(4) && asked.load(Ordering::SeqCst) > 1_000
    });
    stop.store(true, Ordering::SeqCst);
    hammers.into_iter().for_each(|hammer| hammer.join().unwrap());
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap();
    let log = world.plain.node().log();
    let lines = log.lines().filter(|line| line.contains("default/web port=80 ")).count();
    assert!(log.contains("all are used"), "{log}");
    // A few at first, and then one a second; and that all are used.
    assert!((3..=seconds + 8).contains(&lines), "{lines} for {asked:?}:\n{log}");
    for endpoint in &world.endpoints {
        endpoint.be(Mood::Well);
    }
    let failed = (0..50).filter(|_| !world.post()).count();
    assert_eq!(failed, 0, "all are used, and all are well");
    eventually(Duration::from_secs(30), "all are known to be well", || {
        world.post() && world.state("usable") > 3.9
    });
    eventually(SOON, "there is no panic any more", || {
        world.post() && world.metric("nodeway_backend_panics", &panics) < 0.1
    });
}

#[test]
fn no_more_are_left_out_than_the_policy_allows() {
    let policy = POLICY.replace("maxEjectionPercent: 100", "maxEjectionPercent: 25");
    let policy = policy.replace("panicThresholdPercent: 50", "panicThresholdPercent: 0");
    let moods = [Mood::Well, Mood::Says(503), Mood::Says(503), Mood::Well];
    let mut world = World::new(&moods, &policy).start();
    world.until_ejected();
    let mut failed = 0;
    for _ in 0..200 {
        failed += usize::from(!world.post());
        assert!(world.state("ejected") < 1.1, "one of four may be out");
    }
    assert!(failed > 0, "the other one is still asked");
    let log = world.plain.node().log();
    assert!(log.contains("not left out, for 1 of 4 endpoints are already"), "{log}");
}
