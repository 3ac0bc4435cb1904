//! What tells one series from another. Never anything that a client sent.

use std::sync::Arc;

use nodeway_core::balance::{Limit, Scope};
use nodeway_core::model::ObjectName;

/// Why a response was not simply the endpoint's own; Envoy's letters where it has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flag {
    /// The endpoint's own response.
    None,
    /// No rule matched (404).
    NoRoute,
    /// The rule or the backend that was chosen is invalid (500).
    InvalidRoute,
    /// No endpoint is ready (503).
    NoHealthyUpstream,
    /// No connection to an endpoint could be made (503).
    UpstreamConnectFailure,
    /// The endpoint does not satisfy the BackendTLSPolicy, or nobody can (503).
    UpstreamTls,
    /// As much is under way as may be (503).
    Overflow,
    /// The endpoint ended the connection before its response did (502, or a cut body).
    UpstreamReset,
    /// The request's or the attempt's time was over (504, or a cut body).
    TimedOut,
    /// The endpoint's own response, after as many retries as the rule has.
    RetriesExhausted,
    /// The endpoint is gone, and the time is over that its policy gives to what is under way (503, or a cut
    /// body).
    EndpointGone,
    /// The request broke the protocol (400 and its like).
    DownstreamProtocol,
    /// The client went away before the response ended.
    DownstreamGone,
}

/// Finds a request's series; ids are of one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestKey {
    /// The frontend's id.
    pub frontend: u64,
    /// The rule's id; 0 for none.
    pub rule: u64,
    /// The backend's id; 0 for none.
    pub backend: u64,
    /// The client's id.
    pub client: u64,
    /// The response's status.
    pub code: u16,
    /// Why, if it is not the endpoint's.
    pub flag: Flag,
}

/// The labels of a request's series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestLabels {
    /// The Service that was dialled.
    pub parent: ObjectName,
    /// The route that won.
    pub route: Option<ObjectName>,
    /// The Service that answered.
    pub backend: Option<ObjectName>,
    /// Who dialled.
    pub source_workload: Arc<str>,
    /// The response's status.
    pub code: u16,
    /// Why, if it is not the endpoint's.
    pub flag: Flag,
}

/// The labels of a series of endpoints left out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EjectionLabels {
    /// The Service whose they are.
    pub backend: ObjectName,
    /// Why.
    pub cause: &'static str,
}

/// Finds a relayed connection's series; ids are of one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TcpKey {
    /// The frontend's id.
    pub frontend: u64,
    /// The rule's id; 0 for none.
    pub rule: u64,
    /// The backend's id; 0 for none.
    pub backend: u64,
    /// The client's id.
    pub client: u64,
    /// How it ended, if not by the peers' own will.
    pub flag: Flag,
}

/// The labels of a relayed connection's series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TcpLabels {
    /// The Service that was dialled.
    pub parent: ObjectName,
    /// The route that it followed.
    pub route: Option<ObjectName>,
    /// The Service that answered, or should have.
    pub backend: Option<ObjectName>,
    /// Who dialled.
    pub source_workload: Arc<str>,
    /// How it ended, if not by the peers' own will.
    pub flag: Flag,
}

/// Finds the series of what a limit has refused; the id is of one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OverflowKey {
    /// The backend's id.
    pub backend: u64,
    /// Which limit.
    pub limit: Limit,
    /// Whose.
    pub of: Scope,
}

/// The labels of what a limit has refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OverflowLabels {
    /// The Service that would have been asked.
    pub backend: ObjectName,
    /// Which limit.
    pub limit: Limit,
    /// Whose.
    pub of: Scope,
}

// === impl Flag ===

impl Flag {
    /// The value of the label `response_flags`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "-",
            Self::NoRoute => "NR",
            Self::InvalidRoute => "IR",
            Self::NoHealthyUpstream => "UH",
            Self::UpstreamConnectFailure => "UF",
            // No letters of Envoy's: there it is a connect failure like any other.
            Self::UpstreamTls => "UTLS",
            Self::Overflow => "UO",
            Self::UpstreamReset => "UC",
            Self::TimedOut => "UT",
            Self::RetriesExhausted => "URX",
            Self::EndpointGone => "LR",
            Self::DownstreamProtocol => "DPE",
            Self::DownstreamGone => "DC",
        }
    }
}
