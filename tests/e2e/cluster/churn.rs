//! Pods come and go all the time.

use std::collections::VecDeque;
use std::fs;
use std::time::{Duration, Instant};

use nodeway_tests::cluster::{Cluster, Endpoint, Running};
use nodeway_tests::kubelet::Driver;
use nodeway_tests::{Load, MeshLabel, Nodeway, bpf, eventually};

use super::Scene;

/// Pods made in all, in a real cluster fewer, and so many a second.
const PODS: u32 = 1200;
const REAL_PODS: u32 = 120;
const A_SECOND: u32 = 20;
/// When fewer are enough, on a machine that makes them slowly.
const LONGEST: Duration = Duration::from_secs(180);
/// So many are there at a time.
const AT_ONCE: usize = 25;
/// Each of so many sends a request of its own.
const ASKS: u32 = 40;
const SOON: Duration = Duration::from_secs(30);
/// An upstream connection that nobody uses is kept for 60 s, one to the API for 90 s: of either there may be more than
/// there were.
const IDLE: Duration = Duration::from_secs(120);

/// What those who stay may have come to keep that they had not in the moment that is compared with. One in a hundred
/// pods that leaked would be twice as much.
const SLACK: usize = 6;

/// What a process holds that could leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holds {
    descriptors: usize,
    namespaces: usize,
    threads: usize,
}

impl Holds {
    fn of(node: &Nodeway) -> Self {
        let listed = |folder: &str| {
            fs::read_dir(format!("/proc/{}/{folder}", node.pid())).into_iter().flatten().flatten()
        };
        let links: Vec<_> = listed("fd").filter_map(|fd| fs::read_link(fd.path()).ok()).collect();
        let namespaces = links.iter().filter(|link| link.to_string_lossy().starts_with("net:"));
        let (namespaces, threads) = (namespaces.count(), listed("task").count());
        Self { descriptors: links.len(), namespaces, threads }
    }
}

#[test]
fn pods_that_come_and_go_cost_the_others_no_request_and_leave_nothing() {
    let Some(mut scene) = Scene::with(Driver::Systemd) else { return };
    let flapping = scene.cluster.service("flapping");
    scene.cluster.endpoints("flapping", &[]);
    scene.cluster.start();
    let place = &scene.client.pod().place;
    let loads = [Load::start(place, "h1", 1, scene.web), Load::start(place, "new", 1, scene.web)];
    loads.iter().for_each(|load| load.goes_on(200));
    let before = Holds::of(scene.cluster.node());
    let enrolled = map_entries(&scene.cluster, "NETNS");
    let pods = if scene.cluster.api.is_real() { REAL_PODS } else { PODS };
    let (start, mut there) = (Instant::now(), VecDeque::<(String, Running)>::new());
    let mut made = 0;
    while made < pods && (made < REAL_PODS || start.elapsed() < LONGEST) {
        let n = made;
        let name = format!("p{n}");
        let running = scene.cluster.pod(&name, MeshLabel::Enabled);
        there.push_back((name, running));
        if there.len() > AT_ONCE
            && let Some((name, running)) = there.pop_front()
        {
            scene.cluster.remove(&name, running);
        }
        let endpoints: Vec<_> = there.iter().map(|(_, r)| Endpoint::ready(r.pod())).collect();
        scene.cluster.endpoints("flapping", &endpoints);
        if n % ASKS == ASKS - 1
            && let Some((name, running)) = there.back()
        {
            eventually(SOON, &format!("{name} is caught"), || {
                !running.pod().listeners().is_empty()
            });
            assert_eq!(scene.who_answers(running), "web-1", "{name}");
        }
        made += 1;
        // Not more than so many a second; a machine that makes fewer takes longer.
        std::thread::sleep((start + made * Duration::from_secs(1) / A_SECOND) - Instant::now());
    }
    let took = start.elapsed();
    for (name, running) in there {
        scene.cluster.remove(&name, running);
    }
    eventually(SOON, "all are let go", || {
        scene.cluster.pods("enrolled") == 1 && scene.cluster.pods("starting") == 0
    });
    let mut last = before;
    eventually(IDLE, "nothing is held", || {
        let now = Holds::of(scene.cluster.node());
        if std::mem::replace(&mut last, now) != now {
            println!("{before:?} before, {now:?} now");
        }
        now.namespaces <= before.namespaces
            && now.threads <= before.threads + SLACK
            && now.descriptors <= before.descriptors + SLACK
    });
    eventually(SOON, "no pod is left in the map", || {
        map_entries(&scene.cluster, "NETNS") <= enrolled
    });
    let reports = loads.map(Load::stop);
    eventually(SOON, "no connection is left", || {
        let metrics = scene.cluster.node().metrics();
        metrics.sum("nodeway_downstream_connections_active", &[]) < 1.0
            && map_entries(&scene.cluster, "ORIGINAL") == 0
            && map_entries(&scene.cluster, "FLOWS") == 0
    });
    reports.iter().for_each(nodeway_tests::load::Report::assert_none_failed);
    let requests: u64 = reports.iter().map(|report| report.requests).sum();
    println!("{made} pods in {took:.1?}, {requests} requests, 0 failed; {flapping} flapped");
}

fn map_entries(cluster: &Cluster, map: &str) -> usize {
    bpf::entries(cluster.world.cgroup(), map)
}
