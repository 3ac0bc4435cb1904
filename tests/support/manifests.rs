//! A folder of Kubernetes manifests, each file replaced in one step, as a careful user would.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::world::Pod;

/// The folder.
#[derive(Debug, Clone)]
pub struct Manifests {
    dir: PathBuf,
}

/// What a Pod's `nodeway.dev/mesh` label says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mesh {
    /// `enabled`.
    Enabled,
    /// `disabled`.
    Disabled,
    /// There is no label.
    Unlabelled,
}

/// A Service and its EndpointSlices, in the namespace `default`.
#[derive(Debug, Clone)]
pub struct Service {
    name: String,
    ips: Vec<String>,
    ports: Vec<Port>,
    endpoints: Vec<Endpoint>,
}

/// Where a Service leads.
#[derive(Debug, Clone)]
struct Endpoint {
    address: SocketAddr,
    ready: bool,
    /// The pod behind it, as Kubernetes names it for all but hand-made endpoints.
    pod: Option<String>,
    /// Where it is, and whom its hints mean it for.
    zone: Option<&'static str>,
}

#[derive(Debug, Clone)]
struct Port {
    /// As a client dials it; endpoints have their own.
    number: u16,
    app_protocol: Option<&'static str>,
    /// As the endpoints listen.
    target: u16,
}

impl Mesh {
    /// The label's value; none if there is no label.
    #[must_use]
    pub fn value(self) -> Option<&'static str> {
        match self {
            Self::Enabled => Some("enabled"),
            Self::Disabled => Some("disabled"),
            Self::Unlabelled => None,
        }
    }
}

impl Service {
    /// A Service with no address yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ips: vec![], ports: vec![], endpoints: vec![] }
    }

    /// One more ClusterIP.
    #[must_use]
    pub fn ip(mut self, ip: impl ToString) -> Self {
        self.ips.push(ip.to_string());
        self
    }

    /// One more port; `app_protocol` as in Kubernetes, none for a port of which nothing is said.
    #[must_use]
    pub fn port(mut self, number: u16, target: u16, app_protocol: Option<&'static str>) -> Self {
        self.ports.push(Port { number, app_protocol, target });
        self
    }

    /// The usual port: 80, HTTP, to 8080.
    #[must_use]
    pub fn http(self) -> Self {
        self.port(80, 8080, Some("http"))
    }

    /// One more ready endpoint.
    #[must_use]
    pub fn to(mut self, address: SocketAddr) -> Self {
        self.endpoints.push(Endpoint { address, ready: true, pod: None, zone: None });
        self
    }

    /// One more, in a zone and meant for the clients there.
    #[must_use]
    pub fn to_in(mut self, address: SocketAddr, zone: &'static str) -> Self {
        self.endpoints.push(Endpoint { address, ready: true, pod: None, zone: Some(zone) });
        self
    }

    /// Both addresses of a pod.
    #[must_use]
    pub fn to_pod(mut self, pod: &Pod) -> Self {
        for address in [pod.v4(0), pod.v6(0)] {
            let pod = Some(pod.name.clone());
            self.endpoints.push(Endpoint { address, ready: true, pod, zone: None });
        }
        self
    }

    /// One more endpoint that is not ready.
    #[must_use]
    pub fn unready(mut self, address: SocketAddr) -> Self {
        self.endpoints.push(Endpoint { address, ready: false, pod: None, zone: None });
        self
    }

    fn yaml(&self) -> String {
        let (mut service_ports, mut slice_ports) = (String::new(), String::new());
        for Port { number, app_protocol, target } in &self.ports {
            // More than one port needs names; a name of ours says nothing about the protocol.
            let name = if self.ports.len() > 1 { format!("p{number}") } else { String::new() };
            let protocol = app_protocol.map_or(String::new(), |p| format!(", appProtocol: {p}"));
            writeln!(
                service_ports,
                "  - {{name: \"{name}\", port: {number}, targetPort: {target}, protocol: TCP{protocol}}}"
            )
            .unwrap();
            writeln!(
                slice_ports,
                "- {{name: \"{name}\", port: {target}, protocol: TCP{protocol}}}"
            )
            .unwrap();
        }
        let mut yaml = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {0}, namespace: default}}\n\
             spec:\n  clusterIPs: {1:?}\n  ports:\n{service_ports}",
            self.name, self.ips,
        );
        for (kind, is_kind) in [
            ("IPv4", SocketAddr::is_ipv4 as fn(&SocketAddr) -> bool),
            ("IPv6", SocketAddr::is_ipv6),
        ] {
            let mut endpoints = String::new();
            for Endpoint { address, ready, pod, zone } in
                self.endpoints.iter().filter(|endpoint| is_kind(&endpoint.address))
            {
                let ip = address.ip();
                let pod = pod.as_ref().map_or_else(String::new, |pod| {
                    format!(", targetRef: {{kind: Pod, name: {pod}, namespace: default}}")
                });
                let zone = zone.map_or_else(String::new, |zone| {
                    format!(", zone: {zone}, hints: {{forZones: [{{name: {zone}}}]}}")
                });
                writeln!(
                    endpoints,
                    "- {{addresses: [\"{ip}\"], conditions: {{ready: {ready}, serving: {ready}, terminating: false}}{pod}{zone}}}"
                )
                .unwrap();
            }
            if endpoints.is_empty() && kind == "IPv6" {
                continue;
            }
            let list = if endpoints.is_empty() { " []\n".to_owned() } else { "\n".to_owned() };
            write!(
                yaml,
                "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
                 metadata:\n  name: {0}-{1}\n  namespace: default\n  labels: {{kubernetes.io/service-name: {0}}}\n\
                 addressType: {kind}\nendpoints:{list}{endpoints}ports:\n{slice_ports}",
                self.name,
                kind.to_lowercase(),
            )
            .unwrap();
        }
        yaml
    }
}

