//! The head of a request: its octets become a request, and it is found out where its body ends (RFC 9112, 3 and 6.3).
//!
//! Not whom it is for: what it says of that is `wellformed`'s to look at.

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::header::{EXPECT, TE};
use http::{HeaderMap, Method, Request, Uri, Version};
use httparse::Status;

use super::super::headers::names_trailers;
use crate::http1::{Content, Heads, MOST_FIELDS, Place, Said, fault, fields_of, place};
use crate::streams::Malformed;

/// Octets of one body at most: what is longer overflows somebody's number.
const MOST_LENGTH: u64 = i64::MAX as u64;

/// A request's head.
#[derive(Debug)]
pub struct RequestHead {
    /// What it says.
    pub request: Request<()>,
    /// What follows it.
    pub content: Content,
    /// Whether its client would use the connection again.
    pub keep_alive: bool,
    /// Whether its client waits to be asked for what follows (RFC 9110, 10.1.1).
    pub expects: bool,
    /// Whether its client looks at trailers (RFC 9110, 10.1.4).
    pub trailers: bool,
}

/// A method and a target, by where they are, and whether it is HTTP/1.0.
type Line = ((usize, usize), (usize, usize), bool);

// === impl RequestHead ===

impl RequestHead {
    /// Takes the next head out of `read`, if it is whole; its fields go into `map`, which is empty.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn next(
        heads: &mut Heads,
        read: &mut BytesMut,
        map: &mut HeaderMap,
    ) -> Result<Option<Self>, Malformed> {
        let Some((octets, (method, target, old))) = heads.next(read, find)? else {
            return Ok(None);
        };
        let method = Method::from_bytes(octets.get(method.0..method.1).unwrap_or_default());
        let method = method.map_err(|_| Malformed("its method is none"))?;
        if target.1 > octets.len() || target.0 > target.1 {
            return Err(Malformed("its target is none"));
        }
        let target = Uri::from_maybe_shared(octets.slice(target.0..target.1));
        let target = target.map_err(|_| Malformed("its target is none"))?;
        let mut headers = std::mem::take(map);
        let said = heads.fields(&octets, &mut headers)?;
        let content = content(&said, old)?;
        let expects = said.expect
            && !old
            && !content.has_ended()
            && headers
                .get(EXPECT)
                .is_some_and(|e| e.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let trailers = said.te && headers.get_all(TE).iter().any(names_trailers);
        let keep_alive = !said.close && (!old || said.keep_alive);
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = target;
        *request.version_mut() = if old { Version::HTTP_10 } else { Version::HTTP_11 };
        *request.headers_mut() = headers;
        Ok(Some(Self { request, content, keep_alive, expects, trailers }))
    }
}

/// How long the head is, and its first line; where the fields are.
fn find(read: &[u8], places: &mut Vec<Place>) -> Result<Option<(usize, Line)>, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(read, &mut fields);
    let Status::Complete(length) = parsed.map_err(fault)? else { return Ok(None) };
    fields_of(read, request.headers, places);
    let method = place(read, request.method.unwrap_or_default().as_bytes());
    let target = place(read, request.path.unwrap_or_default().as_bytes());
    Ok(Some((length, (method, target, request.version == Some(0)))))
}

/// RFC 9112, 6.3, without its tolerance: two readers must not see two bodies.
fn content(said: &Said, old: bool) -> Result<Content, Malformed> {
    match (said.codings, said.length) {
        (0, None) => Ok(Content::End),
        (0, Some(_)) if said.listed => Err(Malformed("Content-Length is a list")),
        (0, Some(length)) if length > MOST_LENGTH => {
            Err(Malformed("Content-Length is beyond all bounds"))
        }
        (0, Some(length)) => Ok(Content::of_length(length)),
        (_, Some(_)) => Err(Malformed("it has a Transfer-Encoding and a Content-Length")),
        (_, None) if old => Err(Malformed("it has a Transfer-Encoding in HTTP/1.0")),
        // Another coding would have to be undone here, or be passed on, and nobody does either.
        (1, None) if said.chunked => Ok(Content::chunked()),
        (_, None) => Err(Malformed("its Transfer-Encoding is not chunked alone")),
    }
}
