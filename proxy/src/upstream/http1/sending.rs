//! A request on its way: its head and what there is of its body at once, then the rest as it comes and as the
//! endpoint takes it.
//!
//! Not how it is put into octets: that is `writing`'s.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::UPGRADE;
use http::{Method, Request};
use http_body::Body as _;
use tokio::io::AsyncWrite;

use super::head::Asked;
use crate::http1::{Extent, Writing, WrongLength, gather};
use crate::upstream::RequestBody;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sending {
    at: At,
    writing: Writing,
}

#[derive(Debug, Default)]
enum At {
    /// There is none.
    #[default]
    Idle,
    /// Nothing has left; the request is still its sender's. So much has been read of its body.
    Begun { extent: Extent, first: Bytes, ended: bool },
    /// More of its body may come.
    Body { body: RequestBody, extent: Extent },
    /// All of it waits to leave.
    Rest,
    /// All of it has left.
    Done,
    /// No more of it leaves.
    Refused,
}

/// Why a request cannot go on.
#[derive(Debug)]
pub(super) enum Unsendable {
    /// Its body broke off, or is not as long as it says.
    Itself,
    /// The endpoint takes no more.
    Endpoint,
}

// === impl Sending ===

impl Sending {
    /// Whether the request that is to be sent is in words already.
    pub(super) fn has_begun(&self) -> bool {
        matches!(self.at, At::Begun { .. })
    }

    /// Whether nothing more leaves.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.at, At::Idle | At::Done | At::Refused)
    }

    /// Whether that is so before the request's end.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.at, At::Refused)
    }

    /// Puts `request` into words, and what there is of its body; what it asks for.
    ///
    /// # Errors
    /// The body broke off, or is not as long as it says.
    pub(super) fn begin(
        &mut self,
        cx: &mut Context<'_>,
        request: &mut Request<RequestBody>,
    ) -> Result<Asked, WrongLength> {
        let method = request.method();
        let asked = Asked {
            head: *method == Method::HEAD,
            connect: *method == Method::CONNECT,
            upgrade: request.headers().contains_key(UPGRADE),
        };
        if request.body().is_end_stream() || asked.connect {
            let extent = self.writing.request(request, None);
            self.at = At::Begun { extent, first: Bytes::new(), ended: true };
            return Ok(asked);
        }
        let rest = request.body().size_hint();
        let frame = Pin::new(request.body_mut()).poll_frame(cx);
        // Only now it may show that there is none after all.
        let none = matches!(frame, Poll::Ready(None)) && rest.exact().is_none_or(|rest| rest == 0);
        let mut extent = self.writing.request(request, (!none).then_some(&rest));
        let (mut first, mut ended) = (Bytes::new(), false);
        match frame {
            Poll::Pending => {}
            Poll::Ready(Some(Err(_))) => return Err(WrongLength),
            Poll::Ready(None) => {
                ended = true;
                self.writing.end(&extent, None)?;
            }
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    first = data.clone();
                    self.writing.data(data, &mut extent)?;
                    if request.body().is_end_stream() {
                        ended = true;
                        self.writing.end(&extent, None)?;
                    }
                }
                Err(frame) => {
                    ended = true;
                    self.writing.end(&extent, frame.trailers_ref())?;
                }
            },
        }
        self.at = At::Begun { extent, first, ended };
        Ok(asked)
    }

    /// Sends the first of it over `to`; `false` if none of it could leave: `request` is whole again then. Else it
    /// is to `go_on`.
    pub(super) fn poll_first<T: AsyncWrite + Unpin>(
        &mut self,
        to: &mut T,
        cx: &mut Context<'_>,
        request: &mut Request<RequestBody>,
    ) -> Poll<bool> {
        let left = self.writing.poll_write(to, cx);
        if self.writing.has_begun() {
            if let Poll::Ready(Err(_)) = left {
                self.at = At::Refused;
            }
            return Poll::Ready(true);
        }
        ready!(left.map(drop));
        if let At::Begun { first, .. } = std::mem::replace(&mut self.at, At::Refused)
            && !first.is_empty()
        {
            *request = std::mem::take(request).map(|body| body.after(first.to_vec()));
        }
        Poll::Ready(false)
    }

    /// Some of it has left: the rest of `body` follows.
    pub(super) fn go_on(&mut self, body: &mut RequestBody) {
        self.at = match std::mem::take(&mut self.at) {
            At::Begun { extent, ended: false, .. } => {
                At::Body { body: std::mem::take(body), extent }
            }
            At::Begun { .. } if self.writing.is_flushed() => At::Done,
            At::Begun { .. } => At::Rest,
            at => at,
        };
    }

    /// Sends on; ready when all has left.
    ///
    /// # Errors
    /// Why the rest never will.
    pub(super) fn poll<T: AsyncWrite + Unpin>(
        &mut self,
        to: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Unsendable>> {
        loop {
            if let At::Idle | At::Begun { .. } | At::Done | At::Refused = self.at {
                return Poll::Ready(Ok(()));
            }
            let left: Poll<io::Result<()>> = self.writing.poll_write(to, cx);
            if let Poll::Ready(Err(_)) = left {
                self.at = At::Refused;
                return Poll::Ready(Err(Unsendable::Endpoint));
            }
            let At::Body { body, extent } = &mut self.at else {
                ready!(left.map(drop));
                self.at = At::Done;
                return Poll::Ready(Ok(()));
            };
            let mut gathered = false;
            match gather(&mut self.writing, body, extent, cx, &mut gathered) {
                Ok(true) => self.at = At::Rest,
                Ok(false) if left.is_pending() || !gathered => return Poll::Pending,
                Ok(false) => {}
                Err(WrongLength) => {
                    self.at = At::Refused;
                    return Poll::Ready(Err(Unsendable::Itself));
                }
            }
        }
    }
}
