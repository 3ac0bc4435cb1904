//! A text that has to be put together before it can be looked up, on the stack.
//!
//! Not for long ones: who has one of those allocates.

/// Gateway API, `HTTPQueryParamMatch.value`; a header's may be longer, and hardly ever is.
pub(super) const LONGEST: usize = 1024;

/// What `ask` says of these octets; nothing if they are more than [`LONGEST`].
#[inline(never)]
pub(super) fn with_collected<T>(
    octets: impl Iterator<Item = u8>,
    ask: impl FnOnce(&[u8]) -> T,
) -> Option<T> {
    let mut scratch = [0; LONGEST];
    let mut length = 0;
    for octet in octets {
        *scratch.get_mut(length)? = octet;
        length += 1;
    }
    scratch.get(..length).map(ask)
}

/// What `ask` says of these pieces with `,` between them; nothing if they are longer than [`LONGEST`].
#[inline(never)]
pub(super) fn with_joined<'a, T>(
    pieces: impl Iterator<Item = &'a [u8]>,
    ask: impl FnOnce(&[u8]) -> T,
) -> Option<T> {
    let mut scratch = [0; LONGEST];
    let mut length = 0;
    let mut push = |piece: &[u8]| {
        let end = length + piece.len();
        scratch.get_mut(length..end)?.copy_from_slice(piece);
        length = end;
        Some(())
    };
    for (i, piece) in pieces.enumerate() {
        if i > 0 {
            push(b",")?;
        }
        push(piece)?;
    }
    scratch.get(..length).map(ask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_what_fits() {
        let many = |n| with_collected(std::iter::repeat_n(b'a', n), <[u8]>::len);
        assert_eq!((many(LONGEST), many(LONGEST + 1)), (Some(LONGEST), None));
        let joined = |pieces: &[&[u8]]| with_joined(pieces.iter().copied(), <[u8]>::to_vec);
        assert_eq!(joined(&[b"a", b"", b"bc"]), Some(b"a,,bc".to_vec()));
        let long = [b'a'; LONGEST];
        assert!(joined(&[&long]).is_some());
        assert!(joined(&[&long, b""]).is_none());
    }
}
