//! How long the ledger keeps what it holds, and how it forgets the rest without anyone waiting for it.
//!
//! # Promises
//!
//! - A record that a subscription still wants is never pruned: a ticket goes, with its updates and all that was
//!   reported about it, once no subscription has any of its records pending. A subscription has nothing to do with
//!   tickets from before its start, nor with those that its filter does not pass. But a filter counts only once it
//!   has been the same for a day of this process: one hello with a typo gives nothing away, nor does a restart.
//! - A pruned ticket leaves its id behind, so that its post makes no second ticket when it comes again. That costs
//!   some 24 bytes a ticket, for ever (23.4 MB for a million random ids), and each new ticket one more look, 2 µs.
//! - A ledger that has no subscription is pruned by age and not by size: nobody has asked for its tickets yet, and
//!   a busy week before the helpdesk is connected must not be lost, but nobody answers a post of last season.
//! - A clock that jumps ahead by more than a day while vigie runs prunes nothing by age for a day: it may be wrong.
//! - One step prunes at most [`TICKETS_MAX`] tickets and gives back at most [`PAGES_MAX`] pages, a commit each, and
//!   runs on the ledger's thread while it has nothing else to do. It then rests four times as long as the step took,
//!   so that a slow disk is not kept busy. Where the thread is never idle, a step is taken all the same, once a
//!   second or ten times above the size limit; it takes as much as that asks for, up to [`OVERDUE_TICKETS_MAX`] and
//!   [`COMMIT_MAX`]: the limit must hold under load, too.
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
use rusqlite::Connection;
use tracing::warn;

use super::context;
use super::conversations;
use super::deadlines::Moves;
use super::outbox::Filter;
use super::prune::{self, Candidate, Gone, Holder};
use super::wal;
use crate::desk::conversation::THANKS_COUNT_FOR_US;
use crate::ticket::TicketId;

/// Tickets pruned in one step at most: a few milliseconds of work and one commit.
const TICKETS_MAX: u64 = 64;
/// Tickets pruned in one step at most that has waited too long for an idle moment.
const OVERDUE_TICKETS_MAX: u64 = 1024;
/// Such a step prunes no more once it has taken so long, beyond the first [`TICKETS_MAX`].
const COMMIT_MAX: Duration = Duration::from_millis(30);
/// What a pruned ticket gives back at least, to tell from the excess how many must go.
const TICKET_BYTES: u64 = 1024;
/// Tickets looked at in one step at most beyond those that may be pruned in it, where many are pending.
const LOOKED_MORE_MAX: u64 = 192;
/// Pages given back in one step at most: 1 MiB.
const PAGES_MAX: i64 = 256;
/// Free space that is kept for the next tickets in any case.
const FREE_BYTES_KEPT: i64 = 4 << 20;
/// Feedback rows forgotten in one step at most.
const FEEDBACK_MAX: usize = 256;
/// Touchpoints and agent states that the size limit leaves alone, the newest. The wire takes 16 KiB of each at most,
/// so that these are 160 MB at worst; a small touchpoint is some hundred bytes.
const FEEDBACK_KEPT: i64 = 10_000;

/// Between two looks at the size.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Between two looks at the age of everything.
const AGE_EVERY: Duration = Duration::from_secs(3600);
/// Before another try where nothing that is left may be pruned.
const BLOCKED_REST: Duration = Duration::from_secs(60);
/// Longest wait of a due step for an idle moment.
const OVERDUE: Duration = Duration::from_secs(1);
/// The same above the size limit.
const OVERDUE_LARGE: Duration = Duration::from_millis(100);
/// How long a filter must have been the same before it counts, and how far a clock may jump.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Between two warnings of the same kind.
const WARN_EVERY: Duration = Duration::from_secs(3600);

