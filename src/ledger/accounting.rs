//! What became of the frames, as of the last commit.
//!
//! Readers see whole batches only: every frame counted here has ended in its bucket, so the buckets sum to
//! what was received at every instant that anyone can look.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::telemetry::Buckets;

/// The accounts of all sources.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Accounting {
    /// By the source's name in config.
    pub sources: BTreeMap<Arc<str>, SourceAccount>,
}

/// The account of one source, since the ledger was made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourceAccount {
    /// Where its frames ended.
    pub buckets: Buckets,
    /// Where a restart would resume, in the source's own unit.
    pub position: Option<i64>,
    /// Holes in its stream.
    pub gaps: u64,
    /// Those of them that were filled afterwards.
    pub gaps_recovered: u64,
    /// Length of all holes together, and of those that were filled, in the source's own unit.
    pub gap_length: f64,
    /// See there.
    pub gap_length_recovered: f64,
}

impl Accounting {
    /// All sources' buckets together.
    pub fn total(&self) -> Buckets {
        let mut total = Buckets::default();
        for account in self.sources.values() {
            total.add(&account.buckets);
        }
        total
    }
}
