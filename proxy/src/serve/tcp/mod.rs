//! Connections that are relayed as they are.

mod bulk;
mod relay;
mod secured;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use nodeway_core::balance::{Active, Connected, Endpoint, Millis, Refused, Report, Scope};
use nodeway_core::model::ObjectName;
use nodeway_core::snapshot::{Backend, Caller, Choice, Frontend, Rule};
use tokio::net::TcpStream;

use super::first::Opened;
use super::outcome::{Failure, failed, report};
use super::overflow::refused;
use crate::runtime::Worker;
use crate::telemetry::{Flag, TcpKey, TcpLabels};
use crate::upstream::{self, Client, UnderWay, blameless};

pub use relay::{Ended, relay, reset_on_close};

/// Octets that a client may have sent before a reset is its own doing, and not its server's.
const FIRST_WORD: u64 = 4 << 10;
/// Endpoints tried before a connection is given up.
const ATTEMPTS: usize = 2;

/// A connection that is relayed as it is.
#[derive(Debug)]
pub(super) struct Relayed {
    pub stream: TcpStream,
    /// What the client has said already.
    pub said: Bytes,
    /// The connection to an endpoint, if there is one already.
    pub opened: Option<Opened>,
    pub caller: Caller,
    pub way: Way,
}

/// Whom a connection that is relayed as it is goes to.
#[derive(Debug)]
pub(super) enum Way {
    /// The Service's own endpoints.
    Service,
    /// One of this rule's backends.
    Rule(Arc<Rule>),
    /// Nobody, for this reason: it is reset.
    Nowhere(Flag),
}

/// Relays a connection to an endpoint of its rule's backend, or of `frontend`'s Service.
pub(super) async fn serve(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    frontend: &Frontend,
    generation: u64,
    relayed: Relayed,
) {
    let Relayed { stream, said, opened, caller, way } = relayed;
    let backend = match &way {
        Way::Service => Ok(&frontend.backend),
        Way::Nowhere(flag) => Err(*flag),
        Way::Rule(rule) => match rule.backend(worker.with_random(|random| random.u64(..))) {
            Choice::Backend(chosen) => Ok(&chosen.backend),
            Choice::Invalid(why) => {
                tracing::debug!(route = %rule.route, why, "a connection has no backend: reset");
                Err(Flag::InvalidRoute)
            }
        },
    };
    let ended = match backend {
        Ok(backend) => match secured::policy(backend, &said) {
            Some(tls) => {
                secured::relay(worker, client, (backend, tls), caller, (stream, &said)).await
            }
            None => in_the_clear(worker, client, backend, caller, opened, (stream, &said)).await,
        },
        Err(flag) => {
            reset_on_close(&stream);
            Err(flag)
        }
    };
    let (flag, sent, received) = match ended {
        Ok(Ended { sent, received, error, cut, .. }) => {
            if let Some(error) = &error {
                tracing::debug!(%error, service = %frontend.service, "a relayed connection broke");
            }
            (if cut { Flag::EndpointGone } else { Flag::None }, sent, received)
        }
        Err(flag) => (flag, 0, 0),
    };
    let backend = backend.ok();
    let rule = match &way {
        Way::Rule(rule) => Some(rule),
        Way::Service | Way::Nowhere(_) => None,
    };
    let key = TcpKey {
        frontend: frontend.id,
        rule: rule.map_or(0, |rule| rule.id),
        backend: backend.map_or(0, |backend| backend.id),
        client: client.id.0,
        flag,
    };
    worker.metrics.tcp(generation, key, (sent, received), || TcpLabels {
        parent: frontend.service.clone(),
        route: rule.map(|rule| rule.route.clone()),
        backend: backend.map(|backend| backend.service.clone()),
        source_workload: Arc::clone(&client.workload),
        flag,
    });
    if worker.access_log {
        let name = |name: Option<&ObjectName>| name.map_or_else(String::new, ToString::to_string);
        tracing::info!(target: "access", service = %frontend.service, port = frontend.port,
            route = name(rule.map(|rule| &rule.route)),
            backend = name(backend.map(|backend| &backend.service)),
            workload = %client.workload, sent, received, flags = flag.as_str(), "tcp");
    }
}

