//! A body sent over the sending half of an HTTP/2 stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;

use super::BodyError;

/// Sends a body. It is asked for a frame only when the one before it could leave, so a receiver who
/// does not read holds its sender back, and no more than a frame waits here.
#[derive(Debug)]
pub struct Pump<B> {
    body: B,
    stream: SendStream<Bytes>,
    waiting: Option<Waiting>,
}

/// How sending a body ended.
#[derive(Debug)]
pub enum Pumped<E> {
    /// All of it is on its way.
    Whole,
    /// The body broke off; the stream has been reset.
    Broke(E),
    /// The receiver has reset the stream, or its connection is gone.
    Refused,
}

#[derive(Debug)]
struct Waiting {
    data: Bytes,
    last: bool,
}

// === impl Pump ===

impl<B> Pump<B>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    /// Sends `body` over `stream`; should it break off for no reason that the stream's peer could be told, it
    /// is told `INTERNAL_ERROR`.
    pub fn new(body: B, stream: SendStream<Bytes>) -> Self {
        Self { body, stream, waiting: None }
    }

    /// The body, with what has not been asked for yet.
    pub fn into_body(self) -> B {
        self.body
    }

    /// The body.
    pub fn body_mut(&mut self) -> &mut B {
        &mut self.body
    }

    /// Sends on; ready when it has ended.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Pumped<BodyError>> {
        loop {
            if let Some(Waiting { data, last }) = self.waiting.take() {
                while self.stream.capacity() == 0 && !data.is_empty() {
                    match self.stream.poll_capacity(cx) {
                        Poll::Ready(Some(Ok(_))) => {}
                        Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Pumped::Refused),
                        Poll::Pending => {
                            self.waiting = Some(Waiting { data, last });
                            return Poll::Pending;
                        }
                    }
                }
                match self.stream.send_data(data, last) {
                    Err(_) => return Poll::Ready(Pumped::Refused),
                    Ok(()) if last => return Poll::Ready(Pumped::Whole),
                    Ok(()) => {}
                }
            }
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                // Of a reset whoever sends, or waits for room to, learns anyway.
                return self.stream.poll_reset(cx).map(|_reset| Pumped::Refused);
            };
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let last = self.body.is_end_stream();
                        // Little is claimed until there is something to send: what one stream has reserved,
                        // no other one of the connection can use.
                        if !data.is_empty() {
                            self.stream.reserve_capacity(1);
                        }
                        self.waiting = Some(Waiting { data, last });
                    }
                    Err(frame) => {
                        let Ok(fields) = frame.into_trailers() else { continue };
                        self.stream.reserve_capacity(0);
                        return Poll::Ready(match self.stream.send_trailers(fields) {
                            Ok(()) => Pumped::Whole,
                            Err(_) => Pumped::Refused,
                        });
                    }
                },
                Some(Err(error)) => {
                    self.stream.send_reset(error.reset_reason(Reason::INTERNAL_ERROR));
                    return Poll::Ready(Pumped::Broke(error));
                }
                None => {
                    return Poll::Ready(match self.stream.send_data(Bytes::new(), true) {
                        Ok(()) => Pumped::Whole,
                        Err(_) => Pumped::Refused,
                    });
                }
            }
        }
    }
}
