//! The head of a response: its octets become a status and fields, and it is found out where its body ends
//! (RFC 9112, 6.3).

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::{HeaderMap, StatusCode};
use httparse::Status;
use hyper::ext::ReasonPhrase;

use crate::http1::{Heads, MOST_FIELDS, Place, Said, fault, fields_of};
use crate::streams::Malformed;

/// Octets of one head.
pub(super) const MOST_OCTETS: usize = 408 << 10;

/// What a response answers: it decides whether a body follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// HEAD.
    pub head: bool,
    /// CONNECT.
    pub connect: bool,
    /// For another protocol.
    pub upgrade: bool,
}

/// Where a response's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// After so many octets.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// With the connection.
    Close,
    /// What follows is not HTTP.
    Upgrade,
}

/// A response's head.
#[derive(Debug)]
pub struct Head {
    /// Its status.
    pub status: StatusCode,
    /// Whether it is said in HTTP/1.0.
    pub old: bool,
    /// Its fields, with one Content-Length at most.
    pub headers: HeaderMap,
    /// How the server puts the status in words, if not as everybody does.
    pub reason: Option<ReasonPhrase>,
    /// Where its body ends.
    pub framing: Framing,
    /// Whether the connection is to be used again.
    pub keep_alive: bool,
}

/// Takes the next head, interim or final, out of `read`, if it is whole; its fields go into `map`, which is empty.
///
/// # Errors
/// What is wrong with it.
pub(super) fn next(
    heads: &mut Heads,
    read: &mut BytesMut,
    asked: Asked,
    map: &mut HeaderMap,
) -> Result<Option<Head>, Malformed> {
    let Some((octets, (code, old, reason))) = heads.next(read, find)? else { return Ok(None) };
    let status = StatusCode::from_u16(code).map_err(|_| Malformed("its status is none"))?;
    let mut headers = std::mem::take(map);
    let said = heads.fields(&octets, &mut headers)?;
    let framing = framing(status, old, asked, &said)?;
    let keep_alive = !said.close
        && (!old || said.keep_alive)
        && !matches!(framing, Framing::Close | Framing::Upgrade);
    Ok(Some(Head { status, old, headers, reason, framing, keep_alive }))
}

/// A status, whether it is HTTP/1.0, and an odd reason.
type Line = (u16, bool, Option<ReasonPhrase>);

/// How long the head is, and its first line; where the fields are.
fn find(read: &[u8], places: &mut Vec<Place>) -> Result<Option<(usize, Line)>, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let parsed = config.parse_response_with_uninit_headers(&mut response, read, &mut fields);
    let Status::Complete(length) = parsed.map_err(fault)? else { return Ok(None) };
    fields_of(read, response.headers, places);
    let code = response.code.unwrap_or_default();
    let reason = response.reason.unwrap_or_default();
    let usual = StatusCode::from_u16(code).ok().and_then(|status| status.canonical_reason());
    let odd = (usual != Some(reason)).then(|| ReasonPhrase::try_from(reason.as_bytes()));
    Ok(Some((length, (code, response.version == Some(0), odd.and_then(Result::ok)))))
}

