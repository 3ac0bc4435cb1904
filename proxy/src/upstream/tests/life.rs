//! What policy says.

use std::cell::RefCell;
use std::num::{NonZeroU16, NonZeroU32};

use nodeway_core::model::{Http2Keepalive, TcpKeepalive};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A server of HTTP/1.1 as a task of this thread.
#[derive(Default)]
pub(super) struct Server {
    /// Requests on each connection so far.
    requests: RefCell<Vec<usize>>,
    open: Cell<usize>,
    /// Begins its responses, and does not end them.
    hangs: Cell<bool>,
}

impl Server {
    pub(super) async fn start() -> (Rc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (this, at) = (Rc::new(Self::default()), listener.local_addr().unwrap());
        let server = Rc::clone(&this);
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = server.requests.borrow().len();
                server.requests.borrow_mut().push(0);
                server.open.set(server.open.get() + 1);
                tokio::task::spawn_local(Rc::clone(&server).serve(number, stream));
            }
        });
        (this, at)
    }

    async fn serve(self: Rc<Self>, number: usize, mut stream: TcpStream) {
        let mut heard = Vec::new();
        while matches!(stream.read_buf(&mut heard).await, Ok(1..)) {
            if heard.ends_with(b"\r\n\r\n") {
                heard.clear();
                self.requests.borrow_mut()[number] += 1;
                let answer: &[u8] = match self.hangs.get() {
                    true => b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
                    false => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                };
                stream.write_all(answer).await.unwrap();
            }
        }
        self.open.set(self.open.get() - 1);
    }

    pub(super) fn connections(&self) -> usize {
        self.requests.borrow().len()
    }
}

fn life() -> ConnectionLife {
    ConnectionLife::default()
}

#[test]
fn what_is_remembered_of_an_endpoint_that_refuses_is_swept_too() {
    run(async {
        // Bound and not listening.
        let nobody = tokio::net::TcpSocket::new_v4().unwrap();
        nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let world = World::new(nobody.local_addr().unwrap(), life()).http2();
        assert!(matches!(world.ask().await, Err(SendError::Connect { .. })));
        assert!(world.client.pool.borrow().swept);
        assert_eq!(pool::links(), 1);
        assert_eq!(world.client.pool.borrow_mut().sweep(world.worker.clock.now()), 0);
        assert_eq!(pool::links(), 0);
    });
}

#[test]
fn a_connection_takes_so_many_requests_and_no_more() {
    run(async {
        let (server, at) = Server::start().await;
        let world = World::new(at, ConnectionLife { max_requests: NonZeroU32::new(3), ..life() });
        for _ in 0..7 {
            assert_eq!(world.ask().await.unwrap(), "ok");
        }
        assert_eq!(*server.requests.borrow(), [3, 3, 1]);
        eventually("those that are used up are closed", || server.open.get() == 1).await;
    });
}

#[test]
fn a_connection_that_is_old_takes_no_more_requests() {
    run(async {
        let (server, at) = Server::start().await;
        let world = World::new(at, ConnectionLife { max_age: Some(1000 * MS), ..life() });
        world.ask().await.unwrap();
        world.ask().await.unwrap();
        assert_eq!(server.connections(), 1);
        tokio::time::sleep(1010 * MS).await;
        world.ask().await.unwrap();
        assert_eq!(server.connections(), 2);
    });
}

#[test]
fn connections_that_are_made_together_do_not_end_together() {
    let ages = [0, 128, 255].map(|early| link::Age::new(Millis(0), early));
    let life = ConnectionLife { max_age: Some(Duration::from_secs(100)), ..life() };
    let ends = ages.map(|age| (0..).find(|now| age.is_over(&life, || Millis(now * 1000))).unwrap());
    assert_eq!(ends, [100, 95, 91]);
}

#[test]
fn an_idle_connection_is_closed_in_its_time_and_a_changed_policy_holds_for_it() {
    run(async {
        let (server, at) = Server::start().await;
        let mut world = World::new(at, life());
        world.ask().await.unwrap();
        let idle = ConnectionLife { idle: 60 * MS, ..life() };
        let settings = BackendSettings { connections: idle, ..BackendSettings::default() };
        world.backend = world.backend.with_settings(settings.into());
        world.ask().await.unwrap();
        assert_eq!((server.connections(), server.open.get()), (1, 1));
        eventually("the idle one is closed", || server.open.get() == 0).await;
        eventually("nothing is held", || pool::links() == 0).await;
    });
}

