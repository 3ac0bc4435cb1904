//! Looks over the shoulder of an HTTP/1 parser for what that repairs without a word.
//!
//! Not a parser: it follows the framing of requests (RFC 9112, 6) just closely enough to know where
//! heads begin. hyper drops a Content-Length that stands beside a Transfer-Encoding; RFC 9112, 6.1
//! allows that, but the sender is broken or means harm, and a mesh should say so.

/// The watch over one connection's requests.
#[derive(Debug)]
pub struct HeadWatch {
    state: State,
    head: Head,
    /// Heads that have been seen whole.
    heads: u64,
    faulty: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a head.
    Head,
    /// So many octets of a body, or of a chunk and its line end, to skip.
    Body(u64),
    /// So many octets of a chunk with its line end to skip; another chunk's size follows.
    Chunk(u64),
    /// In the line of a chunk's size, which is this so far; `ext`: past the digits.
    ChunkSize { size: u64, ext: bool },
    /// In the lines behind the last chunk.
    Trailers,
    /// Nothing more is looked at.
    Off,
}

/// What is known of the head being read.
#[derive(Debug, Default)]
struct Head {
    /// The line being read, as far as it is of use: a name, a colon and a framing value.
    line: Vec<u8>,
    /// Octets since the last line end.
    line_len: usize,
    /// Lines that have ended.
    lines: usize,
    content_length: Option<u64>,
    transfer_encoding: bool,
    chunked: bool,
    hosts: u8,
    bad: bool,
}

/// Longer lines are not kept whole: no framing field is.
const KEPT: usize = 256;

impl Default for HeadWatch {
    fn default() -> Self {
        Self { state: State::Head, head: Head::default(), heads: 0, faulty: None }
    }
}

// === impl HeadWatch ===

impl HeadWatch {
    /// Looks at what was read next.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Off => return,
                State::Body(left) => {
                    let (rest, left) = skip(bytes, left);
                    self.state = if left == 0 { State::Head } else { State::Body(left) };
                    rest
                }
                State::Chunk(left) => {
                    let (rest, left) = skip(bytes, left);
                    self.state = match left {
                        0 => State::ChunkSize { size: 0, ext: false },
                        left => State::Chunk(left),
                    };
                    rest
                }
                State::ChunkSize { size, ext } => self.chunk_size(bytes, size, ext),
                State::Head | State::Trailers => self.line(bytes),
            };
        }
    }

    /// The index, counted from 0, of the first request of the connection whose head must be refused.
    pub fn faulty_request(&self) -> Option<u64> {
        self.faulty
    }

    /// Whether a head has begun and not ended.
    pub fn in_partial_head(&self) -> bool {
        self.state == State::Head && (self.head.line_len > 0 || self.head.lines > 0)
    }

    fn chunk_size<'a>(&mut self, bytes: &'a [u8], mut size: u64, mut ext: bool) -> &'a [u8] {
        for (i, byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' => {
                    self.state = match size {
                        0 => State::Trailers,
                        size => State::Chunk(size.saturating_add(2)),
                    };
                    return &bytes[i + 1..];
                }
                _ if ext => {}
                byte if byte.is_ascii_hexdigit() => {
                    let digit = char::from(*byte).to_digit(16).unwrap_or(0);
                    // A size beyond all sense: the parser refuses it, there is nothing to follow.
                    let Some(next) = size.checked_mul(16) else {
                        self.state = State::Off;
                        return &[];
                    };
                    size = next + u64::from(digit);
                }
                _ => ext = true,
            }
        }
        self.state = State::ChunkSize { size, ext };
        &[]
    }

    /// Takes one line, or what there is of it.
    fn line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.head.keep(bytes);
            return &[];
        };
        if self.head.line.is_empty() && self.head.line_len == 0 {
            self.line_ended(&bytes[..end]);
        } else {
            self.head.keep(&bytes[..end]);
            let line = std::mem::take(&mut self.head.line);
            self.line_ended(&line);
            self.head.line = line;
            self.head.line.clear();
            self.head.line_len = 0;
        }
        &bytes[end + 1..]
    }

    fn line_ended(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            if self.state == State::Head {
                self.head.field(line);
            }
            self.head.lines += 1;
            return;
        }
        match self.state {
            // Empty lines before a request (RFC 9112, 2.2).
            State::Head if self.head.lines == 0 => {}
            State::Head => self.head_ended(),
            _ => {
                self.head = Head { line: std::mem::take(&mut self.head.line), ..Head::default() };
                self.state = State::Head;
            }
        }
    }

    fn head_ended(&mut self) {
        let head = std::mem::replace(&mut self.head, Head { line: Vec::new(), ..Head::default() });
        let ambiguous = head.transfer_encoding && head.content_length.is_some();
        if (head.bad || ambiguous || head.hosts > 1) && self.faulty.is_none() {
            self.faulty = Some(self.heads);
        }
        self.heads += 1;
        self.state = match head.content_length {
            _ if head.chunked => State::ChunkSize { size: 0, ext: false },
            Some(length) if length > 0 => State::Body(length),
            _ => State::Head,
        };
    }
}

