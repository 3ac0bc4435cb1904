//! What may become of an attack, as a value: checked by the tests, and told by the document.

use std::fmt;

/// One line of a table.
pub(super) struct Case {
    /// What is sent, in words; no two are the same.
    pub what: &'static str,
    /// What is sent, in octets.
    pub sent: Sent,
    /// What becomes of it.
    pub outcome: Outcome,
}

/// Octets to send.
pub(super) enum Sent {
    /// As they stand here.
    Octets(&'static [u8]),
    /// Too many to stand here.
    Made(fn() -> Vec<u8>),
}

/// What becomes of an attack. `arrives` is all that the backend sees: a request as
/// [`nodeway_tests::strict::Request`] displays itself, and nothing else.
pub(super) enum Outcome {
    /// The status, and the connection closed. Nothing arrives.
    Refused(u16),
    /// Closed without a word: what came was no HTTP. Nothing arrives.
    Closed,
    /// Answered with 200, and the connection goes on in step.
    Passes { arrives: &'static [&'static str] },
    /// Answered with 200, and the connection closed.
    Last { arrives: &'static [&'static str] },
    /// What came first is answered with 200, what follows with the status, and the connection closed.
    Stops { arrives: &'static [&'static str], status: u16 },
    /// It has begun to arrive when it turns out to be broken: it never ends there, and the connection is closed with this
    /// status or without a word.
    Cut { arrives: &'static [&'static str], status: u16 },
}

/// A case of octets that stand there.
pub(super) const fn case(what: &'static str, sent: &'static [u8], outcome: Outcome) -> Case {
    Case { what, sent: Sent::Octets(sent), outcome }
}

/// A case of octets that are made.
pub(super) const fn made(what: &'static str, sent: fn() -> Vec<u8>, outcome: Outcome) -> Case {
    Case { what, sent: Sent::Made(sent), outcome }
}

/// A case that passes as one request.
pub(super) const fn passes(
    what: &'static str,
    sent: &'static [u8],
    arrives: &'static [&'static str],
) -> Case {
    case(what, sent, Outcome::Passes { arrives })
}

// === impl Sent ===

impl Sent {
    pub(super) fn octets(&self) -> Vec<u8> {
        match self {
            Self::Octets(octets) => octets.to_vec(),
            Self::Made(make) => make(),
        }
    }
}

// === impl Outcome ===

impl Outcome {
    /// What must have arrived when all is over.
    pub(super) fn arrives(&self) -> &'static [&'static str] {
        match self {
            Self::Refused(_) | Self::Closed => &[],
            Self::Passes { arrives }
            | Self::Last { arrives }
            | Self::Stops { arrives, .. }
            | Self::Cut { arrives, .. } => arrives,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.arrives().iter().map(|one| format!("`{one}`"));
        let seen = seen.collect::<Vec<_>>().join(", ");
        match self {
            Self::Refused(status) => write!(f, "{status}, closed"),
            Self::Closed => write!(f, "closed"),
            Self::Passes { .. } => write!(f, "passes as {seen}"),
            Self::Last { .. } => write!(f, "passes as {seen}; closed"),
            Self::Stops { status, .. } => write!(f, "{seen} passes; then {status}, closed"),
            Self::Cut { .. } => write!(f, "cut off as {seen}; closed"),
        }
    }
}
