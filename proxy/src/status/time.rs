//! The time of day, as the API writes it.

use jiff::Timestamp;

/// Now, to the second (meta/v1 `Time`).
pub(super) fn seconds() -> String {
    text(Timestamp::now())
}

/// `time`, to the second.
pub(super) fn text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Now, to the microsecond (meta/v1 `MicroTime`).
pub(super) fn micros() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_api_reads_them() {
        assert_eq!(text(Timestamp::UNIX_EPOCH), "1970-01-01T00:00:00Z");
        let micros = micros();
        assert_eq!(micros.len(), "2026-01-01T00:00:00.000000Z".len(), "{micros}");
        assert!(micros.parse::<Timestamp>().is_ok());
    }
}
