//! The message in an endpoint's answer to gRPC's health check: whatever octets come, they are judged.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nodeway::health::{Nonsense, Serving, serving};

fuzz_target!(|octets: &[u8]| {
    let judged = serving(octets);
    // Well is said by a field's tag and value, and by nothing that is cut off.
    if judged == Ok(Serving::Serving) {
        assert!(octets.len() >= 7);
        for length in 0..octets.len() {
            assert_eq!(serving(&octets[..length]), Err(Nonsense::Short));
        }
    }
});
