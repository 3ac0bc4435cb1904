//! Only pods that are enrolled are touched, from the moment they are until they are not.

use std::time::Duration;

use nodeway_tests::mesh::VIP4;
use nodeway_tests::{Mesh, MeshLabel, eventually};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn a_pod_is_touched_only_while_it_is_labelled() {
    let Some(mut mesh) = Mesh::new() else { return };
    let _server = mesh.web();
    let _direct = mesh.world.direct(format!("{VIP4}:80").parse().unwrap());
    let other = mesh.world.pod("other");
    mesh.manifests.pod(&other, MeshLabel::Unlabelled);
    mesh.start(&[]);
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "web-1");
    assert_eq!(Mesh::who_answers(&other, VIP4), "direct", "an unlabelled pod is touched");

    mesh.manifests.pod(&other, MeshLabel::Enabled);
    eventually(SOON, "a label set at run time enrols", || {
        Mesh::who_answers(&other, VIP4) == "web-1"
    });
    for label in [MeshLabel::Unlabelled, MeshLabel::Disabled] {
        mesh.manifests.pod(&mesh.client, label);
        eventually(SOON, "a pod without its label goes direct", || {
            Mesh::who_answers(&mesh.client, VIP4) == "direct"
        });
        mesh.manifests.pod(&mesh.client, MeshLabel::Enabled);
        eventually(SOON, "a label that comes back enrols again", || {
            Mesh::who_answers(&mesh.client, VIP4) == "web-1"
        });
    }
    mesh.manifests.remove("pod-client.yaml");
    eventually(SOON, "a pod that is gone is not touched", || {
        Mesh::who_answers(&mesh.client, VIP4) == "direct"
    });
}

#[test]
fn enroll_all_takes_every_pod_but_those_that_opt_out() {
    let Some(mut mesh) = Mesh::new() else { return };
    let _server = mesh.web();
    let _direct = mesh.world.direct(format!("{VIP4}:80").parse().unwrap());
    let (unlabelled, out) = (mesh.world.pod("unlabelled"), mesh.world.pod("out"));
    mesh.manifests.pod(&unlabelled, MeshLabel::Unlabelled);
    mesh.manifests.pod(&out, MeshLabel::Disabled);
    mesh.start(&["--enroll", "all"]);
    assert_eq!(Mesh::who_answers(&unlabelled, VIP4), "web-1");
    assert_eq!(Mesh::who_answers(&out, VIP4), "direct");
}

#[test]
fn whoever_dials_the_listener_itself_is_turned_away() {
    let Some((mut mesh, _server)) = Mesh::with_web() else { return };
    let ports: Vec<String> =
        mesh.client.listening_on_loopback().iter().map(ToString::to_string).collect();
    assert!(!ports.is_empty(), "no listener in the pod");
    let code = "import socket, sys\n\
                for port in sys.argv[1:]:\n\
                \x20   try:\n\
                \x20       s = socket.create_connection(('127.0.0.1', int(port)), timeout=5)\n\
                \x20       s.sendall(b'GET / HTTP/1.1\\r\\nHost: web\\r\\n\\r\\n'); print(s.recv(100))\n\
                \x20   except ConnectionError: print(b'')\n";
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    let ran = mesh.client.place.python(code, &ports);
    assert!(ran.ok, "{}", ran.err);
    assert!(ran.out.lines().all(|line| line == "b''"), "it answers strangers: {}", ran.out);
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "web-1");
    assert!(mesh.node().metrics().sum("nodeway_unknown_destination_total", &[]) >= 1.0);
}

