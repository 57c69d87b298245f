//! What a served stream tells whoever checks what became of it: `firehose run` and the tests.
//!
//! A stream's events are numbered by [`Timeline`]; everything here is a pure function of the config and of that
//! index, so that a checker needs no record of what was sent. A range's mentions cost a few nanoseconds for
//! each event of the range and rendering for the mentions alone.

use std::ops::Range;

use crate::script::{Event, EventKind};
use crate::timeline::Timeline;

/// A stream of which every event can be asked for by its index.
///
/// With a rate of [`Rate::PerSecond`](crate::Rate::PerSecond) event `n` is due at `scheduled_us(n)` whether or
/// not anyone reads (open loop). The events that a server with `events = Some(count)` and a `start` serves are
/// `timeline().start()..timeline().end()`.
pub trait Served: Send + Sync {
    /// The name of the stream's format for `vigie replay --format` and in `[[source]]`: `jetstream`, `x-v1`.
    fn format(&self) -> &'static str;

    /// When events happen, and which there are.
    fn timeline(&self) -> &Timeline;

    /// When event `n` is due, microseconds since 1970: the instant that latency counts from.
    fn scheduled_us(&self, n: u64) -> i64 {
        self.timeline().nominal_us(n)
    }

    /// What event `n` is. Costs some nanoseconds, unlike its frame.
    fn kind(&self, n: u64) -> EventKind;

    /// Event `n` as served: its frame is the text of the WebSocket message, or the line without its end.
    fn event(&self, n: u64) -> Event;

    /// The event that made this post first; `None` if this stream has no such post.
    ///
    /// `post_id` is an `at://` address or a status's `id_str`, as in [`SupportPost::id`](crate::SupportPost)
    /// and in vigie's tickets. Repeats, retweets, edits and withdrawals carry the id of the post that they are
    /// about. Costs well under a microsecond.
    fn index_of(&self, post_id: &str) -> Option<u64>;

    /// Every background frame that differs from the others in more than identifiers and times, once each: if
    /// none of them makes a candidate, no background event does.
    fn background_samples(&self) -> Vec<String>;

    /// The events of a range that [are mentions](EventKind::is_mention), in order, with their frames.
    fn mentions(&self, range: Range<u64>) -> Box<dyn Iterator<Item = (u64, Event)> + Send + '_> {
        Box::new(range.filter(|n| self.kind(*n).is_mention()).map(|n| (n, self.event(n))))
    }
}