/// What the operator wants kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Tickets are pruned when they are older; `None`: not for their age.
    pub age_max: Option<Duration>,
    /// The oldest are pruned while the ledger holds more, in bytes; `None`: not for their number.
    /// Customers, accounts, contacts and agents do not count.
    pub live_bytes_max: Option<u64>,
    /// Contacts are forgotten when they are older; `None`: never.
    pub contacts_age_max: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            age_max: Some(Duration::from_secs(90 * 24 * 3600)),
            // Some three million tickets, 33,000 a day for those 90 days.
            live_bytes_max: Some(4 << 30),
            // The same season of the year before, and a month.
            contacts_age_max: Some(Duration::from_secs(400 * 24 * 3600)),
        }
    }
}

/// How large the file is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes that hold something, but for the context.
    pub live_bytes: u64,
    /// Bytes that hold customers, accounts, contacts and agents, about.
    pub context_bytes: u64,
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
    /// The clocks that went with them.
    pub(super) moves: Moves,
}

/// Prunes, a step at a time.
#[derive(Debug)]
pub(super) struct Pruner {
    retention: Retention,
    /// When the next step is due.
    due: Instant,
    /// When a round of pruning begins or goes on; what is free is given back before that, too.
    round_due: Instant,
    /// When everything's age is looked at again.
    age_due: Instant,
    /// The clock at the last step.
    clock: Option<(Timestamp, Instant)>,
    /// The filter of each subscription, and since when it has been that.
    filters: BTreeMap<String, (Option<Filter>, Timestamp)>,
    /// Tickets up to this seq have been looked at in this round.
    cursor: i64,
    /// Tickets that this round could not prune, by one subscription that has each pending.
    pending: BTreeMap<String, u64>,
    /// Those of them that are too old.
    pending_old: BTreeMap<String, u64>,
    /// Tickets that this round could not prune because the full model is still to read them.
    provisional: u64,
    is_large: bool,
    /// [`COMMIT_MAX`], but for tests on slow machines.
    commit_max: Duration,
    is_blocked: bool,
    warned: Option<Instant>,
    /// The clocks that have gone in this step.
    moves: Moves,
    /// Assigned tickets that were pruned while somebody worked on them, and of which the desk is still to be told.
    released: Vec<TicketId>,
}

impl Pruner {
    pub(super) fn new(retention: Retention) -> Pruner {
        let now = Instant::now();
        Pruner {
            retention,
            due: now,
            round_due: now,
            age_due: now,
            clock: None,
            filters: BTreeMap::new(),
            cursor: 0,
            pending: BTreeMap::new(),
            pending_old: BTreeMap::new(),
            provisional: 0,
            is_large: false,
            commit_max: COMMIT_MAX,
            is_blocked: false,
            warned: None,
            moves: Moves::default(),
            released: Vec::new(),
        }
    }

    /// Assigned tickets that have gone open since this was asked last: some hundreds at most after each step.
    pub(super) fn take_released(&mut self) -> Vec<TicketId> {
        std::mem::take(&mut self.released)
    }

