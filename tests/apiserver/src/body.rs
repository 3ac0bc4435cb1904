//! Bodies that are made of parts: a watch's events as they come. And bodies that break off.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use crate::answer::Body;

/// An answer that breaks off at once would not even begin.
const FLUSH: Duration = Duration::from_millis(20);

/// Ends when its sender does.
pub(crate) struct Parts {
    pub(crate) parts: mpsc::Receiver<Bytes>,
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.parts.poll_recv(cx).map(|part| part.map(|part| Ok(Frame::data(part))))
    }
}

/// Breaks off after so many octets, and its connection with it.
pub(crate) struct Cut {
    body: Body,
    left: usize,
    /// What went before is on its way by then.
    end: Pin<Box<Sleep>>,
}

// === impl Cut ===

impl Cut {
    pub(crate) fn after(octets: usize, body: Body) -> Self {
        Self { body, left: octets, end: Box::pin(tokio::time::sleep(Duration::ZERO)) }
    }
}

impl http_body::Body for Cut {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            ready!(self.end.as_mut().poll(cx));
            return Poll::Ready(Some(Err(io::Error::other("cut on demand"))));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        polled.map_ok(|frame| match frame.into_data() {
            Ok(mut data) => {
                data.truncate(self.left);
                self.left -= data.len();
                self.end.as_mut().reset(Instant::now() + FLUSH);
                Frame::data(data)
            }
            Err(other) => other,
        })
    }
}
