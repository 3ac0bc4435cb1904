//! Interception on this kernel, without the rest of the proxy: a test a promise.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

mod child;
mod kernel;
mod world;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use nodeway::intercept::{
    FailPolicy, InterceptError, Interceptor, PodListeners, PodNetns, neighbours,
};
use nodeway_ebpf::{Exit, Frontend};
use socket2::{Domain, Socket, Type};

use kernel::{assert_gone, attach_a_neighbour, attached, maps_of};
use world::{Server, World, count, frontends, original};

/// Programs of one owner.
const ONE_SET: usize = 6;

#[test]
fn each_form_of_connect_reaches_the_listener_and_looks_direct() {
    let Some(world) = World::make() else { return };
    let mut interceptor = world.intercept(FailPolicy::Open);
    let exits = interceptor.take_exits().unwrap();
    let _server = world.serve(&mut interceptor);

    let v4 = world.python("dial(socket.socket(I4, T), '10.96.0.1', 80)");
    assert_eq!(v4, "10.96.0.1 80 for 10.96.0.1:80");
    let v6 = world.python("dial(socket.socket(I6, T), 'fd00:96::1', 80)");
    assert_eq!(v6, "fd00:96::1 80 for [fd00:96::1]:80");
    let mapped = world.python("dial(socket.socket(I6, T), '::ffff:10.96.0.1', 80)");
    assert_eq!(mapped, "::ffff:10.96.0.1 80 for 10.96.0.1:80");
    let bound = world
        .python("s = socket.socket(I4, T); s.bind(('10.244.0.7', 0)); dial(s, '10.96.0.1', 80)");
    assert_eq!(bound, "10.96.0.1 80 for 10.96.0.1:80");
    let waited = world.python(
        "import select\ns = socket.socket(I4, T); s.setblocking(False)\n\
         s.connect_ex(('10.96.0.1', 80)); select.select([], [s], []); s.setblocking(True); tell(s)",
    );
    assert_eq!(waited, "10.96.0.1 80 for 10.96.0.1:80");
    assert_eq!(count(&exits, Exit::Redirected), 5);
}

#[test]
fn what_is_not_for_us_is_left_alone_and_counted() {
    let Some(world) = World::make() else { return };
    let mut interceptor = world.intercept(FailPolicy::Closed);
    let exits = interceptor.take_exits().unwrap();
    let dial = "dial(socket.socket(I4, T), '10.96.0.1', 80)";

    // Even with the policy closed: only enrolled pods are ever refused anything.
    assert_eq!(world.python(dial), "10.96.0.1 80 direct");
    assert_eq!(count(&exits, Exit::NotEnrolled), 1);
    let _server = world.serve(&mut interceptor);
    assert_eq!(world.python(dial), "10.96.0.1 80 for 10.96.0.1:80");

    let other = world.python("dial(socket.socket(I4, T), '10.96.0.2', 80)");
    assert_eq!(other, "10.96.0.2 80 direct");
    assert_eq!(count(&exits, Exit::NotFrontend), 1);
    let udp = world.python(
        "r = socket.socket(I4, D); r.bind(('10.96.0.1', 80)); r.settimeout(5)\n\
         s = socket.socket(I4, D); s.connect(('10.96.0.1', 80)); s.send(b'x')\n\
         print(r.recv(9), s.getpeername())",
    );
    assert_eq!(udp, "b'x' ('10.96.0.1', 80)");
    assert_eq!(count(&exits, Exit::NotTcp), 1);
    let device = world.python(
        "s = socket.socket(I4, T); s.setsockopt(socket.SOL_SOCKET, 25, b'lo')\n\
         dial(s, '10.96.0.1', 80)",
    );
    assert_eq!(device, "10.96.0.1 80 direct");
    assert_eq!(count(&exits, Exit::BoundToDevice), 1);

    interceptor.unenroll(world.netns().cookie()).unwrap();
    assert_eq!(world.python(dial), "10.96.0.1 80 direct");
}

#[test]
fn a_pod_beside_an_enrolled_one_is_left_alone() {
    let (Some(world), Some(beside)) = (World::make(), World::make()) else { return };
    let mut interceptor = world.intercept(FailPolicy::Open);
    let _server = world.serve(&mut interceptor);
    // In the same cgroup, but in another namespace.
    let out = world.python(&format!(
        "import ctypes, os\nfd = os.open('{}', os.O_RDONLY)\n\
         assert ctypes.CDLL(None).setns(fd, 0x40000000) == 0\n\
         dial(socket.socket(I4, T), '10.96.0.1', 80)",
        beside.netns_path().display()
    ));
    assert_eq!(out, "10.96.0.1 80 direct");
}

