//! How a helpdesk's calls go wrong.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use super::Request;

/// How one call is broken.
///
/// `done` says whether the work was done all the same: it is what the caller cannot see.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// The call is taken and never answered.
    Silent {
        /// Whether the work was done.
        done: bool,
    },
    /// The connection is reset.
    Reset {
        /// Whether the work was done.
        done: bool,
    },
    /// The answer ends in its midst. The work was done.
    Cut,
    /// Another status and a page: 500, 502, 503, 504, 403, ...
    Status {
        /// As in HTTP.
        status: u16,
        /// Whether the work was done.
        done: bool,
    },
    /// 429, whatever the quota. Nothing is done.
    Limited {
        /// What `Retry-After` says; `None`: there is none.
        retry_after: Option<Duration>,
    },
    /// 200 with a page instead of JSON, as proxies and maintenance pages do.
    Page {
        /// Whether the work was done.
        done: bool,
    },
    /// Done at once, answered so much later.
    Slow(Duration),
    /// Done so much later, whether or not the caller still waits; answered then.
    Late(Duration),
}

impl Fault {
    /// Whether the caller learns of it only by waiting in vain.
    fn is_silence(self) -> bool {
        matches!(self, Fault::Silent { .. })
    }
}

type Choose = Box<dyn FnMut(&Request) -> Option<Fault> + Send>;

/// Which calls are broken, and how.
#[derive(Default)]
pub struct Faults {
    choose: Option<Choose>,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("any", &self.choose.is_some()).finish()
    }
}

impl Faults {
    /// None.
    pub fn none() -> Faults {
        Faults::default()
    }

    /// Asks for each call, in the order in which they come.
    pub fn choose(choose: impl FnMut(&Request) -> Option<Fault> + Send + 'static) -> Faults {
        Faults { choose: Some(Box::new(choose)) }
    }

    /// One entry for each call, in order; those after the last go well.
    pub fn script(faults: impl IntoIterator<Item = Option<Fault>>) -> Faults {
        let mut faults: VecDeque<Option<Fault>> = faults.into_iter().collect();
        Faults::choose(move |_| faults.pop_front().flatten())
    }

    /// Breaks this share, 0 to 1, of the `calls`, each with one of `kinds`; the same seed breaks the same ones.
    pub fn seeded(seed: u64, share: f64, calls: fn(&Request) -> bool, kinds: Vec<Fault>) -> Faults {
        let mut random = Random(seed);
        Faults::choose(move |request| {
            if kinds.is_empty() || !calls(request) || random.share() >= share {
                return None;
            }
            let kind = random.below(kinds.len());
            Some(kinds[kind])
        })
    }

    /// The same, and whoever was broken so often is broken no more: `whose` says whose a call is. One that ends unclear
    /// again and again is tried ever later, and a run would wait for the last few alone.
    pub fn sparing(mut self, whose: fn(&Request) -> String, times_max: u32) -> Faults {
        let Some(mut choose) = self.choose.take() else { return self };
        let mut broken: HashMap<String, u32> = HashMap::new();
        Faults::choose(move |request| {
            let fault = choose(request)?;
            let times = broken.entry(whose(request)).or_default();
            *times += 1;
            (*times <= times_max).then_some(fault)
        })
    }

    /// Every way in which a call may end that leaves open whether it was done, with both answers.
    pub fn ambiguous() -> Vec<Fault> {
        let mut kinds = vec![Fault::Cut];
        for done in [false, true] {
            kinds.extend([
                Fault::Silent { done },
                Fault::Reset { done },
                Fault::Status { status: 500, done },
                Fault::Status { status: 502, done },
                Fault::Status { status: 504, done },
                Fault::Page { done },
            ]);
        }
        kinds
    }

    /// Those of them that the caller learns of at once.
    pub fn ambiguous_at_once() -> Vec<Fault> {
        Faults::ambiguous().into_iter().filter(|kind| !kind.is_silence()).collect()
    }

    /// All of them, for [`Faults::seeded`]: silence, which takes as long as a call may last, is one in `silent_one_in`.
    pub fn ambiguous_mostly_at_once(silent_one_in: usize) -> Vec<Fault> {
        let silences: Vec<Fault> = Faults::ambiguous().into_iter().filter(|kind| kind.is_silence()).collect();
        let others = silences.len() * silent_one_in.saturating_sub(1);
        Faults::ambiguous_at_once().into_iter().cycle().take(others).chain(silences).collect()
    }

    pub(super) fn of(&mut self, request: &Request) -> Option<Fault> {
        self.choose.as_mut().and_then(|choose| choose(request))
    }
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): for choices that a
/// seed repeats.
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to 1.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.share() * end as f64) as usize
    }
}
