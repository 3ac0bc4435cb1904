//! What a case is made of, as it stands in its file.
//!
//! Not how it is run, nor what is right: see `run` and `judge`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// One promise of the Gateway API, or a few that share their manifests.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// Its name, as a promise.
    pub(crate) case: String,
    /// The Gateway API's names of the features that it shows.
    pub(crate) features: Vec<String>,
    /// Short names of the tests of the Gateway API whose promises it tells.
    #[serde(default)]
    pub(crate) retells: Vec<String>,
    /// What it begins with.
    #[serde(default)]
    pub(crate) manifests: Vec<Value>,
    /// What is asked then.
    #[serde(default)]
    pub(crate) requests: Vec<Request>,
    /// What status says, where it is not that all is well.
    #[serde(default)]
    pub(crate) conditions: Conditions,
    /// What changes then, and what is asked after that.
    #[serde(default)]
    pub(crate) then: Vec<Step>,
}

/// Some objects, what is asked of them, and what status says of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// New, or in place of those of the same kind and name.
    #[serde(default)]
    pub(crate) manifests: Vec<Value>,
    #[serde(default)]
    pub(crate) requests: Vec<Request>,
    #[serde(default)]
    pub(crate) conditions: Conditions,
    /// `KIND/NAME` of what goes.
    #[serde(default)]
    pub(crate) without: Vec<String>,
}

/// By `KIND/NAME` or `KIND/NAME@PARENT`, by type: `True REASON` or `False REASON`.
pub(crate) type Conditions = BTreeMap<String, BTreeMap<String, String>>;

/// A request, and what is to come of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// `GET /path?query`; a path alone is GET's, or gRPC's POST.
    #[serde(default = "root")]
    pub(crate) ask: String,
    /// The Service as a client names it, with a port or without; `pod NAME:PORT` is the pod's own address.
    pub(crate) to: String,
    /// The pod that asks.
    #[serde(default = "asker")]
    pub(crate) from: String,
    #[serde(rename = "as", default)]
    pub(crate) by: By,
    /// Another Host than the Service's name.
    pub(crate) host: Option<String>,
    /// The server's name that is asked for in TLS.
    pub(crate) sni: Option<String>,
    #[serde(default, rename = "with")]
    pub(crate) headers: BTreeMap<String, String>,
    /// How often, each time on a new connection if not `again`.
    #[serde(default = "once")]
    pub(crate) times: usize,
    /// On the same connection.
    #[serde(default)]
    pub(crate) again: bool,
    /// `cookie`, or a header's name: what a response sets the next request brings back.
    pub(crate) carry: Option<String>,
    pub(crate) expect: Expect,
}

/// What the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    #[default]
    Http,
    H2c,
    Grpc,
    Tcp,
    /// HTTP/1.1 over TLS.
    Tls,
    Websocket,
}

/// What is to come of a request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// Of HTTP: one of these; 200 if nothing is said.
    #[serde(default)]
    pub(crate) status: Any<u16>,
    /// Of gRPC; 0 if nothing is said.
    pub(crate) grpc: Option<u32>,
    /// Which pod answers.
    pub(crate) pod: Option<String>,
    /// What that pod saw.
    pub(crate) saw: Option<Saw>,
    /// Headers of the answer: one of these values, blanks aside.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Any<String>>,
    /// Headers that the answer has not.
    #[serde(default)]
    pub(crate) absent: Vec<String>,
    /// A cookie that the answer sets.
    pub(crate) cookie: Option<Cookie>,
    /// By pod (or status, of an answer that is no pod's): its share of the answers, give or take 5 of 100.
    #[serde(default)]
    pub(crate) shares: BTreeMap<String, f64>,
    /// By pod: how many requests have reached it, at least and at most.
    #[serde(default)]
    pub(crate) seen: BTreeMap<String, Range<usize>>,
    /// How long an answer takes.
    pub(crate) seconds: Option<Range<f64>>,
    /// One pod gives all answers.
    #[serde(default)]
    pub(crate) one_pod: bool,
    /// The connection ends without an answer.
    #[serde(default)]
    pub(crate) cut: bool,
}

/// A cookie, and its attributes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cookie {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) has: Vec<String>,
    #[serde(default)]
    pub(crate) lacks: Vec<String>,
}

/// What a pod saw of a request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saw {
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) query: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) protocol: Option<String>,
    /// All values of a header, with commas between.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) absent: Vec<String>,
}

/// One value, or one of several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Any<T> {
    One(T),
    Of(Vec<T>),
}

/// A number, or the least and the most.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
pub(crate) enum Range<T> {
    Just(T),
    From([T; 2]),
}

fn root() -> String {
    "/".to_owned()
}

fn asker() -> String {
    "echo-v1".to_owned()
}

fn once() -> usize {
    1
}

// === impl Case ===

impl Case {
    /// The cases of a file.
    pub(crate) fn all(file: &str, text: &str) -> Vec<Self> {
        serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// All steps, the first one too.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let first = Step {
            manifests: self.manifests.clone(),
            requests: self.requests.clone(),
            conditions: self.conditions.clone(),
            without: vec![],
        };
        std::iter::once(first).chain(self.then.iter().cloned()).collect()
    }
}

// === impl Request ===

impl Request {
    /// Method and path.
    pub(crate) fn method_and_path(&self) -> (&str, &str) {
        let usual = if self.by == By::Grpc { "POST" } else { "GET" };
        self.ask.split_once(' ').unwrap_or((usual, &self.ask))
    }

    /// Whether what is right comes only near to what is expected.
    pub(crate) fn is_chance(&self) -> bool {
        let Expect { shares, seen, .. } = &self.expect;
        !shares.is_empty() || seen.values().any(|seen| matches!(seen, Range::From(_)))
    }
}

// === impl By ===

impl By {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::H2c => "h2c",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Websocket => "websocket",
        }
    }
}

// === impl Any ===

impl<T> Default for Any<T> {
    fn default() -> Self {
        Self::Of(vec![])
    }
}

impl<T> Any<T> {
    pub(crate) fn all(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Of(several) => several,
        }
    }
}

// === impl Range ===

impl<T: Copy + PartialOrd> Range<T> {
    pub(crate) fn contains(&self, value: T) -> bool {
        match self {
            Self::Just(just) => value == *just,
            Self::From([least, most]) => *least <= value && value <= *most,
        }
    }
}
