//! What became of an attempt, as far as it is its endpoint's doing.

use std::time::Duration;

/// Told once for each attempt when its fate is known; of one that was answered or connected, and then broke
/// off, [`Report::Cut`] is told besides. One that was not is told by [`super::Endpoint::whole`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It was answered with this status.
    Answered {
        /// The status. Of a gRPC response that says how the call went in its head already: what that comes
        /// to in HTTP ([`status_of_grpc`]).
        status: u16,
        /// How long the response's head was waited for once the endpoint had been handed all of the request;
        /// none if it came before that, for what a client takes its time for says nothing of the endpoint.
        latency: Option<Duration>,
    },
    /// A connection was made that is relayed as it is.
    Connected {
        /// How long that took.
        latency: Duration,
    },
    /// No connection could be made.
    NotConnected,
    /// The connection ended or made no sense before the response's head, or it took too long.
    Lost,
    /// A response that was told as answered broke off or took too long, or a relayed connection was reset
    /// before it had said anything. Heads that go well are no excuse: only a whole one ends the run.
    Cut,
}

// === impl Report ===

impl Report {
    /// Whether the endpoint has failed: a 5xx, or no answer that is whole.
    #[inline]
    pub fn is_failure(self) -> bool {
        match self {
            Self::Answered { status, .. } => (500..=599).contains(&status),
            Self::Connected { .. } => false,
            Self::NotConnected | Self::Lost | Self::Cut => true,
        }
    }

    /// Whether it has failed without a word of its own: it may be its client, or what is between the two, that
    /// cannot do better.
    #[inline]
    pub(super) fn is_silence(self) -> bool {
        matches!(self, Self::NotConnected | Self::Lost | Self::Cut)
    }
}

/// What a gRPC status comes to in HTTP (`google/rpc/code.proto`, which Envoy follows too); a number that
/// gRPC does not know is an unknown error.
pub fn status_of_grpc(code: u32) -> u16 {
    match code {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}