/// Relays octets as they are.
async fn in_the_clear(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    backend: &Backend,
    caller: Caller,
    opened: Option<Opened>,
    (stream, said): (TcpStream, &[u8]),
) -> Result<Ended, Flag> {
    let opened = match opened {
        Some(opened) => {
            let admitted = backend.admit_to(worker.clock.now(), &opened.endpoint);
            match admitted {
                Ok(active) => {
                    client.uses(backend, worker.clock);
                    Ok((opened, active))
                }
                Err(why) => Err(refused(worker, backend, why)),
            }
        }
        None => open(worker, client, backend, caller).await,
    };
    // As an endpoint that refuses would: the client learns at once that nobody serves it.
    let (opened, active) = opened.inspect_err(|_| reset_on_close(&stream))?;
    let (to, by) = ((backend, &**active.endpoint()), (caller, active.began()));
    report(worker, by, to, opened.report());
    let cut = UnderWay::cut(upstream::under_way(worker, client, (backend, active.endpoint())));
    let ended = relay(&stream, &opened.stream, said, || active.endpoint().whole(), cut).await;
    tell(worker, by, to, &ended);
    Ok(ended)
}

/// Says of an endpoint that took a connection how that went. One that is reset before the server's first word
/// is the server's failure if there was little to disagree with.
fn tell(worker: &Worker, by: (Caller, Millis), to: (&Backend, &Endpoint), ended: &Ended) {
    let (_, endpoint) = to;
    if ended.mute {
        if ended.sent <= FIRST_WORD {
            failed(worker, by, to, Report::Cut, &Failure::Mute);
        }
    } else if ended.error.is_none() {
        endpoint.whole();
    }
}

/// Connects to an endpoint of `backend`, to another one if the first fails.
///
/// # Errors
/// Why there is no connection, as a metric's label.
async fn open(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    backend: &Backend,
    caller: Caller,
) -> Result<(Opened, Active), Flag> {
    client.uses(backend, worker.clock);
    let mut avoided: Option<Arc<Endpoint>> = None;
    for _ in 0..ATTEMPTS {
        let active = admit(worker, backend, caller, avoided.as_deref())?;
        let endpoint = Arc::clone(active.endpoint());
        let connected = match backend.connect(&endpoint) {
            Ok(connected) => connected,
            Err(full) if full.of == Scope::Endpoint && avoided.is_none() => {
                avoided = Some(endpoint);
                continue;
            }
            Err(full) => return Err(refused(worker, backend, Refused::Overflow(full))),
        };
        match dial(worker, client, (backend, &endpoint), caller, connected).await {
            Some(opened) => return Ok((opened, active)),
            None => avoided = Some(endpoint),
        }
    }
    Err(Flag::UpstreamConnectFailure)
}

/// The same before it is known whether the connection is to be relayed. What counts is counted then; what
/// cannot be had now is asked for again.
pub(super) async fn open_ahead(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    backend: &Backend,
    caller: Caller,
) -> Option<Opened> {
    let caller = Caller { relayed: true, ..caller };
    let mut avoided: Option<Arc<Endpoint>> = None;
    for _ in 0..ATTEMPTS {
        let now = worker.clock.now();
        let pick = |random: &mut _| backend.pick(now, random, caller, avoided.as_deref()).cloned();
        let endpoint = worker.with_random(pick)?;
        let connected = backend.connect(&endpoint).ok()?;
        let opened = dial(worker, client, (backend, &endpoint), caller, connected).await;
        if opened.is_some() {
            return opened;
        }
        avoided = Some(endpoint);
    }
    None
}

async fn dial(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    (backend, endpoint): (&Backend, &Arc<Endpoint>),
    caller: Caller,
    connected: Connected,
) -> Option<Opened> {
    let (began, start) = (worker.clock.now(), Instant::now());
    let life = &backend.settings().connections;
    match upstream::connect(worker, client, endpoint.address, life).await {
        Ok(stream) => {
            let endpoint = Arc::clone(endpoint);
            Some(Opened { endpoint, stream, connected, after: start.elapsed() })
        }
        Err(error) => {
            if !blameless(&error) {
                failed(worker, (caller, began), (backend, endpoint), Report::NotConnected, &error);
            }
            None
        }
    }
}

/// The right to use an endpoint of `backend`, not `avoided` if there is another.
fn admit(
    worker: &Worker,
    backend: &Backend,
    caller: Caller,
    avoided: Option<&Endpoint>,
) -> Result<Active, Flag> {
    let now = worker.clock.now();
    let caller = Caller { relayed: true, ..caller };
    let admitted = worker.with_random(|random| backend.admit(now, random, caller, avoided, None));
    admitted.map_err(|why| refused(worker, backend, why))
}
