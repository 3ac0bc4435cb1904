//! TLSRoutes at a Service's port: which rule a connection meets, by the name of the server that its
//! client asks for.
//!
//! Not how that name is read: `detect` does.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::Rule;
use crate::model::Hostname;

/// Rules by server names. The most specific name wins: one that is equal, then the longest that is
/// behind a `*.` (Gateway API, `Listener.hostname`).
#[derive(Debug, Default)]
pub struct ServerNames {
    exact: HashMap<Arc<str>, Arc<Rule>, RandomState>,
    below: HashMap<Arc<str>, Arc<Rule>, RandomState>,
    any: Option<Arc<Rule>>,
}

// === impl ServerNames ===

impl ServerNames {
    /// Gives `hostname` to `rule`; the last one that it is given to has it.
    pub fn insert(&mut self, hostname: &Hostname, rule: &Arc<Rule>) {
        let rule = Arc::clone(rule);
        match hostname {
            Hostname::Exact(name) => _ = self.exact.insert(Arc::clone(name), rule),
            Hostname::Below(name) => _ = self.below.insert(Arc::clone(name), rule),
            Hostname::Any => self.any = Some(rule),
        }
    }

    /// The rule for a client that asks for `name`, in lower case, or for nobody by name.
    pub fn rule(&self, name: Option<&str>) -> Option<&Arc<Rule>> {
        name.and_then(|name| self.named(name)).or(self.any.as_ref())
    }

    fn named(&self, name: &str) -> Option<&Arc<Rule>> {
        if let Some(rule) = self.exact.get(name) {
            return Some(rule);
        }
        // What is behind the first dot, then behind the second: the longest first.
        let dots = name.bytes().enumerate().filter(|(at, octet)| *octet == b'.' && *at > 0);
        dots.filter_map(|(at, _)| name.get(at + 1..)).find_map(|rest| self.below.get(rest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Kind, ObjectName};

    fn names(hostnames: &[&str]) -> ServerNames {
        let mut names = ServerNames::default();
        for hostname in hostnames {
            let rule = Rule::relayed(1, (Kind::TlsRoute, ObjectName::new("shop", *hostname)), None);
            names.insert(&parsed(hostname), &Arc::new(rule));
        }
        names
    }

    fn parsed(hostname: &str) -> Hostname {
        match hostname.strip_prefix("*.") {
            Some(rest) => Hostname::Below(rest.into()),
            None if hostname == "*" => Hostname::Any,
            None => Hostname::Exact(hostname.into()),
        }
    }

    fn found(names: &ServerNames, name: Option<&str>) -> Option<String> {
        names.rule(name).map(|rule| rule.route.name.to_string())
    }

    #[test]
    fn the_most_specific_name_wins() {
        let names = names(&["a.example.com", "*.example.com", "*.b.example.com", "*.com"]);
        for (asked, wanted) in [
            ("a.example.com", Some("a.example.com")),
            ("b.example.com", Some("*.example.com")),
            ("x.a.example.com", Some("*.example.com")),
            ("x.b.example.com", Some("*.b.example.com")),
            ("x.y.b.example.com", Some("*.b.example.com")),
            ("example.com", Some("*.com")),
            ("com", None),
            ("a.example.org", None),
            (".com", None),
        ] {
            assert_eq!(found(&names, Some(asked)).as_deref(), wanted, "{asked}");
        }
        assert_eq!(found(&names, None), None, "who names nobody is for nobody");
    }

    #[test]
    fn a_route_without_hostnames_has_what_nobody_else_has() {
        let names = names(&["*", "a.example.com"]);
        assert_eq!(found(&names, None).as_deref(), Some("*"));
        assert_eq!(found(&names, Some("b.example.com")).as_deref(), Some("*"));
        assert_eq!(found(&names, Some("a.example.com")).as_deref(), Some("a.example.com"));
    }

    proptest! {
        #[test]
        fn it_is_the_longest_that_a_naive_look_finds(
            given in prop::collection::vec("(\\*\\.)?[ab](\\.[ab]){0,3}", 0..8),
            asked in "[ab](\\.[ab]){0,4}",
        ) {
            let hostnames: Vec<&str> = given.iter().map(String::as_str).collect();
            let matches = |hostname: &&str| match hostname.strip_prefix('*') {
                Some(behind) => asked.ends_with(behind) && asked.len() > behind.len(),
                None => *hostname == asked,
            };
            let specific = |hostname: &&str| (!hostname.starts_with('*'), hostname.len());
            let naive = hostnames.iter().copied().filter(matches).max_by_key(specific);
            prop_assert_eq!(found(&names(&hostnames), Some(&asked)), naive.map(str::to_owned));
        }
    }
}
