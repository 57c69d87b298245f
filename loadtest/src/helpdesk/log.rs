//! What a helpdesk was asked and what it made.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::{Fault, Request};

/// Everything since the start, in the order in which it came.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// Every call, those that failed included.
    pub calls: Vec<Called>,
    /// Every ticket that was made.
    pub made: Vec<Made>,
    /// Calls that were refused because the quota was used up.
    pub refused: u64,
    /// Most calls under way at once.
    pub at_once_max: usize,
}

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub struct Called {
    /// Since the start.
    pub at: Duration,
    /// What was asked.
    pub request: Request,
    /// How it was broken.
    pub fault: Option<Fault>,
    /// What the helpdesk answered, whether or not the answer arrived; `None`: nothing, and nothing was done.
    pub status: Option<u16>,
}

/// One ticket.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// Since the start.
    pub at: Duration,
    /// Ours.
    pub reference: String,
    /// The helpdesk's own.
    pub id: String,
    /// As it was made.
    pub priority: Value,
}

impl Made {
    pub(super) fn new(reference: &str, id: String, priority: Value) -> Made {
        Made { at: Duration::ZERO, reference: reference.to_owned(), id, priority }
    }
}

impl Log {
    /// References of which there is more than one ticket.
    pub fn doubled(&self) -> Vec<&str> {
        let mut references: Vec<&str> = self.made.iter().map(|made| made.reference.as_str()).collect();
        references.sort_unstable();
        let mut doubled: Vec<&str> =
            references.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        doubled.dedup();
        doubled
    }

    /// References of which there is a ticket.
    pub fn references(&self) -> BTreeSet<&str> {
        self.made.iter().map(|made| made.reference.as_str()).collect()
    }

    /// Calls that were broken.
    pub fn broken(&self) -> usize {
        self.calls.iter().filter(|call| call.fault.is_some()).count()
    }
}
