//! Tickets read again, beside a daemon or without one: what they are by now, newest first.

use std::path::Path;

use jiff::Timestamp;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, params};

use super::{LedgerError, open_to_read, records};
use crate::desk::follow_up;
use crate::desk::priority::is_floor;
use crate::desk::recorded::Reading;
use crate::ticket::{TicketId, proto};

/// Tickets looked at in one go, whether they are new enough or not. Between two of them the daemon may shorten its write-ahead log, which a reader that stays
/// would make grow.
const PAGE_TICKETS: usize = 500;

/// A ticket as its updates have left it.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// With the newest priority, level, factors, assignment and due time; post and verdict are those of its own post.
    pub ticket: proto::Ticket,
    /// Whether its author had a ticket before that nothing joined any more.
    pub is_again: bool,
    /// What was read after its own post, in that order.
    pub later: Vec<Reading>,
    /// What authors have made of their posts' texts, in that order; of what is erased the text is empty.
    pub edits: Vec<proto::update::Edited>,
    /// The verdict that its priority stands by: of its own post, or of a worse one that has joined it.
    pub verdict: proto::Verdict,
    /// The floors that it stands on, each with the moment of the post that first brought it, µs since 1970.
    pub floors: Vec<(String, i64)>,
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
        let (last, page) = page(&connection, before, since, PAGE_TICKETS).map_err(failed)?;
        let Some(last) = last else { break };
        before = last;
        let wanted = page.len().min(left);
        left -= wanted;
        page.into_iter().take(wanted).for_each(&mut visit);
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

/// The next tickets with a seq below `before`, those of them that are new enough; and the seq of the last one that was
/// looked at, `None` if there was none.
///
/// The limit is on what is looked at: beyond a short time there may be a million older tickets. What cannot be decoded is
/// damaged, and left out.
fn page(
    connection: &Connection,
    before: i64,
    since: Timestamp,
    looked_max: usize,
) -> rusqlite::Result<(Option<i64>, Vec<Kept>)> {
    let looked_max = i64::try_from(looked_max).unwrap_or(i64::MAX);
    let mut tickets = connection.prepare_cached(
        "SELECT seq, id, created_at_us FROM ticket WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2",
    )?;
    let mut bodies = connection.prepare_cached("SELECT body FROM record WHERE seq = ?1")?;
    let mut rows = tickets.query(params![before, looked_max])?;
    let (mut last, mut page) = (None, Vec::new());
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        last = Some(seq);
        if row.get::<_, i64>(2)? < since.as_microsecond() {
            continue;
        }
        let mut body = bodies.query([seq])?;
        let Some(body) = body.next()? else { continue };
        let Ok(ticket) = proto::Ticket::decode(body.get_ref(0)?.as_blob()?) else { continue };
        page.push(updated(connection, records::ticket_id(row, 1)?, ticket)?);
    }
    Ok((last, page))
}

/// This ticket by now; `None`: it is not there, or damaged.
pub(super) fn one(connection: &Connection, id: TicketId) -> rusqlite::Result<Option<Kept>> {
    let body = connection
        .prepare_cached("SELECT body FROM record WHERE seq = (SELECT seq FROM ticket WHERE id = ?1)")?
        .query_row([id.as_bytes()], |row| row.get::<_, Vec<u8>>(0))
        .optional()?;
    let ticket = body.and_then(|body| proto::Ticket::decode(body.as_slice()).ok());
    ticket.map(|ticket| updated(connection, id, ticket)).transpose()
}

/// The ticket with what its updates have changed.
pub(super) fn updated(
    connection: &Connection,
    id: TicketId,
    ticket: proto::Ticket,
) -> rusqlite::Result<Kept> {
    // A ticket's own record names the factor for an earlier ticket alone.
    let is_again = ticket.factors.iter().any(|factor| factor.name == follow_up::FACTOR);
    let verdict = ticket.verdict.clone().unwrap_or_default();
    let (later, edits, floors) = Default::default();
    let mut kept = Kept { ticket, is_again, later, edits, verdict, floors };
    kept.note_floors(kept.ticket.created_at_us);
    let mut statement = connection
        .prepare_cached("SELECT body FROM record WHERE ticket_id = ?1 AND kind = 1 ORDER BY seq")?;
    let bodies = statement.query_map([id.as_bytes()], |row| row.get::<_, Vec<u8>>(0))?;
    for body in bodies {
        let Ok(update) = proto::Update::decode(body?.as_slice()) else { continue };
        kept.apply(update);
    }
    Ok(kept)
}

