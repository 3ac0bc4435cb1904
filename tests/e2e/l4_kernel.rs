//! Opaque TCP goes to endpoints without the proxy: balanced, told of and cut by the kernel.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use nodeway_tests::{Mesh, MeshLabel, Nodeway, Pod, Proc, Service, bpf, eventually};

const SOON: Duration = Duration::from_secs(30);
const DB4: &str = "10.96.0.30";
const DB6: &str = "fd00:96::30";
const PORT: u16 = 5432;

/// Dials the address so many times, and prints who said hello, of whom the socket tells, or why nobody did.
const DIAL: &str = "import collections, errno, socket, sys\n\
    count = collections.Counter()\n\
    for n in range(int(sys.argv[2])):\n\
    \x20   s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET)\n\
    \x20   s.settimeout(10)\n\
    \x20   try:\n\
    \x20       s.connect((sys.argv[1], 5432))\n\
    \x20       peer = s.getpeername()\n\
    \x20       said = s.makefile().readline().split()\n\
    \x20       count[' '.join([said[1], peer[0], str(peer[1])])] += 1\n\
    \x20   except OSError as e: count[errno.errorcode.get(e.errno, str(e))] += 1\n\
    \x20   s.close()\n\
    for who, n in count.items(): print(who + '\\t' + str(n))\n";

/// The Service `db` on pods that say hello, in a mesh.
struct World {
    mesh: Mesh,
    pods: Vec<Pod>,
    servers: Vec<Proc>,
}

impl World {
    fn new(pods: &[&str], policy: &str) -> Option<Self> {
        let mesh = Mesh::new()?;
        let pods: Vec<Pod> = pods.iter().map(|name| mesh.world.pod(name)).collect();
        let servers = pods.iter().map(|pod| pod.serve("banner", "v", PORT)).collect();
        let mut world = Self { mesh, pods, servers };
        world.endpoints(&[0, 1, 2, 3, 4]);
        if !policy.is_empty() {
            world.mesh.manifests.backend_policy("db", policy);
        }
        world.mesh.start(&[]);
        Some(world)
    }

    /// From now on these pods are the Service's endpoints.
    fn endpoints(&self, which: &[usize]) {
        let service = Service::new("db").ip(DB4).ip(DB6).port(PORT, PORT, Some("tcp"));
        let pods = which.iter().filter_map(|i| self.pods.get(*i));
        self.mesh.manifests.service(&pods.fold(service, Service::to_pod));
    }

    /// Who answers how often.
    fn dial(&self, address: &str, times: usize) -> BTreeMap<String, usize> {
        dial(&self.mesh.client, address, times)
    }

    /// Which pods answer.
    fn answer(&self, times: usize) -> BTreeMap<String, usize> {
        let name = |(who, n): (String, usize)| (who.split(' ').next().unwrap().to_owned(), n);
        self.dial(DB4, times).into_iter().map(name).collect()
    }

    fn sum(&mut self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.mesh.node().metrics().sum(name, labels)
    }

    fn exits(&mut self, exit: &str) -> f64 {
        self.sum("nodeway_ebpf_connects_total", &[("exit", exit)])
    }

    /// Connections that the proxy has accepted.
    fn accepted(&mut self) -> f64 {
        self.sum("nodeway_downstream_connections_total", &[])
    }
}

fn dial(from: &Pod, address: &str, times: usize) -> BTreeMap<String, usize> {
    let ran = from.place.python(DIAL, &[address, &times.to_string()]);
    assert!(ran.ok, "{}", ran.err);
    let line = |line: &str| {
        let (who, n) = line.split_once('\t').unwrap();
        (who.to_owned(), n.parse().unwrap())
    };
    ran.out.lines().map(line).collect()
}

#[test]
fn the_proxy_is_not_in_the_way_and_the_app_sees_what_it_dialled() {
    let Some(mut world) = World::new(&["db-1"], "") else { return };
    for (dialled, peer) in [
        (DB4, DB4.to_owned()),
        (DB6, DB6.to_owned()),
        ("::ffff:10.96.0.30", format!("::ffff:{DB4}")),
    ] {
        let answers = world.dial(dialled, 3);
        assert_eq!(answers, BTreeMap::from([(format!("db-1 {peer} 5432"), 3)]), "{dialled}");
    }
    assert!((world.exits("carried") - 9.0).abs() < 0.1, "{}", world.exits("carried"));
    assert!(world.accepted() < 0.1, "the proxy has accepted {}", world.accepted());
}

