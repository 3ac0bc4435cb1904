//! A small, blunt HTTP/2 client: it writes frames by hand, also those that no library would write, and reads what comes.
//!
//! Header blocks are literals only (RFC 7541, 6.2.2), so that any octets can stand in them; of what comes only
//! `:status` is decoded.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::http::ended;

/// How long a read waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a connection begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113, 6).
pub mod kind {
    #![allow(missing_docs, reason = "the RFC's own names")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// On DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// On SETTINGS and PING.
pub const ACK: u8 = 1;
/// On HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 4;
/// On DATA and HEADERS.
pub const PADDED: u8 = 8;

/// A connection.
#[derive(Debug)]
pub struct H2 {
    stream: TcpStream,
    ahead: Vec<u8>,
}

/// A frame that came.
#[derive(Debug, Clone)]
pub struct Frame {
    /// See [`kind`].
    pub kind: u8,
    /// Bits.
    pub flags: u8,
    /// 0 for the connection.
    pub stream: u32,
    /// All after the frame's head.
    pub payload: Vec<u8>,
}

/// What a peer may make of a stream or of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The stream is answered with this status; 0 if it stands in HPACK's dynamic table, as one said before.
    Status(u32, u16),
    /// The stream is reset with this code.
    Reset(u32, u32),
    /// The connection is given up with this code.
    Goaway(u32),
    /// The connection has ended.
    End,
}

/// Any frame, of any length that three octets can say.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A header block of literals. Each character is one octet: `\u{ff}` is 0xff.
#[must_use]
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name);
        string(&mut block, value);
    }
    block
}

fn string(block: &mut Vec<u8>, text: &str) {
    let octets: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    integer(block, octets.len());
    block.extend(octets);
}

/// RFC 7541, 5.1, with a prefix of seven bits.
fn integer(block: &mut Vec<u8>, value: usize) {
    let Some(mut rest) = value.checked_sub(127) else {
        return block.push(u8::try_from(value).unwrap());
    };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128 + 128).unwrap());
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// HEADERS in one frame.
#[must_use]
pub fn headers(stream: u32, fields: &[(&str, &str)], end: bool) -> Vec<u8> {
    let flags = END_HEADERS | if end { END_STREAM } else { 0 };
    frame(kind::HEADERS, flags, stream, &block(fields))
}

/// A GET that ends with its head.
#[must_use]
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "web"), (":path", path)];
    headers(stream, &fields, true)
}

/// DATA.
#[must_use]
pub fn data(stream: u32, octets: &[u8], end: bool) -> Vec<u8> {
    frame(kind::DATA, u8::from(end), stream, octets)
}

/// RST_STREAM with CANCEL.
#[must_use]
pub fn cancel(stream: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes())
}

/// SETTINGS with these parameters.
#[must_use]
pub fn settings(parameters: &[(u16, u32)]) -> Vec<u8> {
    let payload = parameters.iter().flat_map(|(id, value)| {
        let mut one = id.to_be_bytes().to_vec();
        one.extend(value.to_be_bytes());
        one
    });
    frame(kind::SETTINGS, 0, 0, &payload.collect::<Vec<_>>())
}

