//! The mesh that every case finds: two namespaces, Services over a few pods that echo, clients in the pods,
//! an API server, and a Nodeway with eBPF.
//!
//! Its names are those of the Gateway API's own conformance tests. What a case adds it also takes away.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use nodeway_apiserver::{ApiServer, Options};
use nodeway_tests::cluster::objects;
use nodeway_tests::kubelet::{Driver, Kubelet, Sandbox};
use nodeway_tests::tls::{Authority, Names};
use nodeway_tests::wait::{settled, within};
use nodeway_tests::{MeshLabel, Nodeway, Pod, Proc, World, binaries, eventually};
use serde_json::{Value, json};

use crate::client::Client;
use crate::kinds;

/// Where most of it is.
pub(crate) const NAMESPACE: &str = "gateway-conformance-mesh";
/// Where the pod `consumer` is.
const CONSUMERS: &str = "gateway-conformance-mesh-consumer";
const NODE: &str = "node-a";

/// The ports of every Service and every pod: name, number, `appProtocol`.
const PORTS: [(&str, u16, Option<&str>); 8] = [
    ("http", 80, Some("http")),
    ("http-alt", 8080, Some("http")),
    ("grpc", 7070, Some("grpc")),
    ("https", 443, None),
    ("tcp", 9090, None),
    ("h2c", 8081, Some("kubernetes.io/h2c")),
    ("unsaid", 8082, None),
    ("ws", 8083, Some("kubernetes.io/ws")),
];
/// Which of them speak HTTP; 443 does so in TLS, 9090 is a server that speaks first.
const HTTP: [u16; 6] = [80, 8080, 7070, 8081, 8082, 8083];

/// What the pods' certificate is for.
const NAMES: Names<'_> = Names {
    dns: &["abc.example.com"],
    uris: &["spiffe://abc.example.com/test-identity"],
    expired: false,
};

/// Services by name, with the pods behind them.
const SERVICES: [(&str, &[&str]); 4] = [
    ("echo", &["echo-v1", "echo-v2"]),
    ("echo-v1", &["echo-v1"]),
    ("echo-v2", &["echo-v2"]),
    ("echo-v3", &["echo-v3"]),
];

