//! One kind kept up to date: a listing, then a watch from there on, and again from where it broke off.
//!
//! Listing and watching as Kubernetes' API concepts have it ("Efficient detection of changes").

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nodeway_core::model::Kind;
use tokio::sync::mpsc;

use super::access::{Access, Status, Stream, Trouble};
use super::backoff::Backoff;
use super::resource::{Only, Resource};
use super::wire::{Bookmark, Line, Page, encode};

/// A watch is asked to end after so many seconds, and up to a quarter less: no herd.
const WATCH_SECONDS: u64 = 300;
/// The server sends a bookmark about once a minute; a connection that says nothing for so long is dead.
const SILENCE: Duration = Duration::from_secs(150);
/// A server that streams a listing does so without a pause; one that does not know how never ends it.
const LISTING_SILENCE: Duration = Duration::from_secs(10);
/// What happened before a watch began comes at once: after a pause of so long it has been read.
const PAUSE: Duration = Duration::from_secs(1);
/// Of a kind that never pauses it is believed after so long.
const BACKLOG: Duration = Duration::from_secs(10);
/// A watch that ends sooner is not asked for again at once, and if it said nothing, it is a failure.
const SHORT: Duration = Duration::from_secs(1);
/// What is kept of a buffer that had to grow for a big object.
const BUFFER: usize = 64 << 10;
/// After failures; the API servers of a big cluster have some thousands of us.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const MOST_WAIT: Duration = Duration::from_secs(30);
/// At the end of a streamed listing.
const INITIAL_END: &str = "k8s.io/initial-events-end";

/// What a watch tells.
#[derive(Debug)]
pub(crate) struct Update<Said> {
    pub(crate) kind: Kind,
    /// The one object that was watched, if it is not the kind.
    pub(crate) only: Option<Only>,
    pub(crate) said: Said,
    pub(crate) state: State,
}

/// Reads the objects of one kind as they come. What it says of several is gathered.
pub(crate) trait Reader {
    type Said: Default;

    /// A listing begins.
    fn begin(&mut self);

    /// The object of this text is there, or has changed; its resource version, if that can be read.
    fn apply<'a>(&mut self, text: &'a str, said: &mut Self::Said) -> Option<Cow<'a, str>>;

    /// The object of this text is gone; the version of its end.
    fn delete<'a>(&mut self, text: &'a str, said: &mut Self::Said) -> Option<Cow<'a, str>>;

    /// A listing is complete: what it has not shown is gone.
    fn end(&mut self, said: &mut Self::Said);

    /// All are gone.
    fn clear(&mut self, said: &mut Self::Said) {
        self.begin();
        self.end(said);
    }

    /// Whether none is known.
    fn is_empty(&self) -> bool;

    /// Whether there is nothing to tell.
    fn is_nothing(said: &Self::Said) -> bool;
}

/// How a kind is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// A listing, or what has happened since, is under way: there may be more.
    Listing,
    /// All is known, and news will come.
    Current,
    /// What is known is no longer all; a listing is due.
    Behind,
    /// The server does not serve the kind: there are no objects.
    Absent,
    /// The server does not allow it, or refuses to watch this one object.
    Forbidden(String),
    /// There is no connection: what was known stays.
    Away(String),
}

/// See the module.
pub(crate) struct Watch<R: Reader> {
    resource: Resource,
    access: Rc<Access>,
    /// Whether the server streams listings, as far as is known.
    streaming: Rc<Cell<bool>>,
    updates: mpsc::Sender<Update<R::Said>>,
    objects: R,
    /// The version up to which all is known; none before the first listing and after a 410.
    position: Option<String>,
    /// Which of the resource's versions is asked for.
    version: usize,
    /// How often in a row the server did not know the kind.
    missing: usize,
    backoff: Backoff,
}

/// How long to wait before the next turn.
struct Wait {
    time: Duration,
    /// Whether it ends as soon as the server, which is away, answers somebody.
    until_back: bool,
}

/// Nobody listens any more.
struct Unheard;

/// What ends a turn.
enum End {
    Trouble(Trouble),
    /// A watch has ended in order, but too soon.
    Soon,
    Unheard,
}

// === impl Wait ===

impl Wait {
    const NONE: Self = Self::of(Duration::ZERO);

