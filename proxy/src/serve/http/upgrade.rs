//! Connections that leave HTTP (RFC 9110, 7.8): WebSocket and its like, and CONNECT.
//!
//! Each side is a connection of HTTP/1.1 of its own, or one stream of HTTP/2.

use std::rc::Rc;

use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Method, Request, Response, StatusCode, Version as Spoken};
use nodeway_core::balance::Active;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::body::ResponseBody;
use super::headers::wants_upgrade;
use super::record::Record;
use super::{Conn, websocket};
use crate::serve::connection::ActiveConnection;
use crate::streams::{Inbound, Prefixed, split};
use crate::telemetry::Flag;
use crate::upstream::{Lease, RequestBody, UnderWay, Upgraded, Version};

/// What a client waits for that has asked to leave HTTP.
pub(super) struct Tunnel {
    client: Client,
    connect: bool,
    /// Whether it can be asked for in HTTP/2.
    extended: bool,
    upgrade: Option<HeaderValue>,
    key: Option<HeaderValue>,
    /// To an endpoint of HTTP/2: where it is told what the client says.
    feed: Option<oneshot::Sender<Inbound>>,
}

/// Who waits for a client's connection to leave HTTP: what is said after the response, beginning with what has been
/// read already.
pub(super) type Leaver = oneshot::Sender<Prefixed<TcpStream>>;
type Left = oneshot::Receiver<Prefixed<TcpStream>>;

enum Client {
    Http1(Leaver, Left),
    /// What the client says on its stream.
    Http2(Inbound),
}

/// What a tunnel is made of besides its two ends.
pub(super) struct Parts {
    pub lease: Lease,
    pub active: Active,
    pub record: Record,
}

/// Whether a response of `status` grants what an HTTP/1 client asked for (`connect`: its method).
pub(super) fn granted(connect: bool, status: StatusCode) -> bool {
    if connect { status.is_success() } else { status == StatusCode::SWITCHING_PROTOCOLS }
}

// === impl Tunnel ===

impl Tunnel {
    /// What `request` asks for, if it asks to leave HTTP; what the client says on its stream is taken out of it.
    pub(super) fn asked(conn: &Conn, request: &mut Request<Inbound>) -> Option<Self> {
        let connect = *request.method() == Method::CONNECT;
        let http2 = conn.version == Version::Http2;
        // RFC 9110, 7.8: HTTP/1.0 knows no Upgrade.
        let old = request.version() == Spoken::HTTP_10;
        if !connect && (old || !wants_upgrade(request.headers())) {
            return None;
        }
        let headers = request.headers();
        let extended = http2 || (!connect && websocket::is_websocket(headers));
        let (upgrade, key) =
            (headers.get(UPGRADE).cloned(), headers.get(SEC_WEBSOCKET_KEY).cloned());
        let client = if http2 {
            Client::Http2(std::mem::take(request.body_mut()))
        } else {
            let (leaver, left) = oneshot::channel();
            Client::Http1(leaver, left)
        };
        Some(Self { client, connect, extended, upgrade, key, feed: None })
    }

    /// Whether it is the request's method that asks for it.
    pub(super) fn is_connect(&self) -> bool {
        self.connect
    }

    /// Whether it can be asked for in HTTP/2.
    pub(super) fn can_be_extended(&self) -> bool {
        self.extended
    }

    /// Makes of the request one that asks an endpoint of HTTP/2.
    pub(super) fn ask_in_http2(&mut self, request: &mut Request<RequestBody>) {
        websocket::to_connect(request);
        let (feed, later) = Inbound::later();
        self.feed = Some(feed);
        *request.body_mut() = RequestBody::new(later);
    }