/// RFC 9112, 6.3, in its order, without its tolerance: what it lets a reader repair is refused.
fn framing(status: StatusCode, old: bool, asked: Asked, said: &Said) -> Result<Framing, Malformed> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        if !asked.upgrade {
            return Err(Malformed("it switches protocols unasked"));
        }
        return Ok(Framing::Upgrade);
    }
    if status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || asked.head
    {
        return Ok(Framing::None);
    }
    if asked.connect && status.is_success() {
        return Ok(Framing::Upgrade);
    }
    match (said.codings, said.length) {
        (0, Some(0)) => Ok(Framing::None),
        (0, Some(length)) => Ok(Framing::Length(length)),
        (0, None) => Ok(Framing::Close),
        (_, Some(_)) => Err(Malformed("it has a Transfer-Encoding and a Content-Length")),
        (_, None) if old => Err(Malformed("it has a Transfer-Encoding in HTTP/1.0")),
        // Another coding would have to be undone here, or be passed on, and nobody does either.
        (1, None) if said.chunked => Ok(Framing::Chunked),
        (_, None) => Err(Malformed("its Transfer-Encoding is not chunked alone")),
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_LENGTH;

    use super::*;

    fn head_of(octets: &str, asked: Asked) -> Result<Option<Head>, Malformed> {
        let mut read = BytesMut::from(octets);
        next(&mut Heads::new(MOST_OCTETS), &mut read, asked, &mut HeaderMap::new())
    }

    fn framing_of(fields: &str) -> Result<Framing, Malformed> {
        let octets = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        head_of(&octets, Asked::default()).map(|head| head.unwrap().framing)
    }

    #[test]
    fn where_a_body_ends_is_said_in_one_way_only() {
        for (fields, right) in [
            ("", Framing::Close),
            ("Content-Length: 0\r\n", Framing::None),
            ("content-length: 5\r\n", Framing::Length(5)),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", Framing::Length(5)),
            ("Content-Length: 5, 5\r\n", Framing::Length(5)),
            ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
            ("Transfer-Encoding: CHUNKED \r\n", Framing::Chunked),
        ] {
            assert_eq!(framing_of(fields), Ok(right), "{fields}");
        }
        for fields in [
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5, 6\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: 5,\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, gzip\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding:\r\n",
            "Transfer-Encoding : chunked\r\n",
            "X: a\r\n folded\r\n",
            "X: a\rb\r\n",
            "X: a\0b\r\n",
            "X y: a\r\n",
            ": a\r\n",
            "X\r\n",
        ] {
            assert!(framing_of(fields).is_err(), "{fields:?}: {:?}", framing_of(fields));
        }
        assert!(
            head_of("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Asked::default())
                .is_err()
        );
        for line in
            ["HTTP/2 200 OK", "HTTP/1.2 200 OK", "http/1.1 200 OK", "HTTP/1.1 20 OK", "ICY 200 OK"]
        {
            assert!(head_of(&format!("{line}\r\n\r\n"), Asked::default()).is_err(), "{line}");
        }
    }

    #[test]
    fn what_was_asked_and_the_status_say_whether_a_body_follows() {
        let framing = |status: u16, asked: Asked| {
            let octets = format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\n");
            head_of(&octets, asked).map(|head| head.unwrap().framing)
        };
        let (plain, head) = (Asked::default(), Asked { head: true, ..Asked::default() });
        let connect = Asked { connect: true, ..Asked::default() };
        let upgrade = Asked { upgrade: true, ..Asked::default() };
        for (status, asked, right) in [
            (200, plain, Framing::Length(5)),
            (200, head, Framing::None),
            (204, plain, Framing::None),
            (304, plain, Framing::None),
            (103, plain, Framing::None),
            (200, connect, Framing::Upgrade),
            (407, connect, Framing::Length(5)),
            (101, upgrade, Framing::Upgrade),
            (200, upgrade, Framing::Length(5)),
        ] {
            assert_eq!(framing(status, asked), Ok(right), "{status} {asked:?}");
        }
        assert!(framing(101, plain).is_err(), "nobody has asked for it");
    }

    #[test]
    fn a_connection_is_used_again_unless_it_says_otherwise() {
        for (line, fields, right) in [
            ("HTTP/1.1 200 OK", "", true),
            ("HTTP/1.1 200 OK", "Connection: close\r\n", false),
            ("HTTP/1.1 200 OK", "Connection: x, Close\r\nConnection: keep-alive\r\n", false),
            ("HTTP/1.1 200 OK", "Connection: keep-alive\r\n", true),
            ("HTTP/1.0 200 OK", "", false),
            ("HTTP/1.0 200 OK", "Connection: keep-alive\r\n", true),
        ] {
            let octets = format!("{line}\r\nContent-Length: 2\r\n{fields}\r\n");
            let head = head_of(&octets, Asked::default()).unwrap().unwrap();
            assert_eq!(head.keep_alive, right, "{line} {fields}");
        }
    }

    #[test]
    fn a_few_empty_lines_before_a_head_are_passed_over() {
        let head = "HTTP/1.1 204 No Content\r\n\r\n";
        let after = |lines: &str| head_of(&[lines, head].concat(), Asked::default());
        assert!(after("\r\n\n\r\n").is_ok_and(|head| head.is_some()));
        assert!(after("\r\r\n").is_err() && after(&"\r\n".repeat(65)).is_err());
    }

    #[test]
    fn several_lengths_that_agree_are_passed_on_as_one() {
        let head = head_of("HTTP/1.1 200 Fine\r\nContent-Length: 5, 5\r\n\r\n", Asked::default());
        let head = head.unwrap().unwrap();
        assert_eq!(head.headers.get_all(CONTENT_LENGTH).iter().collect::<Vec<_>>(), ["5"]);
        assert_eq!(head.reason.unwrap().as_bytes(), b"Fine");
    }

    #[test]
    fn a_head_without_end_is_an_error_and_not_looked_at_again_and_again() {
        let (mut heads, mut read) =
            (Heads::new(MOST_OCTETS), BytesMut::from("HTTP/1.1 200 OK\r\nx: "));
        let mut octets = 0;
        let result = loop {
            match next(&mut heads, &mut read, Asked::default(), &mut HeaderMap::new()) {
                Ok(None) => {}
                other => break other,
            }
            assert!(heads.has_begun());
            read.extend_from_slice(&[b'a'; 1000]);
            octets += 1000;
        };
        assert!(result.is_err() && (MOST_OCTETS..MOST_OCTETS + 2000).contains(&octets), "{octets}");
    }
}
