//! No more connections than may be, and nobody who waits for one is forgotten.

use std::future::poll_fn;
use std::num::NonZeroU32;
use std::pin::pin;
use std::task::Poll;

use nodeway_core::balance::{Limit, UnderWay};
use nodeway_core::model::{Amounts, Limits};
use tokio::net::TcpListener;

use super::life::Server;
use super::*;

/// A client of `world`'s backend, under these limits.
fn client(at: &World, connections: u32, pending: Option<u32>) -> World {
    let backend = Amounts { connections: NonZeroU32::new(connections), pending, active: None };
    let limits = Limits { backend, ..Limits::default() };
    let settings = BackendSettings { limits, ..BackendSettings::default() };
    let (service, protocol) = (ObjectName::new("default", "web"), AppProtocol::Http);
    let (lasting, endpoints) = (Arc::clone(at.backend.lasting()), at.backend.endpoints());
    let backend = Backend::new(lasting, (service, 80), protocol, None, endpoints);
    World {
        worker: Rc::clone(&at.worker),
        client: Client::new(None, "test".into(), None, Signal::default()),
        backend: backend.with_settings(settings.into()),
        version: at.version,
    }
}

fn under_way(world: &World) -> &UnderWay {
    world.backend.lasting().under_way()
}

/// A server of HTTP/2 as a task of this thread.
async fn http2() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::task::spawn_local(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    // Who has gone does not listen.
                    if let Ok(mut body) = respond.send_response(Response::new(()), false) {
                        let _ = body.send_data("ok".into(), true);
                    }
                }
            });
        }
    });
    at
}

#[test]
fn the_idle_connections_of_one_client_do_not_starve_another() {
    for version in [Version::Http1, Version::Http2] {
        run(async move {
            let at = match version {
                Version::Http1 => Server::start().await.1,
                Version::Http2 => http2().await,
            };
            let world = World { version, ..World::new(at, ConnectionLife::default()) };
            let clients = [(); 3].map(|()| client(&world, 1, None));
            for round in 0..9 {
                let asked = tokio::time::timeout(SOON, clients[round % 3].ask()).await;
                assert_eq!(asked.unwrap().unwrap(), "ok", "{round}");
                assert!(under_way(&world).connections() <= 1);
            }
        });
    }
}

#[test]
fn a_client_whose_connection_is_never_idle_does_not_starve_another_one() {
    run(async {
        let world = World::new(http2().await, ConnectionLife::default()).http2();
        for pending in [None, Some(0)] {
            let (first, second) = (client(&world, 1, pending), client(&world, 1, pending));
            let mut held = first.send(Method::GET, Reuse::Any).await.unwrap();
            let end = Rc::new(Cell::new(false));
            let ended = Rc::clone(&end);
            let busy = tokio::task::spawn_local(async move {
                while !ended.get() {
                    // The next one is there before the last one ends.
                    held = first.send(Method::GET, Reuse::Any).await.unwrap();
                    tokio::time::sleep(MS).await;
                }
                held
            });
            let asked = tokio::time::timeout(SOON, second.ask()).await;
            assert_eq!(asked.expect("it ends").unwrap(), "ok");
            // It has a connection of its own, and no more.
            assert_eq!(under_way(&world).connections(), 2);
            second.ask().await.unwrap();
            assert_eq!((under_way(&world).connections(), under_way(&world).pending()), (2, 0));
            end.set(true);
            drop((busy.await.unwrap(), second));
            eventually("all are closed", || under_way(&world).connections() == 0).await;
        }
    });
}

#[test]
fn who_is_promised_a_connection_that_is_used_again_goes_on_without_it() {
    run(async {
        let world = World::new(http2().await, ConnectionLife::default()).http2();
        let (first, second) = (client(&world, 1, None), client(&world, 1, None));
        first.ask().await.unwrap();
        let mut asking = Box::pin(second.ask());
        let asked = poll_fn(|cx| Poll::Ready(asking.as_mut().poll(cx))).await;
        assert!(asked.is_pending());
        assert_eq!(under_way(&world).pending(), 1, "the idle one is to be closed");
        let held = first.send(Method::GET, Reuse::Any).await.unwrap();
        let asked = tokio::time::timeout(SOON, asking).await;
        assert_eq!(asked.expect("it ends").unwrap(), "ok");
        assert_eq!(under_way(&world).connections(), 2);
        drop(held);
    });
}

#[test]
fn who_finds_no_connection_waits_until_one_comes_back() {
    run(async {
        let (server, at) = Server::start().await;
        let world = World::new(at, ConnectionLife::default());
        let client = Rc::new(client(&world, 2, None));
        let asks = [(); 20].map(|()| {
            let client = Rc::clone(&client);
            tokio::task::spawn_local(async move { client.ask().await.unwrap() })
        });
        for ask in asks {
            assert_eq!(tokio::time::timeout(SOON, ask).await.unwrap().unwrap(), "ok");
        }
        assert_eq!(server.connections(), 2);
        assert_eq!(under_way(&world).pending(), 0);
    });
}

