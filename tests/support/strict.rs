//! A backend that reads HTTP/1.1 by the letter (RFC 9112) and nothing else: it keeps every request that arrives, and
//! every octet that two readers could take for two things.
//!
//! Not lenient anywhere: what it complains of, a proxy must not have sent.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use crate::backend::serve;

/// The backend.
#[derive(Debug, Clone, Default)]
pub struct Strict {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    requests: BTreeMap<u64, Request>,
    doubts: Vec<String>,
}

/// A request as it arrived.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Without its version.
    pub line: String,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// Decoded from chunks.
    pub body: Vec<u8>,
    /// What came after the last chunk.
    pub trailers: Vec<(String, String)>,
    /// Whether its end has come.
    pub whole: bool,
}

/// One connection: what is read and not used yet.
struct Reader {
    stream: TcpStream,
    ahead: Vec<u8>,
}

/// Why a connection is read no further.
enum Stop {
    /// It has ended.
    Ended,
    /// It makes no sense, or more than one.
    Doubt(String),
}

// === impl Strict ===

impl Strict {
    /// Starts one at `at`; it answers every whole request with 200 and `ok`, but never one for `/silent`.
    #[must_use]
    pub fn start(at: SocketAddr) -> Self {
        let this = Self::default();
        let state = Arc::clone(&this.state);
        serve(at, move |stream| {
            let mut reader = Reader { stream, ahead: Vec::new() };
            let ended = loop {
                if let Err(stop) = one(&mut reader, &state) {
                    break stop;
                }
            };
            if let Stop::Doubt(doubt) = ended {
                state.lock().unwrap().doubts.push(doubt);
            }
        });
        this
    }

    /// What has arrived since the last call: the requests, and all that was ambiguous.
    ///
    /// # Panics
    /// When a reading thread panicked.
    #[must_use]
    pub fn take(&self) -> (Vec<Request>, Vec<String>) {
        let mut state = self.state.lock().unwrap();
        let requests = std::mem::take(&mut state.requests).into_values().collect();
        (requests, std::mem::take(&mut state.doubts))
    }

    /// Whether anything has arrived since `take`.
    ///
    /// # Panics
    /// When a reading thread panicked.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !self.state.lock().unwrap().requests.is_empty()
    }

    /// Whether a whole request with this line has arrived.
    ///
    /// # Panics
    /// When a reading thread panicked.
    #[must_use]
    pub fn has(&self, line: &str) -> bool {
        let state = self.state.lock().unwrap();
        state.requests.values().any(|request| request.whole && request.line == line)
    }
}

fn one(reader: &mut Reader, state: &Mutex<State>) -> Result<(), Stop> {
    let line = reader.line()?;
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else {
        return Err(Stop::Doubt(format!("no request line: {line:?}")));
    };
    let graphic = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if !method.bytes().all(is_token) || !graphic(target) {
        return Err(Stop::Doubt(format!("no method or no target: {line:?}")));
    }
    let line = format!("{method} {target}");
    let headers = reader.fields()?;
    let body = framing(&headers)?;
    let id = {
        let mut state = state.lock().unwrap();
        let id = state.next;
        state.next += 1;
        let request = Request { line, headers, ..Request::default() };
        state.requests.insert(id, request);
        id
    };
    let note = |change: &mut dyn FnMut(&mut Request)| {
        if let Some(request) = state.lock().unwrap().requests.get_mut(&id) {
            change(request);
        }
    };
    match body {
        Some(length) => {
            let octets = reader.exactly(length)?;
            note(&mut |request| request.body.clone_from(&octets));
        }
        None => loop {
            let size = reader.line()?;
            let hex = !size.is_empty() && size.bytes().all(|b| b.is_ascii_hexdigit());
            let size = hex.then(|| usize::from_str_radix(&size, 16).ok()).flatten();
            let Some(size) = size else { return Err(Stop::Doubt("a chunk's size".into())) };
            if size == 0 {
                let trailers = reader.fields()?;
                note(&mut |request| request.trailers.clone_from(&trailers));
                break;
            }
            let octets = reader.exactly(size)?;
            note(&mut |request| request.body.extend_from_slice(&octets));
            if !reader.line()?.is_empty() {
                return Err(Stop::Doubt("octets after a chunk".into()));
            }
        },
    }
    note(&mut |request| request.whole = true);
    if target == "/silent" {
        reader.more()?;
        return Err(Stop::Doubt("a request before the last one's answer".into()));
    }
    let answer: &[u8] = if method == "HEAD" {
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
    } else {
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    };
    reader.stream.write_all(answer).map_err(|_| Stop::Ended)
}

/// The length of the body; none for chunks.
fn framing(headers: &[(String, String)]) -> Result<Option<usize>, Stop> {
    let all = |name: &str| -> Vec<&str> {
        headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    };
    let (codings, lengths, hosts) = (all("transfer-encoding"), all("content-length"), all("host"));
    if hosts.len() != 1 {
        return Err(Stop::Doubt(format!("{} Host fields", hosts.len())));
    }
    match (&codings[..], &lengths[..]) {
        ([], []) => Ok(Some(0)),
        (["chunked"], []) => Ok(None),
        ([], [length]) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
            let length = length.parse();
            length.map(Some).map_err(|_| Stop::Doubt("a length that is too long".into()))
        }
        _ => Err(Stop::Doubt(format!("framing: {codings:?} {lengths:?}"))),
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

// === impl Reader ===

impl Reader {
    /// Up to CR LF; any other CR, LF or NUL is a doubt.
    fn line(&mut self) -> Result<String, Stop> {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.ahead.drain(..end + 2).take(end).collect();
                if line.iter().any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f) {
                    let line = String::from_utf8_lossy(&line).into_owned();
                    return Err(Stop::Doubt(format!("a control character: {line:?}")));
                }
                return Ok(line.iter().map(|b| char::from(*b)).collect());
            }
            self.more()?;
        }
    }

    fn fields(&mut self) -> Result<Vec<(String, String)>, Stop> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let Some((name, value)) = line.split_once(':') else {
                return Err(Stop::Doubt(format!("no field: {line:?}")));
            };
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err(Stop::Doubt(format!("no field name: {line:?}")));
            }
            fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Stop> {
        while self.ahead.len() < length {
            self.more()?;
        }
        Ok(self.ahead.drain(..length).collect())
    }

    fn more(&mut self) -> Result<(), Stop> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(count @ 1..) => {
                self.ahead.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            _ => Err(Stop::Ended),
        }
    }
}

// === impl Request ===

impl fmt::Display for Request {
    /// `POST /x | host: web; content-length: 3 | abc`, then trailers if there are any, and ` ...` if its end never came.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = |fields: &[(String, String)]| {
            let all: Vec<String> = fields.iter().map(|(n, v)| format!("{n}: {v}")).collect();
            all.join("; ")
        };
        write!(f, "{} | {}", self.line, fields(&self.headers))?;
        if !self.body.is_empty() || !self.trailers.is_empty() {
            write!(f, " | {}", String::from_utf8_lossy(&self.body))?;
        }
        if !self.trailers.is_empty() {
            write!(f, " | {}", fields(&self.trailers))?;
        }
        if !self.whole {
            write!(f, " ...")?;
        }
        Ok(())
    }
}
