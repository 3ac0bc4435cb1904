//! Connections that leave HTTP (RFC 9110, 7.8): WebSocket and its like, and CONNECT.

use std::rc::Rc;

use http::StatusCode;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::Conn;
use super::record::Record;
use crate::serve::connection::ActiveConnection;
use crate::serve::tcp::Active;

/// Whether a response of `status` grants what the request asked for (`connect`: its method).
pub(super) fn granted(connect: bool, status: StatusCode) -> bool {
    if connect { status.is_success() } else { status == StatusCode::SWITCHING_PROTOCOLS }
}

/// Relays between the two upgraded connections until both have finished.
pub(super) fn tunnel(
    conn: &Rc<Conn>,
    client: OnUpgrade,
    endpoint: OnUpgrade,
    active: Active,
    record: Record,
) {
    if let Some(faults) = &conn.faults {
        faults.off();
    }
    // To hyper the client's connection has ended.
    let connection = ActiveConnection::begin(&conn.worker);
    tokio::task::spawn_local(async move {
        let _active = (active, connection);
        // Both are ready once the 101 has been relayed; either fails if its connection broke first.
        if let Ok((client, endpoint)) = tokio::try_join!(client, endpoint) {
            let (mut client, mut endpoint) = (TokioIo::new(client), TokioIo::new(endpoint));
            if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut endpoint).await {
                tracing::debug!(%error, "an upgraded connection broke");
            }
        }
        record.end(None);
    });
}