    const fn of(time: Duration) -> Self {
        Self { time, until_back: false }
    }
}

// === impl End ===

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl From<Unheard> for End {
    fn from(_: Unheard) -> Self {
        Self::Unheard
    }
}

// === impl Watch ===

impl<R: Reader> Watch<R> {
    pub(crate) fn new(
        resource: Resource,
        access: Rc<Access>,
        streaming: Rc<Cell<bool>>,
        updates: mpsc::Sender<Update<R::Said>>,
        objects: R,
    ) -> Self {
        let backoff = Backoff::new(FIRST_WAIT, MOST_WAIT);
        let (position, version, missing) = (None, 0, 0);
        Self { resource, access, streaming, updates, objects, position, version, missing, backoff }
    }

    /// Goes on until nobody listens.
    pub(crate) async fn run(mut self) {
        loop {
            let wait = match self.turn().await {
                Ok(()) => Wait::NONE,
                Err(End::Soon) => Wait::of(self.backoff.next()),
                Err(End::Unheard) => return,
                Err(End::Trouble(trouble)) => match self.settle(trouble).await {
                    Ok(wait) => wait,
                    Err(Unheard) => return,
                },
            };
            tokio::select! {
                () = self.rest(wait) => {}
                () = self.updates.closed() => return,
            }
        }
    }

    /// The first kind to get through to a server that was away wakes the others.
    async fn rest(&self, Wait { time, until_back }: Wait) {
        let back = self.access.back();
        let least = time.min(FIRST_WAIT);
        tokio::time::sleep(least).await;
        tokio::select! {
            () = tokio::time::sleep(time - least) => {}
            () = back, if until_back => {}
        }
    }

    /// What trouble means for this kind; how long to wait.
    async fn settle(&mut self, trouble: Trouble) -> Result<Wait, Unheard> {
        tracing::debug!(kind = %self.resource.kind, ?trouble, "a watch has ended");
        if !matches!(trouble, Trouble::Absent) {
            self.missing = 0;
        }
        let mut wait = self.backoff.next();
        let mut said = R::Said::default();
        let state = match trouble {
            Trouble::Gone => {
                // A listing is due, and soon; a server that says so again and again is asked less and
                // less often.
                self.position = None;
                State::Behind
            }
            Trouble::Absent => {
                let versions = self.resource.versions.len();
                self.position = None;
                self.version = (self.version + 1) % versions;
                self.missing += 1;
                if !self.missing.is_multiple_of(versions) {
                    return Ok(Wait::NONE);
                }
                // A server that has just started may not know all its kinds yet: what was known is
                // not given up for one word of it.
                if self.missing == versions && !self.objects.is_empty() {
                    return Ok(Wait::of(wait.max(SHORT)));
                }
                self.objects.clear(&mut said);
                State::Absent
            }
            Trouble::Forbidden(message) => State::Forbidden(format!(
                "{message}: the proxy's ClusterRole needs the verbs list and watch on {}",
                self.resource.rbac()
            )),
            Trouble::Unauthorized(message) => {
                self.access.renew();
                State::Away(message)
            }
            Trouble::Busy(message, least) => {
                wait = wait.max(least.min(MOST_WAIT));
                State::Away(message)
            }
            Trouble::Refused(message) => match &self.resource.only {
                None => State::Away(message),
                // It will say so for ever: nobody is to wait for it.
                Some(only) => State::Forbidden(format!("{}: {message}", only.name)),
            },
            Trouble::Failed(message) => State::Away(message),
            Trouble::Conflict => State::Away("a conflict (409)".to_owned()),
            Trouble::Away(_) | Trouble::Silent(_) => {
                let why = match trouble {
                    Trouble::Away(message) => message,
                    _ => format!("nothing for {SILENCE:?}"),
                };
                self.tell(said, State::Away(why)).await?;
                return Ok(Wait { time: wait, until_back: true });
            }
        };
        self.tell(said, state).await?;
        Ok(Wait::of(wait))
    }