impl Manifests {
    /// An empty folder.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        fs::create_dir_all(&dir).expect("a folder for manifests");
        Self { dir }
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes or replaces a file, in one step.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn put(&self, name: &str, yaml: &str) {
        // Beside the folder, on the same file system: nobody sees half a file.
        let draft = self.dir.with_extension(format!("{name}.draft"));
        fs::write(&draft, yaml).expect("a manifest");
        fs::rename(&draft, self.dir.join(name)).expect("a manifest in place");
    }

    /// Removes a file.
    ///
    /// # Panics
    /// When it is not there.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.dir.join(name)).expect("a manifest to remove");
    }

    /// Writes a Service with its EndpointSlices to `<name>.yaml`.
    pub fn service(&self, service: &Service) {
        self.put(&format!("{}.yaml", service.name), &service.yaml());
    }

    /// Writes a Pod to `pod-<name>.yaml`.
    pub fn pod(&self, pod: &Pod, mesh: Mesh) {
        let label = mesh.value().map(|value| format!(", nodeway.dev/mesh: {value}"));
        let label = label.unwrap_or_default();
        let yaml = format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {0}\n  namespace: default\n  uid: uid-of-{0}\n  \
             labels: {{app: {0}{label}}}\n  annotations: {{nodeway.dev/netns: {1}}}\n\
             spec: {{nodeName: node-a, containers: [{{name: main, image: none}}]}}\n\
             status: {{phase: Running, podIP: {2}, podIPs: [{{ip: {2}}}, {{ip: \"{3}\"}}]}}\n",
            pod.name,
            pod.netns_path().display(),
            pod.ipv4,
            pod.ipv6,
        );
        self.put(&format!("pod-{}.yaml", pod.name), &yaml);
    }

    /// Writes a BackendPolicy of the Service `service` to `policy-<service>.yaml`; `spec` is YAML, what comes
    /// beside the target.
    pub fn backend_policy(&self, service: &str, spec: &str) {
        let spec: String = spec.trim().lines().map(|line| format!("  {line}\n")).collect();
        let yaml = format!(
            "apiVersion: nodeway.dev/v1alpha1\nkind: BackendPolicy\n\
             metadata: {{name: {service}, namespace: default}}\n\
             spec:\n  targetRefs: [{{group: \"\", kind: Service, name: {service}}}]\n{spec}"
        );
        self.put(&format!("policy-{service}.yaml"), &yaml);
    }

    /// Writes an HTTPRoute to `route-<name>.yaml`, attached to the Service `parent`; `rules` is YAML.
    pub fn route(&self, name: &str, parent: &str, rules: &str) {
        self.put(&format!("route-{name}.yaml"), &route_yaml(name, parent, rules));
    }
}

/// An HTTPRoute attached to a Service (GAMMA); `rules` is a YAML list at column 0.
#[must_use]
pub fn route_yaml(name: &str, parent: &str, rules: &str) -> String {
    let rules: String = rules.trim().lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{name: {name}, namespace: default}}\n\
         spec:\n  parentRefs: [{{group: \"\", kind: Service, name: {parent}, port: 80}}]\n  rules:\n{rules}"
    )
}
