//! What became of an attempt, as far as it is its endpoint's doing.

use std::time::Duration;

/// Told once for each attempt when its fate is known; a response that is cut after its head is told again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It was answered with this status; the response's head came so long after the request was sent.
    Answered {
        /// The status; over HTTP, whatever gRPC says inside.
        status: u16,
        /// From the request's last choice of a connection to the response's head.
        latency: Duration,
    },
    /// A connection was made that is relayed as it is.
    Connected {
        /// How long that took.
        latency: Duration,
    },
    /// No connection could be made.
    NotConnected,
    /// The connection ended or made no sense before the response had ended, or it took too long.
    Lost,
}

// === impl Report ===

impl Report {
    /// Whether the endpoint has failed.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::NotConnected | Self::Lost)
    }
}
