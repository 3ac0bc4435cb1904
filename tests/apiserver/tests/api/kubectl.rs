//! What people do with kubectl.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nodeway_apiserver::{ApiServer, Options};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::objects::{pod, service};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server, and kubectl with a home of its own.
struct World {
    server: ApiServer,
    folder: TempDir,
    kubeconfig: PathBuf,
    /// Of kubectl; 20 is Debian 12's.
    minor: u32,
}

/// A kubectl that runs on, and the lines that it says.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

// === impl World ===

impl World {
    /// None, with a word about it, where there is no kubectl.
    fn make() -> Option<Self> {
        let version = Command::new("kubectl").args(["version", "--client", "-o", "json"]).output();
        let Ok(version) = version else {
            let set = |name: &str, value: &str| std::env::var(name).is_ok_and(|v| v == value);
            let must = set("CI", "true") || set("NODEWAY_REQUIRE_PRIVILEGED", "1");
            assert!(!must, "SKIPPED: needs `kubectl`, and this run allows no skips");
            // Past the capture of the test harness: a skip is news even when nothing fails.
            let _said = writeln!(std::io::stderr(), "SKIPPED: needs `kubectl`");
            return None;
        };
        let version: Value = serde_json::from_slice(&version.stdout).unwrap();
        let minor = version["clientVersion"]["minor"].as_str().unwrap().trim_end_matches('+');
        let server = ApiServer::start(Options::default());
        server.put(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
        let folder = TempDir::new().unwrap();
        let kubeconfig = server.write_kubeconfig(folder.path());
        Some(Self { server, folder, kubeconfig, minor: minor.parse().unwrap() })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.env("HOME", self.folder.path()).env_remove("KUBECONFIG");
        command.arg("--kubeconfig").arg(&self.kubeconfig).arg("--namespace=shop");
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn output(&self, args: &[&str], input: &Value) -> Output {
        let mut child = self.command(args).spawn().unwrap();
        // It need not read it.
        let _unread = child.stdin.take().unwrap().write_all(input.to_string().as_bytes());
        child.wait_with_output().unwrap()
    }

    /// What `kubectl ARGS` says, which must succeed; `input` is its standard input.
    fn told(&self, args: &[&str], input: &Value) -> String {
        let output = self.output(args, input);
        let told = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {args:?}: {told}{error}");
        told
    }

    fn run(&self, args: &[&str]) -> String {
        self.told(args, &Value::Null)
    }

    /// The names that `kubectl get ARGS` shows.
    fn names(&self, args: &[&str]) -> Vec<String> {
        let args = [&["get"], args, &["-o", "name"]].concat();
        self.run(&args).lines().map(|line| line.rsplit('/').next().unwrap().to_owned()).collect()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[args, &["-o", "json"]].concat())).unwrap()
    }

    /// What kubectl says as it fails.
    fn refused(&self, args: &[&str], input: &Value) -> String {
        let output = self.output(args, input);
        assert!(!output.status.success(), "kubectl {args:?} succeeds");
        String::from_utf8(output.stderr).unwrap()
    }

    fn start(&self, args: &[&str]) -> Running {
        let mut child = self.command(args).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Running { child, lines }
    }
}

// === impl Running ===

