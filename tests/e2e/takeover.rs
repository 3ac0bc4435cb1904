//! One Nodeway takes over from another, and nobody notices.

use std::ffi::OsString;
use std::time::Duration;

use nodeway_tests::mesh::VIP4;
use nodeway_tests::process::Proc;
use nodeway_tests::{Load, Mesh, Nodeway, bpf, eventually};

const SOON: Duration = Duration::from_secs(30);

fn with_takeover(mesh: &Mesh) -> Vec<OsString> {
    mesh.args().into_iter().chain(["--takeover".into()]).collect()
}

fn requests(node: &Nodeway) -> f64 {
    node.metrics().sum("nodeway_requests_total", &[])
}

#[test]
fn a_takeover_costs_no_request_and_leaves_one_set_of_programs() {
    let Some((mut mesh, _server)) = Mesh::with_web() else { return };
    let attached = bpf::attached(mesh.world.cgroup()).programs.len();
    let to = format!("{VIP4}:80").parse().unwrap();
    let loads = [("h1", 4), ("h2", 2), ("new", 4)]
        .map(|(kind, n)| Load::start(&mesh.client.place, kind, n, to));
    loads.iter().for_each(|load| load.goes_on(200));
    let mut successor = Nodeway::start(&mesh.world.node(), &with_takeover(&mesh));
    loads.iter().for_each(|load| load.goes_on(200));
    // New connections are the successor's, the others stay where they are.
    assert!(requests(&successor) > 0.0, "{}", successor.log());
    let peer = "import socket, sys\n\
                s = socket.create_connection((sys.argv[1], 80)); print(s.getpeername()[0])\n";
    assert_eq!(mesh.client.place.python(peer, &[VIP4]).out.trim(), VIP4);
    let (status, log) = mesh.node().stop();
    assert!(status.success(), "{status}\n{log}");
    loads.iter().for_each(|load| load.goes_on(200));
    loads.map(Load::stop).iter().for_each(nodeway_tests::load::Report::assert_none_failed);
    eventually(SOON, "one set of programs", || {
        bpf::attached(mesh.world.cgroup()).programs.len() == attached
    });
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "web-1");
    let (status, log) = successor.stop();
    assert!(status.success(), "{status}\n{log}");
    assert_eq!(bpf::attached(mesh.world.cgroup()), bpf::Objects::default(), "still attached");
}

#[test]
fn a_predecessor_that_is_killed_leaves_nothing_to_its_successor() {
    let Some((mut mesh, _server)) = Mesh::with_web() else { return };
    let attached = bpf::attached(mesh.world.cgroup()).programs.len();
    let successor = Nodeway::start(&mesh.world.node(), &with_takeover(&mesh));
    mesh.node().kill();
    eventually(SOON, "the predecessor's programs are removed", || {
        bpf::attached(mesh.world.cgroup()).programs.len() == attached
    });
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "web-1");
    assert!(requests(&successor) > 0.0);
}

/// The first one runs on, its successor has taken over.
fn succeeded() -> Option<(Mesh, Nodeway, [Proc; 2], usize)> {
    let (mesh, server) = Mesh::with_web()?;
    let attached = bpf::attached(mesh.world.cgroup()).programs.len();
    let successor = Nodeway::start(&mesh.world.node(), &with_takeover(&mesh));
    let direct = mesh.world.direct(format!("{VIP4}:80").parse().unwrap());
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "web-1");
    assert!(requests(&successor) > 0.0);
    Some((mesh, successor, [server, direct], attached))
}

fn the_first_one_catches_again(mesh: &mut Mesh) {
    let before = requests(mesh.node());
    eventually(SOON, "the first one catches again", || {
        Mesh::who_answers(&mesh.client, VIP4) == "web-1"
    });
    assert!(requests(mesh.node()) > before);
}

#[test]
fn a_successor_that_dies_gives_back_what_it_took() {
    let Some((mut mesh, mut successor, _servers, attached)) = succeeded() else { return };
    successor.kill();
    the_first_one_catches_again(&mut mesh);
    eventually(SOON, "one set of programs", || {
        bpf::attached(mesh.world.cgroup()).programs.len() == attached
    });
}

#[test]
fn a_successor_that_drains_gives_back_what_it_took() {
    let Some((mut mesh, mut successor, _servers, attached)) = succeeded() else { return };
    let (status, log) = successor.stop();
    assert!(status.success(), "{log}");
    the_first_one_catches_again(&mut mesh);
    assert_eq!(bpf::attached(mesh.world.cgroup()).programs.len(), attached);
}

#[test]
fn a_successor_that_is_made_anew_and_never_gets_ready_keeps_nothing() {
    let Some((mut mesh, mut successor, _servers, _)) = succeeded() else { return };
    successor.kill();
    let mut args = mesh.args_without_api();
    args.push("--takeover".into());
    let mut again = Nodeway::launch(&mesh.world.node(), &args);
    eventually(SOON, "it waits for its API", || again.log().contains("cannot be reached"));
    the_first_one_catches_again(&mut mesh);
    assert!(again.runs() && again.status("/readyz") == Some(503));
}

#[test]
fn pins_that_somebody_removes_are_made_again() {
    let Some((mut mesh, _server)) = Mesh::with_web() else { return };
    let attached = bpf::attached(mesh.world.cgroup()).programs.len();
    let _direct = mesh.world.direct(format!("{VIP4}:80").parse().unwrap());
    std::fs::remove_dir_all(mesh.world.bpffs().join("nodeway")).unwrap();
    eventually(SOON, "all programs are attached again", || {
        mesh.node().log().contains("attached again")
            && bpf::attached(mesh.world.cgroup()).programs.len() == attached
    });
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "web-1");
    let (status, log) = mesh.node().stop();
    assert!(status.success(), "{log}");
    assert_eq!(bpf::attached(mesh.world.cgroup()), bpf::Objects::default(), "still attached");
}

#[test]
fn a_third_one_is_refused_and_without_anybody_a_takeover_is_a_start() {
    let Some(mut mesh) = Mesh::new() else { return };
    let _server = mesh.web();
    mesh.start(&["--takeover"]);
    let second = Nodeway::start(&mesh.world.node(), &with_takeover(&mesh));
    let mut third = Nodeway::launch(&mesh.world.node(), &with_takeover(&mesh));
    let (status, log) = third.end(SOON);
    assert!(!status.success() && log.contains("taking over"), "{log}");
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "web-1");
    assert!(requests(&second) > 0.0);
}
