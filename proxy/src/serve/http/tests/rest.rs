//! Connections over which nobody asks.

use tokio::task::JoinHandle;

use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: web\r\n\r\n";
/// Longer than it takes to come to rest.
const LONG: Duration = Duration::from_secs(2);

/// A client's connection, and who serves it.
struct Asking {
    client: TcpStream,
    served: JoinHandle<Option<AtRest>>,
}

impl Asking {
    /// One whose client has said this.
    async fn begin(said: &'static [u8]) -> Self {
        let at = Server::default().start(Version::Http1).await;
        let world = World::new(Version::Http1, at, Setting::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, client) = tokio::join!(listener.accept(), connecting);
        let stream = accepted.unwrap().0;
        let of = Client::new(None, "test".into(), None, Signal::default());
        let target = Target::service_port(name("web"), 80, IpAddr::V4(Ipv4Addr::LOCALHOST));
        let worker = Rc::clone(&world.worker);
        let rest = AtRest { worker, client: of, target, stream, said: said.into() };
        let served = serve_http1(rest);
        Self { client: client.unwrap(), served: tokio::task::spawn_local(served) }
    }

    /// Reads so many answers.
    async fn answers(&mut self, wanted: usize) {
        let mut heard = Vec::new();
        while heard.windows(6).filter(|end| end == b"\r\n\r\nok").count() < wanted {
            assert!(self.client.read_buf(&mut heard).await.unwrap() > 0, "{heard:?}");
        }
    }

    async fn at_rest(&mut self) -> AtRest {
        tokio::time::timeout(SOON, &mut self.served).await.unwrap().unwrap().unwrap()
    }
}

#[test]
fn a_connection_over_which_nobody_asks_is_its_socket_alone_and_serves_on() {
    run(async {
        let mut asking = Asking::begin(GET).await;
        asking.answers(1).await;
        for _ in 0..2 {
            let rest = asking.at_rest().await;
            assert!(rest.said.is_empty(), "{:?}", rest.said);
            asking.served = tokio::task::spawn_local(serve_http1(rest));
            asking.client.write_all(&[GET, GET].concat()).await.unwrap();
            asking.answers(2).await;
        }
        drop(asking.client);
        assert!(asking.served.await.unwrap().is_none(), "its client has left");
    });
}

#[test]
fn who_is_in_the_middle_of_a_request_is_not_at_rest() {
    const HALVES: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nho",
        b"GET / HTTP/1.1\r\nhost: web\r\n\r\nG",
        b"POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 5\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n",
    ];
    run(async {
        let mut all = Vec::new();
        for half in HALVES {
            all.push(Asking::begin(half).await);
        }
        tokio::time::sleep(LONG).await;
        assert!(all.iter().all(|asking| !asking.served.is_finished()));
    });
}
