//! An open-loop load: requests come when they come, whether or not those before them are answered.
//!
//! Latency counts from when a request was to be sent, not from when there was time to send it: what a
//! closed loop, or a generator that falls behind, would leave out ("coordinated omission", Gil Tene) is in.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) latencies: Vec<Duration>,
    /// No answer, or another than 200.
    pub(crate) failed: u64,
    /// How late requests were sent, at most, for the generator had no time.
    pub(crate) late: Duration,
}

/// A client's connections to one address: idle ones are used again, else one more is made.
struct Client {
    to: SocketAddr,
    idle: RefCell<Vec<SendRequest<Empty<Bytes>>>>,
    answers: RefCell<Answers>,
}

/// So many requests a second for so long, at random distances.
pub(crate) fn run(to: SocketAddr, rate: f64, lasts: Duration, seed: u64) -> Answers {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Rc::new(Client { to, idle: RefCell::default(), answers: RefCell::default() });
    let load = async {
        let mut random = fastrand::Rng::with_seed(seed);
        let (start, mut at) = (Instant::now(), Duration::ZERO);
        let mut requests = tokio::task::JoinSet::new();
        while at < lasts {
            let due = start + at;
            sleep_until(due).await;
            requests.spawn_local(Rc::clone(&client).ask(due));
            at += Duration::from_secs_f64(-(1.0 - random.f64()).ln() / rate);
        }
        let all = async { while requests.join_next().await.is_some() {} };
        tokio::time::timeout(PATIENCE, all).await.expect("all are answered in time");
    };
    tokio::task::LocalSet::new().block_on(&runtime, load);
    client.answers.take()
}

// === impl Client ===

impl Client {
    async fn ask(self: Rc<Self>, due: Instant) {
        let late = due.elapsed();
        let answered = self.answered().await;
        let latency = due.elapsed();
        let mut answers = self.answers.borrow_mut();
        answers.late = answers.late.max(late);
        match answered {
            Ok(true) => answers.latencies.push(latency),
            Ok(false) | Err(_) => answers.failed += 1,
        }
    }

    async fn answered(&self) -> anyhow::Result<bool> {
        let idle = self.idle.borrow_mut().pop();
        let mut sender = match idle {
            Some(sender) => sender,
            None => {
                let stream = TcpStream::connect(self.to).await?;
                stream.set_nodelay(true)?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                tokio::task::spawn_local(connection);
                sender
            }
        };
        sender.ready().await?;
        let request = Request::get("/").header("host", "bench").body(Empty::new())?;
        let response = sender.send_request(request).await?;
        let well = response.status() == 200;
        response.into_body().collect().await?;
        self.idle.borrow_mut().push(sender);
        Ok(well)
    }
}
