//! What is told of an endpoint's health: that it is left out or comes back, with the numbers that say why.
//!
//! Not when that is so.

use std::fmt;
use std::net::SocketAddr;

use crate::balance::Millis;

/// Something has changed in whether an endpoint is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HealthEvent {
    /// The endpoint's address.
    pub endpoint: SocketAddr,
    /// What has changed.
    pub change: Change,
}

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// It is left out for a while, for what became of requests.
    Ejected(Ejection),
    /// It would have been, but too many are out already. Told at most once a second of a backend.
    Kept {
        /// Why it would have been.
        cause: Cause,
        /// So many are out.
        out: usize,
        /// Of so many.
        of: usize,
    },
    /// Its time is over: told with its first request since.
    Returned {
        /// Which ejection it was since the endpoint was last well for long; the first is 1.
        repeat: u32,
        /// For how long it has been back when that is noticed, milliseconds.
        since_ms: u64,
    },
    /// So many active checks in a row have failed: it is left out until they succeed.
    Ill {
        /// So many.
        failures: u32,
    },
    /// So many active checks in a row have succeeded: it is used again.
    Well {
        /// So many.
        successes: u32,
    },
}

/// An endpoint has just been left out, and why: for the log line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ejection {
    /// What led to it.
    pub cause: Cause,
    /// Which ejection this is since the endpoint was last well for long; the first is 1.
    pub repeat: u32,
    /// How long it is left out, milliseconds.
    pub length_ms: u64,
    /// When it is tried again.
    pub until: Millis,
}

/// What leads to an ejection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cause {
    /// A run of attempts that ended in a 5xx, or in nothing.
    Errors {
        /// How many.
        run: u32,
    },
    /// A run of attempts that ended in 502, 503, 504, or in nothing.
    GatewayErrors {
        /// How many.
        run: u32,
    },
    /// A run of connections that could not be made.
    ConnectFailures {
        /// How many.
        run: u32,
    },
    /// A run of responses that broke off, or of relayed connections that were reset before a word.
    Cuts {
        /// How many.
        run: u32,
    },
    /// Far fewer successes than the others.
    SuccessRate {
        /// Of its attempts, a share from 0 to 1.
        rate: f64,
        /// The mean of all endpoints' shares.
        mean: f64,
        /// Their standard deviation.
        stdev: f64,
        /// How many attempts its share is of.
        requests: u64,
        /// How many endpoints were compared.
        endpoints: usize,
    },
    /// Far slower than the others.
    Latency {
        /// Its mean, microseconds.
        mean_us: u64,
        /// The median of the others' means, microseconds.
        median_us: u64,
        /// How many requests its mean is of.
        requests: u64,
        /// How many endpoints were compared.
        endpoints: usize,
    },
}

// === impl Cause ===

impl Cause {
    /// All values of [`Cause::label`].
    pub const LABELS: [&str; 6] =
        ["5xx", "gateway_error", "connect_failure", "cut", "success_rate", "latency"];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        Self::LABELS[self.place()]
    }

    /// Its place in [`Cause::LABELS`].
    pub fn place(self) -> usize {
        match self {
            Self::Errors { .. } => 0,
            Self::GatewayErrors { .. } => 1,
            Self::ConnectFailures { .. } => 2,
            Self::Cuts { .. } => 3,
            Self::SuccessRate { .. } => 4,
            Self::Latency { .. } => 5,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Errors { run } => write!(f, "{run} errors (5xx or no answer) in a row"),
            Self::GatewayErrors { run } => {
                write!(f, "{run} gateway errors (502, 503, 504 or no answer) in a row")
            }
            Self::ConnectFailures { run } => write!(f, "{run} failures to connect in a row"),
            Self::Cuts { run } => write!(f, "{run} broken responses in a row"),
            Self::SuccessRate { rate, mean, stdev, requests, endpoints } => {
                let [rate, mean, stdev] = [rate, mean, stdev].map(|share| share * 100.0);
                write!(
                    f,
                    "{rate:.1} % of {requests} requests succeeded, where the mean of {endpoints} \
                     endpoints is {mean:.1} % with a standard deviation of {stdev:.1} %"
                )
            }
            Self::Latency { mean_us, median_us, requests, endpoints } => {
                let [mean, median] = [mean_us, median_us].map(|us| us as f64 / 1000.0);
                write!(
                    f,
                    "{requests} requests took {mean:.1} ms in the mean, where the median of {endpoints} \
                     endpoints is {median:.1} ms"
                )
            }
        }
    }
}

// === impl Change ===

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ejected(Ejection { cause, repeat, length_ms, .. }) => {
                let seconds = *length_ms as f64 / 1000.0;
                write!(f, "left out for {seconds} s: {cause}; time {repeat} in a row")
            }
            Self::Kept { cause, out, of } => {
                write!(f, "not left out, for {out} of {of} endpoints are already: {cause}")
            }
            Self::Returned { repeat, since_ms } => {
                let seconds = *since_ms as f64 / 1000.0;
                write!(f, "used again after ejection {repeat}, which was over {seconds} s ago")
            }
            Self::Ill { failures } => {
                write!(f, "left out: {failures} health checks in a row have failed")
            }
            Self::Well { successes } => {
                write!(f, "used again: {successes} health checks in a row have succeeded")
            }
        }
    }
}
