//! Which protocol a client speaks, from the first bytes it sends.
//!
//! A guess that errs on the side of opaque: what is relayed as it is always works.

/// What the bytes so far say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Still open. If no more comes (the client waits, or has ended), treat it as opaque.
    NeedMore,
    /// An HTTP/1 request line has begun.
    Http1,
    /// The HTTP/2 connection preface, whole.
    Http2,
    /// The preface's beginning and then something else: HTTP by its own word, and broken. To be
    /// closed (RFC 9113, 3.4); `PRI` is no method that HTTP/1 may have (11.6).
    BadPreface,
    /// A TLS ClientHello has begun.
    Tls,
    /// Anything else.
    Opaque,
}

/// RFC 9113, 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What of the preface no HTTP/1 request and no sensible other protocol begins with.
const PREFACE_METHOD: &[u8] = b"PRI ";
/// The longest method in the IANA registry has 17 letters (`UPDATEREDIRECTREF`); some room for others.
const MAX_METHOD: usize = 32;
/// Empty lines before the request line that are passed over: servers take any number, sensible clients
/// send one.
const MAX_EMPTY: usize = 8;
/// TLSPlaintext may hold 2^14 octets (RFC 8446, 5.1); TLS 1.2's compressed and encrypted forms 2 048 more.
const MAX_RECORD: u16 = (1 << 14) + 2048;
/// A handshake message's header: a shorter first record is no ClientHello anyone sends.
const MIN_RECORD: u16 = 4;

/// Decides by all bytes received so far, from the first one on. A verdict other than
/// [`Verdict::NeedMore`] stays the same whatever follows, and comes within 50 bytes.
pub fn first_bytes(bytes: &[u8]) -> Verdict {
    match bytes.first() {
        None => Verdict::NeedMore,
        Some(0x16) => tls(bytes),
        Some(_) => http2(bytes).unwrap_or_else(|| http1(bytes)),
    }
}

/// `None`: not HTTP/2, nor may it become so.
fn http2(bytes: &[u8]) -> Option<Verdict> {
    let common = bytes.iter().zip(PREFACE).take_while(|(a, b)| a == b).count();
    if common == PREFACE.len() {
        Some(Verdict::Http2)
    } else if common == bytes.len() {
        Some(Verdict::NeedMore)
    } else if common >= PREFACE_METHOD.len() {
        Some(Verdict::BadPreface)
    } else {
        None
    }
}

/// A method, a space, and the start of a request target (RFC 9112, 3.2).
///
/// Redis' and memcached's text commands (`GET key`) have the first two as well: the third tells.
fn http1(bytes: &[u8]) -> Verdict {
    // Empty lines before the request are passed over (RFC 9112, 2.2).
    let mut line = bytes;
    for _ in 0..MAX_EMPTY {
        line = match line {
            [b'\r'] => return Verdict::NeedMore,
            [b'\r', b'\n', rest @ ..] => rest,
            _ => break,
        };
    }
    let token = line.iter().take(MAX_METHOD + 1).take_while(|b| is_method(**b)).count();
    let Some(after) = line.get(token) else {
        return if token > MAX_METHOD { Verdict::Opaque } else { Verdict::NeedMore };
    };
    if token == 0 || token > MAX_METHOD || *after != b' ' {
        return Verdict::Opaque;
    }
    let target = line.get(token + 1..).unwrap_or_default();
    match target.first() {
        None => Verdict::NeedMore,
        Some(b'/' | b'*') => Verdict::Http1,
        // The authority form is CONNECT's alone.
        Some(b) if line.starts_with(b"CONNECT ") && (b.is_ascii_alphanumeric() || *b == b'[') => {
            Verdict::Http1
        }
        Some(_) => absolute_form(target),
    }
}

fn absolute_form(target: &[u8]) -> Verdict {
    const SCHEME: &[u8] = b"http";
    let common = target.iter().zip(SCHEME).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
    let after = target.get(common..).unwrap_or_default();
    match after {
        [] => Verdict::NeedMore,
        _ if common < SCHEME.len() => Verdict::Opaque,
        [b's' | b'S'] => Verdict::NeedMore,
        [b':', ..] | [b's' | b'S', b':', ..] => Verdict::Http1,
        _ => Verdict::Opaque,
    }
}

/// Upper-case letters and `-`: all registered methods. RFC 9110 allows any token, but a lower-case
/// word and a space begin memcached's commands.
fn is_method(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte == b'-'
}

