//! The steps of the demonstration.

use std::collections::BTreeMap;
use std::time::Duration;

use nodeway_tests::wait::within;
use nodeway_tests::{Nodeway, Pod, Proc, World, manifests as m, netns};

use crate::show::{bar, command, seen, step, verdict};

const VIP: &str = "10.96.0.10";

/// Everything that the demonstration is played with.
struct Stage {
    client: Pod,
    pods: Vec<Pod>,
    servers: Vec<Proc>,
    nodeway: Nodeway,
    world: World,
}

/// Whether a step was as promised.
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

const ROUTE: &str = "  - matches:
    - path: {value: /api}
      headers: [{name: x-version, value: '2'}]
    backendRefs: [{name: web-v2, port: 80}]
  - matches: [{path: {value: /split}}]
    backendRefs: [{name: web-v1, port: 80, weight: 90}, {name: web-v2, port: 80, weight: 10}]
  - backendRefs: [{name: web-v1, port: 80}]
";

impl Stage {
    fn set() -> Option<Self> {
        let world = World::new()?;
        let client = world.pod("client");
        let names = [("web-v1-a", "v1"), ("web-v1-b", "v1"), ("web-v2-a", "v2")];
        let pods: Vec<Pod> = names.iter().map(|(name, _)| world.pod(name)).collect();
        let servers =
            pods.iter().zip(names).map(|(pod, (_, version))| pod.serve(version, 8080)).collect();
        let [a, b, c] = [0, 1, 2].map(|i| pods[i].ip4.as_str());
        let text = m::service("web", &[VIP], 80, "name: \"\"")
            + &m::service("web-v1", &["10.96.0.11"], 80, "")
            + &m::slice("web-v1", "web-v1", "IPv4", &[a, b], 8080)
            + &m::service("web-v2", &["10.96.0.12"], 80, "")
            + &m::slice("web-v2", "web-v2", "IPv4", &[c], 8080);
        m::put(&world.manifests, "services.yaml", &text);
        m::put(&world.manifests, "route.yaml", &m::route("web", "web", ROUTE));
        m::put(&world.manifests, "pods.yaml", &m::pod(&client, "enabled"));
        seen(&format!(
            "client pod {} and {} server pods, each a network namespace of its own",
            client.ip4,
            pods.len()
        ));
        seen(&format!(
            "Service web at {VIP}:80, with an HTTPRoute to web-v1 (2 pods) and web-v2 (1 pod)"
        ));
        let nodeway = Nodeway::start(&world, &[]);
        let enrolled = within(Duration::from_secs(10), || {
            nodeway.metric("nodeway_pods", &["enrolled"]) >= 1.0
        });
        seen(&format!(
            "nodeway is ready, the client pod {}",
            if enrolled { "enrolled" } else { "NOT enrolled" }
        ));
        Some(Self { client, pods, servers, nodeway, world })
    }

    fn curl(&self, args: &[&str]) -> String {
        let quoted: Vec<String> = args
            .iter()
            .map(|a| if a.contains([' ', '[', '%']) { format!("'{a}'") } else { (*a).to_owned() })
            .collect();
        command(&format!("curl -s {}", quoted.join(" ")));
        self.client.curl(args)
    }

    fn balanced(&mut self) -> bool {
        let answer = self.curl(&[&format!("http://{VIP}/[1-100]")]);
        let pods = count(&answer, "pod: ");
        for (pod, n) in &pods {
            seen(&format!("{pod:<9} {}", bar(*n, 100)));
        }
        let good = pods.len() == 2 && pods.values().all(|n| *n >= 30);
        verdict(good, "100 requests, both pods of v1 answer, evenly");
        good
    }

    fn source(&mut self) -> bool {
        let answer = self.curl(&[&format!("http://{VIP}/who")]);
        let sources = count(&answer, "source: ");
        let good = sources.keys().all(|source| *source == self.client.ip4) && sources.len() == 1;
        seen(&format!(
            "the server saw source {:?}; the client pod is {}",
            sources.keys().next(),
            self.client.ip4
        ));
        verdict(good, "the connection left from the pod's own namespace");
        good
    }

