//! When answers are due: which tickets still wait for one, and who must be told that it is late.
//!
//! A ticket is open, then at risk, then breached; each of the last two is told once for each time that the answer is due at, as a record like any other, in
//! the transaction that makes it so: a crash or a restart never tells it again. Whatever passed while vigie was down is
//! told after the next start, a breach alone where its risk passed, too. The clock stands still once somebody has
//! answered, or the helpdesk calls the ticket pending, solved, closed or deleted; of a ticket that nobody has answered it
//! goes on if the helpdesk opens it again, or a further post joins it; of one that is answered only if somebody is in danger
//! since. A ticket whose text was erased, or that turned
//! out to be no customer message, has no clock any more.
//!
//! Nobody is told anything of a brand while the ledger has had no report on any of its tickets: where no helpdesk says
//! what is answered, every ticket would be late. The states are counted all the same. Nor is anybody told after an outage
//! before the sources can have caught up.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, params};

use super::writer::Changes;
use super::{Feedback, assigned, records, store};
use crate::desk::anew::DueAnew;
use crate::ticket::{TicketId, proto};
use proto::ticket_status::State;
use proto::update::overdue::State as Overdue;

/// What version 4 of the schema knows of deadlines. Tickets of older ledgers have none: nobody knows which of them were
/// answered, and all would be late at once.
pub(super) const TABLES: &str = "
    ALTER TABLE ticket ADD COLUMN overdue INTEGER;         -- 0 open, 1 at risk, 2 breached; NULL: not watched
    ALTER TABLE ticket ADD COLUMN next_at_us INTEGER;      -- when the next of these is to be told
    ALTER TABLE ticket ADD COLUMN answered_at_us INTEGER;  -- first, as reported
    ALTER TABLE ticket ADD COLUMN stopped_at_us INTEGER;   -- since when its clock stands still; NULL: it runs
    CREATE INDEX ticket_clock ON ticket (overdue, next_at_us) WHERE overdue IS NOT NULL AND stopped_at_us IS NULL;

    -- Brands of whose tickets a helpdesk has ever said what became.
    CREATE TABLE reporting (
        brand  TEXT PRIMARY KEY
    ) STRICT, WITHOUT ROWID;
    INSERT INTO reporting SELECT DISTINCT t.brand FROM feedback f JOIN ticket t ON t.id = f.ticket_id;
";

/// Told in one transaction at most, so that who waits for its commit does not wait for a morning's backlog.
pub(super) const TOLD_MAX: usize = 64;

/// Longest wait without a look at the clock, which somebody may have set.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// For how long nobody is told after a start: such a part of the time in which no vigie was there. What our accounts have
/// answered meanwhile comes with what the sources catch up on, many times as fast as it was said.
const CATCHING_UP_PART: u32 = 10;
/// And no longer than that, whatever the sources do.
pub(super) const CATCHING_UP_MAX: Duration = Duration::from_secs(15 * 60);

/// For how long nobody has written the ledger: no vigie was there, or it had nothing to do. Nothing if there is no file yet,
/// or the clock was set back.
pub(super) fn away(path: &Path, now: SystemTime) -> Duration {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let written =
        [path, Path::new(&log)].into_iter().filter_map(|file| file.metadata().ok()?.modified().ok()).max();
    written.and_then(|written| now.duration_since(written).ok()).unwrap_or_default()
}

/// For how long nobody is told after a start, no vigie having been there for so long.
pub(super) fn catching_up(away: Duration) -> Duration {
    (away / CATCHING_UP_PART).min(CATCHING_UP_MAX)
}

/// Tickets whose clock runs, by how late their answer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// In time.
    pub open: u64,
    /// Soon late.
    pub at_risk: u64,
    /// Late.
    pub breached: u64,
}