    /// A listing, if one is due, and a watch to its end.
    async fn turn(&mut self) -> Result<(), End> {
        if self.position.is_none() {
            if self.streaming.get() {
                match self.stream_listing().await {
                    // Not everybody can stream: asked for in pages, it is the same.
                    Err(End::Trouble(Trouble::Refused(why))) => {
                        // What is wrong with one object's watch says nothing of the others.
                        if self.resource.only.is_none() && self.streaming.replace(false) {
                            tracing::debug!(why, "the server does not stream listings: in pages");
                        }
                    }
                    // It may the next time.
                    Err(End::Trouble(Trouble::Failed(why))) => {
                        tracing::debug!(why, "a listing is not streamed: in pages this time");
                    }
                    ended => return ended,
                }
            }
            self.list().await?;
        }
        self.watch().await
    }

    async fn list(&mut self) -> Result<(), End> {
        let path = self.path();
        let mut token = String::new();
        self.objects.begin();
        loop {
            let mut query = self.selector();
            query.push(("limit", self.resource.page.to_string()));
            if !token.is_empty() {
                query.push(("continue", encode(&token)));
            }
            let query: Vec<_> = query.iter().map(|(key, value)| (*key, value.as_str())).collect();
            let body = self.access.get(&path, &query).await?;
            self.missing = 0;
            let broken = |error: &dyn std::fmt::Display| {
                Trouble::Away(format!("a listing that cannot be read: {error}"))
            };
            let text = std::str::from_utf8(&body).map_err(|error| broken(&error))?;
            let page: Page<'_> = serde_json::from_str(text).map_err(|error| broken(&error))?;
            let mut said = R::Said::default();
            for item in page.items.iter().flatten() {
                self.objects.apply(item.get(), &mut said);
            }
            token = page.metadata.r#continue;
            if token.is_empty() {
                self.objects.end(&mut said);
                self.position = Some(page.metadata.resource_version);
                self.tell(said, State::Current).await?;
                return Ok(());
            }
            self.tell(said, State::Listing).await?;
        }
    }

    /// A listing that goes over into a watch (KEP-3157).
    async fn stream_listing(&mut self) -> Result<(), End> {
        self.objects.begin();
        let mut query = self.watching();
        query.push(("sendInitialEvents", "true".to_owned()));
        query.push(("resourceVersionMatch", "NotOlderThan".to_owned()));
        self.follow(query, true).await
    }

    async fn watch(&mut self) -> Result<(), End> {
        let mut query = self.watching();
        query.push(("resourceVersion", encode(self.position.as_deref().unwrap_or_default())));
        self.follow(query, false).await
    }

    /// Follows a watch to its end.
    async fn follow(&mut self, query: Vec<(&str, String)>, mut listing: bool) -> Result<(), End> {
        let query: Vec<_> = query.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let stream = self.access.stream(&self.path(), &query).await?;
        self.missing = 0;
        let (began, mut any) = (Instant::now(), false);
        let ended = self.read(stream, &mut listing, &mut any).await;
        let soon = began.elapsed() < SHORT;
        if !listing && !soon {
            self.backoff.reset();
        }
        match ended {
            Ok(()) if !soon => Ok(()),
            Ok(()) if any => Err(End::Soon),
            Ok(()) => Err(Trouble::Away("watches end as soon as they begin".to_owned()).into()),
            Err(end) => Err(end),
        }
    }

