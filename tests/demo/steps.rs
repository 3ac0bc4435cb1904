//! The steps of the demonstration.

use std::collections::BTreeMap;
use std::time::Duration;

use nodeway_tests::wait::within;
use nodeway_tests::{Mesh, Pod, Proc, Service};
use serde_json::Value;

use crate::show::{bar, command, seen, step, verdict};

const VIP: &str = "10.96.0.10";

/// Everything that the demonstration is played with.
struct Stage {
    servers: Vec<Proc>,
    pods: Vec<Pod>,
    mesh: Mesh,
}

/// A step: shows something and says whether it was as promised.
type Play = fn(&mut Stage) -> bool;

/// Plays all steps; each step's title and whether it was as promised.
pub(crate) fn run(keep: bool) -> Vec<(&'static str, bool)> {
    let Some(mut stage) = Stage::set() else { return vec![("a world of pods", false)] };
    let steps: [(&str, Play); 7] = [
        ("balanced over v1", Stage::balanced),
        ("the server sees the pod", Stage::source),
        ("header and path choose v2", Stage::routed),
        ("a 90/10 split", Stage::split),
        ("a killed endpoint costs no request", Stage::killed),
        ("the metrics tell the same story", Stage::metrics),
        ("the proxy gone, traffic flows past it", Stage::fail_open),
    ];
    // What is kept to be played with should be whole.
    let played = if keep { 6 } else { steps.len() };
    let mut shown = Vec::new();
    for (i, (title, play)) in steps.into_iter().take(played).enumerate() {
        let look = LOOK[i];
        step(i + 1, title, look);
        shown.push((title, play(&mut stage)));
    }
    if keep {
        stage.wait();
    }
    shown
}

const LOOK: [&str; 7] = [
    "plain HTTP to the Service's ClusterIP; look at the names that answer",
    "look at the source address: the client pod's own, not a proxy's",
    "the same URL, with and without the header",
    "look at the bars",
    "one of two pods of v1 dies by SIGKILL under load; look at the status codes",
    "what --metrics says of all this",
    "nodeway dies by SIGKILL; here the ClusterIP's own holder answers, as kube-proxy's would",
];

const RULES: &str = "
- matches:
  - path: {value: /api}
    headers: [{name: x-version, value: '2'}]
  backendRefs: [{name: web-v2, port: 80}]
- matches: [{path: {value: /split}}]
  backendRefs: [{name: web-v1, port: 80, weight: 90}, {name: web-v2, port: 80, weight: 10}]
- backendRefs: [{name: web-v1, port: 80}]
";

impl Stage {
    fn set() -> Option<Self> {
        let mut mesh = Mesh::new()?;
        let names = [("web-v1-a", "v1"), ("web-v1-b", "v1"), ("web-v2-a", "v2")];
        let pods: Vec<Pod> = names.iter().map(|(name, _)| mesh.world.pod(name)).collect();
        let servers = pods
            .iter()
            .zip(names)
            .map(|(pod, (_, version))| pod.serve("http", version, 8080))
            .collect();
        let [a, b, c] = [0, 1, 2].map(|i| pods[i].v4(8080));
        mesh.manifests.service(&Service::new("web").ip(VIP).http());
        mesh.manifests.service(&Service::new("web-v1").http().to(a).to(b));
        mesh.manifests.service(&Service::new("web-v2").http().to(c));
        mesh.manifests.route("web", "web", RULES);
        // Who watches wants to see it even; by latency the quicker pod has more.
        mesh.manifests.backend_policy("web-v1", "loadBalancing: {algorithm: RoundRobin}");
        seen(&format!(
            "client pod {} and {} server pods, each a network namespace of its own",
            mesh.client.ipv4,
            pods.len()
        ));
        seen(&format!(
            "Service web at {VIP}:80, with an HTTPRoute to web-v1 (2 pods) and web-v2 (1 pod)"
        ));
        seen("a BackendPolicy for web-v1: each pod in turn");
        mesh.start(&[]);
        seen("nodeway is ready, the client pod enrolled");
        Some(Self { servers, pods, mesh })
    }

    fn metric(&mut self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.mesh.node().metrics().sum(name, labels)
    }

    fn curl(&self, args: &[&str]) -> String {
        let quoted: Vec<String> = args
            .iter()
            .map(|a| if a.contains([' ', '[', '%']) { format!("'{a}'") } else { (*a).to_owned() })
            .collect();
        command(&format!("curl -s {}", quoted.join(" ")));
        self.mesh.client.curl(args)
    }

    fn balanced(&mut self) -> bool {
        let answer = self.curl(&[&format!("http://{VIP}/[1-100]")]);
        let pods = count(&answer, "pod");
        for (pod, n) in &pods {
            seen(&format!("{pod:<9} {}", bar(*n, 100)));
        }
        let good = pods.len() == 2 && pods.values().all(|n| *n >= 30);
        verdict(good, "100 requests, both pods of v1 answer, evenly");
        good
    }

    fn source(&mut self) -> bool {
        let answer = self.curl(&[&format!("http://{VIP}/who")]);
        let sources = sources(&answer);
        let client = self.mesh.client.ipv4.to_string();
        let good = sources.keys().all(|source| *source == client) && sources.len() == 1;
        seen(&format!("the server saw source {}; the client pod is {client}", names(&sources)));
        verdict(good, "the connection left from the pod's own namespace");
        good
    }

