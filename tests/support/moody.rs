//! A server that fails, in the way that it is told to, until it is told otherwise.
//!
//! Not for what it answers: that says only that it has.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::backend::serve;
use crate::http::Conn;
use crate::script::status;

/// How a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Answers 200.
    Well,
    /// Answers with this status.
    Says(u16),
    /// Resets the connection once it has had a request.
    Resets,
    /// Closes the connection once it has had a request.
    HangsUp,
    /// Closes each new connection without a word.
    Closes,
    /// Answers what is no HTTP.
    Garbage,
    /// Says what is no TLS, and no HTTP, as soon as somebody connects.
    Shouts,
    /// Answers nothing, and goes on listening.
    Hangs,
    /// Begins an answer, and says no more.
    Dawdles,
    /// Begins an answer, and closes the connection.
    Cuts,
    /// Answers the first request of a connection, and closes it while the next one may be on its way.
    Races,
}

/// The server.
#[derive(Debug, Clone)]
pub struct Moody {
    mood: Arc<Mutex<Mood>>,
    requests: Arc<AtomicUsize>,
}

// === impl Mood ===

impl FromStr for Mood {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.trim() {
            "well" => Self::Well,
            "resets" => Self::Resets,
            "hangs-up" => Self::HangsUp,
            "closes" => Self::Closes,
            "garbage" => Self::Garbage,
            "shouts" => Self::Shouts,
            "hangs" => Self::Hangs,
            "dawdles" => Self::Dawdles,
            "cuts" => Self::Cuts,
            "races" => Self::Races,
            code => Self::Says(code.parse().map_err(|_| format!("no mood: {code}"))?),
        })
    }
}

// === impl Moody ===

impl Moody {
    /// Starts one at `at`.
    #[must_use]
    pub fn start(at: SocketAddr, mood: Mood) -> Self {
        let this = Self { mood: Arc::new(Mutex::new(mood)), requests: Arc::default() };
        let moody = this.clone();
        serve(at, move |stream| {
            // A connection that ends badly is what is asked for.
            play(stream, || *moody.mood.lock().unwrap(), &moody.requests).ok();
        });
        this
    }

    /// From now on it is like this; connections that hang go on hanging.
    ///
    /// # Panics
    /// When a thread of it panicked.
    pub fn be(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// How many requests it has had.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Serves one connection, as `mood` says at each request.
///
/// # Errors
/// The connection ended.
pub fn play(stream: TcpStream, mood: impl Fn() -> Mood, requests: &AtomicUsize) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    match mood() {
        Mood::Closes => return Ok(()),
        Mood::Shouts => return writer.write_all(b"\0\0shouting\r\n\r\n"),
        _ => {}
    }
    let mut conn = Conn::from(stream);
    loop {
        conn.request()?;
        requests.fetch_add(1, Ordering::SeqCst);
        match mood() {
            Mood::Well => writer.write_all(status(200).as_bytes())?,
            Mood::Says(code) => writer.write_all(status(code).as_bytes())?,
            Mood::Resets => return reset(&writer),
            Mood::HangsUp | Mood::Closes | Mood::Shouts => return Ok(()),
            Mood::Garbage => return writer.write_all(b"\0\0garbage\r\n\r\n"),
            Mood::Hangs => return conn.rest().map(drop),
            Mood::Dawdles => {
                writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")?;
                return conn.rest().map(drop);
            }
            Mood::Cuts => {
                return writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
            }
            Mood::Races => return writer.write_all(status(200).as_bytes()),
        }
    }
}

/// What is closed with octets unread, or without lingering, is reset (tcp(7)).
fn reset(stream: &TcpStream) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = libc::socklen_t::try_from(size_of::<libc::linger>()).unwrap_or_default();
    // SAFETY: a valid pointer to a struct of the right type and its size.
    let set = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