/// A record of type handshake, version 3.0 to 3.4, that starts with a ClientHello.
fn tls(bytes: &[u8]) -> Verdict {
    let plausible = |at: usize, ok: fn(u8) -> bool| bytes.get(at).is_none_or(|b| ok(*b));
    if !plausible(1, |major| major == 3) || !plausible(2, |minor| minor <= 4) {
        return Verdict::Opaque;
    }
    if let [_, _, _, high, low, ..] = *bytes
        && !(MIN_RECORD..=MAX_RECORD).contains(&u16::from_be_bytes([high, low]))
    {
        return Verdict::Opaque;
    }
    match bytes.get(5) {
        None => Verdict::NeedMore,
        Some(1) => Verdict::Tls,
        Some(_) => Verdict::Opaque,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLES: &[(&[u8], Verdict)] = &[
        (b"GET / HTTP/1.1\r\n", Verdict::Http1),
        (b"PUT /x HTTP/1.0\r\n", Verdict::Http1),
        (b"PROPFIND /x HTTP/1.1\r\n", Verdict::Http1),
        (b"OPTIONS * HTTP/1.1\r\n", Verdict::Http1),
        (b"\r\nPOST /a HTTP/1.1\r\n", Verdict::Http1),
        (b"\r\n\r\n\r\nPOST /a HTTP/1.1\r\n", Verdict::Http1),
        (b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n", Verdict::Http1),
        (b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n", Verdict::Opaque),
        (b"\r\n\r\nQUIT\r\n", Verdict::Opaque),
        (b"M-SEARCH * HTTP/1.1\r\n", Verdict::Http1),
        (b"GET http://a/ HTTP/1.1\r\n", Verdict::Http1),
        (b"GET HTTPS://a/ HTTP/1.1\r\n", Verdict::Http1),
        (b"CONNECT a.example:443 HTTP/1.1\r\n", Verdict::Http1),
        (b"CONNECT [::1]:443 HTTP/1.1\r\n", Verdict::Http1),
        (PREFACE, Verdict::Http2),
        (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", Verdict::BadPreface),
        (b"PRI /x HTTP/1.1\r\n", Verdict::BadPreface),
        (b"PRIVATE /x HTTP/1.1\r\n", Verdict::Http1),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Verdict::Tls),
        (b"\x16\x03\x09\x02\x00\x01", Verdict::Opaque),
        (b"\x16\x03\x01\x00\x00\x01", Verdict::Opaque),
        (b"\x16\x03\x01\xff\xff\x01", Verdict::Opaque),
        (b"\x16\x03\x01\x02\x00\x02", Verdict::Opaque),
        (b"GET key\r\n", Verdict::Opaque),
        (b"GET httpx\r\n", Verdict::Opaque),
        (b"get /key\r\n", Verdict::Opaque),
        (b"CONNECT {\"verbose\":false}\r\n", Verdict::Opaque),
        (b"CONNECT\naccept-version:1.2\n", Verdict::Opaque),
        (b"SET a b\r\n", Verdict::Opaque),
        (b"*1\r\n$4\r\nPING\r\n", Verdict::Opaque),
        (b"PING\r\n", Verdict::Opaque),
        (b"EHLO example.org\r\n", Verdict::Opaque),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Verdict::Opaque),
        (b"AMQP\x00\x00\x09\x01", Verdict::Opaque),
        (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", Verdict::Opaque),
        (b"\rx", Verdict::Opaque),
        (b" /", Verdict::Opaque),
        (b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", Verdict::Opaque),
    ];

    #[test]
    fn every_prefix_of_every_sample_is_open_or_right() {
        for (sample, verdict) in SAMPLES {
            assert_eq!(first_bytes(sample), *verdict, "{sample:?}");
            let mut decided = false;
            for end in 0..=sample.len() {
                let now = first_bytes(&sample[..end]);
                assert!(now == *verdict || (now == Verdict::NeedMore && !decided), "{sample:?}");
                decided |= now != Verdict::NeedMore;
            }
        }
    }

    #[test]
    fn binary_is_opaque_at_the_first_byte() {
        for byte in (0..=0x1f).filter(|b| !matches!(b, b'\r' | 0x16)).chain(0x7f..=0xff) {
            assert_eq!(first_bytes(&[byte]), Verdict::Opaque, "{byte:#x}");
        }
    }

    proptest! {
        #[test]
        fn a_verdict_stays_and_comes_soon(
            start in prop::sample::select(SAMPLES.iter().map(|(s, _)| *s).collect::<Vec<_>>()),
            cut in 0usize..40,
            tail in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut bytes = start[..cut.min(start.len())].to_vec();
            bytes.extend(tail);
            let mut decided = Verdict::NeedMore;
            for end in 0..=bytes.len() {
                let now = first_bytes(&bytes[..end]);
                if decided != Verdict::NeedMore {
                    prop_assert_eq!(now, decided);
                }
                decided = now;
            }
            prop_assert!(bytes.len() < 50 || decided != Verdict::NeedMore);
        }
    }
}