    /// When the next step is due, if the thread has nothing else to do.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Whether a step has waited for an idle moment long enough.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.due) >= if self.is_large { OVERDUE_LARGE } else { OVERDUE }
    }

    /// The subscription has asked for another filter than it had.
    pub(super) fn filter_changed(&mut self, subscription: &str) {
        self.filters.remove(subscription);
    }

    /// Does a little of what is to be done, in a commit or two. `now` is what ages are counted from.
    ///
    /// # Errors
    ///
    /// As a commit's: nothing may be written any more.
    pub(super) fn step(&mut self, connection: &mut Connection, now: Timestamp) -> rusqlite::Result<Step> {
        let begun = Instant::now();
        let is_overdue = self.is_overdue(begun);
        self.watch_clock(now, begun);
        let mut pruned = 0;
        if begun >= self.round_due {
            let rest;
            (pruned, rest) = self.prune(connection, now, is_overdue)?;
            self.round_due = rest.map_or(begun, |rest| Instant::now() + rest);
        }
        let mut pages = Pages::read(connection)?;
        if pages.surplus() > 0 {
            give_back(connection, pages.surplus().min(PAGES_MAX))?;
            pages = Pages::read(connection)?;
        }
        let done = Instant::now();
        let is_done = self.round_due > done && pages.surplus() <= 0;
        self.due = if is_done { self.round_due } else { done + (done - begun) * 4 };
        let moves = std::mem::take(&mut self.moves);
        Ok(Step { size: pages.size(), pruned, is_blocked: self.is_blocked, moves })
    }

    /// Puts the look at ages off when the clock has jumped ahead, until somebody has had the time to set it right.
    fn watch_clock(&mut self, now: Timestamp, at: Instant) {
        let Some((then, then_at)) = self.clock.replace((now, at)) else { return };
        let passed_us = i64::try_from((at - then_at).as_micros()).unwrap_or(i64::MAX);
        let ahead_us = now.as_microsecond().saturating_sub(then.as_microsecond()).saturating_sub(passed_us);
        if ahead_us.unsigned_abs() < DAY.as_micros() as u64 {
            return;
        }
        if ahead_us > 0 {
            warn!(from = %then, to = %now, "the clock has jumped: no ticket is pruned for its age for a day");
            self.age_due = self.age_due.max(at + DAY);
        } else {
            self.age_due = at;
        }
    }

    /// The subscriptions, each with its filter if that has been the same for long enough to count.
    fn holders(&mut self, connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Holder>> {
        let mut holders = prune::holders(connection)?;
        let mut known = std::mem::take(&mut self.filters);
        for holder in &mut holders {
            let known = known.remove(&holder.name).filter(|(filter, _)| *filter == holder.filter);
            let since = known.map_or(now, |(_, since)| since.min(now));
            self.filters.insert(holder.name.clone(), (holder.filter.clone(), since));
            if now.as_microsecond() - since.as_microsecond() < DAY.as_micros() as i64 {
                holder.filter = None;
            }
        }
        Ok(holders)
    }

    /// One step of pruning; how many tickets, and how long to rest if the round is at its end.
    fn prune(
        &mut self,
        connection: &mut Connection,
        now: Timestamp,
        is_overdue: bool,
    ) -> rusqlite::Result<(u64, Option<Duration>)> {
        let begun = Instant::now();
        let holders = self.holders(connection, now)?;
        let live_bytes_max = self.retention.live_bytes_max;
        let excess = |size: Size| live_bytes_max.map_or(0, |max| size.live_bytes.saturating_sub(max));
        let excess_bytes = excess(Pages::read(connection)?.size());
        let is_large = excess_bytes > 0;
        self.is_large = is_large;
        let is_age_due = begun >= self.age_due;
        if !is_large && !is_age_due {
            self.is_blocked = false;
            return Ok((0, Some(LOOK_EVERY)));
        }
        let tickets_max = match (is_overdue, is_age_due) {
            (false, _) => TICKETS_MAX,
            (true, true) => OVERDUE_TICKETS_MAX,
            (true, false) => (excess_bytes / TICKET_BYTES).clamp(TICKETS_MAX, OVERDUE_TICKETS_MAX),
        };
        let before = |age_max: Option<Duration>| {
            age_max.filter(|_| is_age_due).map(|age| {
                let age_us = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
                now.as_microsecond().saturating_sub(age_us)
            })
        };
        let oldest_us = before(self.retention.age_max);
        let transaction = wal::begin(connection)?;
        // What nobody waits for goes first, and tickets only when nothing of that is left.
        let mut forgotten = 0;
        if let Some(oldest_us) = before(self.retention.contacts_age_max) {
            forgotten += context::touchpoints::forget_before(&transaction, oldest_us, FEEDBACK_MAX)?;
        }
        if is_age_due {
            forgotten += context::touchpoints::forget_beyond_max(&transaction, FEEDBACK_MAX)?;
        }
        if let Some(oldest_us) = oldest_us {
            forgotten += prune::forget_feedback_before(&transaction, oldest_us, FEEDBACK_MAX)?;
        }
        // However long tickets are kept.
        if is_age_due {
            let oldest_us = now.as_microsecond().saturating_sub(THANKS_COUNT_FOR_US);
            forgotten += conversations::forget_helpers_before(&transaction, oldest_us, FEEDBACK_MAX)?;
        }
        if is_large {
            forgotten += prune::forget_feedback_beyond(&transaction, FEEDBACK_KEPT, FEEDBACK_MAX)?;
        }
        let mut by_size = is_large && !holders.is_empty();
        let looked_max = (tickets_max + LOOKED_MORE_MAX) as usize;
        let candidates = match forgotten == 0 && (by_size || oldest_us.is_some()) {
            true => prune::candidates(&transaction, self.cursor, looked_max)?,
            false => Vec::new(),
        };
        let (mut looked, mut old, mut pruned) = (0, 0, 0);
        for candidate in &candidates {
            let is_old = oldest_us.is_some_and(|oldest_us| candidate.created_at_us < oldest_us);
            (self.cursor, looked, old) = (candidate.seq, looked + 1, old + usize::from(is_old));
            if is_old || by_size {
                match prune_one(&transaction, candidate, &holders)? {
                    Outcome::Pruned(Gone { overdue, was_held }) => {
                        pruned += 1;
                        self.moves.forget(overdue);
                        self.released.extend(was_held.then_some(candidate.id));
                    }
                    Outcome::Provisional => self.provisional += 1,
                    Outcome::Pending(name) => {
                        let counted = [Some(&mut self.pending), is_old.then_some(&mut self.pending_old)];
                        for count in counted.into_iter().flatten() {
                            *count.entry(name.to_owned()).or_default() += 1;
                        }
                    }
                }
            }
            if pruned >= tickets_max || (pruned >= TICKETS_MAX && begun.elapsed() >= self.commit_max) {
                break;
            }
            // Inside the transaction SQLite counts as if it were committed.
            by_size = by_size && excess(Pages::read(&transaction)?.size()) > 0;
            if !by_size && oldest_us.is_none() {
                break;
            }
        }
        transaction.commit()?;
        let is_at_end = looked == candidates.len() && looked < looked_max;
        // Tickets are about as old as their seqs, so that a whole step of young ones ends a round that looks at ages.
        let is_done = is_at_end || (!by_size && old == 0);
        if !is_done || forgotten > 0 {
            return Ok((pruned, None));
        }
        Ok((pruned, Some(self.end_round(connection, &holders, is_large, is_age_due)?)))
    }

    /// Everything was looked at: says what could not be done, and how long to rest.
    fn end_round(
        &mut self,
        connection: &Connection,
        holders: &[Holder],
        was_large: bool,
        was_aged: bool,
    ) -> rusqlite::Result<Duration> {
        let size = Pages::read(connection)?.size();
        let (pending, pending_old) =
            (std::mem::take(&mut self.pending), std::mem::take(&mut self.pending_old));
        let provisional = std::mem::take(&mut self.provisional);
        self.cursor = 0;
        if was_aged {
            self.age_due = Instant::now() + AGE_EVERY;
        }
        let max = self.retention.live_bytes_max.filter(|max| was_large && size.live_bytes > *max);
        self.is_blocked = max.is_some() && !pending.is_empty();
        if (max.is_some() || !pending_old.is_empty())
            && self.warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY)
        {
            self.warned = Some(Instant::now());
            let (live_mib, size_max_mb) = (size.live_bytes >> 20, max.map(|max| max >> 20));
            match size_max_mb {
                Some(size_max_mb) if self.is_blocked => warn!(
                    live_mib,
                    size_max_mb,
                    pending = listed(&pending),
                    "the ledger is above its size limit and cannot be pruned: its tickets are not acknowledged"
                ),
                Some(size_max_mb) if holders.is_empty() => warn!(
                    live_mib,
                    size_max_mb,
                    "the ledger is above its size limit and nobody has subscribed yet: until then only age prunes"
                ),
                Some(size_max_mb) if provisional > 0 => warn!(
                    live_mib,
                    size_max_mb,
                    provisional,
                    "the ledger is above its size limit: the full model is still to read what is left"
                ),
                Some(size_max_mb) => warn!(
                    live_mib,
                    size_max_mb,
                    "the ledger is above its size limit without a ticket that may be pruned: what is left are \
                     reports and the ids of pruned tickets; raise size_max_mb"
                ),
                None => warn!(
                    pending = listed(&pending_old),
                    "tickets are kept beyond retain_days: they are not acknowledged; is the subscription still used?"
                ),
            }
        }
        Ok(if max.is_some() { BLOCKED_REST } else { LOOK_EVERY })
    }
}

