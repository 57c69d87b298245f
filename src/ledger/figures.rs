//! What the ledger's thread says of itself: sizes, pruning, and how late answers are.

use super::deadlines::Standing;
use super::retention::{Size, Step};

/// Figures for the console and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// Of the file, as of the last look, which is at most some ten seconds old.
    pub size: Size,
    /// The size that pruning keeps to, bytes; `None`: none.
    pub live_bytes_max: Option<u64>,
    /// Whether the file is above that because what is left is not acknowledged.
    pub is_blocked: bool,
    /// Tickets pruned since the ledger was made.
    pub tickets_pruned: u64,
    /// Tickets that wait for an answer.
    pub standing: Standing,
}

impl Figures {
    pub(super) fn add_step(&mut self, step: Step) {
        self.size = step.size;
        self.is_blocked = step.is_blocked;
        self.tickets_pruned += step.pruned;
        self.standing.apply(&step.moves);
    }
}