/// WINDOW_UPDATE.
#[must_use]
pub fn window(stream: u32, more: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

// === impl H2 ===

impl H2 {
    /// Connects and says nothing.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn silent(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, ahead: Vec::new() })
    }

    /// Connects and begins as one should, with these settings.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn open(to: SocketAddr, parameters: &[(u16, u32)]) -> io::Result<Self> {
        let mut this = Self::silent(to)?;
        this.send([PREFACE.to_vec(), settings(parameters)].concat())?;
        Ok(this)
    }

    /// Sends octets as they are.
    ///
    /// # Errors
    /// When the other side is gone, or takes nothing for ten seconds.
    pub fn send(&mut self, octets: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(octets.as_ref())
    }

    /// The next frame.
    ///
    /// # Errors
    /// When the connection ends or falls silent.
    pub fn frame(&mut self) -> io::Result<Frame> {
        let head = self.exactly(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        let payload = self.exactly(usize::try_from(length).unwrap())?;
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame that tells what becomes of something; settings are acknowledged on the way.
    ///
    /// # Errors
    /// When the connection falls silent.
    pub fn event(&mut self) -> io::Result<Event> {
        loop {
            let frame = match self.frame() {
                Ok(frame) => frame,
                Err(error) if ended(&error) => return Ok(Event::End),
                Err(error) => return Err(error),
            };
            let code = |at: usize| {
                frame.payload[at..at + 4]
                    .iter()
                    .fold(0, |code, octet| code << 8 | u32::from(*octet))
            };
            match frame.kind {
                kind::HEADERS => match status(&frame.payload) {
                    Some(status) => return Ok(Event::Status(frame.stream, status)),
                    // Trailers.
                    None if frame.flags & END_STREAM != 0 => {}
                    None => return Ok(Event::Status(frame.stream, 0)),
                },
                kind::RST_STREAM => return Ok(Event::Reset(frame.stream, code(0))),
                kind::GOAWAY => return Ok(Event::Goaway(code(4))),
                kind::SETTINGS if frame.flags & ACK == 0 => {
                    // The other side may be gone: that is the next event then.
                    self.send(crate::h2::frame(kind::SETTINGS, ACK, 0, &[])).ok();
                }
                _ => {}
            }
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut buffer = [0; 16 * 1024];
        while self.ahead.len() < length {
            let count = self.stream.read(&mut buffer)?;
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.ahead.extend_from_slice(&buffer[..count]);
        }
        Ok(self.ahead.drain(..length).collect())
    }
}

/// `:status` of a response's header block, in which it is first: an entry of the static table, or its value.
fn status(block: &[u8]) -> Option<u16> {
    // Changes of the table's size come first.
    let size = block.iter().take_while(|octet| *octet & 0xe0 == 0x20).count();
    match &block[size..] {
        [entry @ 0x88..=0x8e, ..] => {
            Some([200, 204, 206, 304, 400, 404, 500][usize::from(entry - 0x88)])
        }
        [0x08 | 0x18 | 0x48, length, value @ ..] => {
            let value = value.get(..usize::from(length & 0x7f))?;
            let digits = if length & 0x80 == 0 { value.to_vec() } else { huffman_digits(value) };
            String::from_utf8(digits).ok()?.parse().ok()
        }
        _ => None,
    }
}

/// Digits in Huffman's code (RFC 7541, Appendix B): 0 to 2 have five bits, 3 to 9 six.
fn huffman_digits(octets: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = octets.iter().flat_map(|o| (0..8).rev().map(move |n| o >> n & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0, |number, bit| number << 1 | bit);
    let mut rest = &bits[..];
    let mut digits = Vec::new();
    while rest.len() >= 5 {
        let five = number(&rest[..5]);
        if five <= 2 {
            digits.push(b'0' + five);
            rest = &rest[5..];
        } else if rest.len() >= 6 && (0x19..=0x1f).contains(&number(&rest[..6])) {
            digits.push(b'3' + number(&rest[..6]) - 0x19);
            rest = &rest[6..];
        } else {
            break;
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_from_each_form() {
        assert_eq!(status(&[0x88]), Some(200));
        assert_eq!(status(&[0x20, 0x8c]), Some(400));
        assert_eq!(status(&[0x48, 3, b'4', b'3', b'1']), Some(431));
        // 011010 011001 00001, then ones.
        assert_eq!(status(&[0x48, 0x83, 0x69, 0x90, 0xff]), Some(431));
        assert_eq!(status(&[0x40]), None);
    }

    #[test]
    fn long_strings_have_long_lengths() {
        let mut block = Vec::new();
        integer(&mut block, 127 + 130);
        assert_eq!(block, [127, 130, 1]);
    }
}