#[test]
fn the_connections_of_an_endpoint_that_is_gone_are_closed_at_once_and_busy_ones_finish() {
    run(async {
        let (server, at) = Server::start().await;
        let world = World::new(at, life());
        let (busy, lease) = world.send(Method::GET, Reuse::Any).await.unwrap();
        world.ask().await.unwrap();
        assert_eq!(server.open.get(), 2);
        world.retire();
        eventually("the idle one is closed", || server.open.get() == 1).await;
        assert_eq!(world.client.pool.borrow_mut().sweep(world.worker.clock.now()), 0);
        assert_eq!(busy.into_body().collect().await.unwrap().to_bytes(), "ok");
        lease.give_back(&world.worker, &world.client);
        eventually("the busy one too", || server.open.get() == 0).await;
        // Somebody who has begun under an older snapshot.
        assert_eq!(world.ask().await.unwrap(), "ok");
        eventually("his as well", || server.open.get() == 0).await;
        assert_eq!(pool::links(), 0);
        world.endpoint().reinstate();
        world.ask().await.unwrap();
        world.ask().await.unwrap();
        assert_eq!((server.connections(), server.open.get()), (4, 1));
    });
}

#[test]
fn what_is_under_way_with_an_endpoint_that_is_gone_is_cut_in_the_time_of_the_policy() {
    run(async {
        let (server, at) = Server::start().await;
        server.hangs.set(true);
        let world = World::new(at, ConnectionLife { drain: Some(50 * MS), ..life() });
        let (_response, lease) = world.send(Method::GET, Reuse::Any).await.unwrap();
        let under_way = lease.under_way();
        assert!(under_way.is_some());
        world.retire();
        let start = std::time::Instant::now();
        tokio::time::timeout(SOON, UnderWay::cut(under_way)).await.expect("it is cut");
        assert!(start.elapsed() >= 50 * MS, "{:?}", start.elapsed());
    });
}

#[test]
fn what_is_under_way_with_an_endpoint_that_returns_in_time_is_not_cut() {
    run(async {
        let (server, at) = Server::start().await;
        server.hangs.set(true);
        let world = World::new(at, ConnectionLife { drain: Some(20 * MS), ..life() });
        let (_response, lease) = world.send(Method::GET, Reuse::Any).await.unwrap();
        world.retire();
        world.endpoint().reinstate();
        let cut = tokio::time::timeout(80 * MS, UnderWay::cut(lease.under_way())).await;
        assert!(cut.is_err());
    });
}

#[test]
fn what_is_under_way_is_cut_though_its_endpoint_was_spoken_to_in_another_way_since_or_has_been_gone_before()
 {
    for returns in [false, true] {
        run(async move {
            let (server, at) = Server::start().await;
            server.hangs.set(true);
            let world = World::new(at, ConnectionLife { drain: Some(30 * MS), ..life() });
            let (_response, lease) = world.send(Method::GET, Reuse::Any).await.unwrap();
            let link = Rc::clone(&world.client.pool.borrow().links[&world.endpoint().id]);
            if returns {
                world.retire();
                world.endpoint().reinstate();
            } else {
                link.leave();
            }
            let cut = lease.under_way();
            tokio::time::sleep(50 * MS).await;
            let mut cut = Box::pin(UnderWay::cut(cut));
            assert!(tokio::time::timeout(20 * MS, &mut cut).await.is_err(), "it is not gone");
            drop(link);
            world.retire();
            tokio::time::timeout(SOON, cut).await.expect("it is cut");
        });
    }
}

