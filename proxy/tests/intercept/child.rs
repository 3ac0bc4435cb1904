//! What needs a process of its own: this test binary, run again by a test.

use std::io::{Read, Write};
use std::net::TcpStream;

use nodeway::intercept::FailPolicy;
use nodeway_ebpf::Exit;

use crate::world::{VIP4, World, count};

/// Not a test: a role in one.
#[test]
#[ignore = "run by other tests, as their child"]
fn child() {
    let (Ok(role), Ok(name)) =
        (std::env::var("NODEWAY_TEST_ROLE"), std::env::var("NODEWAY_TEST_WORLD"))
    else {
        return;
    };
    let world = World::of_parent(&name);
    match role.as_str() {
        "serve" => serve(&world, FailPolicy::Open),
        "serve-closed" => serve(&world, FailPolicy::Closed),
        "dial" => dial(&world),
        role => panic!("no such role: {role}"),
    }
}

/// A proxy that lives until it is killed.
fn serve(world: &World, fail_policy: FailPolicy) {
    let mut interceptor = world.intercept(fail_policy);
    let _server = world.serve(&mut interceptor);
    say("ready");
    std::thread::park();
}

/// A proxy that makes a connection in the pod, as it does to reach endpoints.
fn dial(world: &World) {
    let mut interceptor = world.intercept(FailPolicy::Open);
    let exits = interceptor.take_exits().unwrap();
    let _server = world.serve(&mut interceptor);
    let mut stream = world.netns().run(|| TcpStream::connect(VIP4)).unwrap().unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    say(&format!("{said} {}", count(&exits, Exit::IsProxy)));
}

fn say(text: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "\n>{text}").unwrap();
    out.flush().unwrap();
}
