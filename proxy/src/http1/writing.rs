//! A message as octets, and those that have not left yet.
//!
//! Not when they leave: that is `connection`'s.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::header::{CONTENT_LENGTH, HeaderName, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request};
use http_body::{Body, SizeHint};
use tokio::io::AsyncWrite;

/// Larger pieces of a body are written from where they are, smaller ones beside what goes before them.
const SMALL: usize = 2 << 10;
/// So much may wait here before more of a body is asked for.
const ENOUGH: usize = 16 << 10;
/// What is kept of the room for heads.
const MOST_KEPT: usize = 16 << 10;

/// Where a message's body ends.
#[derive(Debug, PartialEq, Eq)]
pub enum Extent {
    /// There is none.
    None,
    /// After so many octets.
    Length(u64),
    /// After the last chunk; with the trailers that have been announced.
    Chunked(Vec<HeaderName>),
    /// With the connection.
    Close,
}

/// What is to be written: `head`, then `piece`, then `tail`.
#[derive(Debug, Default)]
pub struct Writing {
    head: Vec<u8>,
    /// So much of the head has left.
    written: usize,
    piece: Bytes,
    tail: &'static [u8],
    /// Whether the transport may have kept something back.
    unflushed: bool,
    /// Whether any of the request has left.
    begun: bool,
}

/// A body that is not as long as its request says.
#[derive(Debug, PartialEq, Eq)]
pub struct WrongLength;

// === impl Extent ===

impl Extent {
    /// Of the body of a request with these headers that has something to come (`rest`).
    fn of(method: &Method, headers: &HeaderMap, rest: Option<&SizeHint>) -> Self {
        let Some(rest) = rest else { return Self::None };
        if *method == Method::CONNECT {
            return Self::None;
        }
        let length =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        match length.or(rest.exact()) {
            Some(length) => Self::Length(length),
            None => Self::Chunked(announced(headers)),
        }
    }

    /// So much of it is written now.
    ///
    /// # Errors
    /// It is more than there may be.
    fn take(&mut self, octets: usize) -> Result<(), WrongLength> {
        match self {
            Self::None => Err(WrongLength),
            Self::Length(left) => {
                *left = left.checked_sub(octets as u64).ok_or(WrongLength)?;
                Ok(())
            }
            Self::Chunked(_) | Self::Close => Ok(()),
        }
    }
}

