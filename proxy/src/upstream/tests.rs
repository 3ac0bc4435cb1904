//! How long connections to endpoints live, on loopback.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use nodeway_core::balance::{Backend, Endpoint, EndpointId, Lasting, Millis};
use nodeway_core::model::{AppProtocol, BackendSettings, ConnectionLife, ObjectName};

use super::*;
use crate::runtime::{Clock, Published, Signal, Worker};
use crate::streams::Inbound;
use crate::telemetry::Metrics;

mod http1;
mod life;
mod limits;
mod race;

const SOON: Duration = Duration::from_secs(30);
const MS: Duration = Duration::from_millis(1);

thread_local! {
    static LAST: Cell<u64> = const { Cell::new(0) };
}

/// A client, and an endpoint that it asks under these settings.
struct World {
    worker: Rc<Worker>,
    client: Rc<Client>,
    backend: Backend,
    version: Version,
}

impl World {
    fn new(at: SocketAddr, life: ConnectionLife) -> Self {
        let seed = Metrics::new(1).shards().remove(0);
        let published = Arc::new(Published::new());
        let worker = Worker::new(Clock::start(), seed.open(), published, false);
        let client = Client::new(None, "test".into(), None, Signal::default());
        LAST.set(LAST.get() + 1);
        let endpoint = Arc::new(Endpoint::new(EndpointId(LAST.get()), at, None));
        let service = ObjectName::new("default", "web");
        let settings = BackendSettings { connections: life, ..BackendSettings::default() };
        let protocol = AppProtocol::Http;
        let backend = Backend::new(Lasting::new(1), (service, 80), protocol, None, [endpoint])
            .with_settings(settings.into());
        Self { worker: worker.into(), client, backend, version: Version::Http1 }
    }

    fn http2(self) -> Self {
        Self { version: Version::Http2, ..self }
    }

    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.backend.endpoints()[0]
    }

    async fn send(
        &self,
        method: Method,
        reuse: Reuse,
    ) -> Result<(Response<Inbound>, Lease), SendError> {
        let request = Request::builder().method(method).uri("http://web/");
        let request = request.header("host", "web").body(RequestBody::empty()).unwrap();
        self.send_it(request, reuse).await
    }

    async fn send_it(
        &self,
        request: Request<RequestBody>,
        reuse: Reuse,
    ) -> Result<(Response<Inbound>, Lease), SendError> {
        let (version, now) = (self.version, self.worker.clock.now());
        let (endpoint, backend) = (self.endpoint(), &self.backend);
        let to = To { endpoint, backend, version, choice: false, spared: false, reuse, now };
        send(&self.worker, &self.client, to, Box::new(request)).await
    }

    /// Asks and reads the answer.
    async fn ask(&self) -> Result<String, SendError> {
        let (response, lease) = self.send(Method::GET, Reuse::Any).await?;
        let body = response.into_body().collect().await.unwrap().to_bytes();
        lease.give_back(&self.worker, &self.client);
        // Connections are ready for the next request when their tasks have run.
        tokio::task::yield_now().await;
        Ok(String::from_utf8(body.to_vec()).unwrap())
    }

    /// Its endpoint is gone.
    fn retire(&self) {
        self.endpoint().retire();
        leave(&[self.endpoint().id]);
    }
}

/// Runs `test` as requests run on a worker: as a task among others.
fn run(test: impl Future<Output = ()> + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let test = async { tokio::task::spawn_local(test).await.unwrap() };
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

/// Waits until it is so.
async fn eventually(what: &str, so: impl Fn() -> bool) {
    let end = std::time::Instant::now() + SOON;
    while !so() {
        assert!(std::time::Instant::now() < end, "{what}");
        tokio::time::sleep(MS).await;
    }
}
