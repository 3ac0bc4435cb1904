//! Interim responses over HTTP/1.1, heard as they are read from the socket.
//!
//! hyper tells of them too, by a callback that each request has to bring along: five allocations for what
//! hardly ever comes. Here a request without them costs a look at one octet of its response. What comes is
//! hyper's to judge all the same, and to skip.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::interim::Listener;

/// Of one head; hyper takes no more either.
const MOST_FIELDS: usize = 100;
/// Where a status begins, and what an interim one begins with: `HTTP/1.1 103`.
const STATUS: usize = 9;

/// Who listens on one connection. Must be `Send` for hyper; all who hold it are on one thread.
#[derive(Debug, Default)]
pub(super) struct Ear {
    /// Whether what is read next belongs to the head of a response that somebody listens to.
    open: AtomicBool,
    listener: Mutex<Option<Listener>>,
}

/// A connection whose responses are listened to.
#[derive(Debug)]
pub(super) struct Heard<T> {
    inner: T,
    ear: Arc<Ear>,
    /// What has been read of a head that is not whole yet.
    head: Vec<u8>,
}

// === impl Ear ===

impl Ear {
    /// The next request is sent, and `listener`, if anybody, is told what comes before its response; then it is
    /// let go, for the connection may wait for long.
    pub(super) fn begin(&self, listener: Option<Listener>) {
        self.open.store(listener.is_some(), Relaxed);
        *self.listener() = listener;
    }

    /// Whether there was more than anybody wants to hear.
    pub(super) fn is_flooded(&self) -> bool {
        self.listener().as_ref().is_some_and(Listener::is_flooded)
    }

    fn listener(&self) -> MutexGuard<'_, Option<Listener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what is read next; `head` is what is left over from before.
    fn hear(&self, read: &[u8], head: &mut Vec<u8>) -> io::Result<()> {
        if head.is_empty() && is_final(read) {
            self.begin(None);
            return Ok(());
        }
        head.extend_from_slice(read);
        // Else no head ends here.
        while read.contains(&b'\n') && !is_final(head) {
            let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
            let mut response = httparse::Response::new(&mut fields);
            let (length, status) = match response.parse(head) {
                Ok(httparse::Status::Partial) => return Ok(()),
                Ok(httparse::Status::Complete(length)) => (length, status(response.code)),
                // hyper will say so.
                Err(_) => (0, None),
            };
            // 101 is none: it ends a request.
            let interim = status.filter(|status| {
                status.is_informational() && *status != StatusCode::SWITCHING_PROTOCOLS
            });
            let Some(status) = interim else { break };
            if let Some(listener) = &*self.listener() {
                listener.hear(status, &headers(response.headers));
                if listener.is_flooded() {
                    return Err(io::Error::other("interim responses without end"));
                }
            }
            head.drain(..length);
        }
        if read.contains(&b'\n') || is_final(head) {
            self.begin(None);
            *head = Vec::new();
        }
        Ok(())
    }
}

/// Whether this begins a response that ends a request. An empty line before it, which hyper allows, is looked at
/// more closely.
fn is_final(head: &[u8]) -> bool {
    head.first() == Some(&b'H') && head.get(STATUS).is_some_and(|first| *first != b'1')
}

fn status(code: Option<u16>) -> Option<StatusCode> {
    StatusCode::from_u16(code?).ok()
}

fn headers(fields: &[httparse::Header<'_>]) -> HeaderMap {
    let field = |field: &httparse::Header<'_>| {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(field.value).ok()?))
    };
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields.iter().filter_map(field) {
        headers.append(name, value);
    }
    headers
}

// === impl Heard ===

impl<T> Heard<T> {
    /// `inner`, and its ear.
    pub(super) fn new(inner: T) -> (Self, Arc<Ear>) {
        let ear = Arc::new(Ear::default());
        (Self { inner, ear: Arc::clone(&ear), head: Vec::new() }, ear)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Heard<T> {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buffer))?;
        if this.ear.open.load(Relaxed)
            && let Some(read) = buffer.filled().get(before..)
        {
            this.ear.hear(read, &mut this.head)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Heard<T> {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, octets)
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, octets)
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::super::interim::{Inform, Informer};
    use super::*;

    /// Writes down what it hears.
    #[derive(Default)]
    struct Scribe(Mutex<Vec<String>>);

    impl Inform for Scribe {
        fn inform(&self, status: StatusCode, headers: &HeaderMap) {
            self.0.lock().unwrap().push(format!("{} {:?}", status.as_u16(), headers.get("link")));
        }
    }

    fn heard(parts: &[&[u8]]) -> (Vec<String>, bool) {
        let (scribe, ear, mut head) = (Arc::new(Scribe::default()), Ear::default(), Vec::new());
        let informer = Informer::new(Arc::clone(&scribe) as Arc<dyn Inform>);
        ear.begin(Some(Listener::new(Some(informer), None)));
        for part in parts {
            if ear.open.load(Relaxed) {
                ear.hear(part, &mut head).unwrap();
            }
        }
        let said = scribe.0.lock().unwrap().clone();
        (said, ear.open.load(Relaxed))
    }

    #[test]
    fn interim_responses_are_heard_wherever_reads_end() {
        let said = b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
            HTTP/1.1 200 OK\r\nLink: <b>\r\n\r\nHTTP/1.1 103 is a body\r\n\r\n";
        let wanted = vec!["103 Some(\"<a>\")".to_owned(), "102 None".to_owned()];
        for cut in 0..said.len() {
            for other in cut..said.len() {
                let parts = [&said[..cut], &said[cut..other], &said[other..]];
                assert_eq!(heard(&parts), (wanted.clone(), false), "{cut}, {other}");
            }
        }
        let each: Vec<&[u8]> = said.chunks(1).collect();
        assert_eq!(heard(&each), (wanted, false));
    }

    #[test]
    fn empty_lines_before_it_hide_nothing() {
        let said = b"\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(heard(&[said]), (vec!["103 None".to_owned()], false));
    }

    #[test]
    fn a_switch_of_protocols_is_none_and_what_is_no_http_is_left_to_hyper() {
        for said in ["HTTP/1.1 101 Switching Protocols\r\n\r\n", "220 smtp\r\n", "HTTP/1.1 1x\r\n"]
        {
            assert_eq!(heard(&[said.as_bytes()]), (vec![], false), "{said}");
        }
        assert_eq!(heard(&[b"HTTP/1.1 20"]), (vec![], false));
        assert_eq!(heard(&[b"HTTP/1.1 10"]), (vec![], true));
    }

    #[test]
    fn what_never_stops_is_an_error() {
        let (ear, mut head) = (Ear::default(), Vec::new());
        ear.begin(Some(Listener::new(None, None)));
        let hint = b"HTTP/1.1 103 Early Hints\r\n\r\n";
        let fine = (0..1000).take_while(|_| ear.hear(hint, &mut head).is_ok()).count();
        assert_eq!((fine, ear.is_flooded()), (100, true));
    }
}
