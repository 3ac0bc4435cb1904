//! What costs nothing: connections that wait, and time in which nothing happens.

use std::time::Duration;

use nodeway_tests::mesh::VIP4;
use nodeway_tests::{Mesh, binaries, wait};

const MIB: u64 = 1 << 20;

#[test]
fn a_thousand_idle_connections_cost_little_memory_and_no_time() {
    let Some((mut mesh, _server)) = Mesh::with_web() else { return };
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "web-1");
    let before = mesh.node().rss();
    let to = format!("{VIP4}:80");
    let held = mesh.client.place.start(binaries::testserver(), &["hold", "1000", &to]);
    let _held = held.until_it_says("holding 1000");
    let cost = mesh.node().rss().saturating_sub(before);
    println!("1000 idle connections cost {} KiB", cost / 1024);
    assert!(cost < 40 * MIB, "1000 idle connections cost {} MiB", cost / MIB);

    // Upstream connections idle out or stay; either way nothing spins.
    let node = mesh.node();
    wait::settled(Duration::from_secs(10), Duration::from_millis(500), || node.cpu_ticks());
    let (start, end) = wait::over(Duration::from_secs(3), || node.cpu_ticks());
    assert!(end - start < 3, "{} ticks of CPU in 3 s of holding connections", end - start);
}

#[test]
fn an_idle_proxy_uses_no_cpu() {
    let Some((mut mesh, _server)) = Mesh::with_web() else { return };
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "web-1");
    let node = mesh.node();
    wait::settled(Duration::from_secs(10), Duration::from_millis(500), || node.cpu_ticks());
    let (start, end) = wait::over(Duration::from_secs(3), || node.cpu_ticks());
    assert!(end - start < 2, "{} ticks of CPU in 3 s of nothing", end - start);
}
