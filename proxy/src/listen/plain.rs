//! Listeners that are not in a pod: for hosts without eBPF, tests and benches.

use std::net::TcpListener;

use nodeway_core::model::ObjectName;

/// One worker's share of a plain listener.
#[derive(Debug)]
pub struct PlainListener {
    /// The socket.
    pub listener: TcpListener,
    /// The Service it stands for.
    pub service: ObjectName,
    /// The Service's port.
    pub port: u16,
}
