//! Tickets read again, beside a daemon or without one: what they are by now, newest first.

use std::path::Path;

use jiff::Timestamp;
use prost::Message;
use rusqlite::{Connection, params};

use super::{LedgerError, open_to_read, records};
use crate::desk::follow_up;
use crate::desk::priority::{Group, recorded_group};
use crate::ticket::{TicketId, proto};

/// Tickets read in one go. Between two of them the daemon may shorten its write-ahead log, which a reader that stays
/// would make grow.
const PAGE_TICKETS: usize = 500;

/// A ticket as its updates have left it.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// With the newest priority, level and factors, and the verdict that those go by. Of posts that have joined it, the
    /// verdict counts where it is worse; `post` is the first.
    pub ticket: proto::Ticket,
    /// Posts that have joined it; at least 1 where its author has had a ticket before that nothing joined any more.
    pub follow_ups: u32,
}

/// Calls `visit` with each ticket made at `since` or later, newest first, at most `tickets_max` of them. Writes nothing.
///
/// # Errors
///
/// It cannot be read, is no ledger, or was written by a newer vigie. Older ones are read as they are.
pub fn visit(
    path: &Path,
    since: Timestamp,
    tickets_max: usize,
    mut visit: impl FnMut(Kept),
) -> Result<(), LedgerError> {
    let (connection, _) = open_to_read(path)?;
    let failed = |source| LedgerError::Sqlite { path: path.to_owned(), error: source };
    let (mut before, mut left) = (i64::MAX, tickets_max);
    while left > 0 {
        let page = page(&connection, before, since, left.min(PAGE_TICKETS)).map_err(failed)?;
        let Some((last, _)) = page.last() else { break };
        before = *last;
        left = left.saturating_sub(page.len());
        page.into_iter().filter_map(|(_, kept)| kept).for_each(&mut visit);
    }
    Ok(())
}

/// When the newest ticket was made; `None`: there is none.
///
/// # Errors
///
/// As [`visit`].
pub fn newest(path: &Path) -> Result<Option<Timestamp>, LedgerError> {
    let (connection, _) = open_to_read(path)?;
    let at_us: Result<Option<i64>, _> =
        connection.query_row("SELECT max(created_at_us) FROM ticket", [], |row| row.get(0));
    let at_us = at_us.map_err(|source| LedgerError::Sqlite { path: path.to_owned(), error: source })?;
    Ok(at_us.and_then(|at_us| Timestamp::from_microsecond(at_us).ok()))
}

/// Tickets with a seq below `before`, each `None` if it cannot be decoded.
fn page(
    connection: &Connection,
    before: i64,
    since: Timestamp,
    tickets_max: usize,
) -> rusqlite::Result<Vec<(i64, Option<Kept>)>> {
    let tickets_max = i64::try_from(tickets_max).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(
        "SELECT t.seq, t.id, r.body FROM ticket t JOIN record r ON r.seq = t.seq
         WHERE t.seq < ?1 AND t.created_at_us >= ?2 ORDER BY t.seq DESC LIMIT ?3",
    )?;
    let rows = statement.query_map(params![before, since.as_microsecond(), tickets_max], |row| {
        let body: Vec<u8> = row.get(2)?;
        Ok((row.get(0)?, records::ticket_id(row, 1)?, body))
    })?;
    let mut page = Vec::new();
    for row in rows {
        let (seq, id, body) = row?;
        let kept = match proto::Ticket::decode(body.as_slice()) {
            Ok(ticket) => Some(updated(connection, id, ticket)?),
            Err(_) => None,
        };
        page.push((seq, kept));
    }
    Ok(page)
}

/// The ticket with what its updates have changed.
fn updated(connection: &Connection, id: TicketId, ticket: proto::Ticket) -> rusqlite::Result<Kept> {
    // A ticket's own record names the factor for an earlier ticket alone.
    let is_again = ticket.factors.iter().any(|factor| factor.name == follow_up::FACTOR);
    let mut kept = Kept { ticket, follow_ups: 0 };
    let mut statement = connection
        .prepare_cached("SELECT body FROM record WHERE ticket_id = ?1 AND kind = 1 ORDER BY seq")?;
    let bodies = statement.query_map([id.as_bytes()], |row| row.get::<_, Vec<u8>>(0))?;
    for body in bodies {
        let Ok(update) = proto::Update::decode(body?.as_slice()) else { continue };
        kept.apply(update);
    }
    kept.follow_ups = kept.follow_ups.max(is_again.into());
    Ok(kept)
}

impl Kept {
    fn apply(&mut self, update: proto::Update) {
        use proto::update::Change;
        let ticket = &mut self.ticket;
        match update.change {
            Some(Change::Rescored(rescored)) => {
                (ticket.priority, ticket.level) = (rescored.priority, rescored.level);
                ticket.factors = rescored.factors;
                ticket.verdict = rescored.verdict;
            }
            Some(Change::FollowedUp(followed)) => {
                self.follow_ups = self.follow_ups.saturating_add(1);
                (ticket.priority, ticket.level) = (followed.priority, followed.level);
                if of_verdict(&ticket.factors).ne(of_verdict(&followed.factors)) {
                    ticket.verdict = followed.verdict;
                }
                ticket.factors = followed.factors;
            }
            // An edit changes no points; an erasure has taken the text out of the record already.
            _ => {}
        }
    }
}

fn of_verdict(factors: &[proto::Factor]) -> impl Iterator<Item = &proto::Factor> {
    factors.iter().filter(|factor| recorded_group(&factor.name) == Some(Group::Verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_leave_a_ticket_as_it_was_last_decided_about() {
        use proto::update::{Change, FollowedUp, Rescored};
        let factor = |points| proto::Factor { name: "urgency".into(), points, evidence: String::new() };
        let update = |change| proto::Update { ticket_id: Vec::new(), at_us: 9, change: Some(change) };
        let mut kept = Kept { ticket: proto::Ticket { priority: 1, ..Default::default() }, follow_ups: 0 };
        let rescored = Rescored { priority: 2, level: 3, factors: vec![factor(2)], ..Default::default() };
        kept.apply(update(Change::Rescored(rescored)));
        assert_eq!((kept.ticket.priority, kept.ticket.level, kept.follow_ups), (2, 3, 0));
        let verdict = |model: &str| Some(proto::Verdict { model: model.into(), ..Default::default() });
        let followed = FollowedUp {
            priority: 4,
            level: 1,
            factors: vec![factor(4)],
            post: Some(proto::Post { id: "second".into(), ..Default::default() }),
            verdict: verdict("of a worse post"),
        };
        kept.apply(update(Change::FollowedUp(followed.clone())));
        kept.apply(update(Change::FollowedUp(FollowedUp { verdict: verdict("of a calm one"), ..followed })));
        assert_eq!((kept.ticket.priority, kept.ticket.level, kept.follow_ups), (4, 1, 2));
        assert_eq!((kept.ticket.factors, kept.ticket.verdict), (vec![factor(4)], verdict("of a worse post")));
        assert_eq!((kept.ticket.post, kept.ticket.created_at_us), (None, 0), "the first post's");
    }
}
