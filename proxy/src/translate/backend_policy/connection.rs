//! `spec.connection`: how long connections to endpoints live.
//!
//! Not how many there may be: that is `limits`.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use nodeway_core::model::{ConnectionLife, Http2Keepalive, TcpKeepalive};

use super::super::fields::Fields;
use super::{HOUR, MINUTE, SECOND, milliseconds};

pub(super) fn life(fields: &mut Fields<'_>) -> ConnectionLife {
    let default = ConnectionLife::default();
    let requests = fields.integer("maxRequests", 1_u32..=1_000_000_000);
    ConnectionLife {
        max_age: fields.duration("maxAge", milliseconds(100, 168 * HOUR)).or(default.max_age),
        max_requests: requests.and_then(NonZeroU32::new).or(default.max_requests),
        idle: fields.duration("idleTimeout", milliseconds(100, 24 * HOUR)).unwrap_or(default.idle),
        connect_timeout: fields
            .duration("connectTimeout", milliseconds(10, 5 * MINUTE))
            .unwrap_or(default.connect_timeout),
        tcp_keepalive: fields
            .object("tcpKeepalive", tcp_keepalive)
            .unwrap_or(default.tcp_keepalive),
        http2_keepalive: fields.object("http2Keepalive", http2_keepalive),
        drain: fields.duration("drainTimeout", milliseconds(0, 24 * HOUR)).or(default.drain),
        prewarm: fields.integer("preconnect", 0..=16).unwrap_or(default.prewarm),
    }
}

fn tcp_keepalive(fields: &mut Fields<'_>) -> TcpKeepalive {
    let default = TcpKeepalive::default();
    let mut seconds = |name, most, default| {
        let time = fields.duration(name, milliseconds(SECOND, most)).unwrap_or(default);
        if time.subsec_millis() != 0 {
            fields.fault(name, format!("{time:?}: must be whole seconds"));
        }
        time
    };
    let idle = seconds("idle", 2 * HOUR, default.idle);
    let interval = seconds("interval", HOUR, default.interval);
    let probes = fields.integer("probes", 1_u16..=127).and_then(NonZeroU16::new);
    TcpKeepalive { idle, interval, probes: probes.unwrap_or(default.probes) }
}

fn http2_keepalive(fields: &mut Fields<'_>) -> Http2Keepalive {
    let interval = fields.duration("interval", milliseconds(100, HOUR));
    let timeout = fields.duration("timeout", milliseconds(100, 5 * MINUTE));
    Http2Keepalive {
        interval: interval.unwrap_or(Duration::from_secs(30)),
        timeout: timeout.unwrap_or(Duration::from_secs(10)),
    }
}
