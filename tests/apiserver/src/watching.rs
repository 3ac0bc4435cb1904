//! Watches: what has happened since a version, as it happens.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::answer::{Body, Refusal};
use crate::body::Parts;
use crate::faults::Streaming;
use crate::selector::Selector;
use crate::server::Shared;
use crate::store::Happened;
use crate::target::Target;

/// Octets that go into one chunk.
const CHUNK: usize = 64 << 10;

/// One watch.
struct Watching {
    shared: Arc<Shared>,
    target: Target,
    selector: Selector,
    parts: mpsc::Sender<Bytes>,
    /// All that has happened up to here has been told.
    position: u64,
}

/// It is over: the client has gone, or the server has said its last word.
struct Over;

/// Begins to answer a watch.
pub(crate) fn answer(
    shared: &Arc<Shared>,
    target: Target,
    selector: Selector,
) -> Result<Response<Body>, Refusal> {
    let mut faults = shared.faults();
    if faults.gone > 0 {
        faults.gone -= 1;
        return Err(Refusal::gone(1, shared.store().compacted));
    }
    let asked = target.asks("sendInitialEvents");
    let streaming = faults.streaming;
    drop(faults);
    if asked && streaming == Streaming::Off {
        let message = "WatchList: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
        return Err(Refusal::new(422, "Invalid", message));
    }
    let initial = match target.query("resourceVersion") {
        "" | "0" => true,
        _ => asked && streaming != Streaming::Unknown,
    };
    let position = if initial {
        0
    } else {
        let version = target.query("resourceVersion");
        version
            .parse()
            .map_err(|_| Refusal::bad(format!("invalid resource version: {version:?}")))?
    };
    if !initial && shared.store().since(position).is_none() {
        return Err(Refusal::gone(position, shared.store().compacted));
    }
    let (parts, receiver) = mpsc::channel(4);
    let watching = Watching { shared: Arc::clone(shared), target, selector, parts, position };
    tokio::spawn(watching.run(
        initial,
        asked && streaming == Streaming::Yes,
        asked && streaming == Streaming::OldEtcd,
    ));
    Ok(Response::builder()
        .status(StatusCode::OK)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Parts { parts: receiver }.boxed())
        .expect("an answer"))
}

// === impl Watching ===

impl Watching {
    async fn run(mut self, initial: bool, told_end: bool, old_etcd: bool) {
        let resource = self.target.resource.qualified();
        self.shared.faults().watch_begins(&resource);
        // Over or not: it ends the same way.
        let _over = self.go_on(initial, told_end, old_etcd).await;
        self.shared.faults().watch_ends(&resource);
    }

    async fn go_on(&mut self, initial: bool, told_end: bool, old_etcd: bool) -> Result<(), Over> {
        let mut version = self.shared.version.subscribe();
        if old_etcd {
            let refusal = Refusal::new(
                500,
                "InternalError",
                "etcdserver: requested watch progress notification is not supported",
            );
            return self.error(&refusal).await;
        }
        if initial {
            self.tell_all().await?;
            if told_end {
                self.bookmark(true).await?;
            }
        }
        let seconds = self.target.query("timeoutSeconds").parse().unwrap_or(1800);
        let end = Instant::now() + Duration::from_secs(seconds);
        let bookmarks = self.target.asks("allowWatchBookmarks");
        loop {
            version.mark_unchanged();
            if !self.tell_news().await? {
                return Ok(());
            }
            let (every, short) = {
                let faults = self.shared.faults();
                (faults.bookmarks, faults.short_watches)
            };
            if short {
                return Ok(());
            }
            let parts = self.parts.clone();
            tokio::select! {
                changed = version.changed() => changed.map_err(|_| Over)?,
                () = tokio::time::sleep(every), if bookmarks => self.bookmark(false).await?,
                () = tokio::time::sleep_until(end) => return Ok(()),
                () = parts.closed() => return Err(Over),
            }
        }
    }

