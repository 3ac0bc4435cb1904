//! What an endpoint says over HTTP/1.1: no octets make its reader panic, and however they are cut they are read the
//! same, and no further than to the response's end.
#![no_main]

use bytes::BytesMut;
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use nodeway::upstream::{Asked, Reading, Step};

fuzz_target!(|octets: &[u8]| {
    // The first octet says what was asked for, and where the rest is cut.
    let Some((first, said)) = octets.split_first() else { return };
    let asked = Asked { head: first & 1 > 0, connect: first & 2 > 0, upgrade: first & 4 > 0 };
    let whole = told(&[said], asked);
    let parts: Vec<&[u8]> = said.chunks(usize::from(first >> 3) + 1).collect();
    let cut = told(&parts, asked);
    // What is wrong may show before its line is whole, or only then; what is right ends in one way.
    assert_eq!(whole, cut);
});

/// What a whole response says, and how much is left over.
fn told(parts: &[&[u8]], asked: Asked) -> Option<(String, Vec<u8>, usize)> {
    let (mut reading, mut read) = (Reading::default(), BytesMut::new());
    let (mut heads, mut body) = (String::new(), Vec::new());
    let mut parts = parts.iter();
    reading.begin(asked);
    while !reading.has_ended() {
        match reading.next(&mut read, &mut HeaderMap::new()).ok()? {
            Step::Interim(head) | Step::Head(head) => heads.push_str(&format!("{head:?}")),
            Step::Data(data) => body.extend_from_slice(&data),
            Step::End(trailers) => heads.push_str(&format!("{trailers:?}")),
            Step::Short => match parts.next() {
                Some(part) => read.extend_from_slice(part),
                None if reading.close() => break,
                None => return None,
            },
        }
    }
    let rest: usize = parts.map(|part| part.len()).sum();
    Some((heads, body, rest + read.len()))
}