#[test]
fn connections_are_counted_with_their_octets() {
    let Some(mut world) = World::new(&["db-1"], "") else { return };
    // Who closes first, and whether the other end comes in the same moment, makes no difference.
    let code = "import socket, sys, time\n\
                for way in range(4):\n\
                \x20   s = socket.create_connection((sys.argv[1], 5432), 10); f = s.makefile('rb')\n\
                \x20   hello = f.readline()\n\
                \x20   s.sendall(b'x' * 95 + b'\\r\\n'); got = f.readline()\n\
                \x20   if way == 0: s.close(); f.close()\n\
                \x20   if way == 1: s.shutdown(socket.SHUT_WR); assert f.read() == b''\n\
                \x20   if way == 2: s.sendall(b'quit\\r\\n'); f.readline(); assert f.read() == b''\n\
                \x20   if way == 3: s.sendall(b'quit\\r\\n'); f.readline(); s.shutdown(socket.SHUT_WR)\n\
                \x20   f.close(); s.close(); print(len(hello) + len(got))\n";
    let ran = world.mesh.client.place.python(code, &[DB4]);
    assert!(ran.ok, "{}", ran.err);
    let received: f64 = ran.out.lines().map(|n| n.parse::<f64>().unwrap()).sum();
    let of = [("parent_name", "db"), ("backend_name", "db"), ("response_flags", "-")];
    eventually(SOON, "all four have ended", || {
        world.sum("nodeway_tcp_connections_total", &of) > 3.9
    });
    let metrics = world.mesh.node().metrics();
    let is = |name: &str| metrics.sum(name, &of);
    assert!((is("nodeway_tcp_connections_total") - 4.0).abs() < 0.1);
    let (sent, got) = (is("nodeway_tcp_sent_bytes_total"), is("nodeway_tcp_received_bytes_total"));
    assert!((sent - (4.0 * 97.0 + 12.0)).abs() < 0.1, "{sent} octets sent");
    assert!((got - (received + 18.0)).abs() < 0.1, "{got} octets received of {received}");
    let of = [("parent_name", "db"), ("source_workload", "client")];
    let rtts = metrics.sum("nodeway_tcp_rtt_seconds_count", &of);
    assert!((rtts - 4.0).abs() < 0.1, "{rtts} round trips");
    let lasted = metrics.sum("nodeway_tcp_connection_duration_seconds_count", &of);
    assert!((lasted - 4.0).abs() < 0.1, "{lasted} durations");
}

#[test]
fn endpoints_share_connections_by_weight() {
    let weights = "loadBalancing: {weights: [{cidr: 10.77.0.12/32, weight: 3}]}";
    let Some(world) = World::new(&["db-1", "db-2"], weights) else { return };
    // 5 % of all are more than two standard deviations: chance may have three tries.
    let heavy = |_| world.answer(500).get("db-2").copied().unwrap_or_default();
    let tries: Vec<usize> = (0..3).map(heavy).collect();
    assert!(tries.iter().any(|heavy| heavy.abs_diff(375) <= 25), "{tries:?}");
}

#[test]
fn a_pod_stays_with_its_endpoint_where_the_policy_says_so() {
    let policy = "loadBalancing: {algorithm: Maglev}";
    let Some(mut world) = World::new(&["db-1", "db-2", "db-3", "db-4", "db-5"], policy) else {
        return;
    };
    let one = world.answer(20);
    assert_eq!(one.len(), 1, "{one:?}");
    assert_eq!(world.answer(20), one);
    assert!(world.accepted() < 0.1);
    // When it goes the pod is with another one.
    let gone: usize = one.keys().next().unwrap()[3..].parse().unwrap();
    world.endpoints(&(0..5).filter(|i| i + 1 != gone).collect::<Vec<_>>());
    eventually(SOON, "another one answers", || {
        let other = world.answer(5);
        other.len() == 1 && other.keys().ne(one.keys())
    });
}

