//! The server's name in a ClientHello: once it is read, more octets do not change it; and it is a name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nodeway_core::detect::{Hello, server_name};

fuzz_target!(|bytes: &[u8]| {
    let whole = server_name(bytes);
    // A cut in each part of it is enough: all of them take too long for long ones.
    for n in 0..16 {
        let before = server_name(&bytes[..bytes.len() * n / 16]);
        assert!(matches!(before, Hello::NeedMore) || before == whole, "{before:?}, then {whole:?}");
    }
    if let Hello::Named(name) = whole {
        assert!(!name.is_empty() && !name.bytes().any(|b| b.is_ascii_uppercase()), "{name:?}");
    }
});
