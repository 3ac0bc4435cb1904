//! With the proxy gone, the kernel side leaves connections alone; or refuses them, if told so.

use std::time::Duration;

use nodeway_tests::mesh::{VIP4, VIP6};
use nodeway_tests::{Mesh, Nodeway, binaries, eventually};

#[test]
fn traffic_flows_past_a_killed_proxy_at_once() {
    let Some((mut mesh, _server)) = Mesh::with_web() else { return };
    let _direct4 = mesh.world.direct(format!("{VIP4}:80").parse().unwrap());
    let _direct6 = mesh.world.direct(format!("[{VIP6}]:80").parse().unwrap());
    let hosts = [VIP4.to_owned(), format!("[{VIP6}]")];
    for host in &hosts {
        assert_eq!(Mesh::who_answers(&mesh.client, host), "web-1", "{host}: not through the proxy");
    }
    mesh.node().kill();
    for host in &hosts {
        // The very next one: there is no grace to wait for.
        assert_eq!(Mesh::who_answers(&mesh.client, host), "direct", "{host}: not left alone");
    }
}

#[test]
fn who_takes_the_dead_proxys_port_gets_nothing() {
    let Some((mut mesh, _server)) = Mesh::with_web() else { return };
    let _direct = mesh.world.direct(format!("{VIP4}:80").parse().unwrap());
    let ports = mesh.client.listening_on_loopback();
    mesh.node().kill();
    let thieves: Vec<_> = ports
        .iter()
        .map(|port| {
            let at = format!("127.0.0.1:{port}");
            let args = ["http", "--name", "thief", "--listen", &at];
            mesh.client.place.start(binaries::testserver(), &args).until_it_says("listening")
        })
        .collect();
    assert!(!thieves.is_empty());
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "direct");
}

#[test]
fn a_stopped_proxy_is_no_different_from_none() {
    let Some((mut mesh, _server)) = Mesh::with_web() else { return };
    let _direct = mesh.world.direct(format!("{VIP4}:80").parse().unwrap());
    let (status, log) = mesh.node().stop();
    assert!(status.success(), "{status}\n{log}");
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "direct");
}

#[test]
fn the_closed_policy_refuses_what_no_proxy_would_see() {
    let Some(mut mesh) = Mesh::new() else { return };
    let _server = mesh.web();
    mesh.start(&["--fail-policy", "closed"]);
    let _direct = mesh.world.direct(format!("{VIP4}:80").parse().unwrap());
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "web-1");
    mesh.node().kill();
    let url = format!("http://{VIP4}/");
    let ran = mesh.client.place.run("curl", &["-sS", "--max-time", "5", &url]);
    assert_eq!(ran.status.code(), Some(7), "not refused: {}{}", ran.out, ran.err);
    // Also while the next one is not ready yet.
    let args = [mesh.args_without_api(), vec!["--fail-policy".into(), "closed".into()]].concat();
    let next = Nodeway::launch(&mesh.world.node(), &args);
    eventually(Duration::from_secs(30), "it waits for its API", || {
        next.log().contains("cannot be reached")
    });
    let ran = mesh.client.place.run("curl", &["-sS", "--max-time", "5", &url]);
    assert_eq!(ran.status.code(), Some(7), "not refused: {}{}", ran.out, ran.err);
    // What is no Service's stays nobody's business.
    let beside = mesh.world.pod("beside");
    let _beside = beside.serve("http", "v1", 8080);
    assert_eq!(Mesh::who_answers(&mesh.client, &beside.v4(8080).to_string()), "beside");
}

#[test]
fn a_new_proxy_takes_over_after_a_crash() {
    let Some((mut mesh, _server)) = Mesh::with_web() else { return };
    let _direct = mesh.world.direct(format!("{VIP4}:80").parse().unwrap());
    mesh.node().kill();
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "direct");
    mesh.start(&[]);
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "web-1");
}
