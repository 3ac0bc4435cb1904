//! How the server says it is, which it is told: `/health/503` has `/healthz`, and gRPC's health check, say that
//! it is not well; `/checked` tells how often it was asked, and by whom.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::json;

/// The method of gRPC's health checking protocol.
pub(crate) const CHECK: &str = "/grpc.health.v1.Health/Check";

static STATE: Mutex<State> =
    Mutex::new(State { status: 200, checks: 0, from: BTreeSet::new(), asked: String::new() });

struct State {
    status: u16,
    checks: u64,
    from: BTreeSet<IpAddr>,
    /// The service that gRPC was asked about last.
    asked: String,
}

/// From now on it says this.
pub(crate) fn be(status: &str) {
    state().status = status.parse().unwrap_or(200);
}

/// What `/healthz` says to whoever asks.
pub(crate) fn status(from: IpAddr) -> u16 {
    let mut state = state();
    state.checks += 1;
    state.from.insert(from.to_canonical());
    state.status
}

/// What gRPC's health check says: `HealthCheckResponse`, SERVING or NOT_SERVING.
pub(crate) fn serving(from: IpAddr, about: &[u8]) -> Bytes {
    let well = status(from) == 200;
    state().asked = String::from_utf8_lossy(about).into_owned();
    Bytes::from_static(if well { &[0, 0, 0, 0, 2, 8, 1] } else { &[0, 0, 0, 0, 2, 8, 2] })
}

/// A line of JSON.
pub(crate) fn checked() -> String {
    let State { checks, from, asked, .. } = &*state();
    json!({"checks": checks, "from": from, "asked": asked}).to_string() + "\n"
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}
