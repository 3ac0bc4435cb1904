//! The API that a test talks to: a server of our own, or a real cluster's, through kubectl.

use std::fs::File;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use nodeway_apiserver::{ApiServer, Options};
use serde_json::{Value, json};

use crate::skip;
use crate::wait::within;
use crate::world::World;

/// The API, and the namespace in it that is the test's own.
#[derive(Debug)]
pub struct Api {
    server: Server,
    namespace: String,
    kubeconfig: PathBuf,
}

#[derive(Debug)]
enum Server {
    Ours {
        server: Box<ApiServer>,
        /// Cluster IPs given so far.
        given: AtomicU8,
    },
    Real,
}

impl Api {
    /// For a test in this world.
    ///
    /// # Panics
    /// When a real cluster is asked for and cannot be reached.
    #[must_use]
    pub fn for_test(world: &World) -> Self {
        let namespace = world.name().to_owned();
        let api = if std::env::var("NODEWAY_E2E_CLUSTER").is_ok_and(|value| value == "1") {
            let kubeconfig = kubeconfig_for(&namespace, world.scratch());
            Self { server: Server::Real, namespace, kubeconfig }
        } else {
            let server = Box::new(ApiServer::start(Options::default()));
            let kubeconfig = server.write_kubeconfig(world.scratch());
            let server = Server::Ours { server, given: AtomicU8::new(10) };
            Self { server, namespace, kubeconfig }
        };
        api.put(&json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": api.namespace}}));
        api
    }

    /// The test's namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// How it is reached.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Whether it is a real cluster's: slower, and not for wearing out.
    #[must_use]
    pub fn is_real(&self) -> bool {
        matches!(self.server, Server::Real)
    }

    /// The server of our own, for what only that can do; none (and SKIPPED) with a real cluster.
    #[must_use]
    pub fn ours(&self) -> Option<&ApiServer> {
        match &self.server {
            Server::Ours { server, .. } => Some(server),
            Server::Real => {
                skip::not_here("a real cluster does not fail on demand");
                None
            }
        }
    }

    /// Makes or changes an object.
    ///
    /// # Panics
    /// When the API refuses.
    pub fn put(&self, object: &Value) {
        match &self.server {
            Server::Ours { server, given } => {
                let mut object = object.clone();
                if object["kind"] == "Service" && object["spec"]["clusterIP"].is_null() {
                    let name = object["metadata"]["name"].as_str().unwrap_or_default();
                    let before = server.get("services", &self.namespace, name);
                    let ip = before.map(|service| service["spec"]["clusterIP"].clone());
                    let next = || {
                        let n = given.fetch_add(1, Ordering::Relaxed);
                        json!(Ipv4Addr::new(10, 96, 0, n).to_string())
                    };
                    let ip = ip.unwrap_or_else(next);
                    object["spec"]["clusterIPs"] = json!([ip]);
                    object["spec"]["clusterIP"] = ip;
                }
                server.put(&object);
            }
            Server::Real => {
                let args = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
                // The default ServiceAccount of a new namespace comes a moment later.
                let made = within(Duration::from_secs(30), || self.kubectl(&args, object).is_ok());
                assert!(made, "{:?}", self.kubectl(&args, object));
            }
        }
    }

    /// Makes an object; its UID.
    ///
    /// # Panics
    /// When the API refuses.
    #[must_use]
    pub fn create(&self, object: &Value) -> String {
        self.put(object);
        let name = object["metadata"]["name"].as_str().expect("a name");
        let plural = format!("{}s", object["kind"].as_str().expect("a kind").to_lowercase());
        let made = self.get(&plural, name).expect("the object just made");
        made["metadata"]["uid"].as_str().expect("a UID").to_owned()
    }

    /// Takes an object of the test's namespace away.
    ///
    /// # Panics
    /// When the API refuses.
    pub fn delete(&self, resource: &str, name: &str) {
        match &self.server {
            Server::Ours { server, .. } => server.delete(resource, &self.namespace, name),
            Server::Real => {
                let args = [
                    "delete",
                    resource,
                    name,
                    "-n",
                    &self.namespace,
                    "--grace-period=0",
                    "--force",
                ];
                self.kubectl(&args, &Value::Null).expect("kubectl delete");
            }
        }
    }

    /// An object of the test's namespace as it is now.
    ///
    /// # Panics
    /// When the answer is no JSON.
    #[must_use]
    pub fn get(&self, resource: &str, name: &str) -> Option<Value> {
        match &self.server {
            Server::Ours { server, .. } => server.get(resource, &self.namespace, name),
            Server::Real => {
                let args = ["get", resource, name, "-n", &self.namespace, "-o", "json"];
                let text = self.kubectl(&args, &Value::Null).ok()?;
                Some(serde_json::from_str(&text).expect("an object"))
            }
        }
    }

    /// Changes the status of a pod of the test's namespace.
    ///
    /// # Panics
    /// When there is no such pod, or the API refuses.
    pub fn put_pod_status(&self, name: &str, status: &Value) {
        let put = || {
            let mut pod = self.get("pods", name).expect("a pod");
            pod["status"] = status.clone();
            match &self.server {
                Server::Ours { server, .. } => {
                    server.put(&pod);
                    Ok(String::new())
                }
                // Not `patch --subresource`, which kubectl has since 1.24.
                Server::Real => {
                    let path = format!("/api/v1/namespaces/{}/pods/{name}/status", self.namespace);
                    self.kubectl(&["replace", "--raw", &path, "-f", "-"], &pod)
                }
            }
        };
        // A controller may write between reading and writing.
        let done = within(Duration::from_secs(10), || put().is_ok());
        assert!(done, "{:?}", put());
    }

    fn kubectl(&self, args: &[&str], input: &Value) -> Result<String, String> {
        kubectl(&self.kubeconfig, args, input)
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if matches!(self.server, Server::Real) {
            let node = format!("node-of-{}", self.namespace);
            for args in [["delete", "namespace", &self.namespace], ["delete", "node", &node]] {
                // What is left is the cluster's to find.
                self.kubectl(&[&args[..], &["--wait=false"]].concat(), &Value::Null).ok();
            }
        }
    }
}

/// The current context of KUBECONFIG's file, in a file of the test's own: with the test's namespace, in which Nodeway
/// elects its leader. Tests do not wait for each other, and nothing is left in another namespace.
fn kubeconfig_for(namespace: &str, folder: &Path) -> PathBuf {
    let file = PathBuf::from(std::env::var_os("KUBECONFIG").unwrap_or_default());
    // cargo starts tests in another folder than the user's.
    assert!(
        file.is_absolute() && file.is_file(),
        "NODEWAY_E2E_CLUSTER=1: KUBECONFIG has to be the absolute path of one file, no list: {}",
        file.display()
    );
    let view = ["config", "view", "--raw", "--flatten", "--minify", "-o", "json"];
    let text = kubectl(&file, &view, &Value::Null).expect("kubectl config view");
    let mut config: Value = serde_json::from_str(&text).expect("a kubeconfig in JSON");
    config["contexts"][0]["context"]["namespace"] = json!(namespace);
    let own = folder.join("kubeconfig");
    // It holds credentials.
    let mut options = File::options();
    let mut made = options.write(true).create_new(true).mode(0o600).open(&own).expect("a file");
    made.write_all(config.to_string().as_bytes()).expect("a kubeconfig");
    own
}

fn kubectl(kubeconfig: &Path, args: &[&str], input: &Value) -> Result<String, String> {
    let mut kubectl = Command::new("kubectl");
    kubectl.arg("--kubeconfig").arg(kubeconfig).args(args);
    kubectl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = kubectl.spawn().map_err(|error| format!("kubectl: {error}"))?;
    // It need not read it.
    let _unread = child.stdin.take().expect("a pipe").write_all(input.to_string().as_bytes());
    let done = child.wait_with_output().map_err(|error| error.to_string())?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if done.status.success() { Ok(said(&done.stdout)) } else { Err(said(&done.stderr)) }
}