impl Standing {
    /// As the ledger's file has it.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Standing> {
        let mut statement = connection.prepare(
            "SELECT overdue, count(*) FROM ticket INDEXED BY ticket_clock
             WHERE overdue IS NOT NULL AND stopped_at_us IS NULL GROUP BY overdue",
        )?;
        let mut standing = Standing::default();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(count) = standing.of_mut(row.get(0)?) {
                *count = row.get::<_, i64>(1)?.cast_unsigned();
            }
        }
        Ok(standing)
    }

    pub(super) fn apply(&mut self, moves: &Moves) {
        for (overdue, by) in (0..).zip(moves.0) {
            if let Some(count) = self.of_mut(overdue) {
                *count = count.saturating_add_signed(by);
            }
        }
    }

    fn of_mut(&mut self, overdue: i64) -> Option<&mut u64> {
        match overdue {
            OPEN => Some(&mut self.open),
            AT_RISK => Some(&mut self.at_risk),
            BREACHED => Some(&mut self.breached),
            _ => None,
        }
    }
}

/// As stored in `ticket.overdue`.
const OPEN: i64 = 0;
const AT_RISK: i64 = 1;
const BREACHED: i64 = 2;

/// By how much a transaction changes [`Standing`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moves([i64; 3]);

impl Moves {
    fn add(&mut self, overdue: Option<i64>, by: i64) {
        let place = overdue.and_then(|overdue| usize::try_from(overdue).ok());
        if let Some(count) = place.and_then(|place| self.0.get_mut(place)) {
            *count += by;
        }
    }

    /// A ticket that is gone had this clock running; `None`: it had none.
    pub(super) fn forget(&mut self, overdue: Option<i64>) {
        self.add(overdue, -1);
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Moves::default()
    }
}

/// What a transaction changes of the clocks.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    pub(super) moves: Moves,
    /// The nearest moment at which something is to be told of a clock that it has started.
    next_at_us: Option<i64>,
}

impl Clocks {
    /// A ticket was recorded with this clock.
    pub(super) fn started(&mut self, at_risk_at_us: Option<i64>) {
        if let Some(at_us) = at_risk_at_us {
            self.moves.add(Some(OPEN), 1);
            self.next_at_us = earlier(self.next_at_us, Some(at_us));
        }
    }
}

fn earlier(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    [one, other].into_iter().flatten().min()
}

/// Knows when there is something to tell.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// The nearest moment at which there may be, µs since 1970. Its ticket may have been answered since.
    next_at_us: Option<i64>,
    /// Until then nobody is told, whatever is due: the sources are catching up. µs since 1970.
    quiet_until_us: i64,
}

impl Alarm {
    /// Of a ledger that is opened `now`, for the first time after so long.
    pub(super) fn read(connection: &Connection, now: Timestamp, away: Duration) -> rusqlite::Result<Alarm> {
        let quiet_us = i64::try_from(catching_up(away).as_micros()).unwrap_or_default();
        let quiet_until_us = now.as_microsecond().saturating_add(quiet_us);
        Ok(Alarm { next_at_us: nearest(connection)?, quiet_until_us })
    }

    /// How long it is still quiet; a clock that was set back makes that no longer than it may be.
    fn quiet_us(&self, now: Timestamp) -> i64 {
        let left_us = self.quiet_until_us.saturating_sub(now.as_microsecond());
        if u128::from(left_us.max(0).cast_unsigned()) > CATCHING_UP_MAX.as_micros() {
            0
        } else {
            left_us.max(0)
        }
    }

    /// Whether there may be something to tell.
    pub(super) fn rings(&self, now: Timestamp) -> bool {
        self.next_at_us.is_some_and(|at_us| at_us <= now.as_microsecond()) && self.quiet_us(now) == 0
    }

    /// When to look again, `now` being `at`; `None`: when a clock has been started.
    pub(super) fn due(&self, now: Timestamp, at: Instant) -> Option<Instant> {
        let left_us = self.next_at_us?.saturating_sub(now.as_microsecond()).max(self.quiet_us(now));
        let left = Duration::from_micros(u64::try_from(left_us).unwrap_or(0));
        Some(at + left.min(LOOK_EVERY))
    }

