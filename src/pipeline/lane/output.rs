//! What a lane leaves of its batches, and what of that is shed.

use std::sync::Arc;

use jiff::Timestamp;

use super::bound::cut;
use crate::parse::{Malformed, Network, Post};
use crate::prefilter::Candidate;
use crate::source::Gap;
use crate::telemetry::{Bucket, Buckets};

/// What a lane leaves of a batch.
#[derive(Debug)]
pub struct LaneOutput {
    /// The source's name in config.
    pub source: Arc<str>,
    /// First of the source's batches in this output; the counting of [`FrameBatch::sequence`](crate::source::FrameBatch::sequence).
    pub first_sequence: u64,
    /// One past the last of them.
    pub end_sequence: u64,
    /// Greatest position among the frames.
    pub position: Option<i64>,
    /// Where the frames ended that are not in `items`.
    pub buckets: Buckets,
    /// The first frames that are malformed, with the reasons; at most [`MALFORMED_TOLD_MAX`] of a batch.
    pub malformed: Vec<MalformedFrame>,
    /// Holes noticed before the batch.
    pub gaps: Vec<Gap>,
    /// As in [`FrameBatch::recovered`](crate::source::FrameBatch::recovered).
    pub recovered: Vec<(i64, i64)>,
    /// What later stages decide about, in the order of the frames.
    pub items: Vec<Item>,
    /// When the batch arrived, by our clock.
    pub received_at: Timestamp,
    /// The batch's place among the few of a source that rather waits than loses candidates, given back when
    /// the model has taken it; `None` for a live source.
    pub patient_permit: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// Malformed frames of a batch that are told of; all are counted.
pub const MALFORMED_TOLD_MAX: usize = 8;

/// A frame that is not what its format says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedFrame {
    /// Which of the batch's [`frames`](crate::source::FrameBatch::frames), from 0.
    pub frame: usize,
    /// Its line, where the source counts lines and each of the batch's is one of these frames.
    pub line: Option<i64>,
    /// What is wrong.
    pub why: Malformed,
}

/// A frame that later stages decide about.
#[derive(Debug)]
pub enum Item {
    /// A post that a rule matched.
    Candidate(Box<Candidate>),
    /// A reply that no rule matched, in a thread that is watched, by somebody who is in conversation with us; or a post that
    /// is watched and was changed into one that no rule matches.
    Reply(Box<Candidate>),
    /// The same by somebody who is not; without its text.
    Overheard(Box<Post<'static>>),
    /// An answer of one of our own accounts in such a thread; without its text.
    Answer(Box<Post<'static>>),
    /// A post is gone.
    PostDeleted {
        /// On which network.
        network: Network,
        /// As in [`crate::parse::Post::id`].
        id: String,
    },
    /// A post was changed, and nobody reads it: no rule matches, or there is no room for it. It may have a ticket all the
    /// same.
    Edited {
        /// On which network.
        network: Network,
        /// As in [`crate::parse::Post::id`].
        id: String,
        /// The new text.
        text: String,
        /// When the network showed it, where it says so.
        seen_at: Option<Timestamp>,
        /// Where the frame ends if the post has none.
        otherwise: Bucket,
    },
    /// An account is gone.
    AccountDeleted {
        /// On which network.
        network: Network,
        /// As in [`crate::parse::Author::id`].
        author_id: String,
    },
}

impl Item {
    /// This post was changed, whatever it says. Owns no more than id and text.
    pub(super) fn edited(post: &Post<'_>, otherwise: Bucket) -> Item {
        Item::Edited {
            network: post.network,
            text: cut(&post.text).to_owned(),
            id: post.id.clone().into_owned(),
            seen_at: post.seen_at,
            otherwise,
        }
    }
}

impl LaneOutput {
    /// The candidates, in order; replies among them.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.items.iter().filter_map(|item| match item {
            Item::Candidate(candidate) | Item::Reply(candidate) => Some(&**candidate),
            Item::Overheard(_)
            | Item::Answer(_)
            | Item::Edited { .. }
            | Item::PostDeleted { .. }
            | Item::AccountDeleted { .. } => None,
        })
    }

    /// Takes out what there is no room for beside `waiting` others, and counts it as shed.
    ///
    /// The queue is open to all while it is half empty, then to hashtags and rules, and its last fifth to
    /// posts that name our handle: what waits cannot be taken back, so room is kept for what matters more. A post that was
    /// changed is not read then, but if it has a ticket, its new text is shown: its author may have taken out a telephone
    /// number, and the frame never comes again. It is counted as shed where it turns out to have none.
    pub(super) fn shed(&mut self, waiting: usize, candidates_max: usize) {
        let limit = |value: u8| match value {
            0 | 1 => candidates_max.div_ceil(2),
            2 => candidates_max - candidates_max / 5,
            _ => candidates_max,
        };
        let mut values: Vec<u8> = self.candidates().map(|candidate| candidate.value).collect();
        values.sort_unstable_by(|a, b| b.cmp(a));
        // The most valuable first: how many of each value find room.
        let mut room = [0_usize; 256];
        let mut admitted = 0;
        for value in values {
            if waiting + admitted < limit(value) {
                room[usize::from(value)] += 1;
                admitted += 1;
            }
        }
        let mut shed = 0;
        self.items.retain_mut(|item| {
            let (Item::Candidate(candidate) | Item::Reply(candidate)) = item else { return true };
            let room = &mut room[usize::from(candidate.value)];
            let stays = *room > 0;
            *room = room.saturating_sub(1);
            if !stays && candidate.post.edited {
                let otherwise = if candidate.is_edit_of_thread() { Bucket::Unmatched } else { Bucket::Shed };
                *item = Item::edited(&candidate.post, otherwise);
                return true;
            }
            shed += u64::from(!stays);
            stays
        });
        self.buckets[Bucket::Shed] += shed;
    }

    /// Joins the source's next output to this one.
    pub(super) fn append(&mut self, next: LaneOutput) {
        self.end_sequence = next.end_sequence;
        self.position = self.position.max(next.position);
        self.buckets.add(&next.buckets);
        self.gaps.extend(next.gaps);
        self.recovered.extend(next.recovered);
        self.items.extend(next.items);
        self.received_at = next.received_at;
    }
}
