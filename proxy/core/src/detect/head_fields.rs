//! What one HTTP/1 request head says about where its body ends, line by line, and whether two
//! readers could disagree about that.

use std::fmt;

/// Why a request must be refused with 400 and its connection closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Both `Transfer-Encoding` and `Content-Length` (RFC 9112, 6.1: "ought to be handled as an error").
    TwoFramings,
    /// `Content-Length` is no number, or several differ (RFC 9112, 6.3).
    ContentLength,
    /// `Transfer-Encoding` is not `chunked` and nothing else, or comes in HTTP/1.0 (RFC 9112, 6.1).
    TransferEncoding,
    /// More than one `Host` (RFC 9112, 3.2).
    TwoHosts,
    /// A line folded, or a space before the colon (RFC 9112, 5.1 and 5.2).
    Whitespace,
    /// A CR that is no line's end, or a NUL (RFC 9110, 5.5).
    ControlCharacter,
    /// A line beyond any head that is accepted.
    TooLong,
    /// The chunks of the request before are malformed: where this one begins is not sure.
    LostTrack,
}

/// Where the body of a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// After that many octets.
    Length(u64),
    /// After the last chunk.
    Chunked,
}

/// The lines of one head so far.
#[derive(Debug, Default)]
pub(super) struct Head {
    old: bool,
    length: Option<u64>,
    transfer_encoding: bool,
    hosts: u32,
}

// === impl Head ===

impl Head {
    /// The request line, without its end.
    pub(super) fn request_line(line: &[u8]) -> Self {
        Self { old: line.ends_with(b"HTTP/1.0"), ..Self::default() }
    }

    /// A field's line, without its end. Names that do not matter here are passed over by their first
    /// letter; that they are well-formed is the HTTP parser's to check.
    #[inline]
    pub(super) fn field(&mut self, line: &[u8]) -> Result<(), Fault> {
        match line.first() {
            Some(b' ' | b'\t') => Err(Fault::Whitespace),
            Some(b'c' | b'C' | b't' | b'T' | b'h' | b'H') => self.maybe_framing(line),
            _ => Ok(()),
        }
    }

    fn maybe_framing(&mut self, line: &[u8]) -> Result<(), Fault> {
        let Some(colon) = memchr::memchr(b':', line) else { return Ok(()) };
        let (name, value) = line.split_at(colon);
        if name.ends_with(b" ") || name.ends_with(b"\t") {
            return Err(Fault::Whitespace);
        }
        let value = value.get(1..).unwrap_or_default();
        if name.eq_ignore_ascii_case(b"content-length") {
            self.content_length(value)
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.transfer_encoding(value)
        } else {
            self.hosts += u32::from(name.eq_ignore_ascii_case(b"host"));
            Ok(())
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        for element in value.split(|b| *b == b',') {
            let length = number(trim(element)).ok_or(Fault::ContentLength)?;
            if self.length.is_some_and(|other| other != length) {
                return Err(Fault::ContentLength);
            }
            self.length = Some(length);
        }
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Fault> {
        // Another coding would have to be undone here, or be passed on, and nobody does either.
        if self.transfer_encoding || !trim(value).eq_ignore_ascii_case(b"chunked") {
            self.transfer_encoding = true;
            return Err(Fault::TransferEncoding);
        }
        self.transfer_encoding = true;
        Ok(())
    }

    /// The head is complete: where its body ends, and what is wrong with the fields together.
    #[inline]
    pub(super) fn end(&self) -> (Body, Result<(), Fault>) {
        let body = if self.transfer_encoding {
            Body::Chunked
        } else {
            Body::Length(self.length.unwrap_or(0))
        };
        let verdict = if self.transfer_encoding && self.length.is_some() {
            Err(Fault::TwoFramings)
        } else if self.transfer_encoding && self.old {
            Err(Fault::TransferEncoding)
        } else if self.hosts > 1 {
            Err(Fault::TwoHosts)
        } else {
            Ok(())
        };
        (body, verdict)
    }
}

fn trim(value: &[u8]) -> &[u8] {
    let start = value.iter().position(|b| !matches!(b, b' ' | b'\t')).unwrap_or(value.len());
    let end = value.iter().rposition(|b| !matches!(b, b' ' | b'\t')).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

/// `1*DIGIT` that fits; no sign, no space.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |n, b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

/// The size at the start of a chunk's first line (without its end), if all of the line is well-formed.
pub(super) fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let rest = line.get(digits..)?;
    let rest = rest.get(rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count()..)?;
    if !(rest.is_empty() || rest.starts_with(b";")) {
        return None;
    }
    u64::from_str_radix(str::from_utf8(line.get(..digits)?).ok()?, 16).ok()
}

// === impl Fault ===

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TwoFramings => "both Transfer-Encoding and Content-Length",
            Self::ContentLength => "Content-Length is no number, or several differ",
            Self::TransferEncoding => "Transfer-Encoding is not \"chunked\" alone",
            Self::TwoHosts => "more than one Host",
            Self::Whitespace => "a folded line, or a space before a colon",
            Self::ControlCharacter => "a bare CR or a NUL",
            Self::TooLong => "a line that is too long",
            Self::LostTrack => "malformed chunks before it",
        })
    }
}
