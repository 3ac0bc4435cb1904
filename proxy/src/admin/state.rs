//! What the endpoints tell.

use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nodeway_core::snapshot::Store;
use nodeway_core::snapshot::explain::{Explainer, Explanation};
use serde_json::{Value, json};

use super::question::Asked;
use crate::runtime::{Clock, Published};
use crate::telemetry::Metrics;

/// Whether the first full state is in force.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

/// What the endpoints can see.
#[derive(Debug, Clone)]
pub struct Admin {
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// For `/readyz`.
    pub ready: Readiness,
    /// For `/snapshot`.
    pub published: Arc<Published>,
    /// For `/explain`.
    pub store: Rc<RefCell<Store>>,
    /// The workers' clock.
    pub clock: Clock,
}

// === impl Readiness ===

impl Readiness {
    /// Says whether it is.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    /// Whether it is.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

// === impl Admin ===

impl Admin {
    /// The snapshot in force, with the live state of its endpoints.
    pub fn snapshot(&self) -> Value {
        let snapshot = self.published.load();
        let now = self.clock.now();
        let mut frontends: Vec<_> = snapshot.frontends().collect();
        frontends.sort_by_key(|(address, _)| *address);
        let frontends: Vec<Value> = frontends
            .into_iter()
            .map(|(address, frontend)| {
                let endpoints: Vec<Value> = frontend
                    .backend
                    .endpoints()
                    .iter()
                    .enumerate()
                    .map(|(place, endpoint)| {
                        json!({
                            "address": endpoint.address,
                            "pod": endpoint.pod.as_ref().map(ToString::to_string),
                            "active": endpoint.active(),
                            "usable": endpoint.usable(now),
                            "ejected": endpoint.ejected(now),
                            "ejected_for_ms": endpoint.ejected_for(now),
                            "ill": endpoint.ill(),
                            "latency_us": endpoint.latency_us(now),
                            "weight": frontend.backend.weight(place),
                            "near": frontend.backend.is_near(place),
                        })
                    })
                    .collect();
                let tls = frontend.backend.tls().map(|tls| {
                    let refused = tls.terms.as_ref().err();
                    json!({ "policy": tls.policy.to_string(), "refused": refused })
                });
                let under_way = frontend.backend.lasting().under_way();
                json!({
                    "address": address,
                    "service": frontend.service.to_string(),
                    "port": frontend.port,
                    "protocol": frontend.protocol,
                    "routed": frontend.has_routes(),
                    "tls": tls,
                    "algorithm": format!("{:?}", frontend.backend.algorithm()),
                    "under_way": {
                        "active": under_way.active(),
                        "retries": under_way.retries(),
                        "pending": under_way.pending(),
                        "connections": under_way.connections(),
                        "adaptive_limit": under_way.adaptive_limit(),
                    },
                    "panic": frontend.backend.panicking_at(now),
                    "endpoints": endpoints,
                })
            })
            .collect();
        let pods: Vec<String> = snapshot.pods().iter().map(|pod| pod.name.to_string()).collect();
        json!({ "generation": self.published.generation(), "frontends": frontends, "pods": pods })
    }

    /// What would happen to a request now.
    ///
    /// # Errors
    /// It cannot be told, for people.
    pub fn explain(&self, asked: &Asked) -> Result<Explanation, String> {
        let question = asked.question()?;
        let (store, snapshot) = (self.store.borrow(), self.published.load());
        let explainer = Explainer { store: &store, snapshot: &snapshot, now: self.clock.now() };
        explainer.explain(&question).map_err(|unknown| unknown.to_string())
    }

    /// What there is to ask for.
    pub fn index(paths: &[(&str, &str)]) -> String {
        paths.iter().fold(String::new(), |mut text, (path, what)| {
            let _ = writeln!(text, "{path:<12} {what}");
            text
        })
    }
}