#[test]
fn what_is_no_service_is_left_alone() {
    let Some((mut mesh, _server)) = Mesh::with_web() else { return };
    let web = mesh.world.pod("beside");
    let _beside = web.serve("http", "v1", 8080);
    let udp = "import socket, sys\n\
               s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect((sys.argv[1], 80))\n\
               print(s.getpeername()[0])\n";
    assert_eq!(mesh.client.place.python(udp, &[VIP4]).out.trim(), VIP4, "UDP is touched");
    // A pod's own address, and a Service's address with a port that it does not have.
    assert_eq!(Mesh::who_answers(&mesh.client, &web.v4(8080).to_string()), "beside");
    let _direct = mesh.world.direct(format!("{VIP4}:81").parse().unwrap());
    assert_eq!(Mesh::who_answers(&mesh.client, &format!("{VIP4}:81")), "direct");
    assert!(mesh.node().metrics().sum("nodeway_requests_total", &[]) < 1.0);
}

#[test]
fn a_namespaces_label_counts_for_pods_without_one() {
    let Some(mut mesh) = Mesh::new() else { return };
    let _server = mesh.web();
    let _direct = mesh.world.direct(format!("{VIP4}:80").parse().unwrap());
    let (follows, refuses) = (mesh.world.pod("follows"), mesh.world.pod("refuses"));
    mesh.manifests.pod(&follows, MeshLabel::Unlabelled);
    mesh.manifests.pod(&refuses, MeshLabel::Disabled);
    mesh.start(&[]);
    assert_eq!(Mesh::who_answers(&follows, VIP4), "direct");
    let labels = "{nodeway.dev/mesh: enabled}";
    let namespace =
        format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: default, labels: {labels}}}\n");
    mesh.manifests.put("namespace.yaml", &namespace);
    eventually(SOON, "the Namespace's label enrols", || {
        Mesh::who_answers(&follows, VIP4) == "web-1"
    });
    assert_eq!(Mesh::who_answers(&refuses, VIP4), "direct", "the pod's own label wins");
}

#[test]
fn a_pod_whose_namespace_comes_later_is_enrolled_then() {
    let Some(mut mesh) = Mesh::new() else { return };
    let _server = mesh.web();
    let late = mesh.world.pod("late");
    mesh.manifests.pod(&late, MeshLabel::Enabled);
    // The manifest names a namespace that is not there yet.
    let later = late.netns_path().with_file_name(format!("{}-later", late.netns_name()));
    let yaml = std::fs::read_to_string(mesh.manifests.dir().join("pod-late.yaml")).unwrap();
    let named = yaml.replace(late.netns_path().to_str().unwrap(), later.to_str().unwrap());
    mesh.manifests.put("pod-late.yaml", &named);
    mesh.start(&[]);
    let count = |mesh: &mut Mesh, state: &str| {
        mesh.node().metrics().sum("nodeway_pods", &[("state", state)])
    };
    eventually(SOON, "it is missed", || count(&mut mesh, "failed") >= 1.0);
    late.also_called(&later);
    eventually(SOON, "it is enrolled", || count(&mut mesh, "enrolled") >= 2.0);
    assert_eq!(Mesh::who_answers(&late, VIP4), "web-1");
}

#[test]
fn a_pod_that_is_made_anew_under_its_old_path_is_enrolled_again() {
    let Some(mut mesh) = Mesh::new() else { return };
    let _server = mesh.web();
    let (old, new) = (mesh.world.pod("old"), mesh.world.pod("new"));
    mesh.manifests.pod(&old, MeshLabel::Enabled);
    mesh.start(&[]);
    assert_eq!(Mesh::who_answers(&old, VIP4), "web-1");
    let path = old.netns_path().to_owned();
    nodeway_tests::netns::remove(old.netns_name());
    std::fs::write(&path, "").unwrap();
    new.also_called(&path);
    eventually(SOON, "the old one is let go", || mesh.node().log().contains("no longer enrolled"));
    let caught = |mesh: &mut Mesh| {
        mesh.node().metrics().sum("nodeway_pods", &[("state", "enrolled")]) >= 2.0
    };
    eventually(SOON, "the new one is enrolled", || caught(&mut mesh));
    assert_eq!(Mesh::who_answers(&new, VIP4), "web-1");
}
