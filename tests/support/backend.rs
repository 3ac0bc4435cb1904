//! Backends inside the test itself, on loopback, for what only the far end can tell:
//! which bytes arrived, how often, and how much was taken while nobody read.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::wait::within;

/// Listens at `at` and gives every connection to `serve`, on a thread each. The threads end with
/// the test's process: nothing waits for them, and the addresses are never used twice.
///
/// # Panics
/// When the address is taken.
pub fn serve(at: SocketAddr, serve: impl Fn(TcpStream) + Send + Sync + 'static) {
    let listener = TcpListener::bind(at).unwrap_or_else(|error| panic!("{at}: {error}"));
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
}

/// Records every byte, and answers each complete request head with an empty 200.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Recorder {
    /// Starts one at `at`.
    #[must_use]
    pub fn start(at: SocketAddr) -> Self {
        let recorder = Self::default();
        let bytes = Arc::clone(&recorder.bytes);
        serve(at, move |mut stream| {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                bytes.lock().unwrap().extend_from_slice(&buffer[..count]);
                if buffer[..count].ends_with(b"\r\n\r\n") {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok();
                }
            }
        });
        recorder
    }

    /// What arrived so far.
    ///
    /// # Panics
    /// When a recording thread panicked.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }
}

/// Reads a whole request head, then hangs up without a word.
#[derive(Debug, Clone, Default)]
pub struct HangsUp {
    requests: Arc<AtomicU64>,
}

impl HangsUp {
    /// Starts one at `at`.
    #[must_use]
    pub fn start(at: SocketAddr) -> Self {
        let this = Self::default();
        let requests = Arc::clone(&this.requests);
        serve(at, move |mut stream| {
            if read_head(&mut stream) {
                requests.fetch_add(1, Ordering::SeqCst);
            }
        });
        this
    }

    /// How many requests it has had.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Sends an endless body as fast as it is taken, or takes one only when told.
#[derive(Debug, Clone, Default)]
pub struct Flood {
    sent: Arc<AtomicU64>,
    reading: Arc<AtomicBool>,
}

impl Flood {
    /// A backend that answers a GET with `length` bytes, counting those the kernel has taken.
    #[must_use]
    pub fn sends(at: SocketAddr, length: u64) -> Self {
        let this = Self::default();
        let sent = Arc::clone(&this.sent);
        serve(at, move |mut stream| {
            if !read_head(&mut stream) {
                return;
            }
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).ok();
            let block = [b'x'; 64 * 1024];
            while sent.load(Ordering::SeqCst) < length {
                let Ok(count) = stream.write(&block) else { return };
                sent.fetch_add(count as u64, Ordering::SeqCst);
            }
        });
        this
    }

    /// A backend that reads no body until `read_on`, then all of it, and answers its length.
    #[must_use]
    pub fn takes(at: SocketAddr, length: u64) -> Self {
        let this = Self::default();
        let reading = Arc::clone(&this.reading);
        serve(at, move |mut stream| {
            if !read_head(&mut stream) {
                return;
            }
            within(std::time::Duration::from_secs(60), || reading.load(Ordering::SeqCst));
            let (mut buffer, mut got) = (vec![0; 64 * 1024], 0);
            while got < length {
                match stream.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(count) => got += count as u64,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
            }
            let text = got.to_string();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
            stream.write_all(head.as_bytes()).ok();
            read_head(&mut stream);
        });
        this
    }

    /// How many bytes of body went into the socket.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Lets it read.
    pub fn read_on(&self) {
        self.reading.store(true, Ordering::SeqCst);
    }
}

/// Reads up to the empty line; false if the connection ends before.
pub fn read_head(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
    }
    true
}
