//! Which frontends need no proxy: the kernel sends their connections to endpoints alone.
//!
//! Not how it draws one: that is `balance::Table`.

use std::sync::Arc;

use super::Frontend;
use super::frontend::Attached;
use crate::balance::{Backend, Family, Millis, Part, Table};
use crate::model::AppProtocol;
use crate::route::{Rule, WeightedBackend};

/// How the connections to a frontend are shared out where nobody looks at them.
#[derive(Debug)]
pub struct Alone {
    /// In the order of the rule.
    pub shares: Vec<Share>,
    /// Whether a client's connections are to go to the same endpoint, as long as that is there.
    pub keeps_clients: bool,
    family: Family,
}

/// A share of a frontend's connections.
#[derive(Debug)]
pub struct Share {
    /// Where they go; nowhere, if the rule's reference is in vain: they are refused.
    pub backend: Option<Arc<Backend>>,
    /// The rule that says so; none if it is the Service itself.
    pub rule: Option<Arc<Rule>>,
    weight: f64,
}

// === impl Frontend ===

impl Frontend {
    /// How connections are shared out that dial this family, if nobody needs to look at them: octets are relayed
    /// as they are, in the clear, for clients of all namespaces alike, and no policy wants more than can be kept
    /// without. Where there are endpoints of the other family only, somebody has to translate.
    ///
    /// # Errors
    /// Why the proxy is needed.
    pub fn alone(&self, family: Family) -> Result<Alone, &'static str> {
        if !self.routes.consumers.is_empty() {
            return Err("a route is for clients of its own namespace");
        }
        let shares = match &self.routes.producer {
            None if self.protocol == AppProtocol::Tcp => {
                let backend = Some(Arc::clone(&self.backend));
                vec![Share { backend, rule: None, weight: 1.0 }]
            }
            Some(Attached::Tcp(rule)) => of_rule(rule),
            None if self.protocol == AppProtocol::Tls => return Err("TLS is looked at"),
            None if self.protocol == AppProtocol::Detect => {
                return Err("what is spoken is found out");
            }
            None | Some(Attached::Http(_)) => return Err("requests are looked at"),
            Some(Attached::Tls(_)) => return Err("a TLSRoute goes by the name in TLS"),
        };
        let mut backends = shares.iter().filter_map(|share| share.backend.as_ref());
        let reached = |backend: &Backend| {
            let mut all = backend.endpoints().iter();
            backend.endpoints().is_empty() || all.any(|e| Family::of(e.address.ip()) == family)
        };
        let needs = |backend: &Arc<Backend>| {
            let other_family =
                || (!reached(backend)).then_some("all endpoints are of the other family");
            backend.needs_somebody().or_else(other_family)
        };
        if let Some(why) = backends.find_map(needs) {
            return Err(why);
        }
        let keeps = |share: &Share| share.backend.as_ref().is_some_and(|b| b.keeps_clients());
        let keeps_clients = shares.iter().any(keeps);
        // A client stays within each share, but its connections change shares by chance: two draws.
        if keeps_clients && shares.len() > 1 {
            return Err("one backend of several keeps its clients");
        }
        Ok(Alone { shares, keeps_clients, family })
    }
}

fn of_rule(rule: &Arc<Rule>) -> Vec<Share> {
    let share = |(weight, backend): (u64, Option<&WeightedBackend>)| Share {
        backend: backend.map(|weighted| Arc::clone(&weighted.backend)),
        rule: Some(Arc::clone(rule)),
        weight: weight as f64,
    };
    let shares: Vec<Share> = rule.weighted_shares().map(share).collect();
    if shares.is_empty() {
        return vec![Share { backend: None, rule: Some(Arc::clone(rule)), weight: 1.0 }];
    }
    shares
}

// === impl Alone ===

impl Alone {
    /// Who gets connections now; never nobody at all, though all of them may be refused.
    pub fn parts(&self, now: Millis) -> Vec<Part> {
        let mut parts = Vec::new();
        for (place, share) in self.shares.iter().enumerate() {
            match &share.backend {
                Some(backend) => {
                    backend.parts(now, self.family, (place, share.weight), &mut parts);
                }
                None => {
                    parts.push(Part { endpoint: None, share: place, weight: share.weight });
                }
            }
        }
        parts
    }

    /// The table of these parts.
    pub fn table(&self, parts: &[Part]) -> Table {
        if self.keeps_clients { Table::by_client(parts) } else { Table::by_chance(parts) }
    }
}
