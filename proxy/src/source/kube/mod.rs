//! The Kubernetes API as the source: one watch a kind (and one a ConfigMap that a policy names), and one
//! stream of events.
//!
//! Nothing of the API's objects is kept but their names and versions: what they mean goes on as it comes.

pub(crate) mod access;
pub(crate) mod backoff;
mod bundles;
mod client;
mod hub;
mod objects;
pub(crate) mod resource;
pub(crate) mod watch;
mod wire;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use self::access::connect;

use self::access::Access;
use self::hub::Hub;
use self::objects::Objects;
use self::resource::Resource;
use self::watch::Watch;
use super::{Event, Health, Source};

/// Updates that may wait for the hub.
const UPDATES: usize = 64;

/// The Kubernetes API.
#[derive(Debug, Clone)]
pub struct KubeSource {
    /// The way to it.
    pub config: kube::Config,
    /// Whose pods are asked for; none at all without.
    pub node_name: Option<String>,
    /// Told how current the state is.
    pub health: Arc<Health>,
}

impl Source for KubeSource {
    async fn run(self, events: mpsc::Sender<Event>) -> anyhow::Result<()> {
        let access = Rc::new(Access::new(self.config)?);
        tracing::info!(server = %access.server(), "the Kubernetes API is the source");
        let streaming = Rc::new(Cell::new(true));
        let (updates, updated) = mpsc::channel(UPDATES);
        let resources = Resource::all(self.node_name.as_deref());
        let (hub, wanted) = Hub::new(resources.iter().map(|r| r.kind), self.health);
        let mut watches = JoinSet::new();
        let bundles = bundles::Watches {
            wanted,
            access: Rc::clone(&access),
            streaming: Rc::clone(&streaming),
            updates: updates.clone(),
        };
        watches.spawn_local(bundles.run());
        for resource in resources {
            let objects = Objects::new(resource.kind);
            let (access, streaming) = (Rc::clone(&access), Rc::clone(&streaming));
            let watch = Watch::new(resource, access, streaming, updates.clone(), objects);
            watches.spawn_local(watch.run());
        }
        drop(updates);
        tokio::select! {
            () = hub.run(updated, events) => Ok(()),
            Some(ended) = watches.join_next() => ended.context("a watch"),
        }
    }
}
