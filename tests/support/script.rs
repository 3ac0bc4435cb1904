//! A backend inside the test that does with each request what the test says.
//!
//! Not for what a plain server can do: that is the test server's.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::backend::serve;
use crate::http::Conn;

/// A request that has come whole.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Request line and fields, in lower case.
    pub head: String,
    /// Decoded from chunks.
    pub body: Vec<u8>,
    /// When it had come.
    pub at: Instant,
}

/// What a script does next.
#[derive(Debug, Clone)]
pub enum Act {
    /// Writes this and waits for the next request.
    Say(String),
    /// Writes this and then nothing more, until the other side hangs up.
    SayAndHang(String),
    /// Hangs up.
    HangUp,
}

/// The backend.
#[derive(Debug, Clone, Default)]
pub struct Script {
    asked: Arc<Mutex<Vec<Asked>>>,
    left: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Script {
    /// Starts one at `at`; `act` is told which request this is, counted from 0, over all connections.
    #[must_use]
    pub fn start(
        at: SocketAddr,
        act: impl Fn(usize, &Asked) -> Act + Send + Sync + 'static,
    ) -> Self {
        let this = Self::default();
        let script = this.clone();
        serve(at, move |stream| {
            script.connections.fetch_add(1, Ordering::SeqCst);
            script.play(stream, &act);
        });
        this
    }

    /// One that answers each request by the status of its turn, the last for all that follow.
    #[must_use]
    pub fn statuses(at: SocketAddr, statuses: &'static [u16]) -> Self {
        Self::start(at, |nth, _| Act::Say(status(statuses[nth.min(statuses.len() - 1)])))
    }

    /// All requests so far.
    ///
    /// # Panics
    /// When a thread of it panicked.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How many connections were hung up on it while it said nothing.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left.load(Ordering::SeqCst)
    }

    /// How many connections it has had.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn play(&self, stream: TcpStream, act: &impl Fn(usize, &Asked) -> Act) {
        let mut writer = stream.try_clone().unwrap();
        let mut conn = Conn::from(stream);
        while let Ok(asked) = conn.request() {
            let nth = {
                let mut all = self.asked.lock().unwrap();
                all.push(asked.clone());
                all.len() - 1
            };
            let (text, last) = match act(nth, &asked) {
                Act::Say(text) => (text, false),
                Act::SayAndHang(text) => (text, true),
                Act::HangUp => return,
            };
            if writer.write_all(text.as_bytes()).is_err() {
                return;
            }
            if last {
                conn.rest().ok();
                self.left.fetch_add(1, Ordering::SeqCst);
                return;
            }
        }
    }
}

/// A response with this status and a short body.
#[must_use]
pub fn status(code: u16) -> String {
    format!("HTTP/1.1 {code} As Asked\r\ncontent-length: 5\r\n\r\nbody\n")
}
