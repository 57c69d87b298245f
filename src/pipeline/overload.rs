//! When the small model answers for the large one.
//!
//! Plain decisions over two queue lengths. The full model takes some 700 posts/s on a core, the small one 50,000:
//! shedding begins only where that is not enough either.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use crate::source::Backlog;

/// Which model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// The configured one.
    Full,
    /// The small one alone.
    Quick,
}

/// Of the candidates' queue, the part from which on the small model answers: at the default of 2,048, 256
/// candidates, a third of a second of the full model's work.
const WAITING_PART: usize = 8;
/// Of the batches' queue, the part from which on the lanes count as behind.
const BATCHES_PART: usize = 8;

/// No overload for so long, and tickets are scored again.
const CALM_AFTER: Duration = Duration::from_secs(1);

/// Watches the queues around the model.
#[derive(Debug)]
pub struct Overload {
    waiting_max: usize,
    /// The lanes' queue, where the model may take a core that a lane needs.
    backlog: Option<Backlog>,
    /// When it was last seen.
    seen_at: Option<Instant>,
}

impl Overload {
    /// For a queue of `candidates_max` before the model.
    pub fn new(candidates_max: NonZeroUsize) -> Overload {
        let waiting_max = candidates_max.get().div_ceil(WAITING_PART);
        Overload { waiting_max, backlog: None, seen_at: None }
    }

    /// For a daemon in which the small model never answers.
    pub fn never() -> Overload {
        Overload { waiting_max: usize::MAX, backlog: None, seen_at: None }
    }

    /// Spares the model's core for the lanes too, while they are behind: for machines with fewer cores than
    /// threads that want one.
    pub fn sparing(self, backlog: Backlog) -> Overload {
        Overload { backlog: Some(backlog), ..self }
    }

    /// Which model should take what waits, when `waiting` candidates do.
    pub fn pace(&mut self, waiting: usize, now: Instant) -> Pace {
        if waiting >= self.waiting_max || self.lanes_are_behind() {
            self.seen_at = Some(now);
            return Pace::Quick;
        }
        Pace::Full
    }

    /// Whether there is time for what can wait.
    pub fn is_calm(&self, now: Instant) -> bool {
        self.seen_at.is_none_or(|seen_at| now.duration_since(seen_at) >= CALM_AFTER)
            && !self.lanes_are_behind()
    }

    fn lanes_are_behind(&self) -> bool {
        self.backlog.as_ref().is_some_and(|backlog| {
            // One batch is always on its way through a lane that is not behind.
            let most = backlog.batches_max().get().div_ceil(BATCHES_PART).max(2);
            backlog.batches() >= most
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::parse::Format;
    use crate::source::{FrameBatch, batch_queue};

    fn size(size: usize) -> NonZeroUsize {
        NonZeroUsize::new(size).unwrap()
    }

    #[test]
    fn the_small_model_answers_from_an_eighth_of_the_queue_on() {
        let mut overload = Overload::new(size(80));
        let now = Instant::now();
        assert_eq!(overload.pace(9, now), Pace::Full);
        assert!(overload.is_calm(now));
        assert_eq!(overload.pace(10, now), Pace::Quick);
        assert_eq!(overload.pace(9, now), Pace::Full);
        assert!(!overload.is_calm(now), "a moment after an overload it may come again");
        assert!(!overload.is_calm(now + CALM_AFTER / 2));
        assert!(overload.is_calm(now + CALM_AFTER));
    }

    #[tokio::test]
    async fn lanes_that_are_behind_get_the_models_core() {
        let (sender, lanes) = batch_queue(size(16));
        let mut overload = Overload::new(size(80)).sparing(sender.backlog());
        let batch = |patient| FrameBatch { patient, ..FrameBatch::empty(Arc::from("a"), Format::Plain, 0) };
        for patient in [false, true, true, true] {
            sender.send(batch(patient)).await.unwrap();
        }
        let now = Instant::now();
        assert_eq!(overload.pace(1, now), Pace::Full, "a patient source can wait");
        sender.send(batch(false)).await.unwrap();
        assert!(!overload.is_calm(now));
        assert_eq!(overload.pace(1, now), Pace::Quick);
        drop(lanes.try_iter().collect::<Vec<_>>());
        assert_eq!(overload.pace(1, now), Pace::Full);
    }
}
