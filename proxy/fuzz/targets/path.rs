//! The path's normal form: it has no dots to climb by, and is its own normal form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nodeway_core::route::normalised;

fuzz_target!(|path: &str| {
    let normal = normalised(path);
    assert_eq!(normalised(&normal), normal);
    if path.starts_with('/') {
        assert!(normal.starts_with('/'), "{normal}");
        let climbs = |element: &str| matches!(element, "." | "..");
        assert!(!normal.split('/').any(climbs), "{normal}");
        let encoded = normal.to_ascii_lowercase();
        assert!(
            !encoded.split('/').any(|element| climbs(&element.replace("%2e", "."))),
            "{normal}"
        );
    }
});
