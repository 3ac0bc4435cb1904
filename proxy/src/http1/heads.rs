//! The head of a message in octets: where it ends, its fields, and what they say of the connection and of the
//! content (RFC 9112, 5 and 6).
//!
//! Not its first line. And not what is repaired: what two readers could understand in two ways is an error. Folded
//! lines, stray CRs and NULs are `httparse`'s to refuse.

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::Status;

use crate::streams::Malformed;

/// Fields of one head.
pub const MOST_FIELDS: usize = 100;
/// Octets of names that are remembered.
const MOST_REMEMBERED: usize = 2 << 10;
/// Empty lines before one head.
const MOST_EMPTY: usize = 64;

/// It has more octets than a head may have.
pub const TOO_LONG: Malformed = Malformed("its head is too long");
/// It has more fields than a head may have.
pub const TOO_MANY: Malformed = Malformed("it has too many fields");

/// Finds heads in octets; keeps room to do so.
#[derive(Debug)]
pub struct Heads {
    /// Octets of one.
    most: usize,
    /// Where each field's name and value are.
    places: Vec<Place>,
    /// Of the head before.
    names: Names,
    /// So much has been looked at in vain.
    seen: usize,
    /// Empty lines before it.
    empty: usize,
}

/// The names of a head: whoever speaks mostly uses the same ones again, in the same order.
#[derive(Debug, Default)]
struct Names {
    /// As they were spelled, one behind the other.
    spelled: Vec<u8>,
    /// What they are, and where they end.
    known: Vec<(HeaderName, usize)>,
}

/// From here to there.
type Range = (usize, usize);

/// Where a field is.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    name: Range,
    value: Range,
}

/// What the fields together say of the connection and of the content.
#[derive(Debug, Default)]
pub struct Said {
    /// Content-Length.
    pub length: Option<u64>,
    /// Content-Length is there in more than one copy.
    pub repeated: bool,
    /// One Content-Length is a list.
    pub listed: bool,
    /// So many fields name codings.
    pub codings: usize,
    /// The last of them is `chunked` and nothing else.
    pub chunked: bool,
    /// Connection: close.
    pub close: bool,
    /// Connection: keep-alive.
    pub keep_alive: bool,
    /// There is an Upgrade.
    pub upgrade: bool,
    /// There is an Expect.
    pub expect: bool,
    /// There is a TE.
    pub te: bool,
}

// === impl Heads ===

impl Heads {
    /// Of heads that have so many octets at most.
    pub fn new(most: usize) -> Self {
        Self { most, places: Vec::new(), names: Names::default(), seen: 0, empty: 0 }
    }

    /// Takes the next head out of `read`, if it is whole: its octets, and what `find` has found in them. `find` is
    /// given all that has come; it says how long the head is, and where its fields are.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn next<T>(
        &mut self,
        read: &mut BytesMut,
        find: impl FnOnce(&[u8], &mut Vec<Place>) -> Result<Option<(usize, T)>, Malformed>,
    ) -> Result<Option<(Bytes, T)>, Malformed> {
        self.skip_empty_lines(read)?;
        // Who sends octet by octet has them looked at line by line.
        let unseen = read.get(self.seen..).unwrap_or_default();
        let more =
            !unseen.is_empty() && (self.seen == 0 || memchr::memchr(b'\n', unseen).is_some());
        self.places.clear();
        let found = if more { find(read, &mut self.places)? } else { None };
        let Some((length, found)) = found else {
            self.seen = read.len();
            return if read.len() > self.most { Err(TOO_LONG) } else { Ok(None) };
        };
        (self.seen, self.empty) = (0, 0);
        if length > self.most {
            return Err(TOO_LONG);
        }
        Ok(Some((read.split_to(length).freeze(), found)))
    }

    /// Whether some of a head is there.
    pub fn has_begun(&self) -> bool {
        self.seen > 0
    }

    /// Some end a body with one too many (RFC 9112, 2.2).
    fn skip_empty_lines(&mut self, read: &mut BytesMut) -> Result<(), Malformed> {
        loop {
            let length = match read.first() {
                Some(b'\n') => 1,
                Some(b'\r') if read.get(1) == Some(&b'\n') => 2,
                _ => return Ok(()),
            };
            read.advance(length);
            (self.seen, self.empty) = (0, self.empty + 1);
            if self.empty > MOST_EMPTY {
                return Err(Malformed("empty lines without end"));
            }
        }
    }

    /// Puts the fields of the head that was taken last, which is `octets`, into `headers`, with one Content-Length at
    /// most, and says what they mean together.
    ///
    /// # Errors
    /// What is wrong with one.
    pub fn fields(&mut self, octets: &Bytes, headers: &mut HeaderMap) -> Result<Said, Malformed> {
        let mut said = Said::default();
        headers.reserve(self.places.len());
        for (at, Place { name, value }) in self.places.iter().enumerate() {
            let name = self.names.name(at, octets.get(name.0..name.1).unwrap_or_default())?;
            if value.1 > octets.len() || value.0 > value.1 {
                return Err(Malformed("a field has no proper value"));
            }
            let value = HeaderValue::from_maybe_shared(octets.slice(value.0..value.1));
            let value = value.map_err(|_| Malformed("a field has no proper value"))?;
            said.field(&name, value.as_bytes())?;
            headers.append(name, value);
        }
        if said.repeated
            && let Some(length) = said.length
        {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Ok(said)
    }
}

