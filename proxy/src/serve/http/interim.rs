//! Interim responses (RFC 9110, 15.2): how many a client is told.

use http::{HeaderMap, StatusCode};

/// Interim responses that a request's client is told. They are optional: a client that does not read must not
/// make us keep more and more of them.
const MOST_TOLD: usize = 16;
/// Octets of theirs.
const MOST_OCTETS: usize = 64 << 10;
/// Of one without fields.
const EMPTY: usize = 48;

/// What a request's client has been told before its response.
#[derive(Debug, Default)]
pub(super) struct Told {
    responses: usize,
    octets: usize,
    asked: bool,
}

// === impl Told ===

impl Told {
    /// Whether the client is told this one too.
    pub(super) fn takes(&mut self, status: StatusCode, headers: &HeaderMap) -> bool {
        if status == StatusCode::CONTINUE {
            // It waits for that, once.
            return !std::mem::replace(&mut self.asked, true);
        }
        let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        let octets = fields.fold(self.octets + EMPTY, usize::saturating_add);
        if self.responses == MOST_TOLD || octets > MOST_OCTETS {
            return false;
        }
        (self.responses, self.octets) = (self.responses + 1, octets);
        true
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_client_is_told_so_much_and_no_more() {
        let (mut told, mut hint) = (Told::default(), HeaderMap::new());
        hint.insert("link", HeaderValue::from_static("</a.css>"));
        let taken = (0..100).filter(|_| told.takes(StatusCode::EARLY_HINTS, &hint)).count();
        assert_eq!(taken, MOST_TOLD);
        hint.insert("link", HeaderValue::from_bytes(&[b'a'; 8192]).unwrap());
        let mut told = Told::default();
        let taken = (0..16).filter(|_| told.takes(StatusCode::EARLY_HINTS, &hint)).count();
        assert_eq!(taken, 7);
        let asked = [(); 2].map(|()| told.takes(StatusCode::CONTINUE, &HeaderMap::new()));
        assert_eq!(asked, [true, false]);
    }
}
