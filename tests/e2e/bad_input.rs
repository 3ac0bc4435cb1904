//! Bad requests get the status that the RFC names or a close; never a crash, never a byte to the
//! backend.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nodeway_tests::binaries;

use crate::shop::Plain;

/// What comes back for `request`, until the connection ends or nothing comes for `patience`.
fn say(port: u16, request: &[u8], patience: Duration) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(patience)).unwrap();
    // The proxy may have closed before all of it is written.
    stream.write_all(request).ok();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).ok();
    String::from_utf8_lossy(&heard).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or(if answer.is_empty() { "close" } else { answer })
}

#[test]
fn each_bad_request_has_its_answer_and_none_reaches_the_backend() {
    let Some(plain) = Plain::open("appProtocol: http") else { return };
    let record = plain.world.scratch().join("record");
    let args = ["record", &plain.endpoint.to_string(), &record.display().to_string()];
    let _backend = plain.world.host.start(binaries::testserver(), &args).until_it_says("listening");
    let long = "x".repeat(80 << 10);
    let many: String = (0..150).map(|i| format!("h{i}: v\r\n")).collect();
    let post = "POST / HTTP/1.1\r\nhost: a\r\n";
    let cases: Vec<(String, &str)> = vec![
        (format!("{post}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"), "400"),
        (format!("{post}transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n"), "400"),
        (format!("{post}content-length: 3\r\ncontent-length: 4\r\n\r\nabcd"), "400"),
        (format!("{post}content-length: -1\r\n\r\n"), "400"),
        (format!("{post}content-length : 3\r\n\r\nabc"), "400"),
        (format!("{post}transfer-encoding: identity\r\n\r\n"), "400"),
        (format!("{post}transfer-encoding: chunked\r\nx: y\r\n z\r\n\r\n0\r\n\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"), "431"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nhost: a\r\nbad name: x\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/9.9\r\nhost: a\r\n\r\n".to_owned(), "400"),
        ("GE T / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "400"),
        ("\x01\x02\x03\x04 nothing at all\r\n\r\n".to_owned(), "400"),
        ("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_owned(), "close"),
    ];
    for (request, expected) in &cases {
        let answer = say(plain.port, request.as_bytes(), Duration::from_secs(10));
        let shown: String = request.chars().take(90).collect();
        assert_eq!(status(&answer), *expected, "{shown:?}: {answer:?}");
    }
    // HTTP/2 with a preface and then nonsense.
    let mut nonsense = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    nonsense.extend([0xff; 64]);
    say(plain.port, &nonsense, Duration::from_secs(10));
    assert_eq!(std::fs::read(&record).unwrap(), b"", "nothing reached the backend");
    // And it still serves, and has counted.
    assert_eq!(plain.nodeway.get("/livez").0, 200);
    plain.nodeway.until_metric("nodeway_protocol_errors_total", &[], 10.0);
}

#[test]
fn an_unfinished_head_is_answered_408_after_30_s() {
    let Some(plain) = Plain::open("appProtocol: http") else { return };
    let begin = Instant::now();
    let answers = std::thread::scope(|scope| {
        ["GET / HT", "GET / HTTP/1.1\r\nhost: a\r\nx: unfinished"]
            .map(|text| {
                scope.spawn(move || say(plain.port, text.as_bytes(), Duration::from_secs(45)))
            })
            .map(|thread| thread.join().unwrap())
    });
    for answer in answers {
        assert_eq!(status(&answer), "408", "{answer:?}");
    }
    let took = begin.elapsed();
    assert!((Duration::from_secs(29)..Duration::from_secs(44)).contains(&took), "{took:?}");
}
