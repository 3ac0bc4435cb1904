//! One connection of HTTP/1.1, octet by octet: whose turn it is, and when it may be used again.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::streams::{BodyError, split};

/// An endpoint whose connections are the test's.
async fn endpoint() -> (mpsc::UnboundedReceiver<TcpStream>, World) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = World::new(listener.local_addr().unwrap(), ConnectionLife::default());
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if sender.send(stream).is_err() {
                return;
            }
        }
    });
    (receiver, world)
}

/// Reads until this has come.
async fn until(stream: &mut TcpStream, what: &str) -> String {
    let mut said = Vec::new();
    while !said.ends_with(what.as_bytes()) {
        let read = tokio::time::timeout(SOON, stream.read_buf(&mut said)).await;
        let read = read.unwrap_or_else(|_| panic!("{:?}", String::from_utf8_lossy(&said)));
        assert!(read.unwrap() > 0, "it ended: {:?}", String::from_utf8_lossy(&said));
    }
    String::from_utf8(said).unwrap()
}

/// Waits for the other side's end.
async fn ended(stream: &mut TcpStream) {
    let read = tokio::time::timeout(SOON, stream.read(&mut [0; 64])).await;
    assert!(matches!(read.expect("it is closed"), Ok(0) | Err(_)));
}

/// Answers what comes next.
async fn answer(stream: &mut TcpStream, with: &str) {
    until(stream, "\r\n\r\n").await;
    stream.write_all(with.as_bytes()).await.unwrap();
}

/// An upload whose octets are the test's to send.
fn upload() -> (DuplexStream, Request<RequestBody>) {
    let (says, said) = tokio::io::duplex(1 << 16);
    let (body, _) = split(said);
    let request = Request::post("http://web/").header("host", "web");
    (says, request.body(RequestBody::new(body)).unwrap())
}