    fn routed(&mut self) -> bool {
        let url = format!("http://{VIP}/api/items");
        let without = count(&self.curl(&[&url]), "version: ");
        seen(&format!("version {:?}", without.keys().next()));
        let with = count(&self.curl(&["-H", "x-version: 2", &url]), "version: ");
        seen(&format!("version {:?}", with.keys().next()));
        let good = without.contains_key("v1") && with.contains_key("v2");
        verdict(good, "path /api with header x-version: 2 goes to v2, without it to v1");
        good
    }

    fn split(&mut self) -> bool {
        let versions = count(&self.curl(&[&format!("http://{VIP}/split/[1-500]")]), "version: ");
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
        let before = self.nodeway.metric("nodeway_requests_total", &[]);
        let load = self.client.place.start("curl", &args);
        within(Duration::from_secs(10), || {
            self.nodeway.metric("nodeway_requests_total", &[]) >= before + 300.0
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
        let (_, page) = self.nodeway.get("/metrics");
        command(&format!("curl -s 127.0.0.1:{}/metrics   # on the host", self.nodeway.metrics));
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
        page.lines().filter(told).for_each(seen);
        let requests = self.nodeway.metric("nodeway_requests_total", &["response_code=\"200\""]);
        let failed = self.nodeway.metric("nodeway_requests_total", &[]) - requests;
        let redirected = self.nodeway.metric("nodeway_ebpf_connects_total", &["redirected"]);
        let ejected = self.nodeway.metric("nodeway_endpoint_ejections_total", &[]);
        let good = requests >= 3603.0 && failed < 0.5 && redirected >= 6.0 && ejected >= 1.0;
        verdict(
            good,
            "every request counted, none failed, connects redirected, the dead endpoint left out",
        );
        good
    }

    fn fail_open(&mut self) -> bool {
        let holder = self.world.pod("holder");
        let name = format!("{}-holder", self.world.name);
        netns::batch(Some(&name), &format!("addr add {VIP}/32 dev eth0\n"));
        let _direct = holder.serve("straight from the ClusterIP's holder", 80);
        self.nodeway.kill();
        let versions = count(&self.curl(&[&format!("http://{VIP}/")]), "version: ");
        seen(&format!("version {:?}", versions.keys().next()));
        let good = versions.keys().any(|version| version.starts_with("straight"));
        verdict(good, "the kernel side saw that nobody listens and left the connect alone");
        // A start after a crash finds what it left, and a clean end leaves nothing.
        self.nodeway = Nodeway::start(&self.world, &[]);
        self.nodeway.stop() && good
    }

    fn wait(&self) {
        let netns = self.client.netns();
        let name = netns.rsplit('/').next().unwrap_or_default();
        println!(
            "\nIt keeps running until you press Enter. To play with it, in another terminal (as root):"
        );
        println!(
            "   ip netns exec {name} curl http://{VIP}/            # not caught: not in the pod's cgroup"
        );
        println!(
            "   sh -c 'echo $$ > {}/pods/client/cgroup.procs; exec ip netns exec {name} bash'   # a shell in the pod",
            self.world.cgroup.display()
        );
        println!(
            "   curl http://{VIP}/api -H 'x-version: 2'            # in that shell: caught and routed"
        );
        println!("   $EDITOR {}/route.yaml", self.world.manifests.display());
        println!(
            "   curl 127.0.0.1:{}/metrics; curl 127.0.0.1:{}/snapshot",
            self.nodeway.metrics, self.nodeway.admin
        );
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).ok();
    }
}

fn count(answer: &str, prefix: &str) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for value in answer.lines().filter_map(|line| line.strip_prefix(prefix)) {
        *count.entry(value.to_owned()).or_default() += 1;
    }
    count
}