#[test]
fn frontends_follow_what_changes() {
    let Some(world) = World::make() else { return };
    let mut interceptor = world.intercept(FailPolicy::Open);
    let _server = world.serve(&mut interceptor);
    let dial = "dial(socket.socket(I4, T), '10.96.0.1', 80)";

    let gone = frontends().map(|(address, _)| (address, None));
    interceptor.change_frontends(gone).unwrap();
    assert_eq!(interceptor.frontends(), 0);
    // The mapped form is the same address: both together are one entry.
    let twice = ["10.96.0.1:80", "[::ffff:10.96.0.1]:80"];
    interceptor
        .change_frontends(twice.into_iter().map(|text| (text.parse().unwrap(), Some(Frontend::L7))))
        .unwrap();
    assert_eq!(interceptor.frontends(), 1);
    assert_eq!(world.python(dial), "10.96.0.1 80 for 10.96.0.1:80");
    let gone = twice.into_iter().map(|text| (text.parse().unwrap(), None));
    interceptor.change_frontends(gone).unwrap();
    assert_eq!(world.python(dial), "10.96.0.1 80 direct");
    interceptor.change_frontends(frontends()).unwrap();
    interceptor.change_frontends(frontends()).unwrap();
    assert_eq!(interceptor.frontends(), 2);
    assert_eq!(world.python(dial), "10.96.0.1 80 for 10.96.0.1:80");
}

#[test]
fn a_socket_that_connects_again_elsewhere_tells_its_new_peer() {
    let Some(world) = World::make() else { return };
    let mut interceptor = world.intercept(FailPolicy::Open);
    let _server = world.serve(&mut interceptor);
    // AF_UNSPEC dissolves a connection (connect(2)); Python has no word for it.
    let out = world.python(
        "import ctypes\ns = socket.socket(I4, T); s.connect(('10.96.0.1', 80)); s.recv(1)\n\
         assert ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16) == 0\n\
         dial(s, '10.96.0.2', 80)",
    );
    assert_eq!(out, "10.96.0.2 80 direct");
}

#[test]
fn a_client_that_is_gone_before_the_accept_is_served_and_a_direct_dial_is_not() {
    let Some(world) = World::make() else { return };
    let mut interceptor = world.intercept(FailPolicy::Open);
    let netns = world.netns();
    let mut listeners = PodListeners::open(&netns, 1, interceptor.listener_mark()).unwrap();
    interceptor.enroll(&netns, listeners.port4, listeners.port6).unwrap();
    let listener = listeners.workers.remove(0).v4;
    let accept = || {
        let (stream, _) = listener.accept().unwrap();
        original(&stream, netns.cookie(), &interceptor.original_destinations())
    };

    world.python("s = socket.socket(I4, T); s.connect(('10.96.0.1', 80)); s.send(b'x'); s.close()");
    assert_eq!(accept(), "for 10.96.0.1:80");
    let port = listeners.port4;
    world.python(&format!("socket.create_connection(('127.0.0.1', {port})).close()"));
    assert_eq!(accept(), "for nobody");
}

#[test]
fn a_pod_that_is_taken_out_keeps_the_connections_that_were_on_their_way() {
    let Some(world) = World::make() else { return };
    let mut interceptor = world.intercept(FailPolicy::Open);
    let netns = world.netns();
    let mut listeners = PodListeners::open(&netns, 1, interceptor.listener_mark()).unwrap();
    interceptor.enroll(&netns, listeners.port4, listeners.port6).unwrap();
    let listener = listeners.workers.remove(0).v4;
    world.python("socket.create_connection(('10.96.0.1', 80)).close()");
    interceptor.unenroll(netns.cookie()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let flows = interceptor.original_destinations();
    assert_eq!(original(&stream, netns.cookie(), &flows), "for 10.96.0.1:80");
}

#[test]
fn without_its_listener_the_next_connect_is_left_alone() {
    let Some(world) = World::make() else { return };
    let mut interceptor = world.intercept(FailPolicy::Open);
    let exits = interceptor.take_exits().unwrap();
    let (server, port) = serve_telling_port(&world, &mut interceptor);
    let dial = "dial(socket.socket(I4, T), '10.96.0.1', 80)";
    assert_eq!(world.python(dial), "10.96.0.1 80 for 10.96.0.1:80");

    drop(server);
    assert_eq!(world.python(dial), "10.96.0.1 80 direct");
    assert_eq!(count(&exits, Exit::NoListener), 1);

    // Somebody else on the same port does not know our mark.
    let thief = world.netns().run(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        // Past what is still in TIME_WAIT.
        socket.set_reuse_port(true)?;
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
        socket.listen(16)?;
        std::io::Result::Ok(TcpListener::from(socket))
    });
    let thief = thief.unwrap().unwrap();
    let _thief = Server::start(vec![thief], |_| "stolen".to_owned());
    assert_eq!(world.python(dial), "10.96.0.1 80 direct");
    assert_eq!(count(&exits, Exit::NoListener), 2);
}