/// The mesh; it goes with its value.
pub(crate) struct Mesh {
    // Fields go in this order: first who uses, then what is used.
    clients: BTreeMap<&'static str, Client>,
    node: Nodeway,
    servers: BTreeMap<String, Server>,
    pods: BTreeMap<String, Sandbox>,
    api: ApiServer,
    /// Cluster IPs, by `NAMESPACE/NAME`.
    addresses: HashMap<String, String>,
    given: u8,
    /// What stands in manifests for a text that is made anew each time.
    made: [(&'static str, String); 2],
    _world: World,
}

/// A pod's servers, and what is on their record.
struct Server {
    http: Proc,
    tls: Proc,
    _tcp: Proc,
    /// So much of their records has been read.
    read: [usize; 2],
    /// Requests by the case's id.
    seen: HashMap<String, usize>,
}

// === impl Mesh ===

impl Mesh {
    /// None (and SKIPPED) where it cannot be made.
    pub(crate) fn new() -> Option<Self> {
        let world = World::new()?;
        let api = ApiServer::start(Options::default());
        let kubeconfig = api.write_kubeconfig(world.scratch());
        api.put(&objects::node(NODE));
        for name in [NAMESPACE, CONSUMERS] {
            api.put(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name,
                "labels": {"kubernetes.io/metadata.name": name}}}));
        }
        let kubelet = Kubelet::new(&world, Driver::Systemd);
        let mut pods = BTreeMap::new();
        for (name, namespace) in [
            ("echo-v1", NAMESPACE),
            ("echo-v2", NAMESPACE),
            ("echo-v3", NAMESPACE),
            ("consumer", CONSUMERS),
        ] {
            let object = objects::pod(namespace, name, NODE, MeshLabel::Enabled);
            api.put(&object);
            let mut object = api.get("pods", namespace, name).expect("the pod just made");
            let uid = object["metadata"]["uid"].as_str().expect("a UID").to_owned();
            let pod = world.pod(name);
            object["status"] = objects::pod_status(&pod);
            pods.insert(name.to_owned(), kubelet.run(&pod, &uid));
            api.put(&object);
        }
        let args = [
            vec!["--kubeconfig".into(), kubeconfig.into()],
            vec!["--node-name".into(), NODE.into()],
            world.args(),
        ];
        let authority = Authority::new("ours");
        let certificate = world.scratch().join("certificate.pem");
        fs::write(&certificate, authority.issue(&NAMES)).expect("a certificate");
        let servers: BTreeMap<String, Server> = pods
            .iter()
            .filter(|(name, _)| *name != "consumer")
            .map(|(name, sandbox)| (name.clone(), Server::start(&sandbox.pod, &certificate)))
            .collect();
        let node = Nodeway::start(&world.node(), &args.concat());
        let enrolled = || node.metrics().sum("nodeway_pods", &[("state", "enrolled")]);
        #[allow(clippy::cast_precision_loss, reason = "a handful of pods")]
        let all = pods.len() as f64;
        eventually(Duration::from_secs(15), "all pods are in the mesh", || enrolled() >= all);
        let clients =
            ["echo-v1", "echo-v2", "consumer"].map(|name| (name, Client::start(&pods[name].pod)));
        let mut mesh = Self {
            clients: clients.into(),
            node,
            servers,
            pods,
            api,
            addresses: HashMap::new(),
            given: 10,
            made: [("${CA}", authority.pem()), ("${OTHER_CA}", Authority::new("other").pem())],
            _world: world,
        };
        for (name, endpoints) in SERVICES {
            let ports: Vec<Value> = PORTS
                .iter()
                .map(|(name, port, protocol)| {
                    json!({"name": name, "port": port, "protocol": "TCP", "appProtocol": protocol})
                })
                .collect();
            mesh.put(&json!({"kind": "Service", "metadata": {"name": name},
                "spec": {"ports": ports}, "pods": endpoints}));
        }
        mesh.api.put(&json!({"apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XMesh",
            "metadata": {"name": "mesh"}, "spec": {"controllerName": "nodeway.dev/mesh-controller"}}));
        Some(mesh)
    }

    /// The features that XMesh tells; none if it is not accepted.
    pub(crate) fn features(&self) -> Vec<String> {
        let read = || {
            let mesh = self.api.get("xmeshes.gateway.networking.x-k8s.io", "", "mesh")?;
            let mut conditions = mesh["status"]["conditions"].as_array()?.iter();
            conditions.find(|c| c["type"] == "Accepted" && c["status"] == "True")?;
            let features = mesh["status"]["supportedFeatures"].as_array()?.iter();
            Some(features.filter_map(|f| f["name"].as_str().map(str::to_owned)).collect())
        };
        let told = within(Duration::from_secs(5), || read().is_some());
        if told { read().unwrap_or_default() } else { vec![] }
    }

    /// New, or in place of what has its name; what is not said of the kind and the namespace is the usual.
    pub(crate) fn put(&mut self, manifest: &Value) {
        let mut object = kinds::completed(manifest, NAMESPACE);
        for text in object["data"].as_object_mut().into_iter().flat_map(|data| data.values_mut()) {
            let made = self.made.iter().find(|(name, _)| text == name);
            *text = made.map_or_else(|| text.clone(), |(_, made)| json!(made));
        }
        let pods = object.as_object_mut().and_then(|object| object.remove("pods"));
        if object["kind"] == "Service" {
            self.address(&mut object);
        }
        if let Some(was) = self.get(&object) {
            let generation = was["metadata"]["generation"].as_u64().unwrap_or(1) + 1;
            object["metadata"]["generation"] = json!(generation);
            object["metadata"]["creationTimestamp"] = was["metadata"]["creationTimestamp"].clone();
            if object["status"].is_null() {
                object["status"] = was["status"].clone();
            }
        } else if object["metadata"]["creationTimestamp"].is_null() {
            object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        self.api.put(&object);
        if let Some(pods) = pods {
            let slice = self.slice(&object, &pods);
            self.api.put(&slice);
        }
    }

    /// Takes away what `put` has made.
    pub(crate) fn remove(&mut self, manifest: &Value) {
        let object = kinds::completed(manifest, NAMESPACE);
        let (namespace, name) = kinds::key(&object);
        if self.get(&object).is_some() {
            self.api.delete(&kinds::resource(&object), namespace, name);
        }
        if object["pods"].is_array() {
            self.api.delete("endpointslices.discovery.k8s.io", namespace, name);
        }
    }

    /// The object as it is now.
    pub(crate) fn get(&self, object: &Value) -> Option<Value> {
        let (namespace, name) = kinds::key(object);
        self.api.get(&kinds::resource(object), namespace, name)
    }

    /// Has the client in the pod `from` ask.
    pub(crate) fn ask(&mut self, from: &str, question: &Value) -> Vec<Value> {
        let client = self.clients.get_mut(from);
        client.unwrap_or_else(|| panic!("no client in {from}")).ask(question)
    }

    /// Where a client connects to that means `to`: `NAME`, `NAME.NAMESPACE`, with a port or without, or
    /// `pod NAME:PORT`.
    pub(crate) fn resolve(&self, to: &str) -> SocketAddr {
        let (host, port) = to.split_once(':').unwrap_or((to, "80"));
        let port = port.parse().unwrap_or_else(|_| panic!("a port: {to}"));
        if let Some(pod) = host.strip_prefix("pod ") {
            return self.pods[pod].pod.v4(port);
        }
        let (name, namespace) = host.split_once('.').unwrap_or((host, NAMESPACE));
        let address = self.addresses.get(&format!("{namespace}/{name}"));
        let address = address.unwrap_or_else(|| panic!("no Service {namespace}/{name}"));
        SocketAddr::new(address.parse().expect("an address"), port)
    }

    /// Waits until the proxy has taken all that was put: no new snapshot for a while.
    pub(crate) fn settle(&self) {
        let snapshots = || self.node.metrics().sum("nodeway_snapshots_total", &[]);
        settled(Duration::from_secs(10), Duration::from_millis(100), snapshots);
    }

    /// How many requests of this id have reached the pod.
    pub(crate) fn seen(&mut self, pod: &str, id: &str) -> usize {
        let server = self.servers.get_mut(pod);
        server.unwrap_or_else(|| panic!("no server in {pod}")).seen(id)
    }

    /// Gives a Service its address, always the same.
    fn address(&mut self, service: &mut Value) {
        let spec = &mut service["spec"];
        if spec["type"] == "ExternalName" || spec["clusterIP"] == "None" {
            return;
        }
        let (namespace, name) = kinds::key(service);
        let key = format!("{namespace}/{name}");
        let given = &mut self.given;
        let address = self.addresses.entry(key).or_insert_with(|| {
            *given += 1;
            format!("10.96.0.{given}")
        });
        service["spec"]["clusterIP"] = json!(address);
        service["spec"]["clusterIPs"] = json!([address]);
    }

    /// The slice of a Service over these pods.
    fn slice(&self, service: &Value, pods: &Value) -> Value {
        let (namespace, name) = kinds::key(service);
        let pods = pods.as_array().into_iter().flatten().filter_map(Value::as_str);
        let endpoints: Vec<Value> = pods
            .map(|name| {
                json!({"addresses": [self.pods[name].pod.ipv4.to_string()],
                    "conditions": {"ready": true, "serving": true, "terminating": false},
                    "targetRef": {"kind": "Pod", "name": name, "namespace": NAMESPACE}})
            })
            .collect();
        let ports = service["spec"]["ports"].as_array().cloned().unwrap_or_default();
        let ports: Vec<Value> = ports
            .into_iter()
            .map(|mut port| {
                let target = port.get("targetPort").cloned();
                port.as_object_mut().and_then(|port| port.remove("targetPort"));
                port["port"] = target.unwrap_or_else(|| port["port"].clone());
                port
            })
            .collect();
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": namespace,
                "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "endpoints": endpoints, "ports": ports})
    }
}

