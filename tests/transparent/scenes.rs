//! Pods, a server in one, and what is between it and its client: a world for each way but the two direct ones.
//!
//! Where Nodeway is not, its programs are not either: they are attached to another world's cgroup.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use nodeway_tests::{Manifests, MeshLabel, Nodeway, Pod, Proc, Service, World, eventually, mesh};

use crate::way::Way;
use crate::{cpu, sidecars};

/// Of the server, as pods listen; the Service's is 80.
pub(crate) const PORT: u16 = 8080;
/// The Service's address, on a port of HTTP; Nodeway has it.
const HTTP: &str = mesh::VIP4;
/// The same pod, declared to be opaque.
const OPAQUE: &str = "10.96.0.11";
/// For anything to be ready.
const PATIENCE: Duration = Duration::from_secs(20);

/// One way, ready to be asked.
pub(crate) struct Scene {
    // Before what it stands on.
    proxies: Proxies,
    _server: Proc,
    pub(crate) way: Way,
    pub(crate) client: Pod,
    pub(crate) dials: SocketAddr,
    /// For what loads write.
    pub(crate) scratch: PathBuf,
    _world: World,
}

enum Proxies {
    None,
    Nodeway(Nodeway),
    Sidecars([Proc; 2]),
}

/// All of them.
pub(crate) struct Scenes(Vec<Scene>);

// === impl Scenes ===

impl Scenes {
    pub(crate) fn make(ways: &[Way]) -> Self {
        Self(ways.iter().map(|way| Scene::make(*way)).collect())
    }

    pub(crate) fn ways(&self) -> Vec<Way> {
        self.0.iter().map(|scene| scene.way).collect()
    }

    /// Whether Nodeway, left alone, has payload skip the loopback stack here; none where it cannot at all.
    pub(crate) fn accelerates(&self) -> Option<bool> {
        let l7 = self.0.iter().find(|scene| scene.way == Way::L7)?;
        let Proxies::Nodeway(nodeway) = &l7.proxies else { return None };
        let metrics = nodeway.metrics();
        let in_state = |state| metrics.sum("nodeway_acceleration", &[("state", state)]) > 0.5;
        (in_state("on") || in_state("off")).then(|| in_state("on"))
    }

    pub(crate) fn of(&self, way: Way) -> &Scene {
        self.0.iter().find(|scene| scene.way == way).expect("a scene for each way")
    }
}

// === impl Scene ===

impl Scene {
    fn make(way: Way) -> Self {
        let world = World::new().expect("the privilege, which was asked for");
        let (client, server) = (world.pod("client"), world.pod("server"));
        let web = nginx(&world, &server);
        let vip: SocketAddr = format!("{HTTP}:80").parse().expect("an address");
        let mut dials = vip;
        let proxies = match way {
            Way::Pod => {
                dials = server.v4(PORT);
                Proxies::None
            }
            Way::ServiceAddress => {
                translate(&client, vip, server.v4(PORT));
                Proxies::None
            }
            Way::Sidecars => Proxies::Sidecars(sidecars::start(&client, &server, vip)),
            Way::L7 | Way::Accelerated | Way::Plain | Way::L4 => {
                if way == Way::L4 {
                    dials = format!("{OPAQUE}:80").parse().expect("an address");
                }
                Proxies::Nodeway(nodeway(&world, &client, &server, way))
            }
        };
        let scratch = world.scratch().to_path_buf();
        let scene = Self { proxies, _server: web, way, client, dials, scratch, _world: world };
        scene.answers();
        scene
    }

    /// What is between the pods has used so far.
    pub(crate) fn cpu(&self) -> Duration {
        match &self.proxies {
            Proxies::None => Duration::ZERO,
            Proxies::Nodeway(nodeway) => cpu::of_process(nodeway.pid()),
            Proxies::Sidecars(pair) => pair.iter().map(|one| cpu::of_process(one.pid())).sum(),
        }
    }

    fn answers(&self) {
        let url = format!("http://{}/", self.dials);
        let what = format!("an answer from {url} by the way of: {}", self.way.title());
        eventually(PATIENCE, &what, || {
            let args = ["-s", "-f", "--noproxy", "*", "--max-time", "2", "-o", "/dev/null", &url];
            let ran = self.client.place.run("curl", &args);
            ran.ok
        });
    }
}

/// What the proxies of a scene have said, for a message.
pub(crate) fn said(scene: &Scene) -> String {
    match &scene.proxies {
        Proxies::None => String::new(),
        Proxies::Nodeway(nodeway) => nodeway.log(),
        Proxies::Sidecars(pair) => pair.iter().map(|one| one.out() + &one.err()).collect(),
    }
}

/// A server of one process that answers 128 B from memory.
fn nginx(world: &World, pod: &Pod) -> Proc {
    let home = world.scratch().join("nginx");
    fs::create_dir_all(&home).expect("a folder for nginx");
    let (at, home_name, body) = (pod.v4(PORT), home.display(), "x".repeat(128));
    let text = format!(
        "daemon off; master_process off;
pid {home_name}/pid;
error_log {home_name}/error.log error;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {home_name}/body;
    proxy_temp_path {home_name}/proxy;
    fastcgi_temp_path {home_name}/fastcgi;
    uwsgi_temp_path {home_name}/uwsgi;
    scgi_temp_path {home_name}/scgi;
    keepalive_requests 100000000;
    keepalive_timeout 300s;
    server {{
        listen {at} backlog=4096;
        default_type text/plain;
        location / {{ return 200 \"{body}\"; }}
    }}
}}
"
    );
    let file = home.join("nginx.conf");
    fs::write(&file, text).expect("nginx's configuration");
    let (home, file) = (home.display().to_string(), file.display().to_string());
    let errors = format!("{home}/error.log");
    pod.place.start("nginx", &["-p", &home, "-e", &errors, "-c", &file])
}

/// What kube-proxy's rules do for a connection, where it is opened.
fn translate(client: &Pod, service: SocketAddr, server: SocketAddr) {
    let (ip, port, to) = (service.ip().to_string(), service.port().to_string(), server.to_string());
    let of = ["-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-d", &ip, "--dport", &port];
    client.place.ok("iptables", &[&of[..], &["-j", "DNAT", "--to-destination", &to]].concat());
}

fn nodeway(world: &World, client: &Pod, server: &Pod, way: Way) -> Nodeway {
    let manifests: Manifests = world.manifests();
    manifests.pod(client, MeshLabel::Enabled);
    manifests.service(&Service::new("web").ip(HTTP).http().to_pod(server));
    let opaque = Service::new("opaque").ip(OPAQUE).port(80, PORT, Some("tcp"));
    manifests.service(&opaque.to_pod(server));
    let source = ["--manifests".into(), manifests.dir().into()];
    let told = way.nodeway().unwrap_or_default().iter().map(Into::into);
    let args: Vec<_> = source.into_iter().chain(world.args()).chain(told).collect();
    Nodeway::start(&world.node(), &args)
}
