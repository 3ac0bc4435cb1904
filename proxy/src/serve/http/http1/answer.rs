//! The head of a response in octets, and where its body ends (RFC 9112, 6).

use std::io::Write as _;

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode};
use http_body::SizeHint;
use hyper::ext::ReasonPhrase;

use crate::http1::{Extent, announced, field};

/// What a response answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// HEAD.
    pub head: bool,
    /// HTTP/1.0.
    pub old: bool,
    /// Its client looks at trailers.
    pub trailers: bool,
    /// Its client has left HTTP with it.
    pub upgraded: bool,
    /// Its client would use the connection again, and may.
    pub keep_alive: bool,
}

impl Asked {
    /// Nothing that could be understood.
    pub(super) const LAST: Self =
        Self { head: false, old: false, trailers: false, upgraded: false, keep_alive: false };
}

/// What follows a response's head.
#[derive(Debug)]
pub(super) struct Answer {
    /// Where its body ends.
    pub extent: Extent,
    /// Whether the connection may be used again.
    pub keep_alive: bool,
}

/// Puts the head of `response`, of whose body there is so much to come, behind what is in `out`.
pub(super) fn head<B>(
    out: &mut Vec<u8>,
    response: &Response<B>,
    rest: &SizeHint,
    asked: Asked,
) -> Answer {
    let (status, headers) = (response.status(), response.headers());
    let extent = extent(status, headers, rest, asked);
    let mut keep_alive = asked.keep_alive && extent != Extent::Close;
    first_line(out, response, asked.old);
    // Whether a length may be said: it is said once.
    let mut length = !asked.upgraded
        && status != StatusCode::NO_CONTENT
        && !matches!(extent, Extent::Chunked(_) | Extent::Close);
    for (name, value) in headers {
        if *name == CONTENT_LENGTH {
            if !std::mem::take(&mut length) {
                continue;
            }
        } else if *name == TRANSFER_ENCODING {
            continue;
        } else if *name == CONNECTION && !asked.upgraded {
            keep_alive &= !value.as_bytes().eq_ignore_ascii_case(b"close");
            continue;
        }
        field(out, name, value.as_bytes());
    }
    let octets = match &extent {
        Extent::Length(octets) => Some(*octets),
        // As many as there would have been.
        Extent::None if asked.head => rest.exact().filter(|octets| *octets > 0),
        _ => None,
    };
    if let Some(octets) = octets.filter(|_| length) {
        // Writing to memory does not fail.
        let _ = write!(out, "content-length: {octets}\r\n");
    }
    if matches!(extent, Extent::Chunked(_)) {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if !asked.upgraded && !keep_alive {
        out.extend_from_slice(b"connection: close\r\n");
    } else if !asked.upgraded && asked.old {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Answer { extent, keep_alive }
}

/// Where the body ends of which `rest` is to come.
fn extent(status: StatusCode, headers: &HeaderMap, rest: &SizeHint, asked: Asked) -> Extent {
    if asked.head
        || asked.upgraded
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    {
        return Extent::None;
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    match length.or(rest.exact()) {
        Some(length) => Extent::Length(length),
        // RFC 9112, 6.1: HTTP/1.0 knows no chunks.
        None if asked.old => Extent::Close,
        None if asked.trailers => Extent::Chunked(announced(headers)),
        None => Extent::Chunked(Vec::new()),
    }
}

fn first_line<B>(out: &mut Vec<u8>, response: &Response<B>, old: bool) {
    let status = response.status();
    out.extend_from_slice(if old { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    let odd = response.extensions().get::<ReasonPhrase>();
    let usual = || status.canonical_reason().unwrap_or_default().as_bytes();
    out.extend_from_slice(odd.map_or_else(usual, ReasonPhrase::as_bytes));
    out.extend_from_slice(b"\r\n");
}
