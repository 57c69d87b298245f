//! What became of the tickets, for `vigie report`: read beside a running daemon, some at a time.

use std::path::Path;

use prost::Message;
use rusqlite::{Connection, params};

use super::{LedgerError, open_to_read, schema};
use crate::ticket::proto;
use crate::ticket::proto::update::Change;

/// Tickets read in one statement. Between two of them the daemon's write-ahead log may be cut, which a single long
/// read would prevent.
const TICKETS_MAX: i64 = 1000;

/// A ticket with what is known of its answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// As it was made; its text may be erased.
    pub ticket: proto::Ticket,
    /// Most probable intent.
    pub intent: String,
    /// Who should have answered, by the latest assignment; empty: nobody was named.
    pub team: String,
    /// Who answered as the helpdesk says, else who should have; empty: nobody known.
    pub agent: String,
    /// When the first answer was given, in the helpdesk or on the network, µs since 1970.
    pub first_answer_at_us: Option<i64>,
    /// 1 to 5, as last given.
    pub satisfaction: Option<u32>,
    /// 0 to 10, how likely the customer is to recommend the company, as last given.
    pub recommendation: Option<u32>,
}

/// Calls `visit` with each ticket that was made from `since_us` on, oldest first.
///
/// # Errors
///
/// The ledger cannot be read, is none, or is of another version than this vigie's.
pub fn outcomes(path: &Path, since_us: i64, mut visit: impl FnMut(Outcome)) -> Result<(), LedgerError> {
    let (connection, found) = open_to_read(path)?;
    if found < schema::VERSION {
        return Err(LedgerError::Older { path: path.to_owned(), found, known: schema::VERSION });
    }
    let failed = |error| LedgerError::Sqlite { path: path.to_owned(), error };
    let mut after = 0;
    while let Some(last) = page(&connection, since_us, after, &mut visit).map_err(failed)? {
        after = last;
    }
    Ok(())
}

/// Visits the next tickets that are new enough; gives the seq of the last one that was looked at, `None` if none is left.
///
/// The limit is on what is looked at, not on what is visited: before a short time in a large ledger there may be a
/// million older tickets, and one statement would step over all of them. Their bodies stay on the disk.
fn page(
    connection: &Connection,
    since_us: i64,
    after: i64,
    visit: &mut impl FnMut(Outcome),
) -> rusqlite::Result<Option<i64>> {
    let mut tickets = connection.prepare_cached(
        "SELECT seq, id, intent, created_at_us, answered_at_us FROM ticket WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let mut bodies = connection.prepare_cached("SELECT body FROM record WHERE seq = ?1")?;
    let mut rows = tickets.query(params![after, TICKETS_MAX])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        last = Some(seq);
        if row.get::<_, i64>(3)? < since_us {
            continue;
        }
        let mut body = bodies.query([seq])?;
        let Some(body) = body.next()? else { continue };
        // We wrote these bytes; what does not decode is damaged, and says nothing.
        let Ok(ticket) = proto::Ticket::decode(body.get_ref(0)?.as_blob()?) else { continue };
        let id: Vec<u8> = row.get(1)?;
        let mut outcome = Outcome {
            intent: row.get(2)?,
            team: ticket
                .assignment
                .as_ref()
                .map_or(ticket.route.clone(), |assignment| assignment.team.clone()),
            agent: ticket.assignment.as_ref().map_or(String::new(), |assignment| assignment.agent.clone()),
            first_answer_at_us: row.get(4)?,
            satisfaction: None,
            recommendation: None,
            ticket,
        };
        follow(connection, &id, &mut outcome)?;
        visit(outcome);
    }
    Ok(last)
}

