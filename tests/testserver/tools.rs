//! Small clients and filters for the tests' shell pipelines.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use nodeway_tests::http::Conn;
use nodeway_tests::pattern::{Checksum, Pattern};

/// The first `length` bytes of the pattern, to standard output.
pub(crate) fn generate(length: u64) -> anyhow::Result<()> {
    let mut pattern = Pattern::new(length);
    let mut out = std::io::stdout().lock();
    loop {
        let block = pattern.block();
        if block.is_empty() {
            return Ok(());
        }
        out.write_all(&block)?;
    }
}

/// Count and checksum of standard input.
pub(crate) fn checksum() -> anyhow::Result<()> {
    let mut sum = Checksum::default();
    let mut buffer = vec![0; 256 * 1024];
    let mut input = std::io::stdin().lock();
    loop {
        let count = input.read(&mut buffer)?;
        if count == 0 {
            println!("{}", sum.finish());
            return Ok(());
        }
        sum.update(&buffer[..count]);
    }
}

/// Opens connections, uses each once, and keeps them until killed.
pub(crate) fn hold(count: usize, to: SocketAddr) -> anyhow::Result<()> {
    crate::raise_file_limit();
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        let mut conn = Conn::open(to)?;
        conn.send("GET / HTTP/1.1\r\nHost: held\r\n\r\n")?;
        let response = conn.response()?;
        anyhow::ensure!(response.status == 200, "{}: {}", response.status, response.text());
        held.push(conn);
    }
    println!("holding {}", held.len());
    loop {
        std::thread::park();
    }
}