    /// Tells what is due at `now`, at the end of a transaction with these changes; gives the alarm after it.
    pub(super) fn after(
        &self,
        connection: &Connection,
        now: Timestamp,
        ageing_points_per_hour: u32,
        changes: &mut Changes,
    ) -> rusqlite::Result<Alarm> {
        let alarm = Alarm { next_at_us: earlier(self.next_at_us, changes.clocks.next_at_us), ..*self };
        if !alarm.rings(now) {
            return Ok(alarm);
        }
        tell(connection, now, ageing_points_per_hour, changes)?;
        Ok(Alarm { next_at_us: nearest(connection)?, ..*self })
    }
}

fn nearest(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT min(next) FROM (
               SELECT min(next_at_us) AS next FROM ticket INDEXED BY ticket_clock
               WHERE overdue = 0 AND stopped_at_us IS NULL
               UNION ALL SELECT min(next_at_us) FROM ticket INDEXED BY ticket_clock
               WHERE overdue = 1 AND stopped_at_us IS NULL)",
        )?
        .query_row([], |row| row.get(0))
}

/// Records what is due at `now`, [`TOLD_MAX`] at most; only counts it while nobody reports.
fn tell(
    connection: &Connection,
    now: Timestamp,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let now_us = now.as_microsecond();
    let due: Vec<(TicketId, i64, i64, bool)> = connection
        .prepare_cached(
            "SELECT id, due_at_us, overdue, brand IN (SELECT brand FROM reporting) FROM ticket INDEXED BY ticket_clock
             WHERE overdue IN (0, 1) AND stopped_at_us IS NULL AND next_at_us <= ?1 LIMIT ?2",
        )?
        .query_map(params![now_us, TOLD_MAX as i64], |row| {
            Ok((records::ticket_id(row, 0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    for (ticket_id, due_at_us, before, somebody_reports) in due {
        let (after, state, next_at_us) = match due_at_us <= now_us {
            true => (BREACHED, Overdue::Breached, None),
            false => (AT_RISK, Overdue::AtRisk, Some(due_at_us)),
        };
        if somebody_reports {
            let overdue = proto::update::Overdue { state: state.into(), due_at_us };
            let update = proto::Update {
                ticket_id: ticket_id.as_bytes().to_vec(),
                at_us: now_us,
                change: Some(proto::update::Change::Overdue(overdue)),
            };
            let Some(head) = store::add_update(connection, ticket_id, &update, ageing_points_per_hour)?
            else {
                // Erased, and so without a clock; should it have one all the same, it is not asked for ever.
                forget(connection, ticket_id, changes)?;
                continue;
            };
            changes.heads.push(head);
        }
        connection
            .prepare_cached("UPDATE ticket SET overdue = ?2, next_at_us = ?3 WHERE id = ?1")?
            .execute(params![ticket_id.as_bytes(), after, next_at_us])?;
        changes.clocks.moves.add(Some(before), -1);
        changes.clocks.moves.add(Some(after), 1);
    }
    Ok(())
}

/// What is stored of a ticket's clock.
struct Clock {
    overdue: Option<i64>,
    next_at_us: Option<i64>,
    answered_at_us: Option<i64>,
    stopped_at_us: Option<i64>,
    brand: String,
}

impl Clock {
    /// Whether an answer is waited for: nobody has given one, or somebody is in danger since.
    fn waits(&self) -> bool {
        self.answered_at_us.is_none() || self.stopped_at_us.is_none()
    }

    /// Whether an answer of then is one to what is waited for: helpdesks tell of the first one again and again.
    fn is_news(&self, answered_at_us: i64) -> bool {
        self.answered_at_us.is_none_or(|known_us| answered_at_us > known_us)
    }
}

fn clock(connection: &Connection, ticket_id: TicketId) -> rusqlite::Result<Option<Clock>> {
    connection
        .prepare_cached(
            "SELECT overdue, next_at_us, answered_at_us, stopped_at_us, brand
             FROM ticket WHERE id = ?1",
        )?
        .query_row([ticket_id.as_bytes()], |row| {
            Ok(Clock {
                overdue: row.get(0)?,
                next_at_us: row.get(1)?,
                answered_at_us: row.get(2)?,
                stopped_at_us: row.get(3)?,
                brand: row.get(4)?,
            })
        })
        .optional()
}

/// Takes a helpdesk's report into account, if it is one on a ticket that it may speak of.
pub(super) fn reported(
    connection: &Connection,
    feedback: &Feedback,
    now: Timestamp,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let (ticket_id, body, brands) = match feedback {
        Feedback::TicketStatus(ticket_id, body) => (*ticket_id, body, None),
        Feedback::TicketStatusWithin { ticket_id, body, brands } => (*ticket_id, body, Some(brands)),
        Feedback::Touchpoint(_) | Feedback::Contacts(_) | Feedback::AgentState(_) => return Ok(()),
    };
    let Some(clock) = clock(connection, ticket_id)? else { return Ok(()) };
    // The wire has encoded it.
    let Ok(status) = proto::TicketStatus::decode(body.as_slice()) else { return Ok(()) };
    if brands.is_some_and(|brands| !brands.has(&clock.brand)) {
        return Ok(());
    }
    connection
        .prepare_cached("INSERT OR IGNORE INTO reporting (brand) VALUES (?1)")?
        .execute([&clock.brand])?;
    let now_us = now.as_microsecond();
    // A helpdesk's clock may be ahead of ours.
    let answered_at_us = Some(status.first_answer_at_us.min(now_us)).filter(|at_us| *at_us > 0);
    let is_done = matches!(status.state(), State::Pending | State::Solved | State::Closed | State::Deleted);
    if answered_at_us.is_some() || is_done {
        let stops = is_done || answered_at_us.is_some_and(|at_us| clock.is_news(at_us));
        return stop(connection, ticket_id, &clock, stops.then_some(now_us), answered_at_us, changes);
    }
    match status.state() {
        State::Open => go_on(connection, ticket_id, &clock, changes),
        _ => Ok(()),
    }
}

/// The ticket has come to matter more or less, and its answer is due at another time; gives that, and from when on it is at
/// risk (0: nobody is told), in µs since 1970. `None`: nothing changes, or it is answered already, and nobody in danger since:
/// else the clock of what is answered runs again.
///
/// What was told of the time before is told again of the new one, once that comes: not what has passed of both.
pub(super) fn date_anew(
    connection: &Connection,
    ticket_id: TicketId,
    due: &DueAnew,
    now: Timestamp,
    ageing_points_per_hour: u32,
    changes: &mut Changes,
) -> rusqlite::Result<Option<(i64, i64)>> {
    let (due_at_us, at_risk_at_us) = (due.due_at.as_microsecond(), due.at_risk_at.as_microsecond());
    let Some(clock) = clock(connection, ticket_id)? else { return Ok(None) };
    let danger_at_us = due.danger_at.map(Timestamp::as_microsecond);
    let is_new_danger = clock.stopped_at_us.is_some_and(|stopped_us| danger_at_us > Some(stopped_us));
    let begins_again = clock.answered_at_us.is_some() && is_new_danger;
    if !(clock.waits() || begins_again) {
        return Ok(None);
    }
    let before = records::heads_of(connection, ticket_id, ageing_points_per_hour)?.into_iter().next();
    let Some(before) = before.filter(|before| before.due_at_us != due_at_us) else { return Ok(None) };
    let now_us = now.as_microsecond();
    let (overdue, next_at_us) = match clock.overdue {
        None => (None, None),
        Some(BREACHED) if due_at_us <= now_us => (Some(BREACHED), None),
        Some(AT_RISK | BREACHED) if at_risk_at_us <= now_us => (Some(AT_RISK), Some(due_at_us)),
        Some(_) => (Some(OPEN), Some(at_risk_at_us)),
    };
    connection
        .prepare_cached("UPDATE ticket SET due_at_us = ?2, overdue = ?3, next_at_us = ?4 WHERE id = ?1")?
        .execute(params![ticket_id.as_bytes(), due_at_us, overdue, next_at_us])?;
    if begins_again {
        run_again(connection, ticket_id)?;
    }
    if clock.stopped_at_us.is_none() {
        changes.clocks.moves.add(clock.overdue, -1);
    }
    if clock.stopped_at_us.is_none() || begins_again {
        changes.clocks.moves.add(overdue, 1);
        changes.clocks.next_at_us = earlier(changes.clocks.next_at_us, next_at_us);
    }
    changes.place_anew(ticket_id, &before);
    Ok(Some((due_at_us, if overdue.is_some() { at_risk_at_us } else { 0 })))
}

/// The ticket's author has written again: whatever the helpdesk waited for is there.
pub(super) fn waits(
    connection: &Connection,
    ticket_id: TicketId,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let Some(clock) = clock(connection, ticket_id)? else { return Ok(()) };
    go_on(connection, ticket_id, &clock, changes)
}

/// The clock runs again, if it stood still without an answer.
fn go_on(
    connection: &Connection,
    ticket_id: TicketId,
    clock: &Clock,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    if clock.stopped_at_us.is_some() && clock.answered_at_us.is_none() {
        run_again(connection, ticket_id)?;
        changes.clocks.moves.add(clock.overdue, 1);
        changes.clocks.next_at_us = earlier(changes.clocks.next_at_us, clock.next_at_us);
    }
    Ok(())
}

fn run_again(connection: &Connection, ticket_id: TicketId) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE ticket SET stopped_at_us = NULL WHERE id = ?1")?
        .execute([ticket_id.as_bytes()])?;
    Ok(())
}

/// Somebody has answered the ticket then: its clock stands still from there on.
pub(super) fn answered(
    connection: &Connection,
    ticket_id: TicketId,
    at: Timestamp,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    assigned::answered(connection, ticket_id, None, at.as_microsecond())?;
    let Some(clock) = clock(connection, ticket_id)? else { return Ok(()) };
    let at_us = at.as_microsecond();
    let stops = clock.is_news(at_us).then_some(at_us);
    stop(connection, ticket_id, &clock, stops, Some(at_us), changes)
}

/// `stopped_at_us`: since when nobody waits, if that is so.
fn stop(
    connection: &Connection,
    ticket_id: TicketId,
    clock: &Clock,
    stopped_at_us: Option<i64>,
    answered_at_us: Option<i64>,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    // Of several answers the first counts, in whatever order they are reported.
    connection
        .prepare_cached(
            "UPDATE ticket SET stopped_at_us = coalesce(stopped_at_us, ?2),
                               answered_at_us = coalesce(min(answered_at_us, ?3), answered_at_us, ?3)
             WHERE id = ?1",
        )?
        .execute(params![ticket_id.as_bytes(), stopped_at_us, answered_at_us])?;
    if clock.stopped_at_us.is_none() && stopped_at_us.is_some() {
        changes.clocks.moves.add(clock.overdue, -1);
    }
    Ok(())
}

/// Takes the ticket's clock away: nobody waits for an answer.
pub(super) fn forget(
    connection: &Connection,
    ticket_id: TicketId,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let Some(clock) = clock(connection, ticket_id)? else { return Ok(()) };
    connection
        .prepare_cached("UPDATE ticket SET overdue = NULL, next_at_us = NULL WHERE id = ?1")?
        .execute([ticket_id.as_bytes()])?;
    if clock.stopped_at_us.is_none() {
        changes.clocks.moves.add(clock.overdue, -1);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
