//! Requests that are sent once more.

use tokio::sync::Barrier;

use super::*;

/// So many connections its client has at once.
const MANY: usize = 3;

/// Answers the first request on each of its connections, the first `MANY` together, and hangs up when a second comes.
async fn once_each() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let all = Rc::new(Barrier::new(MANY));
    tokio::task::spawn_local(async move {
        for nth in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let all = Rc::clone(&all);
            tokio::task::spawn_local(async move {
                let mut heard = Vec::new();
                stream.read_buf(&mut heard).await.unwrap();
                if nth < MANY {
                    all.wait().await;
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                stream.read_buf(&mut heard).await.unwrap();
            });
        }
    });
    at
}

#[test]
fn what_is_lost_on_a_connection_that_lay_idle_is_sent_again_on_one_that_did_not() {
    run(async {
        let world = World::new(Version::Http1, once_each().await, Setting::default());
        let conn = world.conn();
        let asked =
            [(); MANY].map(|()| tokio::task::spawn_local(ask(Rc::clone(&conn), world.get())));
        for asked in asked {
            assert_eq!(asked.await.unwrap().0, StatusCode::OK);
        }
        // All but one have one to lose it on.
        for _ in 1..MANY {
            assert_eq!(ask(Rc::clone(&conn), world.get()).await.0, StatusCode::OK);
        }
    });
}