#[cfg(test)]
impl Pruner {
    /// Takes no step until it is told to.
    pub(super) fn put_off(&mut self) {
        self.due = Instant::now() + Duration::from_secs(365 * 24 * 3600);
    }

    /// A whole round as of `now`, whatever is due; how many tickets it pruned.
    pub(super) fn round(
        &mut self,
        connection: &mut Connection,
        retention: Retention,
        now: Timestamp,
    ) -> rusqlite::Result<u64> {
        self.retention = retention;
        self.age_due = Instant::now();
        let mut pruned = 0;
        loop {
            let (more, rest) = self.prune(connection, now, false)?;
            pruned += more;
            if rest.is_some() {
                return Ok(pruned);
            }
        }
    }
}

/// What became of a ticket that should go.
enum Outcome<'h> {
    Pruned(Gone),
    /// The full model is about to read it, and what it says belongs to the ticket.
    Provisional,
    /// This subscription has something of it pending.
    Pending(&'h str),
}

/// Prunes the ticket if nobody is still to have something of it.
fn prune_one<'h>(
    connection: &Connection,
    candidate: &Candidate,
    holders: &'h [Holder],
) -> rusqlite::Result<Outcome<'h>> {
    if candidate.is_provisional {
        return Ok(Outcome::Provisional);
    }
    let records = prune::records(connection, candidate)?;
    for holder in holders {
        if holder.awaits(connection, candidate, &records)? {
            return Ok(Outcome::Pending(&holder.name));
        }
    }
    Ok(Outcome::Pruned(prune::prune(connection, candidate, &records, holders)?))
}

