//! Accelerated connections carry what TCP would: HTTP, streams, half-closes, aborts; and what the kernel gets
//! wrong is found out at the start.

use std::process::Command;

use nodeway_tests::mesh::{VIP4, VIP6};
use nodeway_tests::{Mesh, Nodeway, Proc, Service, binaries, eventually};

/// The ClusterIP of the Service `echo`, which declares nothing: it is relayed through the proxy.
const ECHO: &str = "10.96.0.30";
const SOON: std::time::Duration = std::time::Duration::from_secs(30);
/// How long the soak goes on, in seconds; 600 is the long one.
const SOAK_VARIABLE: &str = "NODEWAY_SOAK_SECONDS";

/// Talks over a handful of connections at a time until the time is over; fails with the first octet that
/// is wrong and the first that does not come.
const SOAK: &str = r#"
import random, socket, struct, sys, threading, time
echo, web, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
end, seed = time.monotonic() + seconds, random.randrange(1 << 32)
failures, done = [], {}
blob = random.Random(7).randbytes(3 << 20)

def connect(to, port):
    s = socket.create_connection((to, port), 20)
    s.settimeout(20)
    return s

def relayed(r):
    # All goes out while what came back is read; then a half-close, and the rest.
    s, at = connect(echo, 7), r.randrange(1 << 20)
    sent = blob[at : at + r.choice([1, 100, 4000, 70_000, 300_000, 2_000_000])]
    def write():
        i = 0
        while i < len(sent):
            n = r.choice([1, 1400, 16_384, 65_536, 200_000])
            s.sendall(sent[i : i + n])
            i += n
        s.shutdown(socket.SHUT_WR)
    writing = threading.Thread(target=write)
    writing.start()
    got = bytearray()
    while chunk := s.recv(r.choice([100, 4096, 1 << 18])):
        got += chunk
        if r.random() < 0.01:
            time.sleep(0.01)
    writing.join()
    assert got == sent, f"{len(got)} octets of {len(sent)}"

def talked(r):
    # Question and answer in turn, which is what is handed over for longest.
    # It begins as no known protocol does: what might become one is waited for.
    s = connect(echo, 7)
    for turn in range(r.randrange(1, 60)):
        at = r.randrange(1 << 20)
        sent = blob[at : at + r.choice([1, 128, 5000, 40_000])] if turn else b"\0\0\0\0"
        s.sendall(sent)
        got = bytearray()
        while len(got) < len(sent):
            chunk = s.recv(1 << 16)
            assert chunk, "an end too soon"
            got += chunk
        assert got == sent
    s.close()

def killed(r):
    s = connect(echo, 7)
    s.sendall(blob[: r.choice([10, 10_000, 200_000])])
    if r.random() < 0.5:
        s.recv(10)
    if r.random() < 0.5:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()

