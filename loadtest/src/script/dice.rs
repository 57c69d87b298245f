//! Randomness that remembers nothing: each draw depends on the seed, the event's index and the purpose.
//!
//! SplitMix64 (Steele, Lea, Flood: *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014), started
//! from a hash of the three. Draws for one purpose never disturb those for another, so that one event can
//! be asked what an earlier one was without replaying it.

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a draw decides. Each purpose has its own sequence of draws for each event.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// What happens at an index.
    Role,
    /// Which account acts.
    Author,
    /// The characters of an account's DID; the index is the account's rank.
    Did,
    /// Record key, revision and content identifier.
    Identifiers,
    /// How far `time_us` lags the nominal time.
    Jitter,
    /// What becomes of the support post of a block; the index is the block.
    Fate,
    /// Text, decoration and conversation of a post.
    Text,
    /// One slot of a template.
    Slot(u8),
    /// Accounts and records from before the stream, which no other event names.
    Stranger,
    /// The city of an outage.
    Outage,
    /// Authors of one report each; the index is the event's.
    Witness,
    /// What a server does that it should not; the index is the connection.
    Lie,
    /// What a pool is filled with; the index is the place in it.
    Pool,
    /// When a daemon under load is killed; the index is that of the kill.
    Kill,
    /// How long a helpdesk stays; the index is that of its connection.
    Stay,
}

impl Purpose {
    fn salt(self) -> u64 {
        match self {
            Purpose::Role => 1,
            Purpose::Author => 2,
            Purpose::Did => 3,
            Purpose::Identifiers => 4,
            Purpose::Jitter => 5,
            Purpose::Fate => 6,
            Purpose::Text => 7,
            Purpose::Stranger => 8,
            Purpose::Outage => 9,
            Purpose::Witness => 10,
            Purpose::Pool => 11,
            Purpose::Kill => 12,
            Purpose::Stay => 13,
            Purpose::Lie => 14,
            Purpose::Slot(slot) => 0x100 + u64::from(slot),
        }
    }
}

/// The draws for one purpose, whose part of the hash is made once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draws(u64);

impl Draws {
    /// The draws for this purpose.
    pub(crate) fn new(seed: u64, purpose: Purpose) -> Draws {
        Draws(scramble(seed.wrapping_add(purpose.salt().wrapping_mul(GOLDEN))))
    }

    /// Those of this index, as [`Dice::new`] has them.
    pub(crate) fn of(self, index: u64) -> Dice {
        Dice(scramble(self.0 ^ index.wrapping_mul(GOLDEN)))
    }
}

/// A short sequence of draws.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The draws for this index and purpose.
    pub(crate) fn new(seed: u64, index: u64, purpose: Purpose) -> Dice {
        Draws::new(seed, purpose).of(index)
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        scramble(self.0)
    }

    /// A number in `0..bound`; 0 if `bound` is 0.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        // Lemire's multiplication; its bias is under bound / 2^32.
        ((u64::from(self.bits() as u32) * u64::from(bound)) >> 32) as u32
    }

    /// One of `choices`; `None` if there are none.
    pub(crate) fn pick<'c, T>(&mut self, choices: &'c [T]) -> Option<&'c T> {
        choices.get(self.below(choices.len() as u32) as usize)
    }

    /// True in `percent` cases of 100.
    pub(crate) fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }
}

fn scramble(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_index_and_purpose_give_the_same_draws() {
        let draws = |seed, index, purpose| {
            let mut dice = Dice::new(seed, index, purpose);
            [dice.bits(), dice.bits()]
        };
        assert_eq!(draws(1, 2, Purpose::Role), draws(1, 2, Purpose::Role));
        assert_ne!(draws(1, 2, Purpose::Role), draws(2, 2, Purpose::Role));
        assert_ne!(draws(1, 2, Purpose::Role), draws(1, 3, Purpose::Role));
        assert_ne!(draws(1, 2, Purpose::Role), draws(1, 2, Purpose::Text));
        assert_ne!(draws(1, 2, Purpose::Slot(0)), draws(1, 2, Purpose::Slot(1)));
    }

    #[test]
    fn neighbouring_indices_spread_evenly() {
        let mut counts = [0_u32; 10];
        for index in 0..100_000 {
            counts[Dice::new(7, index, Purpose::Role).below(10) as usize] += 1;
        }
        // Five standard deviations (95) around 10,000.
        assert!(counts.iter().all(|count| (9_525..10_475).contains(count)), "{counts:?}");
    }
}
