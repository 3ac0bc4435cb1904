//! The chunked coding (RFC 9112, 7.1), undone.
//!
//! Stricter than a reader has to be: a line ends with CR and LF and has neither inside.

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;

use super::heads::{has_empty_line, trailers};
use crate::streams::Malformed;

/// Octets of all chunk extensions of one body: nobody has a use for them.
const MOST_EXTENSIONS: usize = 16 << 10;
/// Octets of one trailer section.
const MOST_TRAILERS: usize = 16 << 10;
/// Digits of a size, and what ends its line.
const MOST_SIZE: usize = 64;

/// How far it is.
#[derive(Debug)]
pub struct Chunks {
    at: At,
    /// Of the line or section that is not whole: so much has been looked at.
    seen: usize,
    extensions: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size,
    /// So many octets are left.
    Data(u64),
    /// The line's end after them.
    DataEnd,
    Trailers,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Octets of the body.
    Data(Bytes),
    /// It has ended, with this.
    End(Option<HeaderMap>),
    /// It does not show yet.
    Short,
}

// === impl Chunks ===

impl Chunks {
    /// Before the first chunk.
    pub fn new() -> Self {
        Self { at: At::Size, seen: 0, extensions: 0 }
    }

    /// Takes the next piece out of `read`.
    ///
    /// # Errors
    /// What is wrong.
    pub fn next(&mut self, read: &mut BytesMut) -> Result<Piece, Malformed> {
        loop {
            match self.at {
                At::Size => match self.size(read)? {
                    None => return Ok(Piece::Short),
                    Some(0) => self.at = At::Trailers,
                    Some(size) => self.at = At::Data(size),
                },
                At::Data(_) if read.is_empty() => return Ok(Piece::Short),
                At::Data(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(read.len());
                    let left = left - here as u64;
                    self.at = if left > 0 { At::Data(left) } else { At::DataEnd };
                    return Ok(Piece::Data(read.split_to(here).freeze()));
                }
                At::DataEnd => match read.get(..2) {
                    Some(b"\r\n") => {
                        read.advance(2);
                        self.at = At::Size;
                    }
                    None if matches!(**read, [] | [b'\r']) => return Ok(Piece::Short),
                    _ => return Err(Malformed("a chunk is not as long as it says")),
                },
                At::Trailers => return self.trailers(read),
            }
        }
    }

    /// The size of the next chunk, if its line is there.
    fn size(&mut self, read: &mut BytesMut) -> Result<Option<u64>, Malformed> {
        let unseen = read.get(self.seen..).unwrap_or_default();
        let Some(end) = memchr::memchr(b'\n', unseen) else {
            self.seen = read.len();
            if read.len() > MOST_SIZE + MOST_EXTENSIONS - self.extensions {
                return Err(Malformed("a chunk's first line is too long"));
            }
            return Ok(None);
        };
        let end = self.seen + end;
        self.seen = 0;
        let (size, extension) = chunk_size(read.get(..end).unwrap_or_default())
            .ok_or(Malformed("a chunk's first line makes no sense"))?;
        self.extensions += extension;
        if self.extensions > MOST_EXTENSIONS {
            return Err(Malformed("its chunks have too many extensions"));
        }
        read.advance(end + 1);
        Ok(Some(size))
    }

    fn trailers(&mut self, read: &mut BytesMut) -> Result<Piece, Malformed> {
        if read.starts_with(b"\r\n") {
            read.advance(2);
            return Ok(Piece::End(None));
        }
        if !has_empty_line(read, self.seen) {
            self.seen = read.len();
            if read.len() > MOST_TRAILERS {
                return Err(Malformed("its trailers are too long"));
            }
            return Ok(Piece::Short);
        }
        let Some((length, fields)) = trailers(read)? else {
            return Err(Malformed("its trailers make no sense"));
        };
        let section = read.get(..length).unwrap_or_default();
        if length > MOST_TRAILERS || !lines_are_whole(section) {
            return Err(Malformed("its trailers make no sense"));
        }
        read.advance(length);
        Ok(Piece::End((!fields.is_empty()).then_some(fields)))
    }
}