    async fn read(
        &mut self,
        mut stream: Stream,
        listing: &mut bool,
        any: &mut bool,
    ) -> Result<(), End> {
        let began = Instant::now();
        // Until when more may come of what happened before; none once that has been read.
        let mut behind = (!*listing).then(|| began + PAUSE);
        // A line that is not complete yet.
        let mut begun = Vec::new();
        loop {
            let patience = match behind {
                Some(until) => until.saturating_duration_since(Instant::now()),
                None if *listing => LISTING_SILENCE,
                None => SILENCE,
            };
            let chunk = match stream.next(patience).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) if *listing => {
                    return Err(Trouble::Failed("it ended before its end".to_owned()).into());
                }
                Ok(None) => {
                    if behind.is_some() && *any {
                        self.tell(R::Said::default(), State::Current).await?;
                    }
                    return Ok(());
                }
                Err(Trouble::Silent(patience)) if *listing => {
                    return Err(Trouble::Failed(format!("it pauses for {patience:?}")).into());
                }
                Err(Trouble::Silent(_)) if behind.is_some() => {
                    behind = None;
                    self.tell(R::Said::default(), State::Current).await?;
                    continue;
                }
                Err(trouble) => return Err(trouble.into()),
            };
            behind = behind.map(|_| (Instant::now() + PAUSE).min(began + BACKLOG));
            let Some(end) = chunk.iter().rposition(|octet| *octet == b'\n') else {
                begun.extend_from_slice(&chunk);
                continue;
            };
            let (lines, rest) = chunk.split_at(end + 1);
            begun.extend_from_slice(lines);
            let mut said = R::Said::default();
            let mut trouble = None;
            for line in begun.split(|octet| *octet == b'\n').filter(|line| !line.is_empty()) {
                match self.line(line, listing, &mut said) {
                    Ok(bookmark) => {
                        *any = true;
                        behind = behind.filter(|_| !bookmark);
                    }
                    Err(found) => {
                        trouble = Some(found);
                        break;
                    }
                }
            }
            begun.clear();
            begun.shrink_to(BUFFER);
            begun.extend_from_slice(rest);
            let all = !*listing && behind.is_none();
            let state = if all { State::Current } else { State::Listing };
            self.tell(said, state).await?;
            if let Some(trouble) = trouble {
                return Err(trouble.into());
            }
        }
    }

    /// Whether it is a bookmark: all that has happened so far has been said.
    fn line(
        &mut self,
        line: &[u8],
        listing: &mut bool,
        said: &mut R::Said,
    ) -> Result<bool, Trouble> {
        let broken = |error: &dyn std::fmt::Display| {
            Trouble::Away(format!("an event that cannot be read: {error}"))
        };
        let line: Line<'_> = serde_json::from_slice(line).map_err(|error| broken(&error))?;
        let object = line.object.get();
        let version = match &*line.r#type {
            "ADDED" | "MODIFIED" => self.objects.apply(object, said),
            "DELETED" => self.objects.delete(object, said),
            "BOOKMARK" => {
                let Bookmark { metadata } =
                    serde_json::from_str(object).map_err(|error| broken(&error))?;
                if *listing {
                    let end = metadata.annotations.as_ref().and_then(|a| a.get(INITIAL_END));
                    if end.is_none_or(|end| end != "true") {
                        // It is an ordinary watch, which will never say that all has been shown.
                        return Err(Trouble::Refused("it has no end".to_owned()));
                    }
                    self.objects.end(said);
                    *listing = false;
                }
                Some(metadata.resource_version.into())
            }
            "ERROR" => {
                let status: Status = serde_json::from_str(object).unwrap_or_default();
                return Err(match status.trouble() {
                    Trouble::Away(why) if *listing => Trouble::Failed(why),
                    trouble => trouble,
                });
            }
            other => return Err(broken(&format_args!("type {other:?}"))),
        };
        // While a listing is under way, versions come in no order.
        if let Some(version) = version.filter(|version| !*listing && !version.is_empty()) {
            self.position = Some(version.into_owned());
        }
        Ok(line.r#type == "BOOKMARK")
    }

    /// Tells; nothing that is known already.
    async fn tell(&self, said: R::Said, state: State) -> Result<(), Unheard> {
        if R::is_nothing(&said) && state == State::Listing {
            return Ok(());
        }
        let Resource { kind, only, .. } = &self.resource;
        let update = Update { kind: *kind, only: only.clone(), said, state };
        self.updates.send(update).await.map_err(|_| Unheard)
    }

    fn path(&self) -> String {
        let versions = self.resource.versions;
        let version = versions.get(self.version).copied().unwrap_or("v1");
        match &self.resource.only {
            None => self.resource.path(version),
            Some(only) => self.resource.path_in(version, &only.name.namespace),
        }
    }

    fn selector(&self) -> Vec<(&'static str, String)> {
        let selector = self.resource.field_selector.as_deref();
        selector.map(|selector| ("fieldSelector", encode(selector))).into_iter().collect()
    }

    fn watching(&self) -> Vec<(&'static str, String)> {
        let mut query = self.selector();
        let seconds = WATCH_SECONDS - fastrand::u64(..WATCH_SECONDS / 4);
        query.push(("watch", "true".to_owned()));
        query.push(("allowWatchBookmarks", "true".to_owned()));
        query.push(("timeoutSeconds", seconds.to_string()));
        query
    }
}