#[test]
fn who_waits_is_not_kept_by_a_connection_whose_request_is_still_being_sent() {
    run(async {
        let (_server, at) = Server::start().await;
        let world = World::new(at, ConnectionLife::default());
        let client = Rc::new(client(&world, 2, None));
        let (held, lease) = client.send(Method::GET, Reuse::Any).await.unwrap();
        // It is answered early.
        let (more, body) = Inbound::later();
        let request = Request::post("http://web/").header("host", "web");
        let request = request.body(RequestBody::new(body)).unwrap();
        let (early, uploads) = client.send_it(request, Reuse::Any).await.unwrap();
        early.into_body().collect().await.unwrap();
        uploads.give_back(&client.worker, &client.client);
        tokio::task::yield_now().await;
        let asking = Rc::clone(&client);
        let asked = tokio::task::spawn_local(async move { asking.ask().await });
        eventually("it waits", || under_way(&client).pending() == 1).await;
        held.into_body().collect().await.unwrap();
        lease.give_back(&client.worker, &client.client);
        let asked = tokio::time::timeout(SOON, asked).await;
        assert_eq!(asked.expect("it has the other one").unwrap().unwrap(), "ok");
        assert_eq!(under_way(&client).connections(), 2);
        drop(more);
    });
}

#[test]
fn no_more_wait_than_may_and_the_others_have_their_requests_back() {
    run(async {
        let (_, at) = Server::start().await;
        let world = World::new(at, ConnectionLife::default());
        let client = client(&world, 1, Some(0));
        let held = client.send(Method::GET, Reuse::Any).await.unwrap();
        match client.ask().await {
            Err(SendError::Full { request, overflow }) => {
                assert_eq!((overflow.limit, overflow.most), (Limit::Pending, 0));
                assert_eq!(request.uri(), "http://web/");
            }
            other => panic!("{other:?}"),
        }
        drop(held);
        assert_eq!(under_way(&world).pending(), 0);
    });
}

/// Polls `future` so many times and drops it; whether it had ended by then.
async fn poll_times<T>(
    future: impl Future<Output = T>,
    times: usize,
    mut at: impl FnMut(usize),
) -> bool {
    let mut future = pin!(future);
    for time in 0..times {
        at(time);
        if poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await.is_ready() {
            return true;
        }
        // Others run meanwhile, sockets too.
        tokio::task::yield_now().await;
    }
    false
}

#[test]
fn nothing_is_left_counted_wherever_a_request_is_dropped() {
    for version in [Version::Http1, Version::Http2] {
        run(async move {
            let at = match version {
                Version::Http1 => Server::start().await.1,
                Version::Http2 => http2().await,
            };
            let (mut ended, mut waited) = (0, false);
            for times in 0.. {
                let world = World { version, ..World::new(at, ConnectionLife::default()) };
                let (first, second) = (client(&world, 1, None), client(&world, 1, None));
                let (response, lease) = first.send(Method::GET, Reuse::Any).await.unwrap();
                let mut held = Some((response, lease));
                // Those who share a connection wait for one that is idle alone.
                let idle_at = if version == Version::Http1 { 3 } else { 0 };
                let done = poll_times(second.ask(), times, |time| {
                    waited |= under_way(&world).pending() > 0;
                    if time == idle_at {
                        let (response, lease) = held.take().unwrap();
                        drop(response);
                        drop(lease);
                    }
                });
                ended += usize::from(done.await);
                drop((held, first, second));
                let none = || {
                    let counts = under_way(&world);
                    let endpoint = world.endpoint().active();
                    (counts.connections(), counts.pending(), endpoint) == (0, 0, 0)
                };
                eventually(&format!("{version:?}, dropped after {times} polls"), none).await;
                if ended == 3 {
                    break;
                }
                assert!(times < 10_000, "it never ends");
            }
            assert!(waited, "{version:?}: nobody had to wait");
        });
    }
}

#[test]
fn a_connection_that_was_made_before_there_was_a_limit_is_not_kept_under_one() {
    run(async {
        let (server, at) = Server::start().await;
        let world = World::new(at, ConnectionLife::default());
        let (response, lease) = world.send(Method::GET, Reuse::Any).await.unwrap();
        let limited = World { client: Rc::clone(&world.client), ..client(&world, 1, None) };
        let counts = Arc::clone(world.backend.lasting().under_way());
        let asked = tokio::task::spawn_local(async move { limited.ask().await.unwrap() });
        eventually("it waits", || counts.pending() == 1).await;
        response.into_body().collect().await.unwrap();
        lease.give_back(&world.worker, &world.client);
        assert_eq!(
            tokio::time::timeout(SOON, asked).await.expect("it has its turn").unwrap(),
            "ok"
        );
        assert_eq!(server.connections(), 2);
    });
}
