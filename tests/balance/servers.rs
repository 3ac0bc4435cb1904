//! Servers that take their time: HTTP/1.1 on loopback, each answer after a time drawn by chance.
//!
//! Not queues: each request takes its own time, however many there are. Queues are simulated.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use nodeway_tests::Plain;
use tokio::net::TcpListener;

/// As in the simulation.
const SIGMA: f64 = 0.6;

/// One server.
pub(crate) struct Server {
    pub(crate) at: SocketAddr,
    served: Arc<AtomicU64>,
}

/// Starts one server for each of these mean times, all on one thread of their own.
pub(crate) fn start(means: &[Duration]) -> Vec<Server> {
    let (listening, servers) = std::sync::mpsc::channel();
    let means = means.to_vec();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let all = async {
            for (seed, mean) in (1..).zip(means) {
                let (at, served) = (Plain::backend(), Arc::new(AtomicU64::new(0)));
                let listener = TcpListener::bind(at).await.expect("a server's own address");
                let random = fastrand::Rng::with_seed(seed);
                tokio::task::spawn_local(serve(listener, mean, random, Arc::clone(&served)));
                listening.send(Server { at, served }).unwrap();
            }
            drop(listening);
            std::future::pending::<()>().await;
        };
        tokio::task::LocalSet::new().block_on(&runtime, all);
    });
    servers.iter().collect()
}

async fn serve(
    listener: TcpListener,
    mean: Duration,
    mut random: fastrand::Rng,
    served: Arc<AtomicU64>,
) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a socket's option");
        let (random, served) = (random.fork(), Arc::clone(&served));
        let random = std::cell::RefCell::new(random);
        let answer = service_fn(move |_: Request<_>| {
            served.fetch_add(1, Relaxed);
            let takes = mean.mul_f64(lognormal(&mut random.borrow_mut()));
            async move {
                tokio::time::sleep(takes).await;
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done\n"))))
            }
        });
        tokio::task::spawn_local(
            http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
        );
    }
}

/// With a mean of 1.
fn lognormal(random: &mut fastrand::Rng) -> f64 {
    let (radius, angle) = (1.0 - random.f64(), random.f64() * std::f64::consts::TAU);
    let normal = (-2.0 * radius.ln()).sqrt() * angle.cos();
    (normal * SIGMA - SIGMA * SIGMA / 2.0).exp()
}

// === impl Server ===

impl Server {
    /// How many requests it has had.
    pub(crate) fn served(&self) -> u64 {
        self.served.load(Relaxed)
    }
}
