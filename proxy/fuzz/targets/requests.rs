//! What a client says over HTTP/1: no octets make its reader panic, and however they are cut they are read the same,
//! request by request.
#![no_main]

use bytes::BytesMut;
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use nodeway::http1::{Content, Heads, Piece};
use nodeway::serve::http::RequestHead;

fuzz_target!(|octets: &[u8]| {
    // The first octet says where the rest is cut.
    let Some((cut, said)) = octets.split_first() else { return };
    let parts: Vec<&[u8]> = said.chunks(usize::from(cut % 16) + 1).collect();
    // What is wrong may show before its line is whole, or only then; up to there all is the same.
    assert_eq!(told(&[said]), told(&parts));
});

const MOST: usize = 64 << 10;

/// The requests that make sense.
fn told(parts: &[&[u8]]) -> Vec<(String, Vec<u8>, String)> {
    let (mut heads, mut read, mut requests) = (Heads::new(MOST), BytesMut::new(), Vec::new());
    let mut parts = parts.iter();
    let mut more = |read: &mut BytesMut| parts.next().map(|part| read.extend_from_slice(part));
    loop {
        let head = match RequestHead::next(&mut heads, &mut read, &mut HeaderMap::new()) {
            Ok(Some(head)) => head,
            Ok(None) if more(&mut read).is_some() => continue,
            Ok(None) | Err(_) => return requests,
        };
        let (mut content, mut body): (Content, _) = (head.content, Vec::new());
        let trailers = loop {
            match content.next(&mut read) {
                Ok(Piece::Data(data)) => body.extend_from_slice(&data),
                Ok(Piece::End(trailers)) => break trailers,
                Ok(Piece::Short) if more(&mut read).is_some() => {}
                Ok(Piece::Short) | Err(_) => return requests,
            }
        };
        requests.push((format!("{:?}", head.request), body, format!("{trailers:?}")));
    }
}
