//! Small messages written with the cheaper call.
//!
//! Not for large ones: what would be copied here goes to the kernel as it lies.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// Up to so many octets are copied into one piece: the head of a message and a small body.
const SMALL: usize = 1024;

/// Writes `pieces`. `send` of one piece costs the kernel less than `writev`, by more than it costs to copy a small
/// message into one.
#[inline]
pub fn poll_write_gathered<W: AsyncWrite>(
    to: Pin<&mut W>,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [one] = pieces {
        return to.poll_write(cx, one);
    }
    let mut gathered = [0; SMALL];
    let mut length = 0;
    for piece in pieces {
        let Some(place) = gathered.get_mut(length..length + piece.len()) else {
            return to.poll_write_vectored(cx, pieces);
        };
        place.copy_from_slice(piece);
        length += piece.len();
    }
    to.poll_write(cx, gathered.get(..length).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts the calls of each kind, and keeps what they bring.
    #[derive(Default)]
    struct Sink {
        written: Vec<u8>,
        calls: [u32; 2],
    }

    impl AsyncWrite for Sink {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            octets: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.calls[0] += 1;
            self.written.extend_from_slice(octets);
            Poll::Ready(Ok(octets.len()))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.calls[1] += 1;
            pieces.iter().for_each(|piece| self.written.extend_from_slice(piece));
            Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn written(pieces: &[&[u8]]) -> (Vec<u8>, [u32; 2]) {
        let mut sink = Sink::default();
        let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        match poll_write_gathered(Pin::new(&mut sink), &mut cx, &slices) {
            Poll::Ready(Ok(count)) => assert_eq!(count, length),
            other => panic!("{other:?}"),
        }
        (sink.written, sink.calls)
    }

    #[test]
    fn small_messages_are_one_piece_and_large_ones_are_not_copied() {
        assert_eq!(written(&[b"head", b"", b"body"]), (b"headbody".to_vec(), [1, 0]));
        let (half, more) = ([7; SMALL / 2], [7; SMALL / 2 + 1]);
        assert_eq!(written(&[&half, &half]), (vec![7; SMALL], [1, 0]));
        assert_eq!(written(&[&half, &more]), (vec![7; SMALL + 1], [0, 1]));
        assert_eq!(written(&[&[7; SMALL * 2]]), (vec![7; SMALL * 2], [1, 0]));
    }
}