#[test]
fn with_the_policy_closed_a_connect_without_a_listener_is_refused() {
    let Some(world) = World::make() else { return };
    let mut interceptor = world.intercept(FailPolicy::Closed);
    let exits = interceptor.take_exits().unwrap();
    drop(world.serve(&mut interceptor));
    for (family, host) in [("I4", "10.96.0.1"), ("I6", "fd00:96::1"), ("I6", "::ffff:10.96.0.1")] {
        let out = world.python(&format!("dial(socket.socket({family}, T), '{host}', 80)"));
        assert_eq!(out, "EPERM", "{host}");
    }
    assert_eq!(count(&exits, Exit::Refused), 3);
    let other = world.python("dial(socket.socket(I4, T), '10.96.0.2', 80)");
    assert_eq!(other, "10.96.0.2 80 direct");
}

#[test]
fn a_cgroup_has_one_owner_who_leaves_nothing_behind() {
    let Some(world) = World::make() else { return };
    let interceptor = world.intercept(FailPolicy::Open);
    let programs = attached(&world.cgroup);
    let maps = maps_of(&programs);
    assert_eq!(programs.len(), ONE_SET);
    assert!(maps.len() >= 6, "{maps:?}");

    let second = Interceptor::start(&world.options(FailPolicy::Open));
    let Err(InterceptError::Owned { cgroup, .. }) = second else { panic!("a second owner") };
    assert_eq!(cgroup, world.cgroup);
    assert_eq!(attached(&world.cgroup), programs);

    drop(interceptor);
    assert!(attached(&world.cgroup).is_empty());
    assert!(!world.bpffs.join("nodeway").exists());
    assert_gone(&programs, &maps);
    drop(world.intercept(FailPolicy::Open));
}

#[test]
fn others_who_see_connects_are_told_and_ours_are_not() {
    let Some(world) = World::make() else { return };
    let _interceptor = world.intercept(FailPolicy::Open);
    assert_eq!(neighbours(&world.cgroup), [""; 0]);
    attach_a_neighbour(&world.cgroup, b"someones_lb");
    assert_eq!(neighbours(&world.cgroup), ["someones_lb"]);
    let below = world.cgroup.join("below");
    std::fs::create_dir(&below).unwrap();
    assert_eq!(neighbours(&below), ["someones_lb"], "they see what is below, too");
    std::fs::remove_dir(below).unwrap();
}

#[test]
fn a_killed_owner_is_replaced_without_a_trace_and_traffic_flows_in_between() {
    let Some(world) = World::make() else { return };
    let dial = "dial(socket.socket(I4, T), '10.96.0.1', 80)";
    for (role, without) in [("serve", "10.96.0.1 80 direct"), ("serve-closed", "EPERM")] {
        let mut child = world.child(role, false);
        assert_eq!(line_of(&mut child), "ready");
        assert_eq!(world.python(dial), "10.96.0.1 80 for 10.96.0.1:80");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(attached(&world.cgroup).len(), ONE_SET);
        assert_eq!(world.python(dial), without);
    }
    let old = attached(&world.cgroup);
    let mut old_maps = maps_of(&old);

    let mut interceptor = world.intercept(FailPolicy::Open);
    // At once, for it does not refuse; one that does leaves that to the old ones until it serves.
    let new = attached(&world.cgroup);
    assert_eq!(new.len(), ONE_SET);
    assert!(!new.iter().any(|id| old.contains(id)));
    // The notes of connections that go on without a proxy are the new owner's: one map, and no other.
    let (count, new_maps) = (old_maps.len(), maps_of(&new));
    old_maps.retain(|map| !new_maps.contains(map));
    assert_eq!(count - old_maps.len(), 1);
    assert_gone(&old, &old_maps);
    let _server = world.serve(&mut interceptor);
    assert_eq!(world.python(dial), "10.96.0.1 80 for 10.96.0.1:80");
}

#[test]
fn what_a_killed_owner_left_goes_when_its_cgroup_is_gone() {
    let Some(world) = World::make() else { return };
    let mut child = world.child("serve", false);
    assert_eq!(line_of(&mut child), "ready");
    child.kill().unwrap();
    child.wait().unwrap();
    let directories = || std::fs::read_dir(world.bpffs.join("nodeway")).unwrap().count();
    assert_eq!(directories(), 1);
    // Another cgroup under the old name.
    std::fs::remove_dir(&world.cgroup).unwrap();
    std::fs::create_dir(&world.cgroup).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let interceptor = world.intercept(FailPolicy::Open);
        // The kernel detaches from a cgroup some time after its end.
        if directories() == 1 {
            break;
        }
        drop(interceptor);
        assert!(Instant::now() < deadline, "the pins are still there");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!world.bpffs.join("nodeway").exists());
}