impl Kept {
    fn apply(&mut self, update: proto::Update) {
        use proto::update::Change;
        let is_edit = matches!(&update.change, Some(Change::Rescored(rescored)) if rescored.edited);
        let edited = is_edit.then(|| self.edited());
        let ticket = &mut self.ticket;
        let (post, verdict, factors) = match update.change {
            Some(Change::Rescored(rescored)) => {
                (ticket.priority, ticket.level) = (rescored.priority, rescored.level);
                (edited, rescored.verdict.unwrap_or_default(), rescored.factors)
            }
            Some(Change::FollowedUp(followed)) => {
                (ticket.priority, ticket.level) = (followed.priority, followed.level);
                let post = followed.post.unwrap_or_default();
                (Some(post), followed.verdict.unwrap_or_default(), followed.factors)
            }
            Some(Change::Assigned(assigned)) => {
                if let Some(assignment) = assigned.assignment {
                    ticket.route.clone_from(&assignment.team);
                    ticket.assignment = Some(assignment);
                }
                if assigned.due_at_us != 0 {
                    (ticket.due_at_us, ticket.at_risk_at_us) = (assigned.due_at_us, assigned.at_risk_at_us);
                }
                return;
            }
            // What it makes of the points comes after it.
            Some(Change::Edited(edited)) => return self.edits.push(edited),
            // An erasure has taken the text out of the record already.
            _ => return,
        };
        let is_own = post.is_none() && self.later.is_empty();
        if is_own || follow_up::is_said_anew(&ticket.factors, &factors) {
            self.verdict.clone_from(&verdict);
        }
        ticket.factors.clone_from(&factors);
        // A better model has read again what was there from the beginning.
        let at_us = if post.is_some() { update.at_us } else { ticket.created_at_us };
        if is_own {
            ticket.verdict = Some(verdict);
        } else {
            self.later.push(Reading { post, is_edit, verdict, at_us: update.at_us, factors });
        }
        self.note_floors(at_us);
    }

    /// The post that was edited last, as it is by that.
    fn edited(&self) -> proto::Post {
        let edited = self.edits.last().cloned().unwrap_or_default();
        let mut joined = self.later.iter().filter_map(|reading| reading.post.as_ref());
        let post = match edited.post_id.as_str() {
            "" => self.ticket.post.as_ref(),
            post_id => joined.find(|post| post.id == post_id),
        };
        proto::Post { text: edited.text, ..post.cloned().unwrap_or_default() }
    }

