//! What XMesh objects that name us as their controller say of us: that we are here, and what we can do
//! (GEP-3949). Written by the leader.
//!
//! There are one or two in a cluster, and none where the experimental channel is not installed; so there
//! is no queue, and what changes is written one after the other.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use nodeway_core::model::Kind;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::MERGE_PATCH;
use super::election::Tenure;
use super::features::FEATURES;
use super::parents::CONTROLLER;
use super::time::seconds;
use crate::runtime::until;
use crate::source::kube::access::{Access, Trouble};
use crate::source::kube::backoff::back_off;
use crate::source::kube::resource::Resource;
use crate::source::kube::watch::{Reader, Watch};
use crate::telemetry::{StatusCounters, StatusWrite};

/// Updates that may wait.
const UPDATES: usize = 4;
/// A write takes so long at most, and never longer than we lead.
const ANSWER: Duration = Duration::from_secs(10);
/// Between two writes of one object: whoever undoes them, or refuses them, is asked less and less often.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const MOST_WAIT: Duration = Duration::from_secs(300);
/// After so long a write has nothing to do with the one before.
const PEACE: Duration = Duration::from_secs(600);

/// An XMesh that names us.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    name: String,
    uid: String,
    resource_version: String,
    generation: i64,
    /// Whether it asks for parameters: there are none that we could be given.
    parameters: bool,
    /// As it stands there.
    status: Value,
}

/// What a watch tells.
#[derive(Debug)]
enum Told {
    /// Those that are not shown until the listing ends are gone.
    Listing,
    There(Box<Found>),
    /// Gone, or another's.
    Gone(String),
    Listed,
}

#[derive(Debug, Default)]
struct MeshReader {
    begins: bool,
    /// Whether any was ever shown.
    any: bool,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    generation: i64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    controller_name: String,
    #[serde(default)]
    parameters_ref: Option<Value>,
}

/// One that is ours, as it is known.
#[derive(Debug)]
struct Known {
    found: Found,
    seen: bool,
    /// When it was written last, and how often lately.
    written: Option<(Instant, u32)>,
}

/// Goes on until it is dropped.
pub(super) async fn tell(access: Rc<Access>, tenure: Tenure, counters: Arc<StatusCounters>) {
    let (updates, mut updated) = mpsc::channel(UPDATES);
    let streaming = Rc::new(std::cell::Cell::new(true));
    let resource = Resource::of(Kind::Mesh);
    let reader = MeshReader::default();
    let watch = Watch::new(resource.clone(), Rc::clone(&access), streaming, updates, reader);
    let mut watches = JoinSet::new();
    watches.spawn_local(watch.run());
    let mut meshes: BTreeMap<String, Known> = BTreeMap::new();
    loop {
        let now = Instant::now();
        let due = meshes.values().filter_map(|known| known.due(now)).min();
        tokio::select! {
            Some(update) = updated.recv() => {
                update.said.into_iter().for_each(|told| take(&mut meshes, told));
            }
            () = until(due) => {
                let now = Instant::now();
                for known in meshes.values_mut().filter(|known| known.is_due(now)) {
                    known.wrote(now);
                    let result = write(&access, &tenure, &resource, &known.found).await;
                    counters.write(result);
                }
            }
            Some(ended) = watches.join_next() => {
                tracing::error!(?ended, "the watch of XMeshes has ended");
                std::future::pending::<()>().await;
            }
        }
    }
}

fn take(meshes: &mut BTreeMap<String, Known>, told: Told) {
    match told {
        Told::Listing => meshes.values_mut().for_each(|known| known.seen = false),
        Told::Listed => meshes.retain(|_, known| known.seen),
        Told::Gone(name) => _ = meshes.remove(&name),
        Told::There(found) => {
            let written = meshes.get(&found.name).filter(|known| known.found.uid == found.uid);
            let written = written.and_then(|known| known.written);
            meshes.insert(found.name.clone(), Known { found: *found, seen: true, written });
        }
    }
}

async fn write(
    access: &Access,
    tenure: &Tenure,
    resource: &Resource,
    found: &Found,
) -> StatusWrite {
    let Some(left) = tenure.left() else { return StatusWrite::Failed };
    let path = format!("{}/{}/status", resource.path(resource.served("")), found.name);
    let body = json!({
        "metadata": {"uid": found.uid, "resourceVersion": found.resource_version},
        "status": found.wanted(&seconds()),
    });
    let body = body.to_string().into_bytes();
    let sent = access.send(Method::PATCH, &path, MERGE_PATCH, body);
    match timeout(left.min(ANSWER), sent).await {
        Ok(Ok(_)) => StatusWrite::Written,
        Ok(Err(Trouble::Conflict)) => StatusWrite::Conflict,
        Ok(Err(Trouble::Forbidden(message))) => {
            tracing::warn!("{message}: the status of XMesh {} is not written", found.name);
            StatusWrite::Forbidden
        }
        Ok(Err(trouble)) => {
            if let Trouble::Unauthorized(_) = trouble {
                access.renew();
            }
            tracing::debug!(name = found.name, ?trouble, "an XMesh's status is not written");
            StatusWrite::Failed
        }
        Err(_) => StatusWrite::Failed,
    }
}

