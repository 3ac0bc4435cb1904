//! The worlds that the other tests stand on hold what they promise, without any Nodeway.

use std::fs;

use nodeway_tests::{Plain, Proc, World, pattern};
use serde_json::Value;

#[test]
fn pods_reach_each_other_by_both_families_and_are_seen_by_their_addresses() {
    let Some(world) = World::new() else { return };
    let (client, web) = (world.pod("client"), world.pod("web"));
    let _server = web.serve("http", "v7", 8080);
    for (address, source) in
        [(web.v4(8080), client.ipv4.to_string()), (web.v6(8080), format!("[{}]", client.ipv6))]
    {
        let said = client.curl(&[&format!("http://{address}/a?b=c")]);
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&said["pod"], &said["version"]), (&"web".into(), &"v7".into()));
        assert_eq!((&said["path"], &said["query"]), (&"/a".into(), &"b=c".into()));
        let seen = said["source"].as_str().unwrap();
        assert!(seen.starts_with(&source), "{seen} is not {source}");
    }
}

#[test]
fn an_address_on_the_switch_is_reached_directly() {
    let Some(world) = World::new() else { return };
    let client = world.pod("client");
    let _v4 = world.direct("10.96.0.10:80".parse().unwrap());
    let _v6 = world.direct("[fd00:96::10]:80".parse().unwrap());
    assert_eq!(nodeway_tests::Mesh::who_answers(&client, "10.96.0.10"), "direct");
    assert_eq!(nodeway_tests::Mesh::who_answers(&client, "[fd00:96::10]"), "direct");
}

#[test]
fn programs_in_a_pod_are_in_its_cgroup_and_end_with_the_world() {
    let Some(world) = World::new() else { return };
    let pod = world.pod("one");
    let cgroup = world.cgroup().to_owned();
    let said = pod.place.ok("cat", &["/proc/self/cgroup"]);
    let expected = format!("{}/pods/one", cgroup.file_name().unwrap().to_str().unwrap());
    assert!(said.lines().any(|line| line.ends_with(&expected)), "{said}");

    let orphan = pod.place.ok("sh", &["-c", "sleep 600 >/dev/null & echo $!"]);
    let netns = pod.netns_path().to_owned();
    drop(world);
    // Whoever adopted it may take a while to bury it.
    let stat = fs::read_to_string(format!("/proc/{}/stat", orphan.trim()));
    assert!(stat.map_or(true, |stat| stat.contains(") Z ")), "an orphan survived");
    assert!(!cgroup.exists() && !netns.exists());
}

#[test]
fn the_test_server_does_what_the_tests_count_on() {
    let plain = Plain::new();
    let at = Plain::backend();
    let _server: Proc = plain.testserver(at, "v1");
    let sum = pattern::checksum(300_000);
    let shell = |command: &str| plain.place().ok("sh", &["-c", command]).trim().to_owned();
    let tool = nodeway_tests::binaries::testserver();
    let tool = tool.display();

    assert_eq!(shell(&format!("curl -sS http://{at}/bytes/300000 | {tool} checksum")), sum);
    assert_eq!(shell(&format!("{tool} generate 300000 | curl -sS -T - http://{at}/sink")), sum);

    let mut conn = Plain::connect(at);
    conn.send("GET /trailers HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n").unwrap();
    let response = conn.response().unwrap();
    assert_eq!(response.trailers, [("x-trailer".to_owned(), "the end".to_owned())]);

    conn.send("GET /status/204 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(conn.response().unwrap().status, 204);
    conn.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc").unwrap();
    assert_eq!(conn.response().unwrap().text(), "abc");
    conn.send("GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        .unwrap();
    assert_eq!(conn.response().unwrap().status, 101);
    conn.send("ping").unwrap();
    assert_eq!(conn.exactly(4).unwrap(), b"ping");
}
