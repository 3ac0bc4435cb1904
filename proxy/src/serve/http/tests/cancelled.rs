//! Nothing stays counted of a request that is dropped, wherever it stands.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use super::*;

/// Who polls only when told.
struct Told(AtomicBool);

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Polls `future` when it is to be, up to so many times, and drops it; whether it had ended by then.
async fn poll_times<T>(
    future: impl Future<Output = T>,
    times: usize,
    mut at: impl FnMut(usize),
) -> bool {
    let told = Arc::new(Told(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&told));
    let mut future = pin!(future);
    let end = Instant::now() + SOON;
    for time in 0..times {
        at(time);
        while !told.0.swap(false, Ordering::SeqCst) {
            assert!(Instant::now() < end, "nothing happens any more after {time} polls");
            tokio::task::yield_now().await;
        }
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return true;
        }
    }
    false
}

/// Drops a request of a fresh world at each place where it waits; `hold`: while somebody else has the only
/// connection, until the request has been waiting for it. `make` makes it, with what must outlive it.
async fn dropped_everywhere<K, F: Future>(
    what: &str,
    fresh: impl AsyncFn() -> World,
    hold: bool,
    make: impl Fn(&World, Rc<Conn>) -> (F, K),
) {
    let mut most = 0;
    for times in 0.. {
        // What goes on beside it gets on more or less far before it is dropped.
        for pause in [0, 1, 4] {
            let world = fresh().await;
            let mut held = None;
            if hold {
                held = Some(exchange::handle(world.conn(), world.get(), None).await);
            }
            let waited = Cell::new(!hold);
            let at = |time| {
                waited.set(waited.get() || world.pending() > 0);
                // Who shares a connection waits for one that is idle alone.
                if time == usize::from(world.version == Version::Http1) {
                    drop(held.take());
                }
            };
            let conn = world.conn();
            let (future, kept) = make(&world, Rc::clone(&conn));
            let mut future = Box::pin(future);
            let ended = poll_times(future.as_mut(), times, at).await;
            for _ in 0..pause {
                tokio::task::yield_now().await;
            }
            drop((future, kept, held));
            let left = format!("{what}: after {times} polls and {pause} turns requests are left");
            eventually(&left, || world.under_way().0 == 0).await;
            drop(conn);
            let left =
                format!("{what}: after {times} polls and {pause} turns connections are left");
            eventually(&left, || world.under_way() == (0, 0)).await;
            if ended {
                assert!(waited.get(), "{what}: it did not have to wait");
                most += 1;
            }
        }
        if most >= 3 {
            assert!(times > 2, "{what}: it never had to wait");
            return;
        }
        assert!(times < 1_000, "{what}: it never ends");
    }
}

const VERSIONS: [Version; 2] = [Version::Http1, Version::Http2];

#[test]
fn a_request() {
    for version in VERSIONS {
        run(async move {
            let at = Server::default().start(version).await;
            let fresh = async || World::new(version, at, Setting::default());
            let make = |world: &World, conn| (ask(conn, world.get()), ());
            dropped_everywhere(&format!("{version:?}"), fresh, false, make).await;
        });
    }
}

#[test]
fn a_request_that_waits_for_a_connection() {
    for version in VERSIONS {
        run(async move {
            let at = Server::default().start(version).await;
            let setting = || Setting { settings: one_connection(), ..Setting::default() };
            let fresh = async || World::new(version, at, setting());
            let make = |world: &World, conn| (ask(conn, world.get()), ());
            dropped_everywhere(&format!("{version:?}"), fresh, true, make).await;
        });
    }
}

#[test]
fn a_request_that_is_sent_again() {
    for version in VERSIONS {
        run(async move {
            let codes = vec![StatusCode::SERVICE_UNAVAILABLE];
            let retry = Retry { codes, attempts: Some(3), backoff: Some(MS) };
            let setting = || Setting { retry: Some(retry.clone()), ..Setting::default() };
            let fresh = async || {
                let server = Server { moody: true, ..Server::default() };
                World::new(version, server.start(version).await, setting())
            };
            let make = |world: &World, conn| {
                let asked = ask(conn, world.get());
                (async { assert_eq!(asked.await.0, StatusCode::OK) }, ())
            };
            dropped_everywhere(&format!("{version:?}"), fresh, false, make).await;
        });
    }
}

#[test]
fn a_request_that_is_copied() {
    for version in VERSIONS {
        run(async move {
            let at = Server::default().start(version).await;
            let fresh = async || {
                let copies_to = Some(Server::default().start(version).await);
                World::new(version, at, Setting { copies_to, ..Setting::default() })
            };
            let make = |world: &World, conn| (ask(conn, world.get()), ());
            dropped_everywhere(&format!("{version:?}"), fresh, false, make).await;
        });
    }
}

#[test]
fn a_request_whose_body_does_not_come() {
    for version in VERSIONS {
        run(async move {
            let at = Server::default().start(version).await;
            let fresh = async || World::new(version, at, Setting::default());
            let make = |world: &World, conn| {
                let mut request = world.get();
                let (says, body) = Inbound::later();
                (*request.method_mut(), *request.body_mut()) = (Method::POST, body);
                let asked = async {
                    let _ = tokio::time::timeout(20 * MS, ask(conn, request)).await;
                };
                (asked, says)
            };
            dropped_everywhere(&format!("{version:?}"), fresh, false, make).await;
        });
    }
}

#[test]
fn a_connection_that_leaves_http() {
    // From the client, to the endpoint.
    for (from, to) in VERSIONS.iter().flat_map(|from| VERSIONS.map(|to| (*from, to))) {
        run(async move {
            let at = Server::default().start(to).await;
            let setting = || Setting { speaks: Some(to), ..Setting::default() };
            let fresh = async || World::new(from, at, setting());
            let make = |world: &World, conn| {
                let (request, says) = world.websocket();
                let asked = async {
                    let response = exchange::handle(conn, request, None).await;
                    let granted = upgrade::granted(from == Version::Http2, response.status());
                    assert!(granted, "{from:?} to {to:?}: {}", response.status());
                    // The client hangs up sometime.
                    let _ = tokio::time::timeout(5 * MS, response.into_body().collect()).await;
                };
                (asked, says)
            };
            dropped_everywhere(&format!("{from:?} to {to:?}"), fresh, false, make).await;
        });
    }
}
