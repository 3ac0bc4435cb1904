//! As much of WebSocket (RFC 6455) as an echo needs: a handshake, and small frames of text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::HeaderMap;
use hyper::header::UPGRADE;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What is appended to a key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The sample of RFC 6455, section 1.3.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The last and only frame of a message of text.
const TEXT: u8 = 0x81;
const MASKED: u8 = 0x80;

/// Whether a request asks for it.
pub(crate) fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// The answer to a key.
pub(crate) fn accept(key: &str) -> String {
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes()))
}

/// A frame of text; clients' are masked.
pub(crate) fn frame(text: &str, masked: bool) -> Bytes {
    let mut frame = BytesMut::with_capacity(text.len() + 8);
    let mask = if masked { MASKED } else { 0 };
    frame.put_u8(TEXT);
    match u8::try_from(text.len()) {
        Ok(length @ ..126) => frame.put_u8(mask | length),
        _ => {
            frame.put_u8(mask | 126);
            frame.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
        }
    }
    if masked {
        // A mask of zeros changes nothing.
        frame.put_u32(0);
    }
    frame.put_slice(text.as_bytes());
    frame.freeze()
}

/// The text of the next frame; nothing at the end.
pub(crate) async fn read<R: AsyncRead + Unpin>(from: &mut R) -> std::io::Result<Option<String>> {
    let (kind, second) = (from.read_u8().await?, from.read_u8().await?);
    if kind != TEXT {
        return Ok(None);
    }
    let length = match second & !MASKED {
        126 => from.read_u16().await?.into(),
        127 => usize::try_from(from.read_u64().await?).unwrap_or(usize::MAX),
        length => usize::from(length),
    };
    let mut mask = [0; 4];
    if second & MASKED != 0 {
        from.read_exact(&mut mask).await?;
    }
    let mut text = vec![0; length];
    from.read_exact(&mut text).await?;
    text.iter_mut().zip(mask.iter().cycle()).for_each(|(octet, mask)| *octet ^= mask);
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}
