//! Which posts have a ticket, and what they said: in memory, and no more than that many.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::ticket::TicketId;

/// Tickets remembered at most; the ledger's unique index catches what is older.
///
/// 1,000,000 entries of 16 + 8 bytes, twice with the queue of ages, stay under 72 MiB.
pub const KNOWN_TICKETS_MAX: usize = 1_000_000;

/// Which posts have a ticket, and a hash of the text it was made from.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) texts: FxHashMap<TicketId, u64>,
    ages: VecDeque<TicketId>,
    pub(super) complete: bool,
}

impl Default for Known {
    fn default() -> Known {
        Known { texts: FxHashMap::default(), ages: VecDeque::new(), complete: true }
    }
}

pub(super) enum Same {
    Text,
    PostOnly,
}

impl Known {
    pub(super) fn insert(&mut self, id: TicketId, text_hash: u64) {
        if self.texts.insert(id, text_hash).is_none() {
            self.ages.push_back(id);
        }
        if self.ages.len() > KNOWN_TICKETS_MAX
            && let Some(oldest) = self.ages.pop_front()
        {
            self.texts.remove(&oldest);
            self.complete = false;
        }
    }

    /// The post has no ticket after all.
    pub(super) fn forget(&mut self, id: TicketId) {
        if self.texts.remove(&id).is_some()
            // Among the newest.
            && let Some(place) = self.ages.iter().rposition(|known| *known == id)
        {
            self.ages.remove(place);
        }
    }

    pub(super) fn compare(&self, id: TicketId, text_hash: u64) -> Option<Same> {
        let known = self.texts.get(&id)?;
        Some(if *known == text_hash { Same::Text } else { Same::PostOnly })
    }
}

/// Tells two texts of a post apart; stored with the ticket, so that an edit is known again after a restart.
///
/// The first 8 bytes of BLAKE3.
pub fn text_hash(text: &str) -> u64 {
    let hash = blake3::hash(text.as_bytes());
    let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    u64::from_le_bytes(*first)
}
