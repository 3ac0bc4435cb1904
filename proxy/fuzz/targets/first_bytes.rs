//! What a connection speaks: once it is known, more octets do not change it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nodeway_core::detect::{Verdict, first_bytes};

fuzz_target!(|bytes: &[u8]| {
    let verdicts = (1..=bytes.len().min(256)).map(|end| first_bytes(&bytes[..end]));
    let mut known = Verdict::NeedMore;
    for (at, verdict) in verdicts.enumerate() {
        assert!(
            known == Verdict::NeedMore || verdict == known,
            "{known:?}, then {verdict:?} at {at}"
        );
        known = verdict;
    }
});