#[test]
fn an_endpoint_that_goes_again_has_all_its_time_again() {
    run(async {
        let (server, at) = Server::start().await;
        server.hangs.set(true);
        let world = World::new(at, ConnectionLife { drain: Some(100 * MS), ..life() });
        let (_response, lease) = world.send(Method::GET, Reuse::Any).await.unwrap();
        world.retire();
        tokio::time::sleep(60 * MS).await;
        world.endpoint().reinstate();
        world.retire();
        let again = std::time::Instant::now();
        let cut = tokio::time::timeout(SOON, UnderWay::cut(lease.under_way())).await;
        cut.expect("it is cut");
        // Of its first time 40 ms were left; clocks are coarse.
        assert!(again.elapsed() >= 90 * MS, "{:?}", again.elapsed());
    });
}

#[test]
fn as_many_connections_as_policy_says_wait_for_requests_and_no_more() {
    run(async {
        let (server, at) = Server::start().await;
        let world = World::new(at, ConnectionLife { prewarm: 3, idle: 1000 * MS, ..life() });
        world.ask().await.unwrap();
        eventually("three wait", || server.open.get() >= 3).await;
        for _ in 0..5 {
            world.ask().await.unwrap();
        }
        tokio::time::sleep(20 * MS).await;
        // The one that was in use while the third was made waits too.
        assert!(server.connections() <= 4, "{}", server.connections());
        eventually("a client that asks nothing has none", || server.open.get() == 0).await;
    });
}

#[test]
fn an_endpoint_that_accepts_nobody_has_as_long_as_policy_says() {
    run(async {
        // TEST-NET-1: nobody is there, or there is no way.
        let at = "192.0.2.1:80".parse().unwrap();
        let world = World::new(at, ConnectionLife { connect_timeout: 30 * MS, ..life() });
        let start = std::time::Instant::now();
        assert!(matches!(world.ask().await, Err(SendError::Connect { .. })));
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    });
}

#[test]
fn tcp_keepalive_is_as_policy_says() {
    run(async {
        let (_server, at) = Server::start().await;
        let probes = NonZeroU16::new(2).unwrap();
        let (idle, interval) = (Duration::from_secs(7), Duration::from_secs(3));
        let tcp_keepalive = TcpKeepalive { idle, interval, probes };
        let world = World::new(at, life());
        let life = ConnectionLife { tcp_keepalive, ..life() };
        let stream = connect(&world.worker, &world.client, at, &life).await.unwrap();
        let socket = socket2::SockRef::from(&stream);
        assert_eq!(socket.tcp_keepalive_time().unwrap(), idle);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), interval);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 2);
    });
}

/// An HTTP/2 server that says nothing more once it has a request; how many PINGs have come.
async fn silent() -> (Rc<Cell<usize>>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (pings, at) = (Rc::new(Cell::new(0)), listener.local_addr().unwrap());
    let counted = Rc::clone(&pings);
    tokio::task::spawn_local(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counted = Rc::clone(&counted);
            tokio::task::spawn_local(async move {
                stream.read_exact(&mut [0; 24]).await.unwrap();
                stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
                let mut head = [0; 9];
                while stream.read_exact(&mut head).await.is_ok() {
                    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                    stream.read_exact(&mut vec![0; length as usize]).await.unwrap();
                    counted.set(counted.get() + usize::from(head[3] == 6));
                }
            });
        }
    });
    (pings, at)
}

#[test]
fn an_endpoint_that_does_not_answer_a_ping_has_lost_its_requests_and_idle_ones_are_not_asked() {
    run(async {
        let (pings, at) = silent().await;
        let keepalive = Http2Keepalive { interval: 30 * MS, timeout: 30 * MS };
        let life = ConnectionLife { http2_keepalive: Some(keepalive), ..life() };
        let world = World::new(at, life).http2();
        let lost = tokio::time::timeout(SOON, world.ask()).await.expect("it is given up");
        assert!(matches!(lost, Err(SendError::Lost { .. })), "{lost:?}");
        assert_eq!(pings.get(), 1);
        // One that has nothing under way.
        let stream = connect(&world.worker, &world.client, at, &life).await.unwrap();
        let (backend, endpoint) = (&world.backend, world.endpoint());
        let connected = backend.connect(endpoint).unwrap();
        adopt(
            &world.worker,
            &world.client,
            (backend, endpoint),
            Version::Http2,
            (stream, connected),
        )
        .await;
        tokio::time::sleep(150 * MS).await;
        assert_eq!(pings.get(), 1);
    });
}