/// The size that a chunk's first line, but for its LF, says, and how long its extension is.
fn chunk_size(line: &[u8]) -> Option<(u64, usize)> {
    let line = line.strip_suffix(b"\r")?;
    let digits = line.iter().take_while(|octet| octet.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    let blanks = rest.iter().take_while(|octet| matches!(octet, b' ' | b'\t')).count();
    let extension = rest.get(blanks..).unwrap_or_default();
    if !(extension.is_empty() || extension.starts_with(b";")) {
        return None;
    }
    if extension.iter().any(|octet| octet.is_ascii_control() && *octet != b'\t') {
        return None;
    }
    // Neither a sign nor an empty number gets here: there are digits alone.
    let size = u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    Some((size, rest.len()))
}

/// Whether each LF has its CR.
fn lines_are_whole(section: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', section)
        .all(|at| at.checked_sub(1).and_then(|before| section.get(before)) == Some(&b'\r'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body, and its trailers.
    type Whole = (Vec<u8>, Option<HeaderMap>);

    /// None if there is more to come.
    fn decode(parts: &[&[u8]]) -> Result<Option<Whole>, Malformed> {
        let (mut chunks, mut read, mut body) = (Chunks::new(), BytesMut::new(), Vec::new());
        for part in parts {
            read.extend_from_slice(part);
            loop {
                match chunks.next(&mut read)? {
                    Piece::Data(data) => body.extend_from_slice(&data),
                    Piece::End(trailers) => return Ok(Some((body, trailers))),
                    Piece::Short => break,
                }
            }
        }
        Ok(None)
    }

    #[test]
    fn chunks_are_read_the_same_wherever_reads_end() {
        let said = b"5\r\nhello\r\n00A ;x=\"y\"\r\n0123456789\r\n0\r\nX-Sum: 7\r\nx-sum: 8\r\n\r\n";
        let whole = decode(&[said]).unwrap().unwrap();
        assert_eq!(whole.0, b"hello0123456789");
        assert_eq!(whole.1.as_ref().unwrap().get_all("x-sum").iter().count(), 2);
        for cut in 0..said.len() {
            assert_eq!(decode(&[&said[..cut]]), Ok(None), "{cut}");
            for other in cut..said.len() {
                let parts = [&said[..cut], &said[cut..other], &said[other..]];
                assert_eq!(decode(&parts).unwrap().unwrap(), whole, "{cut}, {other}");
            }
        }
        let each: Vec<&[u8]> = said.chunks(1).collect();
        assert_eq!(decode(&each).unwrap().unwrap(), whole);
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        for said in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\na",
            "0x1\r\na",
            " 1\r\na",
            "1 2\r\na",
            "1\na",
            "1\r\nab",
            "1\r\na\n",
            "1\r\na\rx",
            "1;a\nb\r\n",
            "1;a\rb\r\n",
            "1;\0\r\n",
            "1\r\r\n",
            "10000000000000000\r\n",
            "0\n",
            "0\r\n\n\n",
            "0\r\nx: y\n\n",
            "0\r\nx: y\n\r\n",
            "0\r\nx y: z\r\n\r\n",
            "0\r\n x\r\n\r\n",
            "0\r\nx: a\r\n b\r\n\r\n",
        ] {
            assert!(decode(&[said.as_bytes()]).is_err(), "{said:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_have_their_bounds() {
        let long = "a".repeat(MOST_EXTENSIONS);
        assert!(decode(&[format!("1;{long}").as_bytes(), b"aaa"]).is_ok_and(|end| end.is_none()));
        assert!(decode(&[format!("1;{long}{}", "a".repeat(MOST_SIZE)).as_bytes()]).is_err());
        let each = format!("1;{}\r\na\r\n", "a".repeat(1000));
        assert!(decode(&[each.repeat(15).as_bytes()]).is_ok());
        assert!(decode(&[each.repeat(17).as_bytes()]).is_err());
        let field = format!("x: {}\r\n", "a".repeat(1000));
        assert!(decode(&[format!("0\r\n{}\r\n", field.repeat(15)).as_bytes()]).unwrap().is_some());
        assert!(decode(&[format!("0\r\n{}\r\n", field.repeat(17)).as_bytes()]).is_err());
        assert!(decode(&[format!("0\r\n{}", "a".repeat(MOST_TRAILERS + 1)).as_bytes()]).is_err());
        assert!(decode(&[format!("0\r\n{}\r\n", "x: y\r\n".repeat(101)).as_bytes()]).is_err());
    }
}
