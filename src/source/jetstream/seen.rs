//! Which frames have come already, of late.
//!
//! A reconnect asks for the last seconds again, servers repeat the event at an inclusive cursor, and around the
//! change from replay to live they have been seen to repeat more. The same event has the same bytes, its time and
//! revision among them, so a hash of the frame tells. What is older than this remembers goes on to the later
//! stages, which make no second ticket of it. Pure.

use std::hash::{BuildHasher, Hasher as _};

use foldhash::fast::RandomState;
use rustc_hash::FxHashSet;

/// Frames in each of the two generations. With the default rewind of 5 s this covers 26,000 events a second, ten
/// times the network's present rate; both full hold 4.5 MiB.
const GENERATION_FRAMES: usize = 1 << 17;

/// Hashes of at least the last [`GENERATION_FRAMES`] frames and at most twice as many.
pub(super) struct Seen {
    state: RandomState,
    young: FxHashSet<u64>,
    old: FxHashSet<u64>,
    /// Positions of the frames that came again since they were taken last: at most as many as a batch counts.
    repeated: Vec<i64>,
}

impl Seen {
    /// Nothing has come. Each process hashes in its own way: nobody outside can prepare two frames of one hash, of which
    /// the second would be taken for the first; by chance it is one in 10¹³ frames.
    pub(super) fn new() -> Seen {
        let (young, old) = (FxHashSet::default(), FxHashSet::default());
        Seen { state: RandomState::default(), young, old, repeated: Vec::new() }
    }

    /// Whether this frame came before; it is remembered from now on.
    pub(super) fn is_repeated(&mut self, frame: &[u8]) -> bool {
        let mut hasher = self.state.build_hasher();
        hasher.write(frame);
        let hash = hasher.finish();
        if self.young.contains(&hash) {
            return true;
        }
        let is_repeated = self.old.contains(&hash);
        if self.young.len() >= GENERATION_FRAMES {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(hash);
        is_repeated
    }

    /// Notes the position of a frame that came again.
    pub(super) fn repeated_at(&mut self, position: i64) {
        self.repeated.push(position);
    }

    /// These since this was asked last.
    pub(super) fn take_repeated(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.repeated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_repeated_from_its_second_time_on_until_it_is_forgotten() {
        let mut seen = Seen::new();
        let frame = |n: usize| format!(r#"{{"time_us":{n},"kind":"identity"}}"#).into_bytes();
        for n in 0..GENERATION_FRAMES {
            assert!(!seen.is_repeated(&frame(n)));
        }
        for n in 0..GENERATION_FRAMES {
            assert!(seen.is_repeated(&frame(n)), "{n} of the last generation");
        }
        for n in 0..3 * GENERATION_FRAMES {
            seen.is_repeated(&frame(n + GENERATION_FRAMES));
        }
        assert!(!seen.is_repeated(&frame(0)));
        assert!(seen.young.len() <= GENERATION_FRAMES && seen.old.len() <= GENERATION_FRAMES);
    }
}