impl Running {
    /// Its next line that is no heading.
    fn line(&self) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap();
            if !line.starts_with("NAME") && !line.starts_with("EVENT") {
                return line;
            }
        }
    }

    /// It ends by itself, and well.
    fn ends(mut self) {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return;
            }
            assert!(std::time::Instant::now() < deadline, "kubectl does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[test]
fn get_shows_what_is_there() {
    let Some(world) = World::make() else { return };
    for (name, app) in [("web", "web"), ("api", "api")] {
        world.server.put(&service(name, app));
    }
    let mut far = service("far", "web");
    far["metadata"]["namespace"] = json!("bank");
    world.server.put(&far);
    for (name, node) in [("p1", "n1"), ("p2", "n2")] {
        world.server.put(&pod(name, node));
    }
    assert_eq!(world.names(&["services"]), ["api", "web"]);
    assert_eq!(world.names(&["svc", "web"]), ["web"]);
    assert_eq!(world.names(&["svc", "-A"]), ["far", "api", "web"]);
    assert_eq!(world.names(&["svc", "-l", "app in (web),!gone"]), ["web"]);
    assert_eq!(world.names(&["pods", "--field-selector", "spec.nodeName=n2"]), ["p2"]);
    assert_eq!(world.names(&["svc", "--chunk-size=1"]), ["api", "web"], "in pages");
    assert_eq!(world.json(&["get", "svc", "web"])["spec"]["clusterIP"], "10.96.0.1");
    assert_eq!(world.json(&["get", "svc,pods"])["items"].as_array().unwrap().len(), 4);
    assert!(world.run(&["get", "svc", "web", "-o", "yaml"]).contains("clusterIP: 10.96.0.1"));
    let wide = world.run(&["get", "svc", "-o", "wide"]);
    assert!(wide.contains("web") && wide.contains("NAME"), "{wide}");
    let path = "jsonpath={.items[*].metadata.name}";
    assert_eq!(world.run(&["get", "svc", "-A", "-o", path]), "far api web");
    let missing = world.refused(&["get", "svc", "none"], &Value::Null);
    assert!(missing.contains(r#"(NotFound): services "none" not found"#), "{missing}");
}

#[test]
fn apply_creates_changes_and_takes_away() {
    let Some(world) = World::make() else { return };
    let apply = |object: &Value| world.told(&["apply", "-f", "-"], object);
    let mut web = service("web", "web");
    assert_eq!(apply(&web), "service/web created\n");
    assert_eq!(apply(&web), "service/web unchanged\n");
    web["spec"]["clusterIP"] = json!("10.96.0.2");
    web["spec"]["ports"].as_array_mut().unwrap().pop();
    assert_eq!(apply(&web), "service/web configured\n");
    let now = world.server.get("services", "shop", "web").unwrap();
    assert_eq!(now["spec"]["clusterIP"], "10.96.0.2");
    assert_eq!(now["spec"]["ports"].as_array().unwrap().len(), 1, "{now}");
    assert_eq!(now["metadata"]["generation"], 2);
    // A custom resource goes another way: there is no type to merge by.
    let mut route = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": "shop"}, "spec": {"hostnames": ["a", "b"]}});
    assert!(apply(&route).ends_with("/r created\n"));
    route["spec"]["hostnames"] = json!(["c"]);
    assert!(apply(&route).ends_with("/r configured\n"));
    let now = world.json(&["get", "httproutes", "r"]);
    assert_eq!(now["spec"]["hostnames"], json!(["c"]));
}

#[test]
fn server_side_apply_knows_whose_a_field_is() {
    let Some(world) = World::make() else { return };
    let args = |manager: &'static str| {
        vec!["apply", "--server-side", "--field-manager", manager, "-f", "-"]
    };
    let mut web = service("web", "web");
    for _ in 0..2 {
        assert_eq!(world.told(&args("me"), &web), "service/web serverside-applied\n");
    }
    let version = world.server.get("services", "shop", "web").unwrap()["metadata"].clone();
    assert_eq!(version["generation"], 1, "the second time has changed nothing");
    web["metadata"]["labels"] = json!({"tier": "front"});
    world.told(&args("me"), &web);
    let now = world.server.get("services", "shop", "web").unwrap();
    assert_eq!(now["metadata"]["labels"], json!({"tier": "front"}), "what is said no more is gone");
    web["spec"]["clusterIP"] = json!("10.96.0.9");
    let conflict = world.refused(&args("you"), &web);
    assert!(conflict.contains(r#"conflict with "me": .spec.clusterIP"#), "{conflict}");
    let force = [args("you"), vec!["--force-conflicts"]].concat();
    world.told(&force, &web);
    let now = world.server.get("services", "shop", "web").unwrap();
    assert_eq!(now["spec"]["clusterIP"], "10.96.0.9");
}

#[test]
fn create_is_for_what_is_not_there() {
    let Some(world) = World::make() else { return };
    let web = service("web", "web");
    assert_eq!(world.told(&["create", "-f", "-"], &web), "service/web created\n");
    let refused = world.refused(&["create", "-f", "-"], &web);
    assert!(refused.contains(r#"(AlreadyExists)"#), "{refused}");
    let mut nameless = service("", "web");
    nameless["metadata"] = json!({"generateName": "web-"});
    let told = world.told(&["create", "-f", "-"], &nameless);
    assert!(told.starts_with("service/web-"), "{told}");
}

#[test]
fn patches_of_all_three_kinds_are_taken() {
    let Some(world) = World::make() else { return };
    world.server.put(&service("web", "web"));
    let patch = |kind: &str, patch: &str| {
        world.run(&["patch", "svc", "web", "--type", kind, "-p", patch]);
        world.server.get("services", "shop", "web").unwrap()
    };
    let now = patch("merge", r#"{"metadata": {"labels": {"app": null, "a": "1"}}}"#);
    assert_eq!(now["metadata"]["labels"], json!({"a": "1"}));
    let now = patch("json", r#"[{"op": "replace", "path": "/spec/ports/0/port", "value": 8080}]"#);
    assert_eq!(now["spec"]["ports"][0]["port"], 8080);
    let now = patch("strategic", r#"{"spec": {"ports": [{"port": 81, "name": "other"}]}}"#);
    let names: Vec<&Value> =
        now["spec"]["ports"].as_array().unwrap().iter().map(|port| &port["name"]).collect();
    assert_eq!(names, ["http", "other"], "merged by port");
    let args = ["patch", "svc", "web", "--type", "json", "-p"];
    let bad = [&args[..], &[r#"[{"op": "test", "path": "/kind", "value": "Pod"}]"#]].concat();
    assert!(world.refused(&bad, &Value::Null).contains("nvalid"));
    let label = world.run(&["label", "svc", "web", "b=2"]);
    assert!(label.contains("labeled"), "{label}");
    let now = world.server.get("services", "shop", "web").unwrap();
    assert_eq!(now["metadata"]["labels"], json!({"a": "1", "b": "2"}));
}

#[test]
fn delete_deletes() {
    let Some(world) = World::make() else { return };
    for name in ["a", "b", "c"] {
        world.server.put(&service(name, if name == "c" { "other" } else { "web" }));
    }
    let told = world.run(&["delete", "svc", "a"]);
    assert!(told.contains(r#""a" deleted"#), "{told}");
    assert_eq!(world.names(&["svc"]), ["b", "c"]);
    world.run(&["delete", "svc", "-l", "app=web"]);
    assert_eq!(world.names(&["svc"]), ["c"]);
    world.run(&["delete", "svc", "--all"]);
    assert!(world.server.all("services").is_empty());
    world.refused(&["delete", "svc", "a"], &Value::Null);
    world.run(&["delete", "svc", "a", "--ignore-not-found"]);
}

#[test]
fn a_watch_shows_each_change() {
    let Some(world) = World::make() else { return };
    world.server.put(&service("web", "web"));
    let watch = world.start(&["get", "svc", "-w", "--output-watch-events", "--no-headers"]);
    let line = |event: &str, name: &str| {
        let line = watch.line();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[..2], [event, name], "{line}");
    };
    line("ADDED", "web");
    world.server.put(&service("api", "api"));
    line("ADDED", "api");
    world.server.put(&service("web", "other"));
    line("MODIFIED", "web");
    world.run(&["delete", "svc", "api", "--wait=false"]);
    line("DELETED", "api");
}

#[test]
fn wait_ends_when_what_it_waits_for_is_there() {
    let Some(world) = World::make() else { return };
    let mut web = pod("web", "n1");
    world.server.put(&web);
    let timeout = "--timeout=30s";
    let ready = world.start(&["wait", "pod", "web", "--for=condition=Ready", timeout]);
    let until = |watches| {
        let deadline = std::time::Instant::now() + PATIENCE;
        while world.server.watches("pods") < watches {
            assert!(std::time::Instant::now() < deadline, "nobody watches");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    until(1);
    web["status"]["conditions"][0]["status"] = json!("True");
    world.server.put(&web);
    ready.ends();
    if world.minor >= 23 {
        let path = "--for=jsonpath={.status.phase}=Succeeded";
        let succeeded = world.start(&["wait", "pod", "web", path, timeout]);
        until(1);
        web["status"]["phase"] = json!("Succeeded");
        world.server.put(&web);
        succeeded.ends();
    }
    let gone = world.start(&["wait", "pod", "web", "--for=delete", timeout]);
    until(1);
    world.server.delete("pods", "shop", "web");
    gone.ends();
    let never = ["wait", "pod", "none", "--for=condition=Ready", "--timeout=1s"];
    assert!(world.refused(&never, &Value::Null).contains("not found"));
}

#[test]
fn api_resources_tells_what_is_served() {
    let Some(world) = World::make() else { return };
    let told = world.run(&["api-resources", "--no-headers"]);
    for (plural, kind) in
        [("services", "Service"), ("endpointslices", "EndpointSlice"), ("httproutes", "HTTPRoute")]
    {
        let line = told.lines().find(|line| line.starts_with(&format!("{plural} ")));
        assert!(line.is_some_and(|line| line.ends_with(kind)), "{plural} in {told}");
    }
    let version = world.run(&["version"]);
    assert!(version.contains("v1.34"), "{version}");
    let auth = world.server.faults(|faults| std::mem::take(&mut faults.tokens));
    let refused = world.refused(&["get", "svc"], &Value::Null);
    assert!(refused.contains("nauthorized") || refused.contains("logged in"), "{refused}");
    assert_eq!(auth.len(), 1);
}
