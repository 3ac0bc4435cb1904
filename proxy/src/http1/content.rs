//! The content of a message (RFC 9112, 6), out of the octets that have come.

use bytes::BytesMut;

use super::chunks::{Chunks, Piece};
use crate::streams::Malformed;

/// What is still to come.
#[derive(Debug)]
pub enum Content {
    /// So many octets.
    Length(u64),
    /// What the chunks say.
    Chunks(Chunks),
    /// Everything until the connection ends.
    Close,
    /// Nothing.
    End,
}

// === impl Content ===

impl Content {
    /// In chunks.
    pub fn chunked() -> Self {
        Self::Chunks(Chunks::new())
    }

    /// Of this length.
    pub fn of_length(length: u64) -> Self {
        if length == 0 { Self::End } else { Self::Length(length) }
    }

    /// Takes what comes next out of `read`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn next(&mut self, read: &mut BytesMut) -> Result<Piece, Malformed> {
        match self {
            Self::End => Ok(Piece::End(None)),
            Self::Close | Self::Length(_) if read.is_empty() => Ok(Piece::Short),
            Self::Close => Ok(Piece::Data(read.split().freeze())),
            Self::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
                *left -= here as u64;
                if *left == 0 {
                    *self = Self::End;
                }
                Ok(Piece::Data(read.split_to(here).freeze()))
            }
            Self::Chunks(chunks) => {
                let piece = chunks.next(read)?;
                if matches!(piece, Piece::End(_)) {
                    *self = Self::End;
                }
                Ok(piece)
            }
        }
    }

    /// The connection has ended: whether the content has, too.
    pub fn close(&mut self) -> bool {
        if matches!(self, Self::Close) {
            *self = Self::End;
        }
        self.has_ended()
    }

    /// Whether all of it has been taken out.
    pub fn has_ended(&self) -> bool {
        matches!(self, Self::End)
    }

    /// Octets that are still to come, if that is known.
    pub fn left(&self) -> Option<u64> {
        match self {
            Self::End => Some(0),
            Self::Length(left) => Some(*left),
            Self::Chunks(_) | Self::Close => None,
        }
    }
}
