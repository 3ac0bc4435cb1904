//! What the first bytes of a client tell.

/// The connection preface of HTTP/2 (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Its first line: no HTTP/1 request begins so.
const PREFACE_LINE: usize = b"PRI * HTTP/2.0\r\n".len();
/// The longest method that is looked for; the longest registered one has 17 octets.
const MAX_METHOD: usize = 24;

/// What the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Too few to tell.
    NeedMore,
    /// A request of HTTP/1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// Begins like HTTP/2 and breaks off: nobody's protocol.
    BadPreface,
    /// A TLS handshake.
    Tls,
    /// Anything else.
    Opaque,
}

/// Tells what a client speaks. Once a verdict other than `NeedMore` is given, more bytes do not
/// change it.
pub fn first_bytes(bytes: &[u8]) -> Verdict {
    match bytes {
        [] => Verdict::NeedMore,
        [0x16, ..] => tls(bytes),
        _ if bytes.starts_with(&PREFACE[..bytes.len().min(PREFACE_LINE)]) => http2(bytes),
        _ => http1(bytes),
    }
}

/// RFC 8446, 5.1: a record of type handshake (22), of version 3.x, with a length.
fn tls(bytes: &[u8]) -> Verdict {
    match bytes {
        [0x16] => Verdict::NeedMore,
        [0x16, 0x03, ..] if bytes.len() < 5 => Verdict::NeedMore,
        [0x16, 0x03, minor, high, low, ..] if *minor <= 4 => {
            let length = u16::from_be_bytes([*high, *low]);
            let plausible = (4..=(1 << 14) + 256).contains(&length);
            if plausible { Verdict::Tls } else { Verdict::Opaque }
        }
        _ => Verdict::Opaque,
    }
}

fn http2(bytes: &[u8]) -> Verdict {
    let known = bytes.len().min(PREFACE.len());
    if bytes[..known] != PREFACE[..known] {
        Verdict::BadPreface
    } else if known == PREFACE.len() {
        Verdict::Http2
    } else {
        Verdict::NeedMore
    }
}

/// A method of upper-case letters and dashes, a space, and the beginning of a target (RFC 9112, 3).
/// Lower-case methods are legal but nobody's; text protocols that begin with a word and a space in
/// upper case (`HELO mail`, `SET key`) are told apart by the target: `/`, `*`, or something with a
/// colon and `HTTP/` behind it.
fn http1(bytes: &[u8]) -> Verdict {
    let method = bytes.iter().take_while(|b| b.is_ascii_uppercase() || **b == b'-').count();
    if method == bytes.len() && method <= MAX_METHOD {
        return Verdict::NeedMore;
    }
    if method == 0 || method > MAX_METHOD || bytes[method] != b' ' {
        return Verdict::Opaque;
    }
    match bytes.get(method + 1) {
        None => Verdict::NeedMore,
        Some(b'/') => Verdict::Http1,
        Some(_) => other_target(&bytes[method + 1..]),
    }
}

/// `*`, `host:port` or `http://...`: sure only once the line ends in `HTTP/1.x`.
fn other_target(rest: &[u8]) -> Verdict {
    const LONGEST: usize = 2048;
    let line = rest.iter().position(|b| *b == b'\n').map(|end| &rest[..end]);
    match line {
        Some(line) => {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let version = line.len().checked_sub(9).map(|at| &line[at..]);
            let http = matches!(version, Some([b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', _]));
            if http { Verdict::Http1 } else { Verdict::Opaque }
        }
        None if rest.len() > LONGEST || rest.contains(&0) => Verdict::Opaque,
        None => Verdict::NeedMore,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLES: &[(&[u8], Verdict)] = &[
        (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", Verdict::Http1),
        (b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", Verdict::Http1),
        (b"CONNECT a:443 HTTP/1.1\r\n", Verdict::Http1),
        (b"GET http://a/ HTTP/1.0\n", Verdict::Http1),
        (b"VERSION-CONTROL /x HTTP/1.1\r\n", Verdict::Http1),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", Verdict::Http2),
        (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", Verdict::BadPreface),
        (b"PRINT /x HTTP/1.1\r\n", Verdict::Http1),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", Verdict::Tls),
        (b"\x16\x03\x01\x00\x00\x01", Verdict::Opaque),
        (b"\x16\x04\x01\x02\x00", Verdict::Opaque),
        (b"*1\r\n$4\r\nPING\r\n", Verdict::Opaque),
        (b"SET key value\r\n", Verdict::Opaque),
        (b"EHLO mail\r\n", Verdict::Opaque),
        (b"SSH-2.0-OpenSSH\r\n", Verdict::Opaque),
        (b"\0\0\0\x08\x04\xd2\x16/", Verdict::Opaque),
        (b"get / HTTP/1.1\r\n", Verdict::Opaque),
    ];

    #[test]
    fn every_prefix_of_every_sample_needs_more_or_tells_the_same() {
        for (sample, expected) in SAMPLES {
            assert_eq!(first_bytes(sample), *expected, "{:?}", sample.escape_ascii().to_string());
            for end in 0..sample.len() {
                let verdict = first_bytes(&sample[..end]);
                assert!(
                    verdict == Verdict::NeedMore || verdict == *expected,
                    "{:?} at {end}: {verdict:?}",
                    sample.escape_ascii().to_string()
                );
            }
        }
    }

    proptest! {
        #[test]
        fn more_bytes_change_no_verdict(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut settled = None;
            for end in 0..=bytes.len() {
                let verdict = first_bytes(&bytes[..end]);
                match settled {
                    Some(settled) => prop_assert_eq!(verdict, settled),
                    None if verdict != Verdict::NeedMore => settled = Some(verdict),
                    None => {}
                }
            }
        }

        #[test]
        fn text_settles_too(text in "[A-Z]{0,6} ?[a-zA-Z/:*. ]{0,40}(\r\n)?[a-z]{0,4}") {
            let mut settled = None;
            for end in 0..=text.len() {
                let verdict = first_bytes(&text.as_bytes()[..end]);
                match settled {
                    Some(settled) => prop_assert_eq!(verdict, settled),
                    None if verdict != Verdict::NeedMore => settled = Some(verdict),
                    None => {}
                }
            }
        }
    }
}
