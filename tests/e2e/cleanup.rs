//! Nothing is left behind: not after an exit, not after SIGKILL and a restart.

use std::path::PathBuf;
use std::time::Duration;

use nodeway_tests::{Nodeway, World, cgroup, eventually, janitor};

use crate::shop::{Shop, V4, field};

fn pins(world: &World) -> PathBuf {
    PathBuf::from(janitor::PINS).join(cgroup::id(&world.cgroup).to_string())
}

/// The directories of pins, and how many programs are pinned in them.
fn pinned(world: &World) -> (usize, usize) {
    let list = |path: PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten();
    let versions: Vec<_> = list(pins(world)).collect();
    (versions.len(), versions.iter().map(|version| list(version.path()).count()).sum())
}

#[test]
fn an_exit_leaves_nothing_and_a_restart_after_sigkill_leaves_one_set() {
    let Some(mut shop) = Shop::open(80, "", &[]) else { return };
    let _server = shop.server.serve("v1", 80);
    assert_eq!(pinned(&shop.world), (1, 6));
    shop.nodeway.kill();
    assert_eq!(pinned(&shop.world), (1, 6), "the programs stay, and fail open");
    shop.nodeway = Nodeway::start(&shop.world, &[]);
    shop.nodeway.until_metric("nodeway_pods", &["enrolled"], 1.0);
    assert_eq!(pinned(&shop.world), (1, 6), "the old ones are gone");
    let answer = shop.client.curl(&[&format!("http://{V4}/")]);
    assert_eq!(field(&answer, "version"), "v1");
    assert!(shop.nodeway.stop(), "{}", shop.nodeway.log());
    assert!(!pins(&shop.world).exists());
    assert_eq!(attached(&shop.world), 0, "no program is attached to the cgroup");
    // The pod's namespace is not held: its only process groups are the test's own.
    let listeners = shop.client.place.ok("ss", &["-Hltn"]);
    assert_eq!(listeners.trim(), "", "no listener is left in the pod");
}

/// How many programs the kernel says are attached to the world's cgroup.
fn attached(world: &World) -> usize {
    if !nodeway_tests::skip::has("bpftool") {
        return 0;
    }
    let path = world.cgroup.display().to_string();
    let ran = world.host.run("bpftool", &["cgroup", "show", &path]);
    ran.out
        .lines()
        .filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()))
        .count()
}

#[test]
fn a_second_nodeway_on_the_cgroup_is_a_clear_error_and_no_fight() {
    let Some(shop) = Shop::open(80, "", &[]) else { return };
    let _server = shop.server.serve("v1", 80);
    let mut second = Nodeway::spawn(&shop.world, &[]);
    eventually(Duration::from_secs(10), "the second one gives up", || !second.runs());
    let log = second.log();
    assert!(log.contains("another nodeway already serves cgroup"), "{log}");
    assert_eq!(pinned(&shop.world), (1, 6));
    let answer = shop.client.curl(&[&format!("http://{V4}/")]);
    assert_eq!(field(&answer, "version"), "v1", "the first one serves on");
}

#[test]
fn pins_whose_cgroup_is_gone_are_removed_by_whoever_starts_next() {
    let Some(mut shop) = Shop::open(80, "", &[]) else { return };
    shop.nodeway.kill();
    let orphans = pins(&shop.world);
    assert!(orphans.exists());
    cgroup::remove(&shop.world.cgroup);
    let Some(next) = Shop::open(80, "", &[]) else { return };
    assert!(!orphans.exists(), "{}", next.nodeway.log());
}
