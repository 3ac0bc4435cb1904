//! A body that is read from its connection when somebody wants it.
//!
//! Not how: the connection knows.

use std::fmt::Debug;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::BodyError;

/// What a body is read from.
pub trait Source: Debug {
    /// What comes next; to be called by one reader, until the end.
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>>;

    /// Whether nothing more will come.
    fn has_ended(&self) -> bool;

    /// Octets that are still to come.
    fn size_hint(&self) -> SizeHint;
}

/// A body's only reader. It lets the connection go with the last of the body; dropped before, it leaves it
/// where nobody can use it again.
#[derive(Debug)]
pub struct Reader {
    source: Option<Rc<dyn Source>>,
}

/// Something that was said over HTTP/1 makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what was said makes no sense: {0}")]
pub struct Malformed(pub &'static str);

// === impl Reader ===

impl Reader {
    /// Reads from `source`.
    pub fn new(source: Rc<dyn Source>) -> Self {
        Self { source: (!source.has_ended()).then_some(source) }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(source) = &self.source else { return Poll::Ready(None) };
        let frame = ready!(source.poll_frame(cx));
        if source.has_ended() || !matches!(frame, Some(Ok(_))) {
            self.source = None;
        }
        Poll::Ready(frame)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.source.is_none()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.source.as_ref().map_or_else(|| SizeHint::with_exact(0), |source| source.size_hint())
    }
}
