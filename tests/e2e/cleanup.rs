//! What Nodeway put into the kernel goes with it.

use std::fs;
use std::time::Duration;

use nodeway_tests::mesh::VIP4;
use nodeway_tests::{Mesh, Nodeway, bpf, cgroup, eventually};

/// Everything that pins would leave below the world's bpffs.
fn pinned(mesh: &Mesh) -> Vec<String> {
    let listed = fs::read_dir(mesh.world.bpffs()).unwrap().flatten();
    let names = listed.map(|entry| entry.file_name().to_string_lossy().into_owned());
    // The kernel's own: iterators that come with the mount.
    names.filter(|name| !name.ends_with(".debug")).collect()
}

fn assert_nothing_left(mesh: &Mesh, had: &bpf::Objects) {
    assert_eq!(bpf::attached(mesh.world.cgroup()), bpf::Objects::default(), "still attached");
    assert_eq!(pinned(mesh), Vec::<String>::new(), "still pinned");
    assert_eq!(mesh.client.listeners(), Vec::<String>::new(), "still listening in the pod");
    // The kernel frees after a grace period of its own.
    eventually(Duration::from_secs(30), "programs and maps leave the kernel", || {
        bpf::alive(had) == bpf::Objects::default()
    });
}

#[test]
fn sigterm_leaves_nothing_behind() {
    let Some((mut mesh, _server)) = Mesh::with_web() else { return };
    let had = bpf::attached(mesh.world.cgroup());
    assert!(had.programs.len() >= 5 && had.maps.len() >= 3, "what is attached: {had:?}");
    assert!(!mesh.client.listeners().is_empty());
    assert!(mesh.world.pins().exists(), "pins are not in {}", mesh.world.pins().display());
    let (status, log) = mesh.node().stop();
    assert!(status.success(), "{status}\n{log}");
    assert_nothing_left(&mesh, &had);
}

#[test]
fn a_crash_a_restart_and_a_stop_leave_nothing_behind() {
    let Some((mut mesh, _server)) = Mesh::with_web() else { return };
    let mut had = bpf::attached(mesh.world.cgroup());
    mesh.node().kill();
    mesh.start(&[]);
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "web-1");
    let again = bpf::attached(mesh.world.cgroup());
    assert_eq!(again.programs.len(), had.programs.len(), "a crash left a second set");
    had.programs.extend(again.programs);
    had.maps.extend(again.maps);
    let (status, log) = mesh.node().stop();
    assert!(status.success(), "{status}\n{log}");
    assert_nothing_left(&mesh, &had);
}

#[test]
fn a_second_one_on_the_same_cgroup_is_refused_clearly() {
    let Some((mut mesh, _server)) = Mesh::with_web() else { return };
    let mut second = Nodeway::launch(&mesh.world.node(), &mesh.args());
    let (status, log) = second.end(Duration::from_secs(10));
    assert!(!status.success(), "two at once\n{log}");
    let cgroup = mesh.world.cgroup().to_string_lossy().into_owned();
    assert!(log.contains(&cgroup), "the message does not name the cgroup:\n{log}");
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "web-1", "the first one is disturbed");
    assert!(mesh.node().runs());
}

#[test]
fn a_request_in_flight_ends_well_while_draining() {
    let Some((mut mesh, _server)) = Mesh::with_web() else { return };
    // Slow enough to be under way when the signal comes, short enough to end within the drain.
    let url = format!("http://{VIP4}/bytes/3000000");
    let file = mesh.world.scratch().join("got");
    let to = file.to_str().unwrap();
    let args = ["-sS", "--limit-rate", "1M", "-w", "%{http_code} %{size_download}", "-o", to];
    let slow = mesh.client.place.start("curl", &[&args[..], &[&url]].concat());
    // Not merely connected: who has not asked for a while is not waited for.
    eventually(Duration::from_secs(30), "octets come through the proxy", || {
        fs::metadata(&file).is_ok_and(|file| file.len() > 0)
    });
    let (status, log) = mesh.node().stop();
    assert!(status.success(), "{status}\n{log}");
    let ran = slow.finish(Duration::from_secs(10));
    assert_eq!(ran.out, "200 3000000", "{}", ran.err);
}

#[test]
fn pins_whose_cgroup_is_gone_are_removed_by_whoever_starts_next() {
    let Some(mut mesh) = Mesh::new() else { return };
    let _server = mesh.web();
    let gone = mesh.world.cgroup().join("gone");
    fs::create_dir(&gone).unwrap();
    let pins = mesh.world.bpffs().join("nodeway").join(cgroup::id(&gone).to_string());
    let mut args = mesh.args();
    let watched = args.iter().position(|arg| arg == mesh.world.cgroup()).unwrap();
    args[watched] = gone.clone().into();
    Nodeway::start(&mesh.world.node(), &args).kill();
    assert!(pins.exists(), "a killed one keeps its pins, so that it fails open");
    assert!(cgroup::remove(&gone));
    mesh.start(&[]);
    assert!(!pins.exists(), "{}", mesh.node().log());
}