    fn routed(&mut self) -> bool {
        let url = format!("http://{VIP}/api/items");
        let without = count(&self.curl(&[&url]), "version");
        seen(&format!("version {}", names(&without)));
        let with = count(&self.curl(&["-H", "x-version: 2", &url]), "version");
        seen(&format!("version {}", names(&with)));
        let good = without.contains_key("v1") && with.contains_key("v2");
        verdict(good, "path /api with header x-version: 2 goes to v2, without it to v1");
        good
    }

    fn split(&mut self) -> bool {
        let versions = count(&self.curl(&[&format!("http://{VIP}/split/[1-500]")]), "version");
        for (version, n) in &versions {
            seen(&format!("{version} {}", bar(*n, 500)));
        }
        let v1 = versions.get("v1").copied().unwrap_or(0);
        let good = (425..=475).contains(&v1);
        verdict(good, "500 requests, 90 % to v1 and 10 % to v2, each within 5 %");
        good
    }

    fn killed(&mut self) -> bool {
        let url = format!("http://{VIP}/[1-3000]");
        let args = ["-s", "--max-time", "60", "-o", "/dev/null", "-w", "%{http_code}\\n", &url];
        command(&format!("curl -s -o /dev/null -w '%{{http_code}}\\n' '{url}' | sort | uniq -c"));
        let before = self.metric("nodeway_requests_total", &[]);
        let load = self.mesh.client.place.start("curl", &args);
        within(Duration::from_secs(10), || {
            self.metric("nodeway_requests_total", &[]) >= before + 300.0
        });
        self.servers[0].kill();
        seen(&format!("... {} killed in the middle", self.pods[0].name));
        let ran = load.finish(Duration::from_secs(60));
        let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
        for code in ran.out.lines().filter(|line| !line.is_empty()) {
            *codes.entry(code).or_default() += 1;
        }
        for (code, n) in &codes {
            seen(&format!("{n:>6} x {code}"));
        }
        let good = codes.get("200") == Some(&3000) && codes.len() == 1;
        verdict(good, "3000 requests, not one failed");
        good
    }

    fn metrics(&mut self) -> bool {
        let node = self.mesh.node();
        let page = node.metrics();
        command(&format!("curl -s {}/metrics   # on the host", node.metrics_at));
        let told = |line: &&str| {
            let wanted = [
                "nodeway_requests_total{",
                "nodeway_retries_total",
                "nodeway_endpoint_ejections_total",
                "nodeway_ebpf_connects_total{exit=\"redirected",
                "nodeway_pods{",
            ];
            wanted.iter().any(|start| line.starts_with(start))
        };
        page.text().lines().filter(told).for_each(seen);
        let requests = page.sum("nodeway_requests_total", &[("response_code", "200")]);
        let failed = page.sum("nodeway_requests_total", &[]) - requests;
        let redirected = page.sum("nodeway_ebpf_connects_total", &[("exit", "redirected")]);
        let ejected = page.sum("nodeway_endpoint_ejections_total", &[]);
        let good = requests >= 3603.0 && failed < 0.5 && redirected >= 6.0 && ejected >= 1.0;
        verdict(
            good,
            "every request counted, none failed, connects redirected, the dead endpoint left out",
        );
        good
    }

    fn fail_open(&mut self) -> bool {
        let _direct = self.mesh.world.direct(format!("{VIP}:80").parse().expect("an address"));
        self.mesh.node().kill();
        let pods = count(&self.curl(&[&format!("http://{VIP}/")]), "pod");
        seen(&format!("answered: {}", names(&pods)));
        let good = pods.contains_key("direct");
        verdict(good, "the kernel side saw that nobody listens and left the connect alone");
        // A start after a crash finds what it left, and a clean end leaves nothing.
        self.mesh.start(&[]);
        self.mesh.node().stop().0.success() && good
    }

    fn wait(&mut self) {
        let name = self.mesh.client.netns_name().to_owned();
        let cgroup = self.mesh.world.cgroup().display().to_string();
        let manifests = self.mesh.manifests.dir().display().to_string();
        let (metrics, admin) = (self.mesh.node().metrics_at, self.mesh.node().admin_at);
        println!("\nIt keeps running until you press Enter. In another terminal, as root:");
        println!("  a shell in the client pod:");
        println!(
            "    sh -c 'echo $$ > {cgroup}/pods/client/cgroup.procs; exec ip netns exec {name} bash'"
        );
        println!("  in that shell, caught and routed:");
        println!("    curl http://{VIP}/api -H 'x-version: 2'");
        println!("  the routes, which may change while traffic flows:");
        println!("    $EDITOR {manifests}/route-web.yaml");
        println!("  what it says of itself:");
        println!("    curl {metrics}/metrics; curl {admin}/snapshot");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).ok();
    }
}

/// What was counted, without the numbers.
fn names(counted: &BTreeMap<String, usize>) -> String {
    counted.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// How often each value of `field` stands in answers of the test server.
fn count(answers: &str, field: &str) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    let answers = answers.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    for value in answers.filter_map(|answer| answer[field].as_str().map(str::to_owned)) {
        *count.entry(value).or_default() += 1;
    }
    count
}

/// The addresses, without ports, that the server saw.
fn sources(answers: &str) -> BTreeMap<String, usize> {
    let mut sources = BTreeMap::new();
    for (source, n) in count(answers, "source") {
        let ip = source.rsplit_once(':').map_or(source.as_str(), |(ip, _)| ip).to_owned();
        *sources.entry(ip).or_default() += n;
    }
    sources
}
