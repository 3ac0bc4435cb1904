//! The server closes a connection when a request is about to be sent over it.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;

/// Answers one request on each connection, and says it is to be used again; when told, closes it all the same.
fn closer(connections: usize) -> (SocketAddr, std::sync::mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let (closed, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut octet = [0];
                stream.read_exact(&mut octet).unwrap();
                head.push(octet[0]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
            std::thread::sleep(20 * MS);
            drop(stream);
            if closed.send(()).is_err() {
                return;
            }
        }
    });
    (at, told)
}

#[test]
fn what_can_be_sent_only_once_does_not_meet_a_connection_that_has_ended_unseen() {
    run(async {
        let (at, closed) = closer(20);
        let world = World::new(at, ConnectionLife::default());
        for round in 0..20 {
            let (response, lease) = match world.send(Method::POST, Reuse::Alive).await {
                Ok(sent) => sent,
                Err(error) => panic!("round {round}: {error:?}"),
            };
            response.into_body().collect().await.unwrap();
            lease.give_back(&world.worker, &world.client);
            tokio::task::yield_now().await;
            // Nobody looks at sockets meanwhile.
            closed.recv().unwrap();
        }
    });
}
