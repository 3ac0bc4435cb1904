//! An API server to try things with: writes a kubeconfig, and serves until it is killed.
//!
//! `cargo run -p nodeway-apiserver --example serve -- KUBECONFIG`
#![allow(clippy::expect_used, reason = "a tool for tests: the first surprise ends it")]

use std::path::PathBuf;

use nodeway_apiserver::{ApiServer, Options};

fn main() {
    let path = std::env::args().nth(1).map(PathBuf::from).expect("where the kubeconfig goes");
    let server = ApiServer::start(Options::default());
    std::fs::write(&path, server.kubeconfig()).expect("a kubeconfig");
    println!("{}: export KUBECONFIG={}", server.url(), path.display());
    loop {
        std::thread::park();
    }
}