/// The trailers that a message with these headers names: others do not pass (RFC 9110, 6.6.2), for who has not been told of them
/// will not have looked.
pub fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    let names = headers.get_all(TRAILER).iter().filter_map(|names| names.to_str().ok());
    names.flat_map(|names| names.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

// === impl Writing ===

impl Writing {
    /// The head of `request`, of whose body there is so much to come, if any.
    pub fn request<B>(&mut self, request: &Request<B>, rest: Option<&SizeHint>) -> Extent {
        let (method, headers) = (request.method(), request.headers());
        let extent = Extent::of(method, headers, rest);
        self.clear();
        self.begun = false;
        let out = &mut self.head;
        out.extend_from_slice(method.as_str().as_bytes());
        out.push(b' ');
        let uri = request.uri();
        match (uri.path_and_query(), uri.authority()) {
            (Some(target), None) if uri.scheme().is_none() => {
                out.extend_from_slice(target.as_str().as_bytes());
            }
            // Writing to memory does not fail.
            _ => drop(write!(out, "{uri}")),
        }
        out.extend_from_slice(b" HTTP/1.1\r\n");
        let mut length_said = false;
        for (name, value) in headers {
            if *name == TRANSFER_ENCODING {
                continue;
            }
            if *name == CONTENT_LENGTH {
                // What is said is what follows, and is said once.
                let follows = match &extent {
                    Extent::None => value == "0" || *method == Method::HEAD,
                    Extent::Length(_) => true,
                    Extent::Chunked(_) | Extent::Close => false,
                };
                if !follows || std::mem::replace(&mut length_said, true) {
                    continue;
                }
            }
            field(out, name, value.as_bytes());
        }
        match &extent {
            Extent::Length(length) if !length_said => {
                drop(write!(out, "content-length: {length}\r\n"))
            }
            Extent::Chunked(_) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Extent::None | Extent::Length(_) | Extent::Close => {}
        }
        out.extend_from_slice(b"\r\n");
        extent
    }

    /// For octets of a head, behind what waits; only when there is room.
    pub fn head(&mut self) -> &mut Vec<u8> {
        &mut self.head
    }

    /// More of the body; only when there is room.
    ///
    /// # Errors
    /// There is more than its request says.
    pub fn data(&mut self, data: Bytes, extent: &mut Extent) -> Result<(), WrongLength> {
        if data.is_empty() {
            return Ok(());
        }
        extent.take(data.len())?;
        let chunked = matches!(extent, Extent::Chunked(_));
        if chunked {
            // Writing to memory does not fail.
            drop(write!(self.head, "{:x}\r\n", data.len()));
        }
        if data.len() <= SMALL {
            self.head.extend_from_slice(&data);
            if chunked {
                self.head.extend_from_slice(b"\r\n");
            }
        } else {
            self.piece = data;
            self.tail = if chunked { b"\r\n" } else { b"" };
        }
        Ok(())
    }

    /// The end of the body, which has these trailers.
    ///
    /// # Errors
    /// There is less than its request says.
    pub fn end(
        &mut self,
        extent: &Extent,
        trailers: Option<&HeaderMap>,
    ) -> Result<(), WrongLength> {
        match extent {
            Extent::None | Extent::Length(0) | Extent::Close => Ok(()),
            Extent::Length(_) => Err(WrongLength),
            Extent::Chunked(_) if trailers.is_none() && !self.piece.is_empty() => {
                self.tail = b"\r\n0\r\n\r\n";
                Ok(())
            }
            Extent::Chunked(announced) => {
                debug_assert!(self.piece.is_empty(), "it would come before the body");
                self.head.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten() {
                    if announced.contains(name) {
                        field(&mut self.head, name, value.as_bytes());
                    }
                }
                self.head.extend_from_slice(b"\r\n");
                Ok(())
            }
        }
    }

    /// Whether there is room for more of a body.
    pub fn has_room(&self) -> bool {
        self.piece.is_empty() && self.tail.is_empty() && self.head.len() - self.written < ENOUGH
    }

    /// Whether nothing waits.
    fn is_empty(&self) -> bool {
        self.head.len() == self.written && self.piece.is_empty() && self.tail.is_empty()
    }

    /// Whether all that there was has left.
    pub fn is_flushed(&self) -> bool {
        self.is_empty() && !self.unflushed
    }

    /// Whether any of the request has left.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Forgets what is there.
    fn clear(&mut self) {
        if self.head.capacity() > MOST_KEPT {
            self.head = Vec::new();
        }
        self.head.clear();
        (self.written, self.piece, self.tail) = (0, Bytes::new(), b"");
    }

    /// Writes on; ready when all has left.
    ///
    /// # Errors
    /// `to` has broken.
    pub fn poll_write<T: AsyncWrite + Unpin>(
        &mut self,
        to: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let head = self.head.get(self.written..).unwrap_or_default();
            let written = if self.piece.is_empty() && self.tail.is_empty() {
                ready!(Pin::new(&mut *to).poll_write(cx, head))?
            } else {
                let slices = [head, &self.piece, self.tail].map(IoSlice::new);
                ready!(Pin::new(&mut *to).poll_write_vectored(cx, &slices))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            (self.unflushed, self.begun) = (true, true);
            self.advance(written);
        }
        self.clear();
        if self.unflushed {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        let of_head = written.min(self.head.len() - self.written);
        self.written += of_head;
        written -= of_head;
        let of_piece = written.min(self.piece.len());
        self.piece.advance(of_piece);
        written -= of_piece;
        self.tail = self.tail.get(written..).unwrap_or_default();
        if self.written >= ENOUGH {
            // All may never leave at once: what has left must not stay for that.
            self.head.drain(..self.written);
            self.written = 0;
        }
        if self.piece.is_empty() {
            // It may be large, and somebody waits for its memory.
            self.piece = Bytes::new();
        }
    }
}

/// Takes what there is of `body`, as long as there is room for it; whether it has ended. `gathered` tells
/// whether there was anything.
///
/// # Errors
/// The body broke off, or is not as long as its message says.
pub fn gather<B: Body<Data = Bytes> + Unpin>(
    writing: &mut Writing,
    body: &mut B,
    extent: &mut Extent,
    cx: &mut Context<'_>,
    gathered: &mut bool,
) -> Result<bool, WrongLength> {
    while writing.has_room() {
        let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else { break };
        *gathered = true;
        let Some(frame) = frame else {
            writing.end(extent, None)?;
            return Ok(true);
        };
        match frame.map_err(|_| WrongLength)?.into_data() {
            Ok(data) => {
                writing.data(data, extent)?;
                if body.is_end_stream() {
                    writing.end(extent, None)?;
                    return Ok(true);
                }
            }
            Err(frame) => {
                writing.end(extent, frame.trailers_ref())?;
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// One line of a head.
#[inline]
pub fn field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// Takes so many octets at a time.
    struct Slow {
        said: Vec<u8>,
        sizes: Vec<usize>,
    }

    impl Slow {
        fn take(&mut self, slices: &[&[u8]]) -> Poll<io::Result<usize>> {
            let most = self.sizes.pop().unwrap_or(usize::MAX);
            if most == 0 {
                return Poll::Pending;
            }
            let all = slices.concat();
            let taken = most.min(all.len());
            self.said.extend_from_slice(&all[..taken]);
            Poll::Ready(Ok(taken))
        }
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            octets: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.take(&[octets])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let slices: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
            self.take(&slices)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn write(writing: &mut Writing, to: &mut Slow) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while writing.poll_write(to, &mut cx).is_pending() {}
    }

    fn write_once(writing: &mut Writing, to: &mut Slow) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(writing.poll_write(to, &mut cx).is_pending());
    }

    fn head(request: http::request::Builder, rest: Option<&SizeHint>) -> (String, Extent) {
        let (mut writing, request) = (Writing::default(), request.body(()).unwrap());
        let extent = writing.request(&request, rest);
        let mut to = Slow { said: Vec::new(), sizes: vec![] };
        write(&mut writing, &mut to);
        (String::from_utf8(to.said).unwrap(), extent)
    }

    #[test]
    fn a_request_says_what_follows_and_says_it_once() {
        let (known, unknown) = (SizeHint::with_exact(7), SizeHint::default());
        let post = || Request::post("/a?b").header("host", "web");
        let both = || post().header("content-length", "5").header("transfer-encoding", "chunked");
        for (request, rest, said, extent) in [
            (post(), None, "\r\n", Extent::None),
            (post().header("content-length", "0"), None, "content-length: 0\r\n\r\n", Extent::None),
            (post().header("content-length", "5"), None, "\r\n", Extent::None),
            (post(), Some(&known), "content-length: 7\r\n\r\n", Extent::Length(7)),
            (both(), Some(&known), "content-length: 5\r\n\r\n", Extent::Length(5)),
            (both(), None, "\r\n", Extent::None),
            (post(), Some(&unknown), "transfer-encoding: chunked\r\n\r\n", Extent::Chunked(vec![])),
        ] {
            let wanted = format!("POST /a?b HTTP/1.1\r\nhost: web\r\n{said}");
            assert_eq!(head(request, rest), (wanted, extent));
        }
        let target = |request| head(request, None).0;
        assert!(target(Request::connect("web:80")).starts_with("CONNECT web:80 HTTP/1.1\r\n"));
        assert!(target(Request::options("*")).starts_with("OPTIONS * HTTP/1.1\r\n"));
        let absolute = target(Request::get("http://web/a?b"));
        assert!(absolute.starts_with("GET http://web/a?b HTTP/1.1\r\n"));
    }

    #[test]
    fn a_body_is_as_long_as_its_request_says() {
        let mut writing = Writing::default();
        let mut extent = Extent::Length(5);
        assert_eq!(writing.data("abc".into(), &mut extent), Ok(()));
        assert_eq!(writing.end(&extent, None), Err(WrongLength));
        assert_eq!(writing.data("def".into(), &mut extent), Err(WrongLength));
        assert_eq!(writing.data("de".into(), &mut extent), Ok(()));
        assert_eq!(writing.end(&extent, None), Ok(()));
        assert_eq!(writing.data("f".into(), &mut Extent::None), Err(WrongLength));
    }

    #[test]
    fn trailers_pass_if_they_were_announced() {
        let mut writing = Writing::default();
        let request = Request::post("/").header("trailer", "X-Sum, x-b").body(()).unwrap();
        let extent = writing.request(&request, Some(&SizeHint::default()));
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("7"));
        trailers.insert("x-other", HeaderValue::from_static("8"));
        writing.end(&extent, Some(&trailers)).unwrap();
        let mut to = Slow { said: Vec::new(), sizes: vec![] };
        write(&mut writing, &mut to);
        assert!(to.said.ends_with(b"chunked\r\n\r\n0\r\nx-sum: 7\r\n\r\n"));
    }

    #[test]
    fn what_has_left_is_not_kept_for_what_has_not() {
        let (mut writing, mut extent) = (Writing::default(), Extent::Close);
        // Something is always left.
        for _ in 0..1000 {
            while writing.has_room() {
                writing.data(Bytes::from_static(&[b'x'; 1024]), &mut extent).unwrap();
            }
            let mut to = Slow { said: Vec::new(), sizes: vec![0, 8 << 10] };
            write_once(&mut writing, &mut to);
            assert!(writing.head.len() <= 3 * ENOUGH, "{}", writing.head.len());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_whole_however_it_leaves(
            lengths in prop::collection::vec(prop_oneof![0..50_usize, 2000..5000_usize], 0..6),
            chunked in any::<bool>(),
            at_once in any::<bool>(),
            mut sizes in prop::collection::vec(0..3000_usize, 0..40),
        ) {
            let whole: usize = lengths.iter().sum();
            let rest = if chunked { SizeHint::default() } else { SizeHint::with_exact(whole as u64) };
            let (mut writing, mut to) = (Writing::default(), Slow { said: Vec::new(), sizes: vec![] });
            to.sizes.append(&mut sizes);
            let request = Request::post("/").body(()).unwrap();
            let mut extent = writing.request(&request, Some(&rest));
            let mut cx = Context::from_waker(std::task::Waker::noop());
            for (letter, length) in (b'a'..).zip(&lengths) {
                while !writing.has_room() {
                    let _ = writing.poll_write(&mut to, &mut cx);
                }
                writing.data(vec![letter; *length].into(), &mut extent).unwrap();
            }
            if !at_once {
                while !writing.has_room() {
                    let _ = writing.poll_write(&mut to, &mut cx);
                }
            }
            // The last piece has not been touched, or there is room.
            writing.end(&extent, None).unwrap();
            write(&mut writing, &mut to);
            let said = String::from_utf8(to.said).unwrap();
            let (_, body) = said.split_once("\r\n\r\n").unwrap();
            let mut wanted = String::new();
            for (letter, length) in (b'a'..).zip(&lengths).filter(|(_, length)| **length > 0) {
                let piece = String::from(char::from(letter)).repeat(*length);
                match chunked {
                    true => wanted.push_str(&format!("{length:x}\r\n{piece}\r\n")),
                    false => wanted.push_str(&piece),
                }
            }
            if chunked {
                wanted.push_str("0\r\n\r\n");
            }
            prop_assert_eq!(body, wanted);
        }
    }
}
