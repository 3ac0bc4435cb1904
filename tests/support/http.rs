//! A small, blunt HTTP/1 client: it sends the very bytes it is given and reads what comes.
//!
//! For bad input and for what curl hides; ordinary requests go through curl.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::script::Asked;

/// How long a read waits.
const PATIENCE: Duration = Duration::from_secs(40);

/// A connection.
#[derive(Debug)]
pub struct Conn {
    stream: TcpStream,
    /// Bytes that came and are not used yet.
    ahead: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// 200, 404, ...
    pub status: u16,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// Decoded from chunks.
    pub body: Vec<u8>,
    /// What came after the last chunk.
    pub trailers: Vec<(String, String)>,
}

impl Response {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as the test server's JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }
}

/// One GET on its own connection.
///
/// # Errors
/// When there is no answer.
pub fn get(to: SocketAddr, path: &str) -> io::Result<Response> {
    let mut conn = Conn::open(to)?;
    conn.send(format!("GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n"))?;
    conn.response()
}

impl Conn {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, ahead: Vec::new() })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the other side is gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Ends our side.
    pub fn shut(&mut self) {
        self.stream.shutdown(Shutdown::Write).ok();
    }

    /// The socket itself.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads an answer to a GET or POST.
    ///
    /// # Errors
    /// When the connection ends or falls silent before the answer does.
    pub fn response(&mut self) -> io::Result<Response> {
        self.answer(true)
    }

    /// Reads an answer whose body is not sent (HEAD).
    ///
    /// # Errors
    /// As `response`.
    pub fn head(&mut self) -> io::Result<Response> {
        self.answer(false)
    }

    /// Reads a whole request.
    ///
    /// # Errors
    /// As `response`.
    pub fn request(&mut self) -> io::Result<Asked> {
        let mut head = self.line()?;
        let fields = self.fields()?;
        let value =
            |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, v)| v.as_str());
        let mut body = Vec::new();
        if value("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk()? {
                body.extend(chunk);
            }
            self.fields()?;
        } else if let Some(length) = value("content-length") {
            let length = length.parse().map_err(|_| bad(length))?;
            body = self.exactly(length)?;
        }
        for (name, value) in &fields {
            head.push_str(&format!("\n{name}: {value}"));
        }
        Ok(Asked { head: head.to_ascii_lowercase(), body, at: Instant::now() })
    }

    fn answer(&mut self, with_body: bool) -> io::Result<Response> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| bad(&line))?;
        let mut response = Response { status, headers: self.fields()?, ..Response::default() };
        if !with_body || status < 200 || status == 204 || status == 304 {
            return Ok(response);
        }
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk()? {
                response.body.extend(chunk);
            }
            response.trailers = self.fields()?;
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(|_| bad(length))?;
            response.body = self.exactly(length)?;
        } else {
            response.body = self.rest()?;
        }
        Ok(response)
    }

    /// The next chunk; none at the last one.
    ///
    /// # Errors
    /// As `response`.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let size = self.line()?;
        let length = usize::from_str_radix(size.trim(), 16).map_err(|_| bad(&size))?;
        if length == 0 {
            return Ok(None);
        }
        let data = self.exactly(length)?;
        self.line()?;
        Ok(Some(data))
    }

    /// Reads a line, without its end.
    ///
    /// # Errors
    /// As `response`.
    pub fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.ahead.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.ahead.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.more()?;
        }
    }

    /// Reads header lines up to the empty one.
    ///
    /// # Errors
    /// As `response`.
    pub fn fields(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad(&line))?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Reads `length` bytes.
    ///
    /// # Errors
    /// As `response`.
    pub fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < length {
            self.more()?;
        }
        let rest = self.ahead.split_off(length);
        Ok(std::mem::replace(&mut self.ahead, rest))
    }

    /// Reads up to the end of the connection; a reset counts as one.
    ///
    /// # Errors
    /// When it falls silent.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.more() {
                Ok(()) => {}
                Err(error) if ended(&error) => return Ok(std::mem::take(&mut self.ahead)),
                Err(error) => return Err(error),
            }
        }
    }

    fn more(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        let count = self.stream.read(&mut buffer)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.ahead.extend_from_slice(&buffer[..count]);
        Ok(())
    }
}

impl From<TcpStream> for Conn {
    /// The other end's view: for a backend inside the test. It waits for ever.
    fn from(stream: TcpStream) -> Self {
        Self { stream, ahead: Vec::new() }
    }
}

/// Whether an error means that the other side has ended the connection.
#[must_use]
pub fn ended(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe | ConnectionAborted)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not HTTP: {what:?}"))
}