    /// Those floors are new that are noted for no earlier post.
    fn note_floors(&mut self, at_us: i64) {
        for factor in self.ticket.factors.iter().filter(|factor| is_floor(&factor.name)) {
            if !self.floors.iter().any(|(name, _)| *name == factor.name) {
                self.floors.push((factor.name.clone(), at_us));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::{Running, config, settlement, ticket};
    use crate::ledger::{Entry, NewTicket};

    /// A daemon may cut its log between two pages, however few tickets are new enough.
    #[test]
    fn a_page_is_limited_by_what_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let running = Running::start(folder.path());
        let made = |name: &str, at_us| {
            let Entry::Ticket(ticket) = ticket(name, 1) else { panic!() };
            let created_at = Timestamp::from_microsecond(at_us).unwrap();
            Entry::Ticket(Box::new(NewTicket { created_at, ..*ticket }))
        };
        let tickets = [made("a", 90), made("b", 10), made("c", 10), made("d", 90), made("e", 10)];
        running.settle(settlement(1, 0, tickets.to_vec()));
        running.stop();
        let path = config(folder.path()).path;
        let (connection, _) = open_to_read(&path).unwrap();
        let since = Timestamp::from_microsecond(50).unwrap();
        let look = |before| {
            let (last, page) = page(&connection, before, since, 2).unwrap();
            (last, page.into_iter().map(|kept| kept.ticket.post.unwrap().id).collect::<Vec<_>>())
        };
        assert_eq!(look(i64::MAX), (Some(4), vec!["d".to_owned()]));
        assert_eq!(look(4), (Some(2), vec![]));
        assert_eq!(look(2), (Some(1), vec!["a".to_owned()]));
        assert_eq!(look(1), (None, vec![]));
        let visited = |tickets_max| {
            let mut visited = Vec::new();
            visit(&path, since, tickets_max, |kept| visited.push(kept.ticket.post.unwrap().id)).unwrap();
            visited
        };
        assert_eq!((visited(1), visited(9)), (vec!["d".to_owned()], vec!["d".to_owned(), "a".to_owned()]));
    }

    #[test]
    fn updates_leave_a_ticket_as_it_was_last_decided_about() {
        use proto::update::{Change, FollowedUp, Rescored};
        let factor = |points| proto::Factor { name: "urgency".into(), points, evidence: String::new() };
        let update = |change| proto::Update { ticket_id: Vec::new(), at_us: 9, change: Some(change) };
        let ticket = proto::Ticket { priority: 1, ..Default::default() };
        let mut kept = Kept {
            ticket,
            is_again: false,
            later: Vec::new(),
            edits: Vec::new(),
            verdict: proto::Verdict::default(),
            floors: Vec::new(),
        };
        let verdict = |model: &str| proto::Verdict { model: model.into(), ..Default::default() };
        let rescored = |model: &str, points| Rescored {
            priority: 2,
            level: 3,
            factors: vec![factor(points)],
            verdict: Some(verdict(model)),
            ..Default::default()
        };
        kept.apply(update(Change::Rescored(rescored("full", 2))));
        assert_eq!((kept.ticket.priority, kept.ticket.level, kept.later.len()), (2, 3, 0));
        assert_eq!(kept.ticket.verdict, Some(verdict("full")), "its own post's, read again");
        let post = proto::Post { id: "second".into(), ..Default::default() };
        let followed = FollowedUp {
            priority: 4,
            level: 1,
            factors: vec![factor(4)],
            post: Some(post.clone()),
            verdict: Some(verdict("of the second")),
        };
        kept.apply(update(Change::FollowedUp(followed)));
        kept.apply(update(Change::Rescored(rescored("fuller", 5))));
        assert_eq!((kept.ticket.priority, kept.ticket.level), (2, 3));
        assert_eq!(kept.verdict, verdict("fuller"), "what has counted since");
        let assigned = |team: &str, due_at_us| proto::update::Assigned {
            assignment: (!team.is_empty())
                .then(|| proto::Assignment { team: team.into(), ..Default::default() }),
            due_at_us,
            at_risk_at_us: due_at_us / 2,
        };
        kept.apply(update(Change::Assigned(assigned("critical", 60))));
        kept.apply(update(Change::Assigned(assigned("", 40))));
        kept.apply(update(Change::Assigned(assigned("lawyers", 0))));
        let Kept { ticket, .. } = &kept;
        assert_eq!((ticket.due_at_us, ticket.at_risk_at_us, ticket.route.as_str()), (40, 20, "lawyers"));
        assert_eq!(ticket.assignment.as_ref().unwrap().team, "lawyers");
        assert_eq!((kept.ticket.factors, kept.ticket.verdict), (vec![factor(5)], Some(verdict("full"))));
        assert_eq!((kept.ticket.post, kept.ticket.created_at_us), (None, 0), "the first post's");
        let reading = |post, model: &str, points| Reading {
            post,
            is_edit: false,
            verdict: verdict(model),
            at_us: 9,
            factors: vec![factor(points)],
        };
        assert_eq!(kept.later, [reading(Some(post), "of the second", 4), reading(None, "fuller", 5)]);
    }
}
