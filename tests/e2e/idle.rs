//! Doing nothing costs nothing, and idle connections little.

use std::time::Duration;

use nodeway_tests::wait;

use crate::shop::{Shop, V4};

const HOLD: &str = r#"
import socket, sys
connections = []
for _ in range(1000):
    connection = socket.create_connection((sys.argv[1], 80), 20)
    connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    connection.recv(4096)
    connections.append(connection)
print("holding", flush=True)
sys.stdin.read()
"#;

#[test]
fn a_thousand_idle_connections_cost_less_than_40_mib_and_no_cpu() {
    let Some(shop) = Shop::open(80, "", &[]) else { return };
    let _server = shop.server.serve("v1", 80);
    shop.client.curl(&[&format!("http://{V4}/")]);
    let before = shop.nodeway.rss();
    let python = nodeway_tests::binaries::python();
    let mut command = shop.client.place.command(python);
    command.args(["-c", HOLD, V4]).stdin(std::process::Stdio::piped());
    let holder = nodeway_tests::Proc::start(command, shop.world.scratch().join("logs/holder"));
    let holder = holder.until_it_says("holding");
    shop.nodeway.until_metric("nodeway_downstream_connections_active", &[], 1000.0);
    let cost = shop.nodeway.rss().saturating_sub(before);
    println!("1000 idle connections: {} KiB", cost >> 10);
    assert!(cost < 40 << 20, "{} MiB", cost >> 20);
    let (ticks_before, ticks_after) =
        wait::over(Duration::from_secs(3), || shop.nodeway.cpu_ticks());
    // One tick is 10 ms: a scrape before the span may still be on the books.
    assert!(ticks_after - ticks_before <= 1, "{} ticks in 3 s", ticks_after - ticks_before);
    drop(holder);
}
