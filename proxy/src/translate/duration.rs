//! Durations as the Gateway API writes them (GEP-2257): `1h30m`, `500ms`.
//!
//! Not Go's and not Kubernetes' own: those have signs, fractions and more units.

use std::time::Duration;

/// Parts of a duration at most.
const MOST_PARTS: usize = 4;
/// Digits of a part at most.
const MOST_DIGITS: usize = 5;

/// The duration that `text` stands for.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    const SYNTAX: &str = "must be one to four of a whole number of up to five digits with its unit, \
                          h, m, s or ms, such as \"1m30s\"";
    let (mut rest, mut sum) = (text, Duration::ZERO);
    for _ in 0..MOST_PARTS {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at(digits);
        let number: u64 = Some(number)
            .filter(|n| n.len() <= MOST_DIGITS)
            .and_then(|n| n.parse().ok())
            .ok_or(SYNTAX)?;
        // "ms" before "m": no unit follows a unit.
        let units = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
        let unit = units.iter().find_map(|(unit, ms)| Some((behind.strip_prefix(unit)?, ms)));
        let (behind, milliseconds) = unit.ok_or(SYNTAX)?;
        // Four parts of at most 99 999 hours: far from overflowing.
        sum += Duration::from_millis(number * milliseconds);
        rest = behind;
        if rest.is_empty() {
            return Ok(sum);
        }
    }
    Err(SYNTAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    #[test]
    fn the_examples_of_the_text_mean_what_it_says() {
        for (text, ms) in [
            ("0h", 0),
            ("0s", 0),
            ("0h0m0s", 0),
            ("1h", 3_600_000),
            ("30m", 1_800_000),
            ("10s", 10_000),
            ("500ms", 500),
            ("2h30m", 9_000_000),
            ("150m", 9_000_000),
            ("7230s", 7_230_000),
            ("1h30m10s", 5_410_000),
            ("10s30m1h", 5_410_000),
            ("100ms200ms300ms", 600),
            ("00060m", 3_600_000),
            ("99999h99999h99999h99999h", 4 * 99_999 * 3_600_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in [
            "",
            "0",
            "1",
            "1m1",
            "1d",
            "1h30m10s20ms50h",
            "999999h",
            "1.5h",
            "-15m",
            "+1s",
            "h",
            "1 s",
            " 1s",
            "1s ",
            "1S",
            "1µs",
            "1s\n",
            "١s",
        ] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_the_pattern_takes_is_taken_and_nothing_else(text in "[0-9hms]{0,12}|([0-9]{1,6}(h|m|s|ms)){1,5}") {
            let pattern = Regex::new("^([0-9]{1,5}(h|m|s|ms)){1,4}$").unwrap();
            prop_assert_eq!(duration(&text).is_ok(), pattern.is_match(&text), "{:?}", text);
        }

        #[test]
        fn the_parts_are_added_up(parts in prop::collection::vec((0..100_000_u64, 0..4_usize), 1..5)) {
            let units = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
            let text: String = parts.iter().map(|(n, unit)| format!("{n}{}", units[*unit].0)).collect();
            let sum = parts.iter().map(|(n, unit)| n * units[*unit].1).sum();
            prop_assert_eq!(duration(&text), Ok(Duration::from_millis(sum)));
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = duration(&text);
        }
    }
}