/// Gives so many free pages back to the file system, in one commit.
fn give_back(connection: &Connection, pages: i64) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = statement.query([])?;
    // One row for each page: whoever stops at the first has moved one page.
    while rows.next()?.is_some() {}
    Ok(())
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
    /// Bytes of the context.
    context: i64,
    /// Whether the file can be cut off at all: one from before version 3 may not.
    can_shrink: bool,
}

impl Pages {
    fn read(connection: &Connection) -> rusqlite::Result<Pages> {
        // Cached, since the size is asked after each pruned ticket.
        let pragma = |name: &str| {
            let mut statement = connection.prepare_cached(&format!("PRAGMA {name}"))?;
            statement.query_row([], |row| row.get::<_, i64>(0))
        };
        Ok(Pages {
            bytes: pragma("page_size")?,
            count: pragma("page_count")?,
            free: pragma("freelist_count")?,
            context: context::size::bytes(connection)?,
            can_shrink: pragma("auto_vacuum")? != 0,
        })
    }

    fn size(&self) -> Size {
        let bytes = |pages: i64| pages.saturating_mul(self.bytes).max(0).cast_unsigned();
        let live_bytes = bytes(self.count - self.free);
        // An estimate between two imports, and never more than there is.
        let context_bytes = self.context.max(0).cast_unsigned().min(live_bytes);
        Size { live_bytes: live_bytes - context_bytes, context_bytes, free_bytes: bytes(self.free) }
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