def asked(r):
    s = connect(web, 80)
    reader = s.makefile("rb")
    for _ in range(r.randrange(1, 40)):
        body = blob[: r.choice([0, 10, 3000, 100_000])]
        s.sendall(b"POST /x HTTP/1.1\r\nHost: web\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        status = reader.readline()
        assert status.startswith(b"HTTP/1.1 200"), status
        length = 0
        while (line := reader.readline().strip()):
            name, value = line.split(b":", 1)
            if name.lower() == b"content-length":
                length = int(value)
        assert len(reader.read(length)) == length
    s.close()

def work(number):
    r = random.Random(seed + number)
    while time.monotonic() < end and not failures:
        kind = r.choice([relayed, talked, talked, killed, asked])
        try:
            kind(r)
            done[kind.__name__] = done.get(kind.__name__, 0) + 1
        except Exception as e:
            if kind is not killed:
                failures.append(f"{kind.__name__}, seed {seed}: {type(e).__name__}: {e}")

threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
[t.start() for t in threads]
[t.join() for t in threads]
if failures:
    sys.exit("; ".join(failures))
assert len(done) == 4, done
print(sum(done.values()))
"#;

/// A mesh with `web` and `echo` that accelerates, if this kernel lets it.
fn accelerated() -> Option<(Mesh, [Proc; 2], bool)> {
    let mut mesh = Mesh::new()?;
    let web = mesh.web();
    let pod = mesh.world.pod("echo-1");
    let service = Service::new("echo").ip(ECHO).port(7, 7000, Some("example.com/unheard-of"));
    mesh.manifests.service(&service.to_pod(&pod));
    let echo = pod.serve("tcp-echo", "v1", 7000);
    mesh.start(&["--accelerate", "on"]);
    let on = is_on(mesh.node());
    if !on {
        println!("not accelerated on this kernel: {}", reason(mesh.node()));
    }
    Some((mesh, [web, echo], on))
}

fn is_on(node: &mut Nodeway) -> bool {
    node.metrics().sum("nodeway_acceleration", &[("state", "on")]) > 0.5
}

fn octets(node: &mut Nodeway) -> f64 {
    node.metrics().sum("nodeway_accelerated_bytes_total", &[])
}

fn reason(node: &mut Nodeway) -> String {
    let metrics = node.metrics();
    let series: Vec<&str> = metrics
        .series(|name| name == "nodeway_acceleration", &[])
        .map(|(series, _)| series)
        .collect();
    assert_eq!(series.len(), 1, "{series:?}");
    series[0].to_owned()
}

#[test]
fn http_and_streams_skip_the_loopback_stack() {
    let Some((mut mesh, _servers, on)) = accelerated() else { return };
    let mapped = format!("[::ffff:{VIP4}]");
    let v6 = format!("[{VIP6}]");
    for (how, host) in [
        ("--http1.1", VIP4),
        ("--http2-prior-knowledge", VIP4),
        ("--http1.1", v6.as_str()),
        ("--http1.1", mapped.as_str()),
    ] {
        let before = octets(mesh.node());
        let url = format!("http://{host}/");
        for _ in 0..3 {
            let said = mesh.client.curl(&[how, "-H", "Host: web", &url]);
            assert!(said.contains("web-1"), "{how} {host}: {said}");
        }
        let skipped = octets(mesh.node()) - before;
        // Three questions of some 70 octets, and their answers.
        assert_eq!(on, skipped > 600.0, "{how} {host}: {skipped}");
    }
    let before = octets(mesh.node());
    let talk = "import socket, sys\n\
                s = socket.create_connection((sys.argv[1], 7), 10)\n\
                for i in range(50):\n\
                \x20   s.sendall(b'x' * 1000); n = 0\n\
                \x20   while n < 1000: n += len(s.recv(1000))\n\
                s.shutdown(socket.SHUT_WR)\n\
                print(len(s.recv(1)))\n";
    let ran = mesh.client.place.python(talk, &[ECHO]);
    assert_eq!((ran.out.trim(), ran.ok), ("0", true), "{}", ran.err);
    let skipped = octets(mesh.node()) - before;
    assert_eq!(on, (90_000.0..=100_000.0).contains(&skipped), "{skipped}");
    // What is counted of connections is as without.
    eventually(SOON, "the connection is counted", || {
        mesh.node().metrics().sum("nodeway_tcp_connections_total", &[]) > 0.5
    });
}

#[test]
fn an_app_that_is_not_read_from_has_to_wait_and_loses_nothing() {
    let Some((mesh, _servers, _)) = accelerated() else { return };
    // 200 MiB would fit into nobody's buffers: what the kernel takes unread has its bound.
    let code = "import socket, sys, time\n\
                s = socket.create_connection((sys.argv[1], 7), 10)\n\
                s.settimeout(1); sent = 0; part = b'0123456789abcdef' * 4096\n\
                try:\n\
                \x20   while sent < 200 << 20: sent += s.send(part)\n\
                except TimeoutError: pass\n\
                assert sent < 200 << 20, 'no end to what is taken'\n\
                s.settimeout(20); s.shutdown(socket.SHUT_WR); got = 0\n\
                while chunk := s.recv(1 << 20):\n\
                \x20   for i in (0, len(chunk) - 1):\n\
                \x20       assert chunk[i] == part[(got + i) % 16], got\n\
                \x20   got += len(chunk)\n\
                assert got == sent, (got, sent)\n";
    let ran = mesh.client.place.python(code, &[ECHO]);
    assert!(ran.ok, "{}", ran.err);
}

#[test]
fn options_that_cannot_be_lived_up_to_are_refused_and_others_are_not() {
    let Some((mesh, _servers, on)) = accelerated() else { return };
    let code = "import errno, socket, sys\n\
                def try_out(s, *option):\n\
                \x20   try: s.setsockopt(*option)\n\
                \x20   except OSError as e: return errno.errorcode[e.errno]\n\
                \x20   return 'taken'\n\
                s = socket.create_connection((sys.argv[1], 7), 10)\n\
                print(try_out(s, 6, 31, b'tls'), try_out(s, 1, 60, 1), try_out(s, 6, 1, 1),\n\
                \x20     try_out(s, 0, 64, bytes(5000)))\n";
    let ran = mesh.client.place.python(code, &[ECHO]);
    let words: Vec<&str> = ran.out.split_whitespace().collect();
    let [ulp, zerocopy, nodelay, long] = words[..] else { panic!("{}{}", ran.out, ran.err) };
    assert_eq!((ulp == "EPERM", zerocopy == "EPERM"), (on, on), "{words:?}");
    assert_eq!(nodelay, "taken");
    // An option of iptables, longer than programs are shown; this is no raw socket.
    assert!(!["EPERM", "EFAULT"].contains(&long), "{words:?}");
}

#[test]
fn mixed_traffic_with_half_closes_and_kills_stalls_nowhere_and_gets_no_octet_wrong() {
    let Some((mut mesh, _servers, on)) = accelerated() else { return };
    let seconds = std::env::var(SOAK_VARIABLE).unwrap_or_else(|_| "20".to_owned());
    let mut command = mesh.client.place.command(binaries::python());
    let output = command.args(["-c", SOAK, ECHO, VIP4, &seconds]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let talks = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let skipped = octets(mesh.node());
    println!("{talks} conversations, {skipped} octets handed over");
    assert_eq!(on, skipped > 1e6, "{skipped}");
}

#[test]
fn a_kernel_that_gets_anything_wrong_is_not_used_and_that_is_told() {
    let Some((mut mesh, _web)) = Mesh::with_web() else { return };
    let told = reason(mesh.node());
    assert!(
        told.contains("state=\"on\",reason=\"fit\"") || told.contains("state=\"off\""),
        "{told}"
    );
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "web-1");
    assert_eq!(octets(mesh.node()) > 0.0, told.contains("state=\"on\""));
    let check = Command::new(binaries::nodeway()).arg("check").output().unwrap();
    let check = String::from_utf8_lossy(&check.stdout);
    let line = check.lines().find(|line| line.contains("  acceleration ")).expect("a line");
    assert_eq!(told.contains("state=\"off\""), line.contains("not used"), "{line}");
}
