//! What would happen to a request, and why: what `nodeway explain` prints.
//!
//! The fields of these types and their names are a contract (docs/explain.md). What would happen is found
//! by what routes traffic: the same snapshot, the same conditions, the same rules about endpoints.

mod becomes;
mod endpoints;
mod filters;
mod question;
mod tell;

pub use question::{Question, Unknown};
pub use tell::Explainer;

use serde::{Deserialize, Serialize};

/// What would happen to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What would happen, as one of a few.
    pub verdict: Outcome,
    /// The same, as a sentence.
    pub summary: String,
    /// Who asks.
    pub client: ClientReport,
    /// Whom he dials.
    pub frontend: FrontendReport,
    /// The routes that name the Service as a parent.
    pub routes: Vec<RouteReport>,
    /// The rule that the request meets, if it meets one.
    pub rule: Option<RuleReport>,
    /// The matches whose path the request has, the best first.
    pub matches: Vec<MatchReport>,
    /// The matches of other paths, the best first.
    pub other_paths: Vec<MatchReport>,
    /// Where it may go, if it goes to endpoints.
    pub backends: Vec<BackendReport>,
}

/// What would happen to a request, as one of a few.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It goes to an endpoint; or, as chance has it, is answered as the filter of a backend says.
    Sent,
    /// It goes to an endpoint, or is refused, as chance has it.
    PartlySent,
    /// It is answered by the proxy as a filter says (a redirect).
    Answered,
    /// It is refused: 404, 500 or 503.
    Refused,
    /// It never comes to the proxy: the client is not in the mesh. What else is told is what would
    /// happen if it were.
    NotCaught,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientReport {
    /// `namespace/name` of the pod.
    pub pod: String,
    /// The node that it is on, if that is known.
    pub node: Option<String>,
    /// That node's zone, if that is known.
    pub zone: Option<String>,
    /// Whether its connections are caught.
    pub in_mesh: bool,
    /// Why not.
    pub why: Option<String>,
}

/// Whom the client dials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendReport {
    /// `namespace/name` of the Service.
    pub service: String,
    /// Its port.
    pub port: u16,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// What the port is declared to speak.
    pub protocol: String,
    /// The path as routes see it, and as it is sent on, if routes apply.
    pub path: Option<String>,
    /// Which way connections go, for each family of its addresses.
    #[serde(default)]
    pub ways: Vec<WayReport>,
}

/// Which way connections to a frontend go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WayReport {
    /// `IPv4` or `IPv6`, as the client dials.
    pub family: String,
    /// Whether they go through the proxy; else the kernel sends them to endpoints.
    pub proxy: bool,
    /// Why they do or do not.
    pub why: String,
}

/// A route that names the Service as a parent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteReport {
    /// `HTTPRoute`, `GRPCRoute` and the like.
    pub kind: String,
    /// `namespace/name`.
    pub route: String,
    /// Whether this client's requests to this port are matched against it.
    pub applies: bool,
    /// Why it does or does not.
    pub why: String,
}

/// The rule that the request meets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleReport {
    /// `HTTPRoute` and the like.
    pub kind: String,
    /// `namespace/name` of its route.
    pub route: String,
    /// Its place in `spec.rules`, counted from 0.
    pub rule: usize,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What of the path a prefix match named, if one was met.
    pub matched_prefix: Option<String>,
    /// Its filters, in order.
    pub filters: Vec<String>,
    /// `timeouts.request`, if given.
    pub request_timeout: Option<String>,
    /// `timeouts.backendRequest`, if given.
    pub backend_request_timeout: Option<String>,
    /// When it is sent again, if the rule says so.
    pub retry: Option<String>,
    /// How it stays with one endpoint, if the rule says so.
    pub session: Option<String>,
    /// What its filters make of the request's line and host, if they change them.
    pub becomes: Option<String>,
    /// What its filters answer the request with, if they do.
    pub answer: Option<String>,
}

/// A match, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MatchReport {
    /// `namespace/name` of its route.
    pub route: String,
    /// Its rule's place in `spec.rules`, counted from 0.
    pub rule: usize,
    /// Its rule's name, if it has one.
    pub name: Option<String>,
    /// Its place in the rule's `matches`, counted from 0.
    #[serde(rename = "match")]
    pub place: usize,
    /// What it asks for.
    pub wants: String,
    /// Whether it is the one.
    pub won: bool,
    /// Why not: what does not hold, or what the winner has before it.
    pub why: Vec<String>,
}

/// A backend of the rule; or the Service itself, where no route applies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendReport {
    /// `namespace/name` of the Service; none if it is no usable reference.
    pub service: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// `weight`; none where no route applies.
    pub weight: Option<u32>,
    /// Which part of the requests it gets, from 0 to 1.
    pub share: f64,
    /// Why its share is answered with 500, if it is.
    pub invalid: Option<String>,
    /// Its own filters, in order, after the rule's.
    pub filters: Vec<String>,
    /// What these make of the request's line and host, if they change them.
    pub becomes: Option<String>,
    /// What these answer the request with, if they do: then it goes to no endpoint.
    #[serde(default)]
    pub answer: Option<String>,
    /// Why nobody speaks to its endpoints, and its share is refused with 503, if that is so whatever
    /// their state: a BackendTLSPolicy that cannot be kept.
    #[serde(default)]
    pub refused: Option<String>,
    /// How its endpoints are spoken to.
    pub protocol: Option<String>,
    /// How one of them is chosen.
    pub balancing: Option<String>,
    /// The policies that it obeys besides a BackendTLSPolicy: kind and `namespace/name`, and if what is in
    /// force is not what it says now.
    #[serde(default)]
    pub policies: Vec<String>,
    /// All endpoints that it has, by address.
    pub endpoints: Vec<EndpointReport>,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointReport {
    /// Where it listens.
    pub address: String,
    /// `namespace/name` of the pod, if it is known.
    pub pod: Option<String>,
    /// The node that it is on, if it is known.
    pub node: Option<String>,
    /// The zones that it is meant for by hints.
    pub zones: Vec<String>,
    /// Whether it may be chosen.
    pub usable: bool,
    /// Why, or why not.
    pub why: String,
    /// Requests under way from this node.
    pub active: u32,
    /// Its part of the requests, against the others'; none if it is not in force.
    #[serde(default)]
    pub weight: Option<u16>,
    /// Whether it comes before others, by its hints.
    #[serde(default)]
    pub near: bool,
    /// The moving average of its latency as this node sees it, milliseconds.
    #[serde(default)]
    pub latency_ms: Option<f64>,
}

// === impl Outcome ===

impl Outcome {
    /// Whether each such request gets an answer that its author meant.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Sent | Self::Answered)
    }
}