// === impl Known ===

impl Known {
    /// When it may be written, `now` at the earliest; none if it says what it should.
    fn due(&self, now: Instant) -> Option<Instant> {
        if self.found.is_told() {
            return None;
        }
        let Some((at, times)) = self.written else { return Some(now) };
        Some(now.max(at + back_off(FIRST_WAIT, MOST_WAIT, times, 1.0)))
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due(now).is_some_and(|due| due <= now)
    }

    fn wrote(&mut self, now: Instant) {
        let lately = self.written.filter(|(at, _)| now.saturating_duration_since(*at) < PEACE);
        self.written = Some((now, lately.map_or(0, |(_, times)| times + 1)));
    }
}

// === impl Found ===

impl Found {
    fn verdict(&self) -> (&'static str, &'static str, &'static str) {
        if self.parameters {
            let message = "spec.parametersRef: Nodeway takes no parameters from there";
            return ("False", "InvalidParameters", message);
        }
        ("True", "Accepted", "Nodeway is this mesh.")
    }

    /// Whether its status says what it should.
    fn is_told(&self) -> bool {
        let (status, reason, message) = self.verdict();
        let mut conditions = self.conditions();
        let accepted = conditions.find(|condition| condition["type"] == "Accepted");
        accepted.is_some_and(|condition| {
            condition["status"] == status
                && condition["reason"] == reason
                && condition["message"] == message
                && condition["observedGeneration"] == self.generation
        }) && self.status["supportedFeatures"] == supported()
    }

    /// What its status should be; others' conditions stay.
    fn wanted(&self, time: &str) -> Value {
        let (status, reason, message) = self.verdict();
        let mut conditions: Vec<Value> = self.conditions().cloned().collect();
        let before = conditions.iter().position(|condition| condition["type"] == "Accepted");
        let before = before.map(|at| conditions.remove(at)).unwrap_or_default();
        let since = before["lastTransitionTime"].as_str().filter(|_| before["status"] == status);
        let accepted = json!({"type": "Accepted", "status": status, "reason": reason,
            "message": message, "observedGeneration": self.generation,
            "lastTransitionTime": since.unwrap_or(time)});
        conditions.insert(0, accepted);
        json!({"conditions": conditions, "supportedFeatures": supported()})
    }

    fn conditions(&self) -> impl Iterator<Item = &Value> {
        self.status["conditions"].as_array().into_iter().flatten()
    }
}

fn supported() -> Value {
    FEATURES.iter().map(|name| json!({ "name": name })).collect()
}

// === impl MeshReader ===

impl Reader for MeshReader {
    type Said = Vec<Told>;

    fn begin(&mut self) {
        self.begins = true;
    }

    fn apply<'a>(&mut self, text: &'a str, said: &mut Vec<Told>) -> Option<Cow<'a, str>> {
        self.begun(said);
        self.any = true;
        let Object { metadata, spec, status } = serde_json::from_str(text).ok()?;
        let Metadata { name, uid, resource_version, generation } = metadata;
        let version = Cow::Owned(resource_version.clone());
        said.push(if spec.controller_name == CONTROLLER {
            let parameters = spec.parameters_ref.is_some_and(|reference| !reference.is_null());
            let found = Found { name, uid, resource_version, generation, parameters, status };
            Told::There(Box::new(found))
        } else {
            Told::Gone(name)
        });
        Some(version)
    }

    fn delete<'a>(&mut self, text: &'a str, said: &mut Vec<Told>) -> Option<Cow<'a, str>> {
        self.begun(said);
        let Object { metadata, .. } = serde_json::from_str(text).ok()?;
        said.push(Told::Gone(metadata.name));
        Some(metadata.resource_version.into())
    }

    fn end(&mut self, said: &mut Vec<Told>) {
        self.begun(said);
        said.push(Told::Listed);
    }

    fn is_empty(&self) -> bool {
        !self.any
    }

    fn is_nothing(said: &Vec<Told>) -> bool {
        said.is_empty()
    }
}

impl MeshReader {
    fn begun(&mut self, said: &mut Vec<Told>) {
        if std::mem::take(&mut self.begins) {
            said.push(Told::Listing);
        }
    }
}
