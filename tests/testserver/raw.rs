//! Servers that do not speak HTTP.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Greets, then echoes lines.
pub(crate) fn banner(port: u16) {
    serve(port, |mut stream| {
        writeln!(stream, "220 mail ready for {}\r", peer(&stream)).ok();
        let mut lines = BufReader::new(stream.try_clone().expect("a clone")).lines();
        while let Some(Ok(line)) = lines.next() {
            if writeln!(stream, "250 {line}\r").is_err() {
                return;
            }
        }
    });
}

/// Records what it hears.
pub(crate) fn record(port: u16, file: &str) {
    let file = File::options().create(true).append(true).open(file).expect("the file");
    serve(port, move |mut stream| {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            (&file).write_all(&buffer[..n]).expect("the file");
        }
    });
}

/// Reads once, then resets.
pub(crate) fn reset(port: u16) {
    serve(port, |mut stream| {
        let _heard = stream.read(&mut [0; 4096]).unwrap_or_default();
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let size = libc::socklen_t::try_from(size_of::<libc::linger>()).expect("a size");
        // SAFETY: an open socket; the value lives through the call and has the size that is said.
        unsafe {
            libc::setsockopt(
                std::os::fd::AsRawFd::as_raw_fd(&stream),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size,
            );
        }
    });
}

fn peer(stream: &TcpStream) -> String {
    stream.peer_addr().map_or_else(|_| "nobody".into(), |peer| peer.ip().to_canonical().to_string())
}

fn serve(port: u16, handle: impl Fn(TcpStream) + Send + Sync + 'static) {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).expect("a listener");
    println!("listening");
    let handle = std::sync::Arc::new(handle);
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        let handle = std::sync::Arc::clone(&handle);
        thread::spawn(move || handle(stream));
    }
}