#[test]
fn pins_of_a_living_cgroup_are_its_next_owners() {
    let (Some(world), Some(mut beside)) = (World::make(), World::make()) else { return };
    let mut child = world.child("serve-closed", false);
    assert_eq!(line_of(&mut child), "ready");
    child.kill().unwrap();
    child.wait().unwrap();
    let own = std::mem::replace(&mut beside.bpffs, world.bpffs.clone());
    drop(beside.intercept(FailPolicy::Open));
    beside.bpffs = own;
    assert_eq!(attached(&world.cgroup).len(), ONE_SET);
    assert_eq!(world.python("dial(socket.socket(I4, T), '10.96.0.1', 80)"), "EPERM");
}

#[test]
fn the_proxy_below_the_cgroup_is_not_caught_by_itself() {
    let Some(world) = World::make() else { return };
    let output = world.child("dial", true).wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("\n>direct 1\n"), "{text}");
}

#[test]
fn a_failed_start_leaves_nothing_behind() {
    let Some(world) = World::make() else { return };
    let mut options = world.options(FailPolicy::Open);
    options.cgroup = PathBuf::from("/proc");
    let Err(error) = Interceptor::start(&options) else { panic!("started on /proc") };
    assert!(matches!(error, InterceptError::NotCgroup2 { .. }), "{error}");
    options.cgroup = world.cgroup.join("missing");
    let Err(error) = Interceptor::start(&options) else { panic!("started on nothing") };
    assert!(error.to_string().contains("missing"), "{error}");
    assert!(!world.bpffs.exists());
}

#[test]
fn only_a_pods_namespace_is_taken_for_one() {
    let Some(world) = World::make() else { return };
    let refused = |path: &str| PodNetns::open(path.as_ref()).unwrap_err().to_string();
    assert!(refused("/proc/self/ns/net").contains("host's own"));
    assert!(refused("/proc/self/status").contains("not a namespace"));
    assert!(refused("/proc/self/ns/uts").contains("/proc/self/ns/uts"));
    assert!(refused("/var/run/netns/no-such").contains("no-such"));

    let netns = world.netns();
    assert!(netns.is_at(&world.netns_path()));
    assert!(!netns.is_at("/proc/self/ns/net".as_ref()));
    let home = PodNetns::open("/proc/self/ns/net".as_ref()).unwrap_err();
    let back = std::panic::catch_unwind(|| netns.run(|| panic!("in the pod")));
    assert!(back.is_err());
    // Back home also after a panic: the host's namespace is the host's.
    let again = PodNetns::open("/proc/thread-self/ns/net".as_ref()).unwrap_err();
    assert_eq!(
        again.to_string().replace("thread-self", "self"),
        home.to_string(),
        "not back from the pod"
    );
}

#[test]
fn a_pod_without_ipv6_has_no_ipv6_listener() {
    let Some(world) = World::make() else { return };
    let mut interceptor = world.intercept(FailPolicy::Open);
    let exits = interceptor.take_exits().unwrap();
    let netns = world.netns();
    world.python("open('/proc/sys/net/ipv6/conf/lo/disable_ipv6', 'w').write('1')");
    let listeners = PodListeners::open(&netns, 2, interceptor.listener_mark()).unwrap();
    assert_eq!(listeners.port6, 0);
    assert!(listeners.workers.iter().all(|worker| worker.v6.is_none()));
    interceptor.enroll(&netns, listeners.port4, listeners.port6).unwrap();
    let _server = Server::proxy(listeners, netns.cookie(), interceptor.original_destinations());
    let mapped = world.python("dial(socket.socket(I6, T), '::ffff:10.96.0.1', 80)");
    assert_eq!(mapped, "::ffff:10.96.0.1 80 for 10.96.0.1:80");
    world.python("dial(socket.socket(I6, T), 'fd00:96::1', 80)");
    assert_eq!(count(&exits, Exit::NoListener), 1);
}

fn serve_telling_port(world: &World, interceptor: &mut Interceptor) -> (Server, u16) {
    let netns = world.netns();
    let listeners = PodListeners::open(&netns, 2, interceptor.listener_mark()).unwrap();
    interceptor.enroll(&netns, listeners.port4, listeners.port6).unwrap();
    let port = listeners.port4;
    (Server::proxy(listeners, netns.cookie(), interceptor.original_destinations()), port)
}

/// What a child says, past what the test harness says around it.
fn line_of(child: &mut Child) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    let out = child.stdout.take().unwrap();
    for line in BufReader::new(out).lines() {
        if let Some(text) = line.unwrap().strip_prefix('>') {
            return text.to_owned();
        }
        assert!(Instant::now() < deadline, "the child says nothing");
    }
    panic!("the child has ended without a word");
}
