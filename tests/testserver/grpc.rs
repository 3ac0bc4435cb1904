//! As much of gRPC as an echo needs: one message a request and one an answer, with one field of text.
//!
//! `message Echo { string said = 1; }`, in frames of a flag, a length of four octets, and the message.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Field 1, of known length.
const SAID: u8 = 0x0a;

/// A frame with one message; an empty text is an empty message.
pub(crate) fn message(said: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !said.is_empty() {
        message.put_u8(SAID);
        let mut left = said.len();
        while left >= 0x80 {
            message.put_u8(u8::try_from(left & 0x7f).unwrap_or(0) | 0x80);
            left >>= 7;
        }
        message.put_u8(u8::try_from(left).unwrap_or(0));
        message.put_slice(said.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(0));
    frame.put_slice(&message);
    frame.freeze()
}

/// The text of the first message; nothing if there is none.
pub(crate) fn said(frames: &[u8]) -> Vec<u8> {
    let Some(message) = frames.get(5..) else { return Vec::new() };
    if message.first() != Some(&SAID) {
        return Vec::new();
    }
    let (mut length, mut at) = (0_usize, 1);
    while let Some(octet) = message.get(at) {
        length |= usize::from(octet & 0x7f) << (7 * (at - 1));
        at += 1;
        if octet & 0x80 == 0 {
            break;
        }
    }
    message.get(at..at + length).unwrap_or_default().to_vec()
}
