//! What endpoints that fail cost their clients, and how they come back.

mod blame;
mod keys;
mod modes;
mod panic;
mod pods;
mod ramp;
mod zones;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nodeway_tests::http::Conn;
use nodeway_tests::moody::{Mood, Moody};
use nodeway_tests::{Plain, Service, eventually};

/// Everything here comes quickly; a busy machine may be slow.
const SOON: Duration = Duration::from_secs(20);

/// The Service `web` under a policy, its endpoints, and one connection to it at a time.
struct World {
    plain: Plain,
    web: SocketAddr,
    endpoints: Vec<Moody>,
    /// Where these are.
    at: Vec<SocketAddr>,
    conn: Option<Conn>,
}

// === impl World ===

impl World {
    /// With endpoints of these moods; nothing is started yet.
    fn new(moods: &[Mood], policy: &str) -> Self {
        let mut plain = Plain::new();
        let mut service = Self::service();
        let (mut endpoints, mut all) = (Vec::new(), Vec::new());
        for mood in moods {
            let at = Plain::backend();
            endpoints.push(Moody::start(at, *mood));
            all.push(at);
            service = service.to(at);
        }
        plain.manifests.service(&service);
        plain.manifests.backend_policy("web", policy);
        let web = plain.listen("web");
        Self { plain, web, endpoints, at: all, conn: None }
    }

    fn service() -> Service {
        Plain::service("web", "http")
    }

    /// Started.
    fn start(mut self) -> Self {
        self.plain.start();
        self
    }

    /// Whether a request is answered well. It is a POST: nobody may send it again.
    fn post(&mut self) -> bool {
        let web = self.web;
        let conn = self.conn.get_or_insert_with(|| Plain::connect(web));
        let request = "POST /order HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\n\r\nbuy!";
        let answer = conn.send(request).and_then(|()| conn.response());
        if answer.is_err() {
            self.conn = None;
        }
        answer.is_ok_and(|answer| answer.status == 200)
    }

    fn metric(&mut self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.plain.node().metrics().sum(name, labels)
    }

    fn ejections(&mut self) -> f64 {
        self.metric("nodeway_endpoint_ejections_total", &[("backend_name", "web")])
    }

    fn state(&mut self, state: &str) -> f64 {
        self.metric("nodeway_endpoints", &[("backend_name", "web"), ("state", state)])
    }

    /// Asks until somebody is left out: how many requests failed until then, and when the last of them began.
    fn until_ejected(&mut self) -> (usize, Instant) {
        let (mut failed, deadline) = (0, Instant::now() + SOON);
        let mut last = Instant::now();
        while self.ejections() < 1.0 {
            assert!(Instant::now() < deadline, "nobody is left out; {failed} requests failed");
            let start = Instant::now();
            if !self.post() {
                (failed, last) = (failed + 1, start);
            }
        }
        (failed, last)
    }
}
