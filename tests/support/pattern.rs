//! Pseudo-random bytes that both ends can make, and a checksum that notices loss, order and change.

/// Bytes of the pattern, made in order.
#[derive(Debug)]
pub struct Pattern {
    /// The next eight bytes' number.
    word: u64,
    /// How many bytes are still to come.
    left: u64,
}

impl Pattern {
    /// The first `length` bytes of the pattern.
    #[must_use]
    pub fn new(length: u64) -> Self {
        Self { word: 0, left: length }
    }

    /// How many bytes are still to come.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Up to 64 KiB more; empty at the end.
    pub fn block(&mut self) -> Vec<u8> {
        let length = self.left.min(64 * 1024);
        let mut block = Vec::with_capacity(64 * 1024 + 8);
        for word in self.word..self.word + length.div_ceil(8) {
            block.extend_from_slice(&mix(word).to_le_bytes());
        }
        self.word += length.div_ceil(8);
        self.left -= length;
        block.truncate(usize::try_from(length).expect("at most 64 KiB"));
        block
    }
}

/// A running checksum over bytes in any cut.
#[derive(Debug, Default)]
pub struct Checksum {
    hash: u64,
    count: u64,
    /// Bytes that do not make up a word yet.
    rest: Vec<u8>,
}

impl Checksum {
    /// Takes more bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.count += bytes.len() as u64;
        if !self.rest.is_empty() {
            let take = bytes.len().min(8 - self.rest.len());
            self.rest.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if let Some(word) = self.rest.first_chunk::<8>().copied() {
                self.word(word);
                self.rest.clear();
            }
        }
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.word(*word));
        self.rest.extend_from_slice(rest);
    }

    fn word(&mut self, word: [u8; 8]) {
        let word = u64::from_le_bytes(word);
        self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    /// `<count> <checksum>`.
    #[must_use]
    pub fn finish(mut self) -> String {
        let mut last = [0; 8];
        last[..self.rest.len()].copy_from_slice(&self.rest);
        self.word(last);
        format!("{} {:016x}", self.count, self.hash)
    }
}

/// What `Checksum::finish` says of the first `length` bytes of the pattern.
#[must_use]
pub fn checksum(length: u64) -> String {
    let mut pattern = Pattern::new(length);
    let mut sum = Checksum::default();
    loop {
        let block = pattern.block();
        if block.is_empty() {
            return sum.finish();
        }
        sum.update(&block);
    }
}

/// splitmix64: the word at a place, from its number alone.
fn mix(word: u64) -> u64 {
    let mut z = word.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Checksum, Pattern, checksum};

    #[test]
    fn the_checksum_does_not_depend_on_the_cut() {
        let mut all = Vec::new();
        let mut pattern = Pattern::new(100_003);
        loop {
            let block = pattern.block();
            if block.is_empty() {
                break;
            }
            all.extend(block);
        }
        assert_eq!(all.len(), 100_003);
        for cut in [1, 3, 8, 1000] {
            let mut sum = Checksum::default();
            all.chunks(cut).for_each(|piece| sum.update(piece));
            assert_eq!(sum.finish(), checksum(100_003), "in pieces of {cut}");
        }
    }

    #[test]
    fn the_checksum_notices_two_words_that_change_places() {
        let (mut one, mut two) = (Checksum::default(), Checksum::default());
        one.update(b"aaaaaaaabbbbbbbb");
        two.update(b"bbbbbbbbaaaaaaaa");
        assert_ne!(one.finish(), two.finish());
    }
}
