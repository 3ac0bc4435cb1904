//! Which server a TLS client asks for by name: from the ClientHello that it says first (RFC 8446, 4.1.2;
//! RFC 6066, 3).
//!
//! Nothing is decrypted, and nothing is checked that the server checks itself, but what two readers could
//! understand in two ways is refused: who is routed by a name must be served by that name.

use Hello::{Bad, Named, Nameless, NeedMore};

/// The longest ClientHello that is read, octets. Two key shares of post-quantum size and a ticket or two
/// come to some 4 KiB.
const MOST_HELLO: usize = 16 << 10;
/// In records, that is no more than this: nobody has a reason to cut them so that more would be needed.
pub const MOST_OCTETS: usize = 2 * MOST_HELLO;

/// What the octets so far say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// The ClientHello is not whole yet.
    NeedMore,
    /// It asks for this server; in lower case.
    Named(Box<str>),
    /// It names no server.
    Nameless,
    /// It is none, or a broken one, or too long.
    Bad,
}

/// The type of a record that carries a handshake's messages.
const HANDSHAKE: u8 = 22;
/// A record's header: type, version, length.
const RECORD_HEADER: usize = 5;
/// TLSPlaintext holds this much at most (RFC 8446, 5.1).
const MOST_RECORD: usize = 1 << 14;
const CLIENT_HELLO: u8 = 1;
/// The extension `server_name`, and the one type of name in it.
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
/// A name in DNS, without the dot at its end.
const MOST_NAME: usize = 253;

/// Reads all octets received so far, from the first one on. An answer other than [`Hello::NeedMore`]
/// stays the same whatever follows, and comes with [`MOST_OCTETS`] at the latest.
pub fn server_name(bytes: &[u8]) -> Hello {
    match bytes.get(..MOST_OCTETS) {
        None => read(bytes),
        Some(most) => match read(most) {
            NeedMore => Bad,
            answer => answer,
        },
    }
}

fn read(bytes: &[u8]) -> Hello {
    // In one piece, nearly always.
    let mut message: Vec<u8> = Vec::new();
    let mut rest = bytes;
    loop {
        if let Some(hello) = whole(&message) {
            return hello;
        }
        match record(rest) {
            Record::Part => return begun(rest, &message),
            Record::Whole(content, behind) => {
                message.extend_from_slice(content);
                rest = behind;
            }
            Record::Bad => return Bad,
        }
    }
}

enum Record<'a> {
    /// Not all of it is there.
    Part,
    /// Its content, and what is behind it.
    Whole(&'a [u8], &'a [u8]),
    Bad,
}

fn record(bytes: &[u8]) -> Record<'_> {
    let plausible = |at: usize, ok: fn(u8) -> bool| bytes.get(at).is_none_or(|octet| ok(*octet));
    if !plausible(0, |kind| kind == HANDSHAKE) || !plausible(1, |major| major == 3) {
        return Record::Bad;
    }
    let [_, _, _, high, low, content @ ..] = bytes else { return Record::Part };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    // An empty record of a handshake is forbidden (RFC 8446, 5.1), and would let a client say nothing for ever.
    if length == 0 || length > MOST_RECORD {
        return Record::Bad;
    }
    match content.split_at_checked(length) {
        Some((content, behind)) => Record::Whole(content, behind),
        None => Record::Part,
    }
}

/// What can be told before the record that has begun with `rest` is whole: whether it is worth waiting.
fn begun(rest: &[u8], message: &[u8]) -> Hello {
    let there = rest.get(RECORD_HEADER..).unwrap_or_default();
    let mut octets = message.iter().chain(there).copied();
    let header = [octets.next(), octets.next(), octets.next(), octets.next()];
    match header {
        [Some(kind), ..] if kind != CLIENT_HELLO => Bad,
        [_, Some(a), Some(b), Some(c)] if length(a, b, c) > MOST_HELLO => Bad,
        _ => NeedMore,
    }
}

fn length(a: u8, b: u8, c: u8) -> usize {
    usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
}

/// What the handshake's first message says; none if it is not whole.
fn whole(message: &[u8]) -> Option<Hello> {
    let (&kind, _) = message.split_first()?;
    if kind != CLIENT_HELLO {
        return Some(Bad);
    }
    let [_, a, b, c, body @ ..] = message else { return None };
    let length = length(*a, *b, *c);
    if length > MOST_HELLO {
        return Some(Bad);
    }
    let body = body.get(..length)?;
    Some(hello(&mut Reader(body)).unwrap_or(Bad))
}

/// None if it is broken.
fn hello(reader: &mut Reader<'_>) -> Option<Hello> {
    let _version = reader.take(2)?;
    let _random = reader.take(32)?;
    let _session = reader.list8()?;
    let _suites = reader.list16()?;
    let _compression = reader.list8()?;
    if reader.0.is_empty() {
        // Before TLS 1.2 extensions may be missing (RFC 5246, 7.4.1.2).
        return Some(Nameless);
    }
    let mut extensions = Reader(reader.list16()?);
    if !reader.0.is_empty() {
        return None;
    }
    let mut found = None;
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let content = extensions.list16()?;
        if kind == SERVER_NAME && found.replace(content).is_some() {
            // One of a type (RFC 8446, 4.2): which of two counts is anybody's guess.
            return None;
        }
    }
    match found {
        None => Some(Nameless),
        Some(content) => names(content),
    }
}

fn names(content: &[u8]) -> Option<Hello> {
    let mut content = Reader(content);
    let mut list = Reader(content.list16()?);
    if !content.0.is_empty() || list.u8()? != HOST_NAME {
        return None;
    }
    let name = list.list16()?;
    // No more than one of a type, and there is one type.
    if !list.0.is_empty() {
        return None;
    }
    let name = str::from_utf8(name).ok()?;
    let octet = |octet: u8| octet.is_ascii_alphanumeric() || b"-_".contains(&octet);
    let label = |label: &str| !label.is_empty() && label.bytes().all(octet);
    let good = name.len() <= MOST_NAME && name.split('.').all(label);
    good.then(|| Named(name.to_ascii_lowercase().into()))
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

// === impl Reader ===

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).and_then(|octets| octets.first()).copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// What is behind its length in one octet.
    fn list8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// What is behind its length in two octets.
    fn list16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }
}

#[cfg(test)]
#[path = "sni_tests.rs"]
mod tests;