    /// Everything there is, as added.
    async fn tell_all(&mut self) -> Result<(), Over> {
        let (all, version) = {
            let store = self.shared.store();
            let all: Vec<_> = store
                .all(&self.target.resource.qualified())
                .filter(|(_, stored)| self.selector.matches(&stored.value))
                .map(|(_, stored)| stored.bytes.clone())
                .collect();
            (all, store.version())
        };
        let mut chunk = BytesMut::with_capacity(CHUNK);
        for object in all {
            line(&mut chunk, "ADDED", &object);
            if chunk.len() >= CHUNK {
                self.send(&mut chunk).await?;
            }
        }
        self.position = version;
        self.send(&mut chunk).await
    }

    /// What has happened since. False, if that is not known any more, or the resource is served no longer.
    async fn tell_news(&mut self) -> Result<bool, Over> {
        let resource = self.target.resource.qualified();
        loop {
            let (news, served): (Option<Vec<Arc<Happened>>>, bool) = {
                let store = self.shared.store();
                let served = store.resources.contains(&self.target.resource);
                let position = self.position;
                self.position = store.version();
                let news = store.since(position);
                (
                    news.map(|news| news.filter(|n| n.resource == resource).cloned().collect()),
                    served,
                )
            };
            let Some(news) = news else {
                // A watch that is under way is not touched by a compaction: it reads from a cache.
                self.error(&Refusal::gone(self.position, self.position)).await?;
                return Ok(false);
            };
            if news.is_empty() {
                return Ok(served);
            }
            let gone = {
                let mut faults = self.shared.faults();
                let gone = faults.gone_events > 0;
                faults.gone_events -= usize::from(gone);
                gone
            };
            if gone {
                self.error(&Refusal::gone(self.position, self.position)).await?;
                return Ok(false);
            }
            let mut chunk = BytesMut::with_capacity(1 << 10);
            for happened in news {
                let before = happened.before.as_ref().is_some_and(|b| self.selector.matches(b));
                let now = !happened.gone && self.selector.matches(&happened.now.value);
                let kind = match (before, now) {
                    (false, false) => continue,
                    (false, true) => "ADDED",
                    (true, true) => "MODIFIED",
                    (true, false) => "DELETED",
                };
                line(&mut chunk, kind, &happened.now.bytes);
                let slow = self.shared.faults().slow_news;
                if chunk.len() >= CHUNK || !slow.is_zero() {
                    self.send(&mut chunk).await?;
                    tokio::time::sleep(slow).await;
                }
            }
            self.send(&mut chunk).await?;
        }
    }

    async fn bookmark(&mut self, initial_end: bool) -> Result<(), Over> {
        let resource = &self.target.resource;
        let mut metadata =
            json!({"resourceVersion": self.position.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata});
        self.say("BOOKMARK", &object).await?;
        let resource = self.target.resource.qualified();
        *self.shared.faults().bookmarked.entry(resource).or_default() += 1;
        Ok(())
    }

    async fn error(&mut self, refusal: &Refusal) -> Result<(), Over> {
        self.say("ERROR", &refusal.status()).await
    }

    async fn say(&mut self, kind: &str, object: &Value) -> Result<(), Over> {
        let mut chunk = BytesMut::new();
        line(&mut chunk, kind, object.to_string().as_bytes());
        self.send(&mut chunk).await
    }

    async fn send(&mut self, chunk: &mut BytesMut) -> Result<(), Over> {
        if chunk.is_empty() {
            return Ok(());
        }
        self.parts.send(chunk.split().freeze()).await.map_err(|_| Over)
    }
}

fn line(chunk: &mut BytesMut, kind: &str, object: &[u8]) {
    chunk.put_slice(b"{\"type\":\"");
    chunk.put_slice(kind.as_bytes());
    chunk.put_slice(b"\",\"object\":");
    chunk.put_slice(object);
    chunk.put_slice(b"}\n");
}
