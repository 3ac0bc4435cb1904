//! `probe ADDR`: asks about a thousand times a second over one connection. Whenever another pod answers
//! than before, prints the monotonic clock's nanoseconds and the pod; a failure counts as a pod.

use std::net::SocketAddr;
use std::time::Duration;

use nodeway_tests::http::Conn;
use nodeway_tests::monotonic;

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(1);

/// See the module.
pub(crate) fn probe(to: SocketAddr) -> anyhow::Result<()> {
    let (mut connection, mut before) = (None, String::new());
    loop {
        let answered = ask(to, &mut connection);
        let who = answered.unwrap_or_else(|error| {
            connection = None;
            format!("failed: {error}")
        });
        if who != before {
            println!("{} {who}", monotonic::now());
            before = who;
        }
        std::thread::sleep(PAUSE);
    }
}

fn ask(to: SocketAddr, connection: &mut Option<Conn>) -> std::io::Result<String> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(Conn::open(to)?),
    };
    connection.send(format!("GET / HTTP/1.1\r\nHost: {to}\r\n\r\n"))?;
    let response = connection.response()?;
    if response.status != 200 {
        return Ok(format!("failed: {}", response.status));
    }
    Ok(response.json()["pod"].as_str().unwrap_or_default().to_owned())
}