#[test]
fn where_nobody_is_there_connections_are_refused_and_counted() {
    let Some(mut world) = World::new(&[], "") else { return };
    for address in [DB4, DB6, "::ffff:10.96.0.30"] {
        assert_eq!(world.dial(address, 2), BTreeMap::from([("ECONNREFUSED".to_owned(), 2)]));
    }
    eventually(SOON, "they are counted", || {
        world.sum("nodeway_tcp_connections_total", &[("response_flags", "UH")]) > 5.9
    });
    assert!(world.accepted() < 0.1);
}

#[test]
fn who_has_gone_gets_no_connections_and_those_that_it_has_are_reset_in_the_time_of_the_policy() {
    let Some(mut world) = World::new(&["db-1", "db-2"], "connection: {drainTimeout: 300ms}") else {
        return;
    };
    // Beside them one that the app has made to the pod itself: that is nobody's business.
    let code = "import errno, select, socket, sys\n\
                all = [socket.create_connection((sys.argv[1], 5432), 10) for n in range(20)]\n\
                all.append(socket.create_connection((sys.argv[2], 5432), 10))\n\
                for s in all: s.recv(99)\n\
                print('made', flush=True)\n\
                end = []\n\
                for s in all:\n\
                \x20   s.settimeout(3)\n\
                \x20   try: end.append('end' if s.recv(9) == b'' else '?')\n\
                \x20   except OSError as e: end.append(errno.errorcode.get(e.errno, 'lives'))\n\
                print(' '.join(end))\n";
    let to = world.pods[0].ipv4.to_string();
    let app =
        world.mesh.client.place.start(nodeway_tests::binaries::python(), &["-c", code, DB4, &to]);
    let app = app.until_it_says("made");
    world.endpoints(&[1]);
    let ran = app.finish(Duration::from_secs(90));
    let ends: Vec<&str> = ran.out.lines().last().unwrap().split(' ').collect();
    assert_eq!(ends.last(), Some(&"lives"), "{ends:?}");
    let reset = ends.iter().filter(|end| **end == "ECONNABORTED").count();
    assert!(
        reset > 0 && ends[..20].iter().all(|end| ["lives", "ECONNABORTED"].contains(end)),
        "{ends:?}"
    );
    assert_eq!(world.answer(20), BTreeMap::from([("db-2".to_owned(), 20)]));
    eventually(SOON, "they are counted", || {
        let cut = world.sum("nodeway_tcp_connections_total", &[("response_flags", "LR")]);
        (cut - reset as f64).abs() < 0.1
    });
}

#[test]
fn who_is_found_ill_gets_no_connections() {
    let policy = "loadBalancing: {panicThresholdPercent: 0}\n\
                  healthCheck: {tcp: {}, healthyThreshold: 2, unhealthyThreshold: 2, \
                  interval: 200ms, timeout: 1s, jitterPercent: 0}";
    let Some(mut world) = World::new(&["db-1", "db-2"], policy) else { return };
    eventually(SOON, "both answer", || world.answer(20).len() == 2);
    // It is checked because it is used, though the proxy never sees that.
    eventually(SOON, "it is checked", || world.sum("nodeway_health_checks_total", &[]) > 3.0);
    world.servers.remove(0);
    eventually(SOON, "one is left", || {
        world.answer(20) == BTreeMap::from([("db-2".to_owned(), 20)])
    });
    let again = world.pods[0].serve("banner", "v", PORT);
    world.servers.push(again);
    eventually(SOON, "both answer again", || world.answer(20).len() == 2);
    assert!(world.accepted() < 0.1);
}

#[test]
fn who_does_not_take_connections_is_left_out_for_a_while() {
    let Some(mut world) = World::new(&["db-1", "db-2"], "") else { return };
    world.servers.remove(0);
    eventually(SOON, "five in a row have failed", || {
        world.answer(20);
        world.sum("nodeway_endpoint_ejections_total", &[("backend_name", "db")]) > 0.9
    });
    eventually(SOON, "nobody is sent there", || !world.answer(20).contains_key("ECONNREFUSED"));
    let failed = world.sum("nodeway_tcp_connections_total", &[("response_flags", "UF")]);
    assert!(failed > 4.9, "{failed}");
}

