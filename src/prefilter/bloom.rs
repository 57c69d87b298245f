//! Says no to most of what is not in a set, in one load.

/// A Bloom filter whose `BITS` bits (at most 4) of a hash lie in one block of 64.
#[derive(Debug)]
pub(super) struct Bloom<const BITS: u32> {
    blocks: Vec<u64>,
}

impl<const BITS: u32> Bloom<BITS> {
    /// Room for so many hashes, as far as `blocks_max` allows.
    pub(super) fn new(hashes: usize, bits_per_hash: usize, blocks_max: usize) -> Bloom<BITS> {
        let blocks = (hashes * bits_per_hash / 64).clamp(BLOCKS_MIN, blocks_max);
        Bloom { blocks: vec![0; blocks] }
    }

    pub(super) fn insert(&mut self, hash: u32) {
        let (block, bits) = self.place(hash);
        if let Some(block) = self.blocks.get_mut(block) {
            *block |= bits;
        }
    }

    /// Never false for what was inserted.
    #[inline]
    pub(super) fn may_hold(&self, hash: u32) -> bool {
        let (block, bits) = self.place(hash);
        self.blocks.get(block).is_none_or(|block| block & bits == bits)
    }

    #[inline]
    fn place(&self, hash: u32) -> (usize, u64) {
        // The upper bits of the hash choose the block; the upper bits of this are of all of them.
        let mixed = hash.wrapping_mul(0x9E37_79B1);
        let bits = (0..BITS).fold(0, |bits, bit| bits | 1 << (mixed >> (26 - 6 * bit) & 63));
        (((u64::from(hash) * self.blocks.len() as u64) >> 32) as usize, bits)
    }
}

/// 512 bytes: never worth less.
const BLOCKS_MIN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes that are spread as good ones are.
    fn hash(number: u32) -> u32 {
        (u64::from(number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
    }

    fn passed<const BITS: u32>(bits_per_hash: usize) -> usize {
        let mut bloom = Bloom::<BITS>::new(10_000, bits_per_hash, usize::MAX);
        (0..10_000).for_each(|number| bloom.insert(hash(number)));
        assert!((0..10_000).all(|number| bloom.may_hold(hash(number))));
        (10_000..110_000).filter(|number| bloom.may_hold(hash(*number))).count()
    }

    #[test]
    fn most_others_are_refused() {
        for (passed, most) in [(passed::<2>(32), 1_000), (passed::<4>(16), 1_000)] {
            assert!(passed < most, "{passed} of 100000 pass");
        }
    }
}