// === impl Head ===

impl Head {
    fn keep(&mut self, bytes: &[u8]) {
        self.line_len += bytes.len();
        let room = KEPT.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// One line of a head that is not empty.
    fn field(&mut self, line: &[u8]) {
        if self.lines == 0 {
            return;
        }
        // Continuation lines (obs-fold) and stray carriage returns are read differently by different
        // parsers (RFC 9112, 5.2 and 2.2).
        if matches!(line[0], b' ' | b'\t') {
            self.bad = true;
            return;
        }
        // By length first: nearly all lines are none of these.
        let Some(colon) = line.iter().take(20).position(|byte| *byte == b':') else { return };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let bare = name.trim_ascii_end();
        match bare.len() {
            4 if bare.eq_ignore_ascii_case(b"host") => self.hosts = self.hosts.saturating_add(1),
            14 if bare.eq_ignore_ascii_case(b"content-length") => self.length(value),
            17 if bare.eq_ignore_ascii_case(b"transfer-encoding") => self.encoding(value),
            _ => return,
        }
        // No white space is allowed before the colon (RFC 9112, 5.1).
        self.bad |= bare.len() != name.len();
    }

    fn length(&mut self, value: &[u8]) {
        let value = value.trim_ascii();
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let length = std::str::from_utf8(value).ok().filter(|_| digits);
        match length.and_then(|length| length.parse().ok()) {
            Some(length) if self.content_length.is_none_or(|known| known == length) => {
                self.content_length = Some(length);
            }
            _ => {
                self.bad = true;
                self.content_length.get_or_insert(0);
            }
        }
    }

    fn encoding(&mut self, value: &[u8]) {
        self.transfer_encoding = true;
        let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
        self.chunked = last.eq_ignore_ascii_case(b"chunked");
        self.bad |= !self.chunked;
    }
}

fn skip(bytes: &[u8], left: u64) -> (&[u8], u64) {
    let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    (&bytes[here..], left - here as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn watch(bytes: &[u8]) -> HeadWatch {
        let mut watch = HeadWatch::default();
        watch.feed(bytes);
        watch
    }

    #[test]
    fn ambiguous_framing_is_seen_in_any_order_and_case() {
        for head in [
            "POST / HTTP/1.1\r\nhost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding : chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +3\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\nx: y\r\n z\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        ] {
            assert_eq!(watch(head.as_bytes()).faulty_request(), Some(0), "{head:?}");
        }
    }

    #[test]
    fn the_index_is_of_the_faulty_one_behind_bodies_of_all_kinds() {
        let stream = "GET / HTTP/1.1\r\nhost: a\r\n\r\n\
            POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nGET / \
            POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
            5;x=y\r\nhello\r\n0\r\nx-t: 1\r\n\r\n\
            POST / HTTP/1.1\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(watch(stream.as_bytes()).faulty_request(), Some(3));
    }

    #[test]
    fn a_head_is_partial_from_its_first_octet_to_its_last() {
        let head = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        assert!(!watch(b"").in_partial_head());
        for end in 1..head.len() {
            assert!(watch(&head[..end]).in_partial_head(), "{end}");
        }
        assert!(!watch(head).in_partial_head());
    }

    proptest! {
        #[test]
        fn how_the_stream_is_cut_makes_no_difference(
            requests in proptest::collection::vec(request(), 1..6),
            cuts in proptest::collection::vec(1usize..40, 0..40),
        ) {
            let stream = requests.concat();
            let whole = watch(&stream);
            let mut pieces = HeadWatch::default();
            let mut rest = &stream[..];
            for cut in cuts {
                let (piece, behind) = rest.split_at(cut.min(rest.len()));
                pieces.feed(piece);
                rest = behind;
            }
            pieces.feed(rest);
            prop_assert_eq!(whole.faulty, pieces.faulty);
            prop_assert_eq!(whole.heads, pieces.heads);
            prop_assert_eq!(whole.heads, requests.len() as u64);
            prop_assert_eq!(whole.in_partial_head(), pieces.in_partial_head());
        }

        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            watch(&bytes);
        }
    }

    fn request() -> impl Strategy<Value = Vec<u8>> {
        let body = "[ -~\r\n]{0,30}";
        prop_oneof![
            Just(b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()),
            body.prop_map(|b| {
                format!("POST / HTTP/1.1\r\nhost: a\r\nContent-Length: {}\r\n\r\n{b}", b.len())
                    .into_bytes()
            }),
            body.prop_map(|b| {
                let chunk = match b.len() {
                    0 => String::new(),
                    n => format!("{n:X}\r\n{b}\r\n"),
                };
                format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n")
                    .into_bytes()
            }),
        ]
    }
}