#[test]
fn what_a_policy_wants_to_be_looked_after_goes_through_the_proxy() {
    let Some(mut world) = World::new(&["db-1"], "circuitBreaker: {maxRequests: 100}") else {
        return;
    };
    assert_eq!(world.answer(3), BTreeMap::from([("db-1".to_owned(), 3)]));
    assert!(world.accepted() > 2.9);
    // And no longer when the policy has gone.
    world.mesh.manifests.remove("policy-db.yaml");
    eventually(SOON, "it goes without", || {
        world.answer(1);
        world.exits("carried") > 0.9
    });
}

#[test]
fn without_the_proxy_connects_are_left_alone() {
    let Some(mut world) = World::new(&["db-1"], "") else { return };
    let _direct = world.mesh.world.direct(format!("{DB4}:{PORT}").parse().unwrap());
    assert_eq!(world.answer(3), BTreeMap::from([("db-1".to_owned(), 3)]));
    world.mesh.node().kill();
    let url = format!("http://{DB4}:{PORT}/");
    let said = world.mesh.client.curl(&[&url]);
    assert!(said.contains("\"direct\""), "{said}");
}

#[test]
fn pods_outside_the_mesh_are_left_alone() {
    let Some(mut world) = World::new(&["db-1"], "") else { return };
    let outside = world.mesh.world.pod("outside");
    world.mesh.manifests.pod(&outside, MeshLabel::Disabled);
    let _direct = world.mesh.world.direct(format!("{DB4}:{PORT}").parse().unwrap());
    let url = format!("http://{DB4}:{PORT}/");
    assert!(outside.curl(&[&url]).contains("\"direct\""));
    assert!(world.exits("carried") < 0.1);
}

#[test]
fn connections_outlive_a_takeover_and_are_known_to_the_successor() {
    let Some(mut world) = World::new(&["db-1"], "connection: {drainTimeout: 300ms}") else {
        return;
    };
    let code = "import socket, sys\n\
                s = socket.create_connection((sys.argv[1], 5432), 10); f = s.makefile('rb')\n\
                f.readline(); print('made', flush=True)\n\
                sys.stdin.readline(); print(s.getpeername()[0], flush=True)\n\
                s.sendall(b'x\\r\\n'); print(f.readline().decode().strip(), flush=True)\n\
                try: print('end', f.read())\n\
                except OSError as e: print('reset', flush=True)\n";
    let fifo = world.mesh.world.scratch().join("go");
    world.mesh.client.place.ok("mkfifo", &[&fifo]);
    let line = format!("exec python3 -c \"$CODE\" {DB4} < {}", fifo.display());
    let mut command = world.mesh.client.place.command("sh");
    command.args(["-c", &line]).env("CODE", code);
    let app = Proc::start(command, world.mesh.world.scratch().join("app"));
    let mut go = std::fs::File::options().read(true).write(true).open(&fifo).unwrap();
    let app = app.until_it_says("made");
    let args: Vec<OsString> = world.mesh.args().into_iter().chain(["--takeover".into()]).collect();
    let successor = Nodeway::start(&world.mesh.world.node(), &args);
    let (status, log) = world.mesh.node().stop();
    assert!(status.success(), "{log}");
    assert_eq!(world.answer(3), BTreeMap::from([("db-1".to_owned(), 3)]));
    std::io::Write::write_all(&mut go, b"go\n").unwrap();
    let app = app.until_it_says("250 got x");
    world.endpoints(&[]);
    let ran = app.finish(Duration::from_secs(60));
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines, ["made", DB4, "250 got x", "reset"], "{}", ran.err);
    eventually(SOON, "the successor has counted it", || {
        let cut = [("response_flags", "LR"), ("parent_name", "db")];
        successor.metrics().sum("nodeway_tcp_connections_total", &cut) > 0.9
    });
    drop(successor);
}

#[test]
fn notes_of_connections_end_with_them() {
    let Some(mut world) = World::new(&["db-1"], "") else { return };
    world.answer(50);
    world.servers.clear();
    // Refused, and given up before they are made.
    world.answer(5);
    let entries = || bpf::entries(world.mesh.world.cgroup(), "CARRIED");
    eventually(SOON, "all notes are gone", || entries() == 0);
}