    /// Whether `response` grants it; an error if it says so in a way that cannot be told the client.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn is_granted<B>(&self, response: &Response<B>) -> Result<bool, &'static str> {
        if response.version() == Spoken::HTTP_2 {
            return Ok(response.status().is_success());
        }
        let granted = granted(self.connect, response.status());
        match (&self.client, &self.key) {
            (Client::Http1(..), _) => Ok(granted),
            // RFC 8441, 5: any success would open the stream.
            (Client::Http2(_), _) if !granted && response.status().is_success() => {
                Err("the endpoint has not switched protocols\n")
            }
            (Client::Http2(_), Some(key)) if granted => {
                if websocket::is_accepted(response.headers(), key) {
                    Ok(true)
                } else {
                    Err("the endpoint has not understood what it was asked\n")
                }
            }
            (Client::Http2(_), _) => Ok(granted),
        }
    }

    /// Relays between the client and the endpoint that has granted it; the response that tells the client.
    pub(super) fn open(
        self,
        conn: &Rc<Conn>,
        mut response: Response<Inbound>,
        parts: Parts,
    ) -> Response<ResponseBody> {
        let to_http2 = response.version() == Spoken::HTTP_2;
        let Self { client, connect, upgrade, key, feed, .. } = self;
        let Parts { mut lease, active, record } = parts;
        match client {
            Client::Http1(leaver, client) if !to_http2 => {
                let endpoint = lease.upgraded();
                relay(conn, client, endpoint, Parts { lease, active, record });
                response.map(|_| ResponseBody::leaving(leaver))
            }
            Client::Http1(leaver, client) => {
                let (mut head, endpoint) = response.into_parts();
                pour_to_client(conn, client, feed, endpoint, Parts { lease, active, record });
                head.version = Spoken::HTTP_11;
                if !connect {
                    head.status = StatusCode::SWITCHING_PROTOCOLS;
                    head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                    head.headers.extend(upgrade.map(|upgrade| (UPGRADE, upgrade)));
                    let accept = key.as_ref().and_then(websocket::accept);
                    head.headers.extend(accept.map(|accept| (SEC_WEBSOCKET_ACCEPT, accept)));
                }
                Response::from_parts(head, ResponseBody::leaving(leaver))
            }
            Client::Http2(client) => {
                *response.status_mut() = StatusCode::OK;
                for name in websocket::HANDSHAKE {
                    response.headers_mut().remove(name);
                }
                if to_http2 {
                    // Who does not take it has gone.
                    let _ = feed.map(|feed| feed.send(client));
                    return response.map(|endpoint| {
                        ResponseBody::relayed(endpoint, conn, lease, active, None, record)
                    });
                }
                let endpoint = lease.upgraded();
                let later = pour_to_endpoint(client, endpoint);
                response.map(|_| ResponseBody::relayed(later, conn, lease, active, None, record))
            }
        }
    }
}

/// HTTP/1.1 on both sides.
fn relay(conn: &Rc<Conn>, client: Left, endpoint: Option<Upgraded>, parts: Parts) {
    // To its server the client's connection has ended.
    let connection = ActiveConnection::begin(&conn.worker);
    tokio::task::spawn_local(async move {
        let Parts { lease, active, record } = parts;
        let _active = (active, connection);
        let mut cut = None;
        // The client is ready once the 101 has been relayed; it fails if its connection broke first.
        if let (Some(mut endpoint), Ok(mut client)) = (endpoint, client.await) {
            tokio::select! {
                biased;
                relayed = tokio::io::copy_bidirectional(&mut client, &mut endpoint) => {
                    if let Err(error) = relayed {
                        tracing::debug!(%error, "an upgraded connection broke");
                    }
                }
                () = UnderWay::cut(lease.under_way()) => cut = Some(Flag::EndpointGone),
            }
        }
        record.end(cut);
    });
}

/// HTTP/1.1 from the client, a stream to the endpoint: what the client says is its request's body.
fn pour_to_client(
    conn: &Rc<Conn>,
    client: Left,
    feed: Option<oneshot::Sender<Inbound>>,
    endpoint: Inbound,
    parts: Parts,
) {
    let conn = Rc::clone(conn);
    let connection = ActiveConnection::begin(&conn.worker);
    tokio::task::spawn_local(async move {
        let Parts { lease, active, record } = parts;
        let _active = (active, connection);
        let mut cut = None;
        if let (Ok(client), Some(feed)) = (client.await, feed) {
            let (from, to) = split(client);
            // Who does not take it has gone, which the other direction shows.
            let _ = feed.send(from);
            tokio::select! {
                biased;
                poured = to.pour(endpoint) => match poured {
                    Ok(()) => lease.give_back(&conn.worker, &conn.client),
                    Err(error) => tracing::debug!(%error, "an upgraded connection broke"),
                },
                () = UnderWay::cut(lease.under_way()) => cut = Some(Flag::EndpointGone),
            }
        }
        record.end(cut);
    });
}

/// A stream from the client, HTTP/1.1 to the endpoint: what the endpoint says is the response's body.
fn pour_to_endpoint(client: Inbound, endpoint: Option<Upgraded>) -> Inbound {
    let Some(endpoint) = endpoint else { return Inbound::Empty };
    let (from, to) = split(endpoint);
    tokio::task::spawn_local(async move {
        if let Err(error) = to.pour(client).await {
            tracing::debug!(%error, "an upgraded connection broke");
        }
    });
    from
}
