//! How long the ledger keeps what it holds, and how it forgets the rest without anyone waiting for it.
//!
//! # Promises
//!
//! - A record that a subscription still wants is never pruned: a ticket goes, with its updates and all that was
//!   reported about it, once no subscription has any of its records pending. A subscription has nothing to do with
//!   tickets from before its start, nor with those that the filter last asked for does not pass.
//! - A pruned ticket leaves its id behind, so that its post makes no second ticket when it comes again. That costs
//!   some 24 bytes a ticket, for ever (23.4 MB for a million random ids), and each new ticket one more look, 2 µs.
//! - A ledger that has no subscription is pruned by age and not by size: nobody has asked for its tickets yet, and
//!   a busy week before the helpdesk is connected must not be lost, but nobody answers a post of last season.
//! - One step is one commit of at most [`TICKETS_MAX`] tickets or [`PAGES_MAX`] pages, and runs on the ledger's
//!   thread while it has nothing else to do. It then rests four times as long as the step took, so that a slow
//!   disk is not kept busy. Where the thread is never idle, one step a second is taken all the same: the size
//!   limit must hold under load, too.
//!
//! # Space
//!
//! What is free in the file is used by the next tickets. Only what is free beyond an eighth of the file, and
//! [`FREE_BYTES_KEPT`], goes back to the file system (SQLite's incremental vacuum, a few pages a step): a ledger that
//! prunes each day as much as it gets would otherwise move pages to and fro. The size limit is therefore one of
//! what is live in the file, and the file itself may be an eighth larger, its write-ahead log aside.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};
use tracing::warn;

use super::prune::{self, Candidate, Holder};

/// Tickets pruned in one step at most: a few milliseconds of work and one commit.
const TICKETS_MAX: usize = 64;
/// Tickets looked at in one step at most, where many are pending.
const LOOKED_MAX: usize = 256;
/// Pages given back in one step at most: 1 MiB.
const PAGES_MAX: i64 = 256;
/// Free space that is kept for the next tickets in any case.
const FREE_BYTES_KEPT: i64 = 4 << 20;
/// Feedback rows forgotten in one step at most.
const FEEDBACK_MAX: usize = 256;
/// Touchpoints and agent states that the size limit leaves alone, the newest: a few MB.
const FEEDBACK_KEPT: i64 = 10_000;

/// Between two looks at the size.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Between two looks at the age of everything.
const AGE_EVERY: Duration = Duration::from_secs(3600);
/// Before another try where everything that is left is pending.
const BLOCKED_REST: Duration = Duration::from_secs(60);
/// Longest wait of a due step for an idle moment.
const OVERDUE: Duration = Duration::from_secs(1);
/// Between two warnings of the same kind.
const WARN_EVERY: Duration = Duration::from_secs(3600);

/// What the operator wants kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Tickets are pruned when they are older; `None`: not for their age.
    pub age_max: Option<Duration>,
    /// The oldest are pruned while the ledger holds more, in bytes; `None`: not for their number.
    pub live_bytes_max: Option<u64>,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            age_max: Some(Duration::from_secs(90 * 24 * 3600)),
            // Some three million tickets, 33,000 a day for those 90 days.
            live_bytes_max: Some(4 << 30),
        }
    }
}

/// How large the file is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes that hold something.
    pub live_bytes: u64,
    /// Bytes in the file that hold nothing any more.
    pub free_bytes: u64,
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// After it.
    pub(super) size: Size,
    /// Tickets pruned.
    pub(super) pruned: u64,
    /// Whether the size limit cannot be kept, because all that is left is pending.
    pub(super) is_blocked: bool,
}

/// Prunes, a step at a time.
#[derive(Debug)]
pub(super) struct Pruner {
    retention: Retention,
    /// When the next step is due.
    due: Instant,
    /// When everything's age is looked at again.
    age_due: Instant,
    /// Tickets up to this seq have been looked at in this round.
    cursor: i64,
    /// Tickets that this round could not prune, by one subscription that has each pending.
    pending: BTreeMap<String, u64>,
    /// Those of them that are too old.
    pending_old: BTreeMap<String, u64>,
    is_blocked: bool,
    warned: Option<Instant>,
}

