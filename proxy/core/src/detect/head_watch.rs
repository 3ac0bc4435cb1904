//! Watches an HTTP/1 connection's bytes for request heads that two readers could read differently.
//!
//! Not a parser: hyper is. But hyper drops a `Content-Length` that stands beside a
//! `Transfer-Encoding`, so whoever sees its request cannot tell that both were sent, and refusing
//! such requests (request smuggling) needs both. The watch sees every byte before hyper does, and
//! follows heads and bodies as hyper does; where it is stricter it errs towards refusing.

use memchr::{memchr, memchr2};

use super::head_fields::{Body, Fault, Head, chunk_size};

/// The longest line, octets: servers commonly take heads of 8 to 64 KiB.
const MAX_LINE: usize = 64 * 1024;
/// What a line's buffer may keep between lines, octets.
const KEEP: usize = 1024;

/// The watch over one connection, from its first byte on.
#[derive(Debug, Default)]
pub struct HeadWatch {
    state: State,
    head: Head,
    /// The start of a line whose end has not come.
    partial: Vec<u8>,
    /// Complete heads so far: the index of the head under way, or of the next.
    heads: u64,
    fault: Option<(u64, Fault)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Before a request line; empty lines are passed over.
    #[default]
    RequestLine,
    Fields,
    /// This many octets of a body (above 0).
    Length(u64),
    ChunkSize,
    /// This many octets of a chunk (above 0).
    ChunkData(u64),
    /// The line's end after a chunk's octets.
    ChunkEnd,
    Trailers,
    /// No longer HTTP, or not sure where heads begin.
    Off,
}

// === impl HeadWatch ===

impl HeadWatch {
    /// A watch over a new connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next bytes, as they were read. Each byte once, in order, before hyper gets them.
    #[inline]
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Off => return,
                State::Length(left) => self.skip(bytes, left, State::Length, State::RequestLine),
                State::ChunkData(left) => self.skip(bytes, left, State::ChunkData, State::ChunkEnd),
                _ => self.take_line(bytes),
            };
        }
    }

    /// The index (the connection's first request is 0) of the first request that must be refused with
    /// 400, after which the connection must be closed. Known before hyper can hand that request over.
    #[inline]
    pub fn faulty_request(&self) -> Option<u64> {
        self.fault.map(|(request, _)| request)
    }

    /// What is wrong with [`HeadWatch::faulty_request`], for the log.
    pub fn fault(&self) -> Option<Fault> {
        self.fault.map(|(_, fault)| fault)
    }

    /// How many heads have come whole.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether a head has begun and not ended: the client owes the rest of it.
    #[inline]
    pub fn in_partial_head(&self) -> bool {
        match self.state {
            State::RequestLine => !self.partial.is_empty(),
            State::Fields => true,
            _ => false,
        }
    }

    /// Whether all that came was whole requests with their bodies, and well-formed ones.
    #[inline]
    pub fn is_between_requests(&self) -> bool {
        self.state == State::RequestLine && self.partial.is_empty() && self.fault.is_none()
    }

    /// What follows is not HTTP (after an upgrade or CONNECT): stops watching for good.
    pub fn off(&mut self) {
        self.state = State::Off;
        self.partial = Vec::new();
    }

    /// Passes over `left` octets, as far as they are there; the bytes after them.
    fn skip<'b>(
        &mut self,
        bytes: &'b [u8],
        left: u64,
        more: fn(u64) -> State,
        then: State,
    ) -> &'b [u8] {
        let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let left = left - here as u64;
        self.state = if left == 0 { then } else { more(left) };
        bytes.get(here..).unwrap_or_default()
    }

    /// Reads up to the line's end, if it is there; the bytes after it.
    #[inline]
    fn take_line<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let Some(end) = memchr(b'\n', bytes) else {
            self.partial.extend_from_slice(bytes);
            if self.partial.len() > MAX_LINE {
                self.too_long();
                self.partial.clear();
            }
            return &[];
        };
        let (line, rest) = bytes.split_at(end);
        if self.partial.is_empty() {
            self.line(line);
        } else {
            let mut whole = std::mem::take(&mut self.partial);
            whole.extend_from_slice(line);
            self.line(&whole);
            if whole.capacity() <= KEEP {
                whole.clear();
                self.partial = whole;
            }
        }
        rest.get(1..).unwrap_or_default()
    }

    /// One line without its LF.
    #[inline]
    fn line(&mut self, line: &[u8]) {
        if line.len() > MAX_LINE {
            self.too_long();
        }
        let control = memchr2(b'\r', 0, line);
        let (line, crlf) = match line.split_last() {
            Some((b'\r', start)) if control == Some(start.len()) => (start, true),
            _ => (line, false),
        };
        let stray = control.is_some() && !crlf;
        match self.state {
            State::RequestLine | State::Fields => {
                if stray {
                    self.note(Fault::ControlCharacter);
                }
                self.head_line(line);
            }
            // hyper takes a line here to end with CRLF and nothing else.
            _ if !crlf => self.lost_track(),
            _ => self.chunk_line(line),
        }
    }

    #[inline]
    fn head_line(&mut self, line: &[u8]) {
        match (self.state, line) {
            (State::Fields, []) => self.end_of_head(),
            (State::Fields, _) => {
                if let Err(fault) = self.head.field(line) {
                    self.note(fault);
                }
            }
            (_, []) => {}
            (..) => {
                self.head = Head::request_line(line);
                self.state = State::Fields;
            }
        }
    }

    fn end_of_head(&mut self) {
        let (body, verdict) = self.head.end();
        if let Err(fault) = verdict {
            self.note(fault);
        }
        self.heads += 1;
        self.state = match body {
            Body::Length(0) => State::RequestLine,
            Body::Length(length) => State::Length(length),
            Body::Chunked => State::ChunkSize,
        };
    }

    fn chunk_line(&mut self, line: &[u8]) {
        self.state = match (self.state, line) {
            (State::ChunkSize, _) => match chunk_size(line) {
                Some(0) => State::Trailers,
                Some(size) => State::ChunkData(size),
                None => return self.lost_track(),
            },
            (State::ChunkEnd, []) => State::ChunkSize,
            (State::Trailers, []) => State::RequestLine,
            (State::Trailers, _) => State::Trailers,
            _ => return self.lost_track(),
        };
    }

    fn too_long(&mut self) {
        match self.state {
            State::RequestLine | State::Fields => self.note(Fault::TooLong),
            _ => self.lost_track(),
        }
    }

    /// hyper fails the body here. If it should not, the next request is the one to distrust.
    fn lost_track(&mut self) {
        self.note(Fault::LostTrack);
        self.off();
    }

    /// The first fault counts: nothing after it is served.
    fn note(&mut self, fault: Fault) {
        self.fault.get_or_insert((self.heads, fault));
    }
}
