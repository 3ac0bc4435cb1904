//! Posts Events, one after the other.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use jiff::Timestamp;
use nodeway_core::model::ObjectName;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::series::{Event, Posted, Series};
use crate::runtime::until;
use crate::source::kube::access::{Access, Trouble};
use crate::source::kube::resource::Resource;
use crate::status::notice::{Notice, Subject, Tone};
use crate::status::time::text;
use crate::status::verdict::shortened;
use crate::status::{JSON, MERGE_PATCH};
use crate::telemetry::{EventResult, StatusCounters};

/// Who posts, as `kubectl describe` tells it.
const COMPONENT: &str = "nodeway";
/// The API takes no longer messages and names.
const MOST_MESSAGE: usize = 1024;
const MOST_NAME: usize = 253;
const ANSWER: Duration = Duration::from_secs(10);
/// What is forbidden is tried again after so long.
const FORBIDDEN_WAIT: Duration = Duration::from_secs(300);

/// See the module.
pub(in crate::status) struct Poster {
    access: Rc<Access>,
    node: String,
    counters: Arc<StatusCounters>,
    series: Series,
    /// Until when nothing is posted, because it is forbidden.
    forbidden: Option<Instant>,
    /// Whether that has been told.
    told: bool,
}

#[derive(Deserialize)]
struct Listing {
    #[serde(default)]
    items: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    uid: String,
}

// === impl Poster ===

impl Poster {
    pub(in crate::status) fn new(
        access: Rc<Access>,
        node: String,
        counters: Arc<StatusCounters>,
    ) -> Self {
        let series = Series::new(Instant::now());
        Self { access, node, counters, series, forbidden: None, told: false }
    }

    /// Goes on until nobody can tell anything any more.
    pub(in crate::status) async fn run(mut self, mut notices: mpsc::Receiver<Notice>) {
        loop {
            let wake = self.series.wake(Instant::now());
            tokio::select! {
                notice = notices.recv() => {
                    let Some(notice) = notice else { return };
                    if !self.series.take(notice, Instant::now(), Timestamp::now()) {
                        self.counters.event(EventResult::Dropped);
                    }
                }
                () = until(wake) => {
                    if let Some((id, event)) = self.series.next(Instant::now()) {
                        let posted = self.post(&event).await;
                        let now = Instant::now();
                        self.series.posted((id, &event), posted, now, fastrand::f64());
                    }
                }
            }
        }
    }

    async fn post(&mut self, event: &Event) -> Posted {
        if self.forbidden.is_some_and(|until| Instant::now() < until) {
            return Posted::Later;
        }
        let answer = timeout(ANSWER, self.try_post(event)).await;
        let trouble = match answer.unwrap_or_else(|_| Err(Trouble::Away("no answer".to_owned()))) {
            Ok(Posted::As(name)) => {
                (self.forbidden, self.told) = (None, false);
                self.counters.event(EventResult::Posted);
                return Posted::As(name);
            }
            Ok(other) => return other,
            Err(trouble) => trouble,
        };
        match trouble {
            // A namespace that goes takes no new objects.
            Trouble::Forbidden(message) if message.contains("being terminated") => Posted::Never,
            Trouble::Forbidden(message) => {
                self.forbidden = Some(Instant::now() + FORBIDDEN_WAIT);
                if !std::mem::replace(&mut self.told, true) {
                    tracing::error!(
                        "{message}: users are not told by Events; the proxy's ClusterRole needs the \
                         verbs create and patch on events"
                    );
                }
                self.counters.event(EventResult::Forbidden);
                Posted::Later
            }
            Trouble::Absent if event.name.is_some() => Posted::Forgotten,
            Trouble::Absent => Posted::Never,
            Trouble::Refused(message) => {
                tracing::debug!(message, ?event, "an event is refused");
                self.counters.event(EventResult::Failed);
                Posted::Never
            }
            Trouble::Busy(message, time) => {
                tracing::debug!(message, "an event is not posted");
                self.counters.event(EventResult::Failed);
                Posted::Busy(time)
            }
            trouble => {
                if let Trouble::Unauthorized(_) = trouble {
                    self.access.renew();
                }
                tracing::debug!(?trouble, "an event is not posted");
                self.counters.event(EventResult::Failed);
                Posted::Later
            }
        }
    }

    async fn try_post(&self, event: &Event) -> Result<Posted, Trouble> {
        let Subject { kind, name, uid } = &event.about;
        // What belongs to no namespace has its events in this one.
        let namespace = if name.namespace.is_empty() { "default" } else { &name.namespace };
        let path = format!("/api/v1/namespaces/{namespace}/events");
        if let Some(known) = &event.name {
            let patch = json!({"count": event.count, "lastTimestamp": text(event.last)});
            let (path, patch) = (format!("{path}/{known}"), patch.to_string().into_bytes());
            self.access.send(Method::PATCH, &path, MERGE_PATCH, patch).await?;
            return Ok(Posted::As(known.clone()));
        }
        let resource = Resource::of(*kind);
        let (version, uid) = match uid {
            Some(uid) => (resource.served(""), Some(Arc::clone(uid))),
            None => match self.look(&resource, name).await {
                Ok(None) => return Ok(Posted::Never),
                Ok(Some((version, uid))) => (version, Some(uid)),
                // Better without than not at all.
                Err(Trouble::Forbidden(_)) => (resource.served(""), None),
                Err(trouble) => return Err(trouble),
            },
        };
        let suffix = format!(".{:016x}", fastrand::u64(..));
        let room = MOST_NAME - suffix.len();
        let start = name.name.get(..room).unwrap_or(&name.name);
        let event_name = format!("{}{suffix}", start.trim_end_matches(['-', '.']));
        let mut about = json!({"apiVersion": resource.api_version(version), "kind": kind.to_string(),
            "name": name.name});
        if !name.namespace.is_empty() {
            about["namespace"] = json!(name.namespace);
        }
        if let Some(uid) = uid {
            about["uid"] = json!(uid);
        }
        let tone = if event.tone == Tone::Warning { "Warning" } else { "Normal" };
        let body = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": event_name, "namespace": namespace},
            "involvedObject": about,
            "type": tone,
            "reason": event.reason,
            "message": shortened(&event.message, MOST_MESSAGE),
            "count": event.count,
            "firstTimestamp": text(event.first),
            "lastTimestamp": text(event.last),
            "source": {"component": COMPONENT, "host": self.node},
            "reportingComponent": COMPONENT,
            "reportingInstance": self.node,
        });
        self.access.send(Method::POST, &path, JSON, body.to_string().into_bytes()).await?;
        Ok(Posted::As(event_name))
    }

    /// The object's uid (without it, `kubectl describe` does not find its events) and the version that it
    /// is served in. By a listing of one: that needs no verb that the source does not need.
    async fn look(
        &self,
        resource: &Resource,
        name: &ObjectName,
    ) -> Result<Option<(&'static str, Arc<str>)>, Trouble> {
        let selector = format!("metadata.name%3D{}", name.name);
        for version in resource.versions {
            let path = resource.path_in(version, &name.namespace);
            let answer = match self.access.get(&path, &[("fieldSelector", &selector)]).await {
                Err(Trouble::Absent) => continue,
                answer => answer?,
            };
            let listing: Listing = serde_json::from_slice(&answer).map_err(|error| {
                Trouble::Away(format!("a listing that cannot be read: {error}"))
            })?;
            return Ok(listing.items.into_iter().next().map(|o| (*version, o.metadata.uid.into())));
        }
        Ok(None)
    }
}
