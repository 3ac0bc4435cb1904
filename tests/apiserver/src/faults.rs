//! Trouble on demand, and what has been asked.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// How the server behaves, and what it has counted.
#[derive(Debug, Clone)]
pub struct Faults {
    /// Each request waits so long.
    pub latency: Duration,
    /// Whether listings can be streamed (`sendInitialEvents`).
    pub streaming: Streaming,
    /// (verb, resource) that are forbidden.
    pub forbidden: HashSet<(String, String)>,
    /// So many of the next requests are answered with this code.
    pub refuse: (usize, u16),
    /// `Retry-After` of these answers, in seconds.
    pub retry_after: Option<u64>,
    /// Lists and watches that this field selector limits are answered with this code.
    pub selectors: BTreeMap<String, u16>,
    /// The next answer to this verb and resource breaks off after so many octets.
    pub cut: Option<(String, String, usize)>,
    /// Watches end as soon as they have said what there is to say.
    pub short_watches: bool,
    /// Each thing that a watch says of what has happened takes so long.
    pub slow_news: Duration,
    /// So many of the next watches are answered with 410.
    pub gone: usize,
    /// So many watches that are under way end with 410 when something happens.
    pub gone_events: usize,
    /// Bookmarks come so often.
    pub bookmarks: Duration,
    /// The tokens that are valid.
    pub tokens: HashSet<String>,
    /// Requests whose token was not valid.
    pub(crate) refused_tokens: usize,
    pub(crate) asked: BTreeMap<(String, String), usize>,
    pub(crate) watches: BTreeMap<String, usize>,
    pub(crate) most_watches: BTreeMap<String, usize>,
    /// Bookmarks said, by resource.
    pub(crate) bookmarked: BTreeMap<String, usize>,
}

/// Whether listings can be streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streaming {
    /// They can.
    Yes,
    /// The request is invalid (422): the feature is switched off.
    Off,
    /// The watch begins and fails: the server's etcd is too old.
    OldEtcd,
    /// The server does not know of it, and takes it for an ordinary watch.
    Unknown,
}

// === impl Faults ===

impl Faults {
    pub(crate) fn none(token: &str) -> Self {
        Self {
            latency: Duration::ZERO,
            streaming: Streaming::Yes,
            forbidden: HashSet::new(),
            refuse: (0, 0),
            retry_after: None,
            selectors: BTreeMap::new(),
            cut: None,
            short_watches: false,
            slow_news: Duration::ZERO,
            gone: 0,
            gone_events: 0,
            bookmarks: Duration::from_secs(1),
            tokens: HashSet::from([token.to_owned()]),
            refused_tokens: 0,
            asked: BTreeMap::new(),
            watches: BTreeMap::new(),
            most_watches: BTreeMap::new(),
            bookmarked: BTreeMap::new(),
        }
    }

    /// Forbids `verb` on `resource`, `httproutes.gateway.networking.k8s.io`.
    pub fn forbid(&mut self, verb: &str, resource: &str) {
        self.forbidden.insert((verb.to_owned(), resource.to_owned()));
    }

    pub(crate) fn note(&mut self, verb: &str, resource: &str) {
        *self.asked.entry((verb.to_owned(), resource.to_owned())).or_default() += 1;
    }

    pub(crate) fn watch_begins(&mut self, resource: &str) {
        let open = self.watches.entry(resource.to_owned()).or_default();
        *open += 1;
        let most = self.most_watches.entry(resource.to_owned()).or_default();
        *most = (*most).max(*open);
    }

    pub(crate) fn watch_ends(&mut self, resource: &str) {
        if let Some(open) = self.watches.get_mut(resource) {
            *open -= 1;
        }
    }
}
