//! The capabilities of the DaemonSet are enough, and each of them is needed.

use std::process::Command;
use std::time::Duration;

use nodeway_tests::mesh::VIP4;
use nodeway_tests::{Mesh, Nodeway, Proc, binaries, eventually};

const SOON: Duration = Duration::from_secs(30);

/// As deploy/kustomize adds them, in setpriv's spelling.
fn of_the_daemon_set() -> Vec<String> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kustomize/daemonset.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let set: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    let security = &set["spec"]["template"]["spec"]["containers"][0]["securityContext"];
    assert_eq!(security["runAsUser"], 0);
    let added = security["capabilities"]["add"].as_array().unwrap();
    added.iter().map(|name| name.as_str().unwrap().to_lowercase()).collect()
}

/// What a container runtime does: root with these capabilities and never another one.
fn as_in_the_pod(capabilities: &[String]) -> Vec<String> {
    let only = capabilities.iter().map(|name| format!(",+{name}")).collect::<String>();
    vec![
        "setpriv".to_owned(),
        "--no-new-privs".to_owned(),
        format!("--bounding-set=-all{only}"),
        format!("--inh-caps=-all{only}"),
        "--ambient-caps=-all".to_owned(),
    ]
}

/// The scene of a node: the client's namespace is found by a process in it, which is nobody's.
fn scene() -> Option<(Mesh, [Proc; 3])> {
    let mesh = Mesh::new()?;
    let server = mesh.web();
    let direct = mesh.world.direct(format!("{VIP4}:80").parse().unwrap());
    let app = mesh
        .client
        .place
        .start("setpriv", &["--reuid=65534", "--regid=65534", "--clear-groups", "sleep", "600"]);
    let (by_name, by_process) = (mesh.client.netns_path(), format!("/proc/{}/ns/net", app.pid()));
    let manifest = mesh.manifests.dir().join("pod-client.yaml");
    let yaml = std::fs::read_to_string(manifest).unwrap();
    mesh.manifests.put("pod-client.yaml", &yaml.replace(by_name.to_str().unwrap(), &by_process));
    // Once it sleeps, it is nobody's.
    eventually(SOON, "the app runs", || {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", app.pid()));
        name.is_ok_and(|name| name.trim() == "sleep")
    });
    Some((mesh, [server, direct, app]))
}

#[test]
fn the_daemon_sets_capabilities_are_enough() {
    let Some((mesh, _running)) = scene() else { return };
    let through = as_in_the_pod(&of_the_daemon_set());
    let mut node = Nodeway::launch_through(&mesh.world.node(), &through, &mesh.args());
    node.wait_ready();
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "web-1", "{}", node.log());
    let (status, log) = node.stop();
    assert!(status.success(), "{status}\n{log}");
    assert!(!mesh.world.pins().exists(), "what was pinned is left");
}

#[test]
fn each_of_the_daemon_sets_capabilities_is_needed() {
    let Some((mesh, _running)) = scene() else { return };
    let all = of_the_daemon_set();
    for without in &all {
        let rest: Vec<String> = all.iter().filter(|name| *name != without).cloned().collect();
        let through = as_in_the_pod(&rest);
        let mut node = Nodeway::launch_through(&mesh.world.node(), &through, &mesh.args());
        // It either does not start or leaves the pod out, and says why.
        eventually(SOON, &format!("something is missed without {without}"), || {
            !node.runs() || node.log().contains("not enrolled; its traffic flows as before")
        });
        assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "direct", "without {without}");
        node.kill();
    }
}

#[test]
fn check_is_content_with_the_daemon_sets_capabilities() {
    let all = of_the_daemon_set();
    let check = |capabilities: &[String], what: &str| {
        let through = as_in_the_pod(capabilities);
        let mut command = Command::new(&through[0]);
        command.args(&through[1..]).arg(binaries::nodeway()).arg("check");
        let said = command.output().expect("setpriv starts");
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let about = |line: &&str| line.split_whitespace().nth(1) == Some(what);
        text.lines().find(about).unwrap_or_default().to_owned()
    };
    if nodeway_tests::skip::missing_privilege().is_some() {
        nodeway_tests::skip::skipped("root, to give capabilities away");
        return;
    }
    for (held, outcome) in [(&all[..], "ok"), (&all[1..], "FAIL")] {
        let found = check(held, "capabilities");
        assert!(found.starts_with(outcome), "{found}");
    }
    // With them the kernel is asked to verify the programs, and takes them.
    let kernel = check(&all, "kernel");
    assert!(kernel.starts_with("ok") && kernel.ends_with("takes the eBPF programs"), "{kernel}");
}
