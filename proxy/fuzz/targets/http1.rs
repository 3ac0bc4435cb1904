//! The watch over HTTP/1 heads: no octets make it panic, and however a stream is cut it reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nodeway_core::detect::HeadWatch;

fuzz_target!(|bytes: &[u8]| {
    // The first octet says where the rest is cut.
    let Some((cut, stream)) = bytes.split_first() else { return };
    let mut whole = HeadWatch::new();
    whole.feed(stream);
    let mut parts = HeadWatch::new();
    for part in stream.chunks(usize::from(cut % 16) + 1) {
        parts.feed(part);
    }
    assert_eq!(
        (whole.faulty_request(), whole.fault(), whole.heads(), whole.in_partial_head()),
        (parts.faulty_request(), parts.fault(), parts.heads(), parts.in_partial_head()),
    );
    if let Some(request) = whole.faulty_request() {
        assert!(request <= whole.heads(), "a fault in a request that has not begun");
    }
});
