//! Large bodies pass whole, and cost no memory.

use nodeway_tests::{binaries, pattern};

use crate::shop::{Shop, V4};

const GIB: u64 = 1 << 30;
const LIMIT: u64 = 64 << 20;

#[test]
fn a_gibibyte_passes_both_ways_with_flat_memory() {
    let Some(shop) = Shop::open(80, "", &[]) else { return };
    let _server = shop.server.serve("v1", 80);
    shop.client.curl(&[&format!("http://{V4}/")]);
    let idle = shop.nodeway.rss();
    let tool = binaries::testserver().display().to_string();
    let expected = pattern::checksum(GIB);
    let down = format!("curl -sSf --max-time 80 http://{V4}/bytes/{GIB} | {tool} sum");
    let up = format!("{tool} emit {GIB} | curl -sSf --max-time 80 -T - -X POST http://{V4}/sink");
    for command in [down, up] {
        let run = shop.client.place.start("sh", &["-c", &command]);
        let mut most = idle;
        let mut run = Some(run);
        nodeway_tests::eventually(std::time::Duration::from_secs(90), &command, || {
            most = most.max(shop.nodeway.rss());
            run.as_mut().is_some_and(|run| run.ended().is_some())
        });
        let run = run.take().unwrap();
        assert_eq!(run.out().trim(), expected, "{command}: {}", run.err());
        let grown = most.saturating_sub(idle);
        assert!(grown < LIMIT, "{command}: {} MiB above idle", grown >> 20);
    }
}

#[test]
fn a_slow_reader_holds_the_server_back() {
    let Some(shop) = Shop::open(80, "", &[]) else { return };
    let _server = shop.server.serve("v1", 80);
    shop.client.curl(&[&format!("http://{V4}/")]);
    let idle = shop.nodeway.rss();
    // 1 MiB/s of an endless supply, for two seconds: what is not read must not pile up in us.
    let url = format!("http://{V4}/bytes/{GIB}");
    let args = ["-sS", "--limit-rate", "1M", "--max-time", "2", "-o", "/dev/null", &url];
    let ran = shop.client.place.run("curl", &args);
    assert!(!ran.ok, "curl gives up by itself");
    let grown = shop.nodeway.rss().saturating_sub(idle);
    assert!(grown < 16 << 20, "{} KiB above idle", grown >> 10);
}