impl Pruner {
    pub(super) fn new(retention: Retention) -> Pruner {
        let now = Instant::now();
        Pruner {
            retention,
            due: now,
            age_due: now,
            cursor: 0,
            pending: BTreeMap::new(),
            pending_old: BTreeMap::new(),
            is_blocked: false,
            warned: None,
        }
    }

    /// When the next step is due, if the thread has nothing else to do.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Whether a step has waited for an idle moment long enough.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.due) >= OVERDUE
    }

    /// Does a little of what is to be done, in one commit. `now` is what ages are counted from.
    ///
    /// # Errors
    ///
    /// As a commit's: nothing may be written any more.
    pub(super) fn step(&mut self, connection: &mut Connection, now: Timestamp) -> rusqlite::Result<Step> {
        let begun = Instant::now();
        let pages = Pages::read(connection)?;
        let (pruned, rest) = if pages.surplus() > 0 {
            connection
                .execute_batch(&format!("PRAGMA incremental_vacuum({})", pages.surplus().min(PAGES_MAX)))?;
            (0, None)
        } else {
            self.prune(connection, now, pages.size())?
        };
        let pages = Pages::read(connection)?;
        let done = Instant::now();
        let rest = rest.filter(|_| pages.surplus() <= 0);
        self.due = done + rest.unwrap_or((done - begun) * 4);
        Ok(Step { size: pages.size(), pruned, is_blocked: self.is_blocked })
    }

    /// One step of pruning; how many tickets, and how long to rest if the round is at its end.
    fn prune(
        &mut self,
        connection: &mut Connection,
        now: Timestamp,
        size: Size,
    ) -> rusqlite::Result<(u64, Option<Duration>)> {
        let live_bytes_max = self.retention.live_bytes_max;
        let is_above = |size: Size| live_bytes_max.is_some_and(|max| size.live_bytes > max);
        let is_large = is_above(size);
        let is_age_due = Instant::now() >= self.age_due;
        if !is_large && !is_age_due {
            self.is_blocked = false;
            return Ok((0, Some(LOOK_EVERY)));
        }
        let oldest_us = self.retention.age_max.map(|age| {
            let age_us = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
            now.as_microsecond().saturating_sub(age_us)
        });
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let holders = prune::holders(&transaction)?;
        let mut by_size = is_large && !holders.is_empty();
        let candidates = prune::candidates(&transaction, self.cursor, LOOKED_MAX)?;
        let (mut looked, mut old, mut pruned) = (0, 0, 0);
        for candidate in &candidates {
            let is_old = is_age_due && oldest_us.is_some_and(|oldest_us| candidate.created_at_us < oldest_us);
            (self.cursor, looked, old) = (candidate.seq, looked + 1, old + usize::from(is_old));
            if is_old || by_size {
                let awaiting = prune_one(&transaction, candidate, &holders, &mut pruned)?;
                if let Some(name) = awaiting {
                    let counted = [Some(&mut self.pending), is_old.then_some(&mut self.pending_old)];
                    for count in counted.into_iter().flatten() {
                        *count.entry(name.to_owned()).or_default() += 1;
                    }
                }
            }
            if pruned >= TICKETS_MAX as u64 {
                break;
            }
            // Inside the transaction SQLite counts as if it were committed.
            by_size = by_size && is_above(Pages::read(&transaction)?.size());
            if !by_size && !is_age_due {
                break;
            }
        }
        let mut forgotten = 0;
        if let Some(oldest_us) = oldest_us {
            forgotten += prune::forget_feedback_before(&transaction, oldest_us, FEEDBACK_MAX)?;
        }
        if is_large {
            forgotten += prune::forget_feedback_beyond(&transaction, FEEDBACK_KEPT, FEEDBACK_MAX)?;
        }
        transaction.commit()?;
        let is_at_end = looked == candidates.len() && looked < LOOKED_MAX;
        // Tickets are about as old as their seqs, so that a whole step of young ones ends a round that looks at ages.
        let is_done = is_at_end || (!by_size && old == 0);
        if !is_done || forgotten > 0 {
            return Ok((pruned, None));
        }
        Ok((pruned, Some(self.end_round(connection, is_large, is_age_due)?)))
    }

    /// Everything was looked at: says what could not be done, and how long to rest.
    fn end_round(
        &mut self,
        connection: &Connection,
        was_large: bool,
        was_aged: bool,
    ) -> rusqlite::Result<Duration> {
        let size = Pages::read(connection)?.size();
        let (pending, pending_old) =
            (std::mem::take(&mut self.pending), std::mem::take(&mut self.pending_old));
        self.cursor = 0;
        if was_aged {
            self.age_due = Instant::now() + AGE_EVERY;
        }
        let max = self.retention.live_bytes_max.filter(|max| was_large && size.live_bytes > *max);
        self.is_blocked = max.is_some();
        if self.warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY)
            && (self.is_blocked || !pending_old.is_empty())
        {
            self.warned = Some(Instant::now());
            match max {
                Some(max) => warn!(
                    live_mib = size.live_bytes >> 20,
                    size_max_mb = max >> 20,
                    pending = listed(&pending),
                    "the ledger is above its size limit and cannot be pruned: its tickets are not acknowledged"
                ),
                None => warn!(
                    pending = listed(&pending_old),
                    "tickets are kept beyond retain_days: they are not acknowledged; is the subscription still used?"
                ),
            }
        }
        Ok(if self.is_blocked { BLOCKED_REST } else { LOOK_EVERY })
    }
}