/// Adds what was reported of a ticket, in the order of time.
fn follow(connection: &Connection, id: &[u8], outcome: &mut Outcome) -> rusqlite::Result<()> {
    let mut first = outcome.first_answer_at_us;
    let mut answered = |at_us: i64| {
        if at_us > 0 {
            first = Some(first.map_or(at_us, |first| first.min(at_us)));
        }
    };
    let mut updates = connection
        .prepare_cached("SELECT body FROM record WHERE ticket_id = ?1 AND kind = 1 ORDER BY seq")?;
    let mut rows = updates.query([id])?;
    while let Some(row) = rows.next()? {
        let update = proto::Update::decode(row.get_ref(0)?.as_blob()?).unwrap_or_default();
        match update.change {
            Some(Change::Answered(_)) => answered(update.at_us),
            Some(Change::Assigned(assigned)) => {
                if let Some(assignment) = assigned.assignment {
                    (outcome.team, outcome.agent) = (assignment.team, assignment.agent);
                }
                if assigned.due_at_us != 0 {
                    outcome.ticket.due_at_us = assigned.due_at_us;
                }
            }
            _ => {}
        }
    }
    let mut statuses = connection.prepare_cached(
        "SELECT body FROM feedback WHERE ticket_id = ?1 AND kind = 'ticket_status' ORDER BY rowid",
    )?;
    let mut rows = statuses.query([id])?;
    while let Some(row) = rows.next()? {
        let status = proto::TicketStatus::decode(row.get_ref(0)?.as_blob()?).unwrap_or_default();
        answered(status.first_answer_at_us);
        if !status.agent.is_empty() {
            outcome.agent = status.agent;
        }
        if status.satisfaction > 0 {
            outcome.satisfaction = Some(status.satisfaction);
        }
        outcome.recommendation = status.recommendation.or(outcome.recommendation);
    }
    outcome.first_answer_at_us = first;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::{Running, settlement, ticket};
    use crate::ledger::{Feedback, Records};
    use crate::parse::Network;
    use crate::ticket::TicketId;

    #[test]
    fn what_helpdesks_report_comes_back_with_its_ticket_in_the_order_of_time() {
        let folder = tempfile::tempdir().unwrap();
        let running = Running::start(folder.path());
        running.settle(settlement(10, 0, vec![ticket("a", 100), ticket("b", 900)]));
        running.subscribe("helpdesk", false);
        let id = TicketId::of_post(Network::Bluesky, "a");
        let report = |agent: &str, first_answer_at_us, satisfaction| {
            let ticket_id = id.as_bytes().to_vec();
            let status = proto::TicketStatus {
                ticket_id,
                agent: agent.to_owned(),
                first_answer_at_us,
                satisfaction,
                ..proto::TicketStatus::default()
            };
            let feedback = Feedback::TicketStatus(id, status.encode_to_vec());
            running.handle.feedback(feedback).blocking_recv().unwrap().unwrap();
        };
        report("ana", 0, 0);
        report("", 7_000_000, 2);
        report("bo", 9_000_000, 5);
        let mut seen = Vec::new();
        let path = folder.path().join("ledger.sqlite");
        outcomes(&path, i64::MIN, |outcome| seen.push(outcome)).unwrap();
        assert_eq!(seen.len(), 2, "beside the running ledger");
        let a = seen.iter().find(|outcome| outcome.ticket.id == id.as_bytes()).unwrap();
        assert_eq!(
            (a.agent.as_str(), a.first_answer_at_us, a.satisfaction),
            ("bo", Some(7_000_000), Some(5))
        );
        let b = seen.iter().find(|outcome| outcome.ticket.id != id.as_bytes()).unwrap();
        assert_eq!((b.agent.as_str(), b.first_answer_at_us, b.satisfaction), ("", None, None));
        // What the ledger has noted beside the reports counts, too, where it is the earlier.
        let file = Connection::open(&path).unwrap();
        let noted = |at_us: i64, name: &str| {
            let id = TicketId::of_post(Network::Bluesky, name);
            let sql = "UPDATE ticket SET answered_at_us = ?1 WHERE id = ?2";
            assert_eq!(file.execute(sql, params![at_us, id.as_bytes()]).unwrap(), 1);
        };
        noted(6_000_000, "a");
        noted(8_000_000, "b");
        let mut seen = Vec::new();
        outcomes(&path, i64::MIN, |outcome| seen.push(outcome.first_answer_at_us)).unwrap();
        seen.sort();
        assert_eq!(seen, [Some(6_000_000), Some(8_000_000)]);
        let mut seen = Vec::new();
        outcomes(&path, i64::MAX, |outcome| seen.push(outcome)).unwrap();
        assert_eq!(seen, []);
        running.stop();
    }

    #[test]
    fn no_statement_steps_over_more_tickets_than_a_page_has() {
        let folder = tempfile::tempdir().unwrap();
        let running = Running::start(folder.path());
        running.settle(settlement(10, 0, vec![ticket("a", 100)]));
        running.stop();
        let path = folder.path().join("ledger.sqlite");
        let file = Connection::open(&path).unwrap();
        let old = TICKETS_MAX + 10;
        let made = file.execute(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
             INSERT INTO ticket (id, seq, network, author_id, brand, language, intent, priority, created_at_us, due_at_us,
               text_hash)
             SELECT CAST(printf('%016d', n) AS BLOB), 1000 + n, 'x', 'a', 'Lumio', 'en', 'problem', 1, n, n, 0 FROM n",
            [old],
        );
        assert_eq!(made.unwrap() as i64, old);
        let mut visited = 0;
        let mut after = |seq| page(&file, i64::MAX, seq, &mut |_| visited += 1).unwrap();
        // The first page ends among the old ones, one before its limit: it has looked at "a" too.
        assert_eq!(after(0), Some(1000 + TICKETS_MAX - 1));
        assert_eq!(after(1000 + TICKETS_MAX - 1), Some(1000 + old));
        assert_eq!((after(1000 + old), visited), (None, 0));
    }
}