// === impl Server ===

impl Server {
    fn start(pod: &Pod, certificate: &Path) -> Self {
        let version = pod.name.rsplit('-').next().unwrap_or_default();
        let start = |mode: &[&str], ports: &[u16]| {
            let identity = ["--name", &pod.name, "--version", version];
            let mut args: Vec<String> =
                mode.iter().chain(&identity).map(|&arg| arg.to_owned()).collect();
            for port in ports {
                args.extend(["--listen".to_owned(), pod.v4(*port).to_string()]);
            }
            pod.place.start(binaries::testserver(), &args).until_it_says("listening")
        };
        let (http, _tcp) = (start(&["http"], &HTTP), start(&["banner"], &[9090]));
        let certificate = certificate.to_str().expect("a path in UTF-8");
        let tls = start(&["http", "--tls", certificate, "--alpn", "h2,http/1.1"], &[443]);
        Self { http, tls, _tcp, read: [0, 0], seen: HashMap::new() }
    }

    fn seen(&mut self, id: &str) -> usize {
        for (server, read) in [&self.http, &self.tls].into_iter().zip(&mut self.read) {
            let record = server.out();
            // The last line may be half written.
            let end = record.rfind('\n').map_or(0, |at| at + 1);
            for line in record[*read..end].lines() {
                let said: Value = serde_json::from_str(line).unwrap_or_default();
                let headers = said["headers"].as_array().into_iter().flatten();
                let mut id = headers.filter(|pair| pair[0] == "x-case");
                let id = id.find_map(|pair| pair[1].as_str()).unwrap_or_default();
                *self.seen.entry(id.to_owned()).or_default() += 1;
            }
            *read = end;
        }
        self.seen.get(id).copied().unwrap_or(0)
    }
}