/// Prunes the ticket, or gives the name of a subscription that has something of it pending.
fn prune_one<'h>(
    connection: &Connection,
    candidate: &Candidate,
    holders: &'h [Holder],
    pruned: &mut u64,
) -> rusqlite::Result<Option<&'h str>> {
    // The full model is about to read it, and what it says belongs to the ticket.
    if candidate.is_provisional {
        return Ok(None);
    }
    let records = prune::records(connection, candidate)?;
    for holder in holders {
        if holder.awaits(connection, candidate, &records)? {
            return Ok(Some(&holder.name));
        }
    }
    prune::prune(connection, candidate, &records, holders)?;
    *pruned += 1;
    Ok(None)
}

/// Names and counts, for the log.
fn listed(pending: &BTreeMap<String, u64>) -> String {
    let held: Vec<_> = pending.iter().map(|(name, tickets)| format!("{name}: {tickets}")).collect();
    held.join(", ")
}

/// The file in pages.
struct Pages {
    bytes: i64,
    count: i64,
    free: i64,
    /// Whether the file can be cut off at all: one from before version 3 may not.
    can_shrink: bool,
}

impl Pages {
    fn read(connection: &Connection) -> rusqlite::Result<Pages> {
        let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        Ok(Pages {
            bytes: pragma("page_size")?,
            count: pragma("page_count")?,
            free: pragma("freelist_count")?,
            can_shrink: pragma("auto_vacuum")? != 0,
        })
    }

    fn size(&self) -> Size {
        let bytes = |pages: i64| pages.saturating_mul(self.bytes).max(0).cast_unsigned();
        Size { live_bytes: bytes(self.count - self.free), free_bytes: bytes(self.free) }
    }

    /// Free pages beyond those that are kept.
    fn surplus(&self) -> i64 {
        let kept = (self.count / 8).max(FREE_BYTES_KEPT / self.bytes.max(1));
        if self.can_shrink { self.free - kept } else { 0 }
    }
}

/// How large the file is now.
pub(super) fn size(connection: &Connection) -> rusqlite::Result<Size> {
    Ok(Pages::read(connection)?.size())
}

#[cfg(test)]
mod tests;
