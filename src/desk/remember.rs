//! What the desk knows of earlier runs, as the ledger has it.

use super::Desk;
use super::conversation::{FURTHER_MAX, Part, Remembered, RememberedPost};
use crate::ticket::TicketId;

impl Desk {
    /// Remembers a ticket of an earlier run with its post's [`text_hash`](super::text_hash); oldest first.
    pub fn remember(&mut self, id: TicketId, text_hash: u64) {
        self.known.insert(id, text_hash);
    }

    /// Remembers a ticket of an earlier run as a conversation; oldest first, before the posts that belong to it.
    pub fn remember_conversation(&mut self, known: &Remembered) {
        let Remembered { ticket_id, network, author_id, brand, posted_at_us, thread, .. } = known;
        self.conversations.begin(*ticket_id, *network, author_id, brand, *thread, *posted_at_us);
        self.conversations.recall(known);
        known.watch.iter().for_each(|watch| self.conversations.watch(*watch));
    }

    /// As the ledger has it, after reports were missed: whether it is closed, or began without our knowing.
    ///
    /// Oldest first. `is_newer`: whether one before it was known. What is older than all that is remembered was forgotten,
    /// and begins only where there is room. Says whether it is known now.
    pub fn recall_conversation(&mut self, known: &Remembered, is_newer: bool) -> bool {
        let is_known = self.conversations.recall(known);
        if !is_known && (is_newer || self.conversations.has_room()) {
            self.remember_conversation(known);
            return true;
        }
        is_known
    }

    /// Remembers a post that belongs to a ticket beside its own; oldest first.
    pub fn remember_post(&mut self, known: &RememberedPost) {
        let RememberedPost { post_id, ticket_id, network, author_id, part, at_us, .. } = known;
        self.posts_remembered += 1;
        if self.posts_remembered > FURTHER_MAX {
            // There are older ones: the ledger knows them.
            self.known.complete = false;
        }
        if *part == Part::Joined {
            self.known.insert(*post_id, known.text_hash);
        }
        if known.is_erased {
            if *part == Part::Joined {
                self.conversations.count_joined(*ticket_id, *at_us);
            }
        } else {
            let is_kept = self.conversations.add(*post_id, *ticket_id, *network, author_id, *part, *at_us);
            known.watch.iter().filter(|_| is_kept).for_each(|watch| self.conversations.watch(*watch));
        }
    }
}