async fn body(response: Response<Inbound>) -> Result<String, BodyError> {
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

/// Has `request` answered with the first half of `half` before it has ended; who reads the answer.
async fn half_answered(
    streams: &mut mpsc::UnboundedReceiver<TcpStream>,
    world: &World,
    request: Request<RequestBody>,
) -> (JoinHandle<Result<String, BodyError>>, Lease, TcpStream) {
    let serving = async {
        let mut stream = streams.recv().await.unwrap();
        answer(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha").await;
        stream
    };
    let (sent, stream) = tokio::join!(world.send_it(request, Reuse::Alive), serving);
    let (response, lease) = sent.unwrap();
    (tokio::task::spawn_local(body(response)), lease, stream)
}

/// Has a request answered like this; what comes of it, body and all, and whether the connection is kept.
async fn answered(
    method: Method,
    with: &'static str,
) -> (Result<(u16, String), String>, World, TcpStream) {
    let (mut streams, world) = endpoint().await;
    let serving = async {
        let mut stream = streams.recv().await.unwrap();
        answer(&mut stream, with).await;
        stream
    };
    let (sent, stream) = tokio::join!(world.send(method, Reuse::Any), serving);
    let told = match sent {
        Ok((response, lease)) => {
            let status = response.status().as_u16();
            // Nobody says more after this.
            let body = tokio::time::timeout(SOON, body(response)).await.expect("it ends");
            if body.is_ok() {
                lease.give_back(&world.worker, &world.client);
            }
            body.map(|body| (status, body)).map_err(|error| error.to_string())
        }
        Err(error) => Err(format!("{error:?}")),
    };
    (told, world, stream)
}

fn idle(world: &World) -> usize {
    world.client.pool.borrow().links[&world.endpoint().id].idle_http1()
}

#[test]
fn a_connection_is_kept_whose_response_has_ended_as_it_said() {
    run(async {
        for (method, with, status, body, kept) in [
            (Method::GET, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, "ok", 1),
            (Method::GET, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, "", 1),
            (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n", 204, "", 1),
            (Method::GET, "HTTP/1.1 304 X\r\ncontent-length: 9\r\n\r\n", 304, "", 1),
            (Method::HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", 200, "", 1),
            (
                Method::GET,
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                200,
                "ok",
                1,
            ),
            (
                Method::GET,
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
                200,
                "ok",
                0,
            ),
            (Method::GET, "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, "ok", 0),
            (Method::GET, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1", 200, "ok", 0),
        ] {
            let (told, world, mut stream) = answered(method, with).await;
            assert_eq!((told, idle(&world)), (Ok((status, body.to_owned())), kept), "{with}");
            if kept == 0 {
                ended(&mut stream).await;
            }
        }
    });
}

#[test]
fn what_makes_no_sense_is_an_error_and_ends_the_connection() {
    run(async {
        for with in [
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n",
        ] {
            let (told, world, mut stream) = answered(Method::GET, with).await;
            assert!(
                told.as_ref()
                    .is_err_and(|error| error.contains("no sense") || error.contains("Malformed")),
                "{with}: {told:?}"
            );
            assert_eq!(idle(&world), 0);
            ended(&mut stream).await;
        }
    });
}

#[test]
fn an_answer_that_comes_before_the_request_has_ended_is_told_at_once_and_both_go_on() {
    run(async {
        let (mut streams, world) = endpoint().await;
        let (mut says, request) = upload();
        let (reading, lease, mut stream) = half_answered(&mut streams, &world, request).await;
        // Whether or not somebody reads meanwhile.
        says.write_all(b"first").await.unwrap();
        until(&mut stream, "5\r\nfirst\r\n").await;
        stream.write_all(b"lf").await.unwrap();
        assert_eq!(reading.await.unwrap().unwrap(), "half");
        lease.give_back(&world.worker, &world.client);
        says.write_all(b"second").await.unwrap();
        until(&mut stream, "6\r\nsecond\r\n").await;
        assert_eq!(idle(&world), 0, "the request has not ended");
        drop(says);
        until(&mut stream, "0\r\n\r\n").await;
        eventually("it is kept then", || idle(&world) == 1).await;
    });
}

#[test]
fn an_answer_of_an_endpoint_that_closes_before_the_request_has_ended_is_whole() {
    run(async {
        let (mut streams, world) = endpoint().await;
        let (mut says, request) = upload();
        let serving = async {
            let mut stream = streams.recv().await.unwrap();
            let no = "HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno";
            answer(&mut stream, no).await;
        };
        let (sent, ()) = tokio::join!(world.send_it(request, Reuse::Alive), serving);
        let (response, lease) = sent.unwrap();
        // Somebody goes on sending.
        let sending = tokio::task::spawn_local(async move {
            while says.write_all(&[b'x'; 1024]).await.is_ok() {}
        });
        assert_eq!(body(response).await.unwrap(), "no");
        lease.give_back(&world.worker, &world.client);
        tokio::time::timeout(SOON, sending).await.expect("nobody takes it any more").unwrap();
        assert_eq!(idle(&world), 0);
    });
}

#[test]
fn a_request_that_breaks_off_ends_its_connection() {
    run(async {
        let (mut streams, world) = endpoint().await;
        let (mut says, mut request) = upload();
        request.headers_mut().insert("content-length", 9.into());
        says.write_all(b"half").await.unwrap();
        let serving = async {
            let mut stream = streams.recv().await.unwrap();
            until(&mut stream, "half").await;
            drop(says);
            ended(&mut stream).await;
        };
        let sending = async {
            let sent = world.send_it(request, Reuse::Alive).await;
            assert!(matches!(sent, Err(SendError::Abandoned)), "{sent:?}");
        };
        tokio::join!(sending, serving);
        // Also when it has been answered.
        let (says, mut request) = upload();
        request.headers_mut().insert("content-length", 9.into());
        let (reading, lease, mut stream) = half_answered(&mut streams, &world, request).await;
        tokio::task::yield_now().await;
        drop(says);
        let read = tokio::time::timeout(SOON, reading).await.expect("it ends").unwrap();
        assert!(matches!(read, Err(BodyError::Abandoned)), "{read:?}");
        drop(lease);
        ended(&mut stream).await;
    });
}

#[test]
fn what_is_dropped_is_closed() {
    run(async {
        let (mut streams, world) = endpoint().await;
        // Before the answer.
        let mut stream = tokio::select! {
            biased;
            sent = world.send(Method::GET, Reuse::Any) => panic!("{sent:?}"),
            stream = async {
                let mut stream = streams.recv().await.unwrap();
                until(&mut stream, "\r\n\r\n").await;
                stream
            } => stream,
        };
        ended(&mut stream).await;
        // In the middle of it, with an upload under way.
        let (_says, request) = upload();
        let serving = async {
            let mut stream = streams.recv().await.unwrap();
            answer(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha").await;
            stream
        };
        let (sent, mut stream) = tokio::join!(world.send_it(request, Reuse::Alive), serving);
        drop(sent.unwrap());
        ended(&mut stream).await;
    });
}

#[test]
fn an_idle_connection_that_its_endpoint_ends_or_speaks_over_is_closed_at_once() {
    for last_words in ["", "HTTP/1.1 408 Request Timeout\r\n\r\n"] {
        run(async move {
            let with = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            let (told, world, mut stream) = answered(Method::GET, with).await;
            assert_eq!((told, idle(&world)), (Ok((200, "ok".to_owned())), 1));
            if last_words.is_empty() {
                stream.shutdown().await.unwrap();
            } else {
                stream.write_all(last_words.as_bytes()).await.unwrap();
            }
            ended(&mut stream).await;
            assert_eq!(idle(&world), 0);
        });
    }
}

#[test]
fn a_connection_that_leaves_http_begins_with_what_was_said_after_the_response() {
    run(async {
        let (mut streams, world) = endpoint().await;
        let request = Request::get("http://web/").header("upgrade", "echo");
        let request = request.header("connection", "upgrade").body(RequestBody::empty()).unwrap();
        let serving = async {
            let mut stream = streams.recv().await.unwrap();
            answer(&mut stream, "HTTP/1.1 101 X\r\nupgrade: echo\r\n\r\nhel").await;
            stream.write_all(b"lo").await.unwrap();
            assert_eq!(until(&mut stream, "back").await, "back");
        };
        let asking = async {
            let (response, mut lease) = world.send_it(request, Reuse::Alive).await.unwrap();
            assert_eq!(response.status(), 101);
            let mut upgraded = lease.upgraded().unwrap();
            let mut said = [0; 5];
            upgraded.read_exact(&mut said).await.unwrap();
            assert_eq!(&said, b"hello");
            upgraded.write_all(b"back").await.unwrap();
            assert_eq!(idle(&world), 0);
            lease.give_back(&world.worker, &world.client);
            assert_eq!(idle(&world), 0);
        };
        tokio::join!(serving, asking);
    });
}

#[test]
fn of_what_is_lost_comes_back_what_had_no_body() {
    run(async {
        let (mut streams, world) = endpoint().await;
        for content in ["", "half"] {
            let request = Request::put("http://web/").header("host", "web");
            let replayed = RequestBody::empty().after(content.as_bytes().to_vec());
            let request = request.header("x-kept", "1").body(replayed).unwrap();
            let serving = async {
                let mut stream = streams.recv().await.unwrap();
                until(&mut stream, &format!("\r\n\r\n{content}")).await;
            };
            let (sent, ()) = tokio::join!(world.send_it(request, Reuse::Alive), serving);
            let Err(SendError::Lost { request, .. }) = sent else { panic!("{sent:?}") };
            let back = request.map(|request| request.headers().contains_key("x-kept"));
            assert_eq!(back, content.is_empty().then_some(true), "{content:?}");
        }
    });
}
