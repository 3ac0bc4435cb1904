//! Nodeway as a plain proxy on loopback (`--no-ebpf --listen`): for promises about HTTP that need
//! no pod and no privilege.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::http::Conn;
use crate::manifests::{Manifests, Service};
use crate::nodeway::{Nodeway, loopback};
use crate::place::Place;
use crate::process::Proc;
use crate::{binaries, janitor};

/// Where endpoints of a plain world listen.
const BACKEND_PORT: u16 = 8080;

/// A world without pods.
#[derive(Debug)]
pub struct Plain {
    // First, so that it ends before its folder goes.
    running: Option<Nodeway>,
    /// Its manifests.
    pub manifests: Manifests,
    place: Place,
    name: String,
    listens: Vec<OsString>,
}

impl Plain {
    /// A world with nothing in it and nothing started.
    #[must_use]
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{}-plain{count}", janitor::PREFIX, process::id());
        let scratch = janitor::scratch(&name);
        let manifests = Manifests::new(scratch.join("manifests"));
        let place = Place { name: "host".to_owned(), netns: None, cgroup: None, logs: scratch };
        Self { running: None, manifests, place, name, listens: vec![] }
    }

    /// With one Service `web` whose single endpoint is the test server: the proxy's address, and
    /// the server.
    #[must_use]
    pub fn with_testserver(app_protocol: &'static str) -> (Self, SocketAddr, Proc) {
        let mut plain = Self::new();
        let backend = Self::backend();
        let server = plain.testserver(backend, "v1");
        plain.manifests.service(&Self::service("web", app_protocol).to(backend));
        let web = plain.listen("web");
        plain.start();
        (plain, web, server)
    }

    /// An address for an endpoint, never used before.
    #[must_use]
    pub fn backend() -> SocketAddr {
        SocketAddr::new(loopback(), BACKEND_PORT)
    }

    /// A Service on port 80 for endpoints of `backend`.
    #[must_use]
    pub fn service(name: &str, app_protocol: &'static str) -> Service {
        Service::new(name).port(80, BACKEND_PORT, Some(app_protocol))
    }

    /// Starts the HTTP test server at `at`; its version is its name too.
    #[must_use]
    pub fn testserver(&self, at: SocketAddr, version: &str) -> Proc {
        let at = at.to_string();
        let args = ["http", "--name", version, "--version", version, "--listen", &at];
        self.place.start(binaries::testserver(), &args).until_it_says("listening")
    }

    /// A plain listener for the Service `name`; before `start`.
    #[must_use]
    pub fn listen(&mut self, name: &str) -> SocketAddr {
        let at = SocketAddr::new(loopback(), 8000);
        self.listens.extend(["--listen".into(), format!("{at}=default/{name}:80").into()]);
        at
    }

    /// Starts Nodeway on the manifests.
    pub fn start(&mut self) {
        let mut args: Vec<OsString> = ["--no-ebpf", "--drain-timeout", "8s"].map(Into::into).into();
        args.extend(["--manifests".into(), self.manifests.dir().into()]);
        args.extend(self.listens.clone());
        self.running = Some(Nodeway::start(&self.place, &args));
    }

    /// The running Nodeway.
    ///
    /// # Panics
    /// Before `start`.
    pub fn node(&mut self) -> &mut Nodeway {
        self.running.as_mut().expect("Plain::start comes first")
    }

    /// Where its programs run: on the host.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// A connection to one of its listeners.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn connect(to: SocketAddr) -> Conn {
        Conn::open(to).unwrap_or_else(|error| panic!("{to}: {error}"))
    }
}

impl Default for Plain {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.running.take();
        janitor::remove(&self.name);
    }
}
