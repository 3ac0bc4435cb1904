//! What runs inside the pods of tests and of the demo.
//!
//! `testserver http --name N --version V PORT`: HTTP/1.1 and HTTP/2 (see `http.rs`).
//! `testserver banner PORT`: greets first, then echoes lines, like SMTP.
//! `testserver record PORT FILE`: writes every octet that it receives to FILE, answers nothing.
//! `testserver reset PORT`: reads a little, then resets the connection.
//! `testserver emit N`, `testserver sum`: N octets to stdout; count and checksum of stdin.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test's server: the first surprise ends it, with a message"
)]

mod http;
mod raw;

use std::io::{Read, Write};

use nodeway_tests::pattern::{Checksum, Pattern};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["http", "--name", name, "--version", version, port] => {
            http::serve(name, version, port.parse().expect("a port"));
        }
        ["banner", port] => raw::banner(port.parse().expect("a port")),
        ["record", port, file] => raw::record(port.parse().expect("a port"), file),
        ["reset", port] => raw::reset(port.parse().expect("a port")),
        ["emit", octets] => emit(octets.parse().expect("a number")),
        ["sum"] => sum(),
        _ => panic!("see the first lines of testserver/main.rs"),
    }
}

fn emit(octets: u64) {
    let mut pattern = Pattern::new(octets);
    let mut out = std::io::stdout().lock();
    loop {
        let block = pattern.block();
        if block.is_empty() || out.write_all(&block).is_err() {
            return;
        }
    }
}

fn sum() {
    let (mut sum, mut buffer) = (Checksum::default(), vec![0; 1 << 16]);
    loop {
        match std::io::stdin().read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(n) => sum.update(&buffer[..n]),
        }
    }
    println!("{}", sum.finish());
}