// === impl Names ===

impl Names {
    /// The name of field `at` that is spelled like this.
    fn name(&mut self, at: usize, spelled: &[u8]) -> Result<HeaderName, Malformed> {
        let parsed = |spelled| {
            HeaderName::from_bytes(spelled).map_err(|_| Malformed("a field has no proper name"))
        };
        let begin = match at.checked_sub(1).map(|before| self.known.get(before)) {
            None => 0,
            Some(Some((_, end))) => *end,
            // There was no room for the one before.
            Some(None) => return parsed(spelled),
        };
        if let Some((name, end)) = self.known.get(at)
            && self.spelled.get(begin..*end) == Some(spelled)
        {
            return Ok(name.clone());
        }
        let name = parsed(spelled)?;
        self.known.truncate(at);
        self.spelled.truncate(begin);
        if begin + spelled.len() <= MOST_REMEMBERED {
            self.spelled.extend_from_slice(spelled);
            self.known.push((name.clone(), self.spelled.len()));
        }
        Ok(name)
    }
}

/// Where `part` is in `whole`.
pub fn place(whole: &[u8], part: &[u8]) -> Range {
    let from = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
    (from, from.wrapping_add(part.len()))
}

/// Where the fields are that `httparse` has found in `whole`.
pub fn fields_of(whole: &[u8], fields: &[httparse::Header<'_>], places: &mut Vec<Place>) {
    places.extend(fields.iter().map(|field| Place {
        name: place(whole, field.name.as_bytes()),
        value: place(whole, field.value),
    }));
}

// === impl Said ===

impl Said {
    fn field(&mut self, name: &HeaderName, value: &[u8]) -> Result<(), Malformed> {
        if *name == CONTENT_LENGTH {
            self.length(value)?;
        } else if *name == TRANSFER_ENCODING {
            self.codings += 1;
            self.chunked = value.eq_ignore_ascii_case(b"chunked");
        } else if *name == CONNECTION {
            self.connection(value);
        } else {
            self.upgrade |= *name == UPGRADE;
            self.expect |= *name == EXPECT;
            self.te |= *name == TE;
        }
        Ok(())
    }

    /// Several are one if they say the same (RFC 9112, 6.3).
    fn length(&mut self, value: &[u8]) -> Result<(), Malformed> {
        self.listed |= value.contains(&b',');
        for element in value.split(|octet| *octet == b',') {
            let length =
                number(element.trim_ascii()).ok_or(Malformed("Content-Length is no number"))?;
            if let Some(other) = self.length {
                self.repeated = true;
                if other != length {
                    return Err(Malformed("there are several Content-Lengths"));
                }
            }
            self.length = Some(length);
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|octet| *octet == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
}

/// Whether there is an empty line in `octets` that was not in the first `seen`.
pub(super) fn has_empty_line(octets: &[u8], seen: usize) -> bool {
    let from = seen.saturating_sub(3);
    let rest = octets.get(from..).unwrap_or_default();
    memchr::memchr_iter(b'\n', rest)
        .any(|at| matches!(rest.get(at + 1..), Some([b'\n', ..] | [b'\r', b'\n', ..])))
}

/// The fields of the trailer section that `read` begins with, and how long it is, if it is whole.
pub(super) fn trailers(read: &[u8]) -> Result<Option<(usize, HeaderMap)>, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let parsed = httparse::parse_headers(read, &mut fields).map_err(fault)?;
    let Status::Complete((length, fields)) = parsed else { return Ok(None) };
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(Malformed("a trailer has no proper name or value"));
        };
        headers.append(name, value);
    }
    Ok(Some((length, headers)))
}

/// `1*DIGIT` that fits; no sign, no space.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}

/// What `httparse` finds wrong.
pub fn fault(error: httparse::Error) -> Malformed {
    if error == httparse::Error::TooManyHeaders {
        return TOO_MANY;
    }
    Malformed(match error {
        httparse::Error::HeaderName => "a field has no proper name",
        httparse::Error::HeaderValue => "a field has no proper value",
        httparse::Error::NewLine => "a line does not end as lines do",
        httparse::Error::Status => "its status is none",
        httparse::Error::Token => "it does not begin as a message does",
        httparse::Error::TooManyHeaders => TOO_MANY.0,
        httparse::Error::Version => "it is not of HTTP/1",
    })
}
