//! What became of the tickets, for `vigie report`: read beside a running daemon, some at a time.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use prost::Message;
use rusqlite::{Connection, Rows, params};

use super::{LedgerError, open_to_read, schema};
use crate::ticket::proto;
use crate::ticket::proto::ticket_status::State;
use crate::ticket::proto::update::Change;

/// Version 4: tickets in the order in which they were made, with all that a report reads of their rows. A row itself lies
/// at a random place of the file, as the ticket's id does: a report on a day would read all of them.
pub(super) const INDEX: &str = "CREATE INDEX ticket_made ON ticket (created_at_us, seq, intent, answered_at_us, stopped_at_us, overdue);";

/// Tickets of a page, which is read in one transaction: some 10 ms. Between two of them the daemon's write-ahead log may
/// be cut, which a single long read would prevent.
const TICKETS_MAX: i64 = 1000;
/// A page ends with the ticket with which its records have so many bytes: what is in memory is some MB.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// After each page, for the daemon to cut its log while nobody reads an older state.
const PAUSE: Duration = Duration::from_millis(1);

/// A ticket with what is known of its answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// As it was made; its text may be erased. Its factors are those of its own post as the model that knows best has
    /// read it, without what later posts have added.
    pub ticket: proto::Ticket,
    /// Most probable intent.
    pub intent: String,
    /// Who should have answered, by the latest assignment; empty: nobody was named.
    pub team: String,
    /// Who gave the first answer, as far as the helpdesk has said that; else who has the ticket as it says, else who should
    /// have; empty: nobody known.
    pub agent: String,
    /// Whom it was handed over to, by the latest assignment; empty: nobody.
    pub supplier: String,
    /// When the first answer was given, in the helpdesk or on the network, µs since 1970.
    pub first_answer_at_us: Option<i64>,
    /// Whether somebody waits for an answer: not if the text is erased, the ticket is no customer message after all, or
    /// it is older than version 4 of the schema, which knows nothing of its clock.
    pub is_awaited: bool,
    /// Since when the clock stands still: answered, or pending, solved, closed or deleted without an answer.
    pub stopped_at_us: Option<i64>,
    /// Another reading has said that it is no customer message.
    pub is_unsupported: bool,
    /// Another post has joined it.
    pub has_joined: bool,
    /// When the helpdesk told that it is solved or closed, unless it has been opened again since.
    pub solved_at_us: Option<i64>,
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
    let mut page = Page::default();
    let mut after = (since_us, 0);
    loop {
        page.read(&connection, after).map_err(failed)?;
        let Some(last) = page.tickets.last() else { return Ok(()) };
        after = (last.created_at_us, last.seq);
        // What is read is decoded and counted while nobody is kept from anything.
        page.tickets.iter().filter_map(|ticket| page.outcome(ticket)).for_each(&mut visit);
        std::thread::sleep(PAUSE);
    }
}

/// Some tickets as they are stored, read at one go.
#[derive(Debug, Default)]
struct Page {
    tickets: Vec<Stored>,
    /// What is stored of each: the ticket itself, its updates, its reports.
    records: Vec<Record>,
    /// Their bodies, one after another.
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Stored {
    created_at_us: i64,
    seq: i64,
    intent: String,
    answered_at_us: Option<i64>,
    stopped_at_us: Option<i64>,
    is_awaited: bool,
    /// In the page's records.
    records: Range<usize>,
}

#[derive(Debug)]
struct Record {
    kind: Kind,
    /// Of a report when it came, µs since 1970; else 0.
    at_us: i64,
    /// In the page's bytes.
    body: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ticket,
    Update,
    Status,
}

impl Page {
    /// Reads the tickets after this one, by when they were made and their seq.
    fn read(&mut self, connection: &Connection, after: (i64, i64)) -> rusqlite::Result<()> {
        self.tickets.clear();
        self.records.clear();
        self.bytes.clear();
        let reading = connection.unchecked_transaction()?;
        {
            let mut tickets = reading.prepare_cached(TICKETS)?;
            let mut own = reading.prepare_cached("SELECT body, 0 FROM record WHERE seq = ?1")?;
            // A ticket's updates come after it.
            let mut updates = reading.prepare_cached(
                "SELECT body, 0 FROM record INDEXED BY record_ticket
                 WHERE ticket_id = ?1 AND seq > ?2 AND kind = 1 ORDER BY seq",
            )?;
            let mut statuses = reading.prepare_cached(
                "SELECT body, at_us FROM feedback INDEXED BY feedback_ticket
                 WHERE ticket_id = ?1 AND kind = 'ticket_status' ORDER BY rowid",
            )?;
            let mut rows = tickets.query(params![after.0, after.1, TICKETS_MAX])?;
            while let Some(row) = rows.next()? {
                let id = row.get_ref(0)?.as_blob()?;
                let (created_at_us, seq) = (row.get(1)?, row.get(2)?);
                let begin = self.records.len();
                self.take(Kind::Ticket, own.query([seq])?)?;
                self.take(Kind::Update, updates.query(params![id, seq])?)?;
                self.take(Kind::Status, statuses.query([id])?)?;
                let records = begin..self.records.len();
                self.tickets.push(Stored {
                    created_at_us,
                    seq,
                    intent: row.get(3)?,
                    answered_at_us: row.get(4)?,
                    stopped_at_us: row.get(5)?,
                    is_awaited: row.get(6)?,
                    records,
                });
                if self.bytes.len() >= PAGE_BYTES_MAX {
                    break;
                }
            }
        }
        reading.finish()
    }

    fn take(&mut self, kind: Kind, mut rows: Rows<'_>) -> rusqlite::Result<()> {
        while let Some(row) = rows.next()? {
            let begin = self.bytes.len();
            self.bytes.extend_from_slice(row.get_ref(0)?.as_blob()?);
            self.records.push(Record { kind, at_us: row.get(1)?, body: begin..self.bytes.len() });
        }
        Ok(())
    }

    /// What became of the ticket. `None` if it is damaged, and says nothing: we wrote these bytes.
    fn outcome(&self, stored: &Stored) -> Option<Outcome> {
        let records = self.records.get(stored.records.clone())?;
        let bodies = records.iter().map(|record| (record, &self.bytes[record.body.clone()]));
        let mut said = Said::default();
        let mut outcome = Outcome {
            intent: stored.intent.clone(),
            first_answer_at_us: stored.answered_at_us,
            is_awaited: stored.is_awaited,
            stopped_at_us: stored.stopped_at_us,
            ..Outcome::default()
        };
        let mut is_there = false;
        for (Record { kind, at_us, .. }, body) in bodies {
            match kind {
                Kind::Ticket => {
                    outcome.begin(proto::Ticket::decode(body).ok()?);
                    said.assigned.push((i64::MIN, outcome.agent.clone()));
                    is_there = true;
                }
                Kind::Update => outcome.update(proto::Update::decode(body).unwrap_or_default(), &mut said),
                Kind::Status => {
                    let status = proto::TicketStatus::decode(body).unwrap_or_default();
                    outcome.report(status, *at_us, &mut said);
                }
            }
        }
        if let Some(agent) = said.answerer().or(said.agent()) {
            outcome.agent = agent;
        }
        is_there.then_some(outcome)
    }
}

/// Of whom the records of a ticket speak, each with when they say so, µs since 1970, one after another. Updates are read
/// before reports, so that who had it when is only known at the end.
#[derive(Debug, Default)]
struct Said {
    /// Who has it, as a helpdesk told.
    told: Vec<(i64, String)>,
    /// Who should have it, as vigie has assigned it; empty: nobody was named.
    assigned: Vec<(i64, String)>,
    /// The first answer that a helpdesk told of, when it was given, and when it was told of.
    answered_at_us: Option<(i64, i64)>,
    /// When the first one on the network was given.
    on_network_at_us: Option<i64>,
}

impl Said {
    /// Who has it, as last told.
    fn agent(&self) -> Option<String> {
        last(&self.told, i64::MAX)
    }

    /// Who had it when the first answer was given. A hand-over later changes nothing of it.
    fn answerer(&self) -> Option<String> {
        let (at_us, told_at_us) = match (self.answered_at_us, self.on_network_at_us) {
            (Some((at_us, _)), Some(on_network_at_us)) if on_network_at_us < at_us => {
                (on_network_at_us, on_network_at_us)
            }
            (Some(told), _) => told,
            (None, Some(at_us)) => (at_us, at_us),
            (None, None) => return None,
        };
        last(&self.told, told_at_us).or_else(|| last(&self.assigned, at_us))
    }
}

/// Who was named last until then, if anybody was.
fn last(named: &[(i64, String)], until_us: i64) -> Option<String> {
    let last = named.iter().rev().find(|(at_us, _)| *at_us <= until_us);
    last.map(|(_, name)| name.clone()).filter(|name| !name.is_empty())
}

const TICKETS: &str = "
    SELECT id, created_at_us, seq, intent, answered_at_us, stopped_at_us, overdue IS NOT NULL
    FROM ticket INDEXED BY ticket_made
    WHERE (created_at_us, seq) > (?1, ?2) ORDER BY created_at_us, seq LIMIT ?3";

impl Outcome {
    /// Whether the answer was late, as of `now_us`; `None`: that is not decided, as the ticket is not due yet, was done
    /// with before that without an answer, or nobody waits for one.
    pub fn is_late(&self, now_us: i64) -> Option<bool> {
        let due_at_us = self.ticket.due_at_us;
        if let Some(at_us) = self.first_answer_at_us {
            return Some(at_us > due_at_us);
        }
        let waited_until_us = self.stopped_at_us.unwrap_or(now_us);
        (self.is_awaited && waited_until_us > due_at_us).then_some(true)
    }

    fn begin(&mut self, ticket: proto::Ticket) {
        match &ticket.assignment {
            Some(assignment) => self.assigned(assignment.clone()),
            None => self.team.clone_from(&ticket.route),
        }
        self.ticket = ticket;
    }

    fn update(&mut self, update: proto::Update, said: &mut Said) {
        match update.change {
            Some(Change::Answered(_)) => {
                self.answered(update.at_us);
                let first = said.on_network_at_us.map_or(update.at_us, |first| first.min(update.at_us));
                said.on_network_at_us = Some(first);
            }
            Some(Change::Assigned(assigned)) => {
                if let Some(assignment) = assigned.assignment {
                    said.assigned.push((update.at_us, assignment.agent.clone()));
                    self.assigned(assignment);
                }
                if assigned.due_at_us != 0 {
                    self.ticket.due_at_us = assigned.due_at_us;
                }
            }
            Some(Change::Rescored(rescored)) => {
                self.is_unsupported = rescored.unsupported;
                // From then on they are of all posts together.
                if !self.has_joined {
                    self.ticket.factors = rescored.factors;
                }
            }
            Some(Change::FollowedUp(_)) => self.has_joined = true,
            _ => {}
        }
    }

    fn assigned(&mut self, assignment: proto::Assignment) {
        let proto::Assignment { team, agent, supplier, .. } = assignment;
        (self.team, self.agent, self.supplier) = (team, agent, supplier);
    }

    /// Takes what a helpdesk said at `at_us`.
    fn report(&mut self, status: proto::TicketStatus, at_us: i64, said: &mut Said) {
        self.answered(status.first_answer_at_us);
        match status.state() {
            State::Solved | State::Closed => _ = self.solved_at_us.get_or_insert(at_us),
            State::Open | State::Pending => self.solved_at_us = None,
            State::Deleted | State::Unspecified => {}
        }
        if !status.agent.is_empty() {
            said.told.push((at_us, status.agent));
        }
        let answered_at_us = Some(status.first_answer_at_us).filter(|at_us| *at_us > 0);
        if let Some(answered_at_us) = answered_at_us
            && said.answered_at_us.is_none_or(|(first, _)| answered_at_us < first)
        {
            said.answered_at_us = Some((answered_at_us, at_us));
        }
        if status.satisfaction > 0 {
            self.satisfaction = Some(status.satisfaction);
        }
        self.recommendation = status.recommendation.or(self.recommendation);
    }

    fn answered(&mut self, at_us: i64) {
        if at_us > 0 {
            self.first_answer_at_us = Some(self.first_answer_at_us.map_or(at_us, |first| first.min(at_us)));
        }
    }
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
        // Who takes it over has not answered first.
        report("bo", 9_000_000, 5);
        report("cy", 7_000_000, 0);
        let mut seen = Vec::new();
        let path = folder.path().join("ledger.sqlite");
        outcomes(&path, i64::MIN, |outcome| seen.push(outcome)).unwrap();
        assert_eq!(seen.len(), 2, "beside the running ledger");
        let a = seen.iter().find(|outcome| outcome.ticket.id == id.as_bytes()).unwrap();
        assert_eq!(
            (a.agent.as_str(), a.first_answer_at_us, a.satisfaction),
            ("ana", Some(7_000_000), Some(5))
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
    fn who_answered_first_and_when_it_was_solved_is_what_was_told_last_of_that() {
        let told = |statuses: &[(State, &str, i64)]| {
            let (mut outcome, mut said) = (Outcome::default(), Said::default());
            said.assigned.push((i64::MIN, "lena".to_owned()));
            for (at_us, (state, agent, first_answer_at_us)) in (10..).step_by(10).zip(statuses) {
                let (state, agent) = ((*state).into(), (*agent).to_owned());
                let first_answer_at_us = *first_answer_at_us;
                let status = proto::TicketStatus {
                    state,
                    agent,
                    first_answer_at_us,
                    ..proto::TicketStatus::default()
                };
                outcome.report(status, at_us, &mut said);
            }
            (said.answerer(), said.agent(), outcome.solved_at_us)
        };
        let some = |name: &str| Some(name.to_owned());
        let (open, solved) = (State::Open, State::Solved);
        assert_eq!(told(&[]), (None, None, None));
        assert_eq!(told(&[(open, "ana", 5), (open, "bo", 5)]), (some("ana"), some("bo"), None));
        // An earlier one comes to light; one without a name is by whom it was with.
        assert_eq!(told(&[(open, "ana", 5), (open, "bo", 3)]).0, some("bo"));
        assert_eq!(told(&[(open, "ana", 0), (open, "", 5), (open, "bo", 5)]).0, some("ana"));
        // Without any, it is whom vigie had chosen.
        assert_eq!(told(&[(open, "", 5), (open, "bo", 5)]), (some("lena"), some("bo"), None));
        let closed = (State::Closed, "", 0);
        assert_eq!(told(&[(open, "", 0), (solved, "", 0), closed]).2, Some(20));
        assert_eq!(told(&[(solved, "", 0), (State::Unspecified, "", 0)]).2, Some(10));
        assert_eq!(told(&[(solved, "", 0), (open, "", 0)]).2, None);
        assert_eq!(told(&[(solved, "", 0), (State::Pending, "", 0), closed]).2, Some(30));
        assert_eq!(told(&[(State::Deleted, "", 0)]).2, None);
    }

    #[test]
    fn an_answer_on_the_network_is_of_whoever_had_the_ticket_then() {
        let check = |changes: &[(i64, Option<&str>)], told: &[(i64, &str, i64)], expected: &str| {
            let (mut outcome, mut said) = (Outcome::default(), Said::default());
            said.assigned.push((i64::MIN, "lena".to_owned()));
            for (at_us, assigned) in changes {
                let change = match assigned {
                    None => Change::Answered(proto::update::Answered::default()),
                    Some(agent) => {
                        let agent = (*agent).to_owned();
                        let assignment = Some(proto::Assignment { agent, ..proto::Assignment::default() });
                        Change::Assigned(proto::update::Assigned { assignment, ..Default::default() })
                    }
                };
                let update = proto::Update { at_us: *at_us, change: Some(change), ..Default::default() };
                outcome.update(update, &mut said);
            }
            for (at_us, agent, first_answer_at_us) in told {
                let (agent, first_answer_at_us) = ((*agent).to_owned(), *first_answer_at_us);
                let status = proto::TicketStatus { agent, first_answer_at_us, ..Default::default() };
                outcome.report(status, *at_us, &mut said);
            }
            assert_eq!(said.answerer().unwrap_or_default(), expected, "{changes:?} {told:?}");
        };
        let answered = |at_us| (at_us, None);
        check(&[answered(20)], &[(10, "ana", 0), (30, "bo", 0)], "ana");
        check(&[answered(20)], &[(30, "bo", 0)], "lena");
        check(&[(10, Some("mia")), answered(20), (30, Some("zoe"))], &[], "mia");
        check(&[(10, Some("")), answered(20)], &[(30, "bo", 0)], "");
        // Whichever was first.
        check(&[answered(20)], &[(10, "ana", 0), (30, "bo", 15)], "bo");
        check(&[answered(20)], &[(10, "ana", 0), (40, "bo", 35)], "ana");
        check(&[answered(40), answered(20)], &[(10, "ana", 0), (30, "bo", 0)], "ana");
        check(&[(10, Some("mia")), (25, Some("zoe"))], &[(30, "", 20), (40, "bo", 20)], "mia");
    }

    /// The report and the deadlines go by the same clocks.
    #[test]
    fn tickets_that_nobody_waits_for_any_more_are_never_late() {
        let folder = tempfile::tempdir().unwrap();
        let running = Running::start(folder.path());
        let names = ["deleted", "solved", "pending", "waits"];
        running.settle(settlement(
            10,
            0,
            names.into_iter().chain(["erased"]).map(|name| ticket(name, 100)).collect(),
        ));
        let report = |name: &str, state| {
            let id = TicketId::of_post(Network::Bluesky, name);
            let ticket_id = id.as_bytes().to_vec();
            let status = proto::TicketStatus { ticket_id, state, ..proto::TicketStatus::default() };
            let feedback = Feedback::TicketStatus(id, status.encode_to_vec());
            running.handle.feedback(feedback).blocking_recv().unwrap().unwrap();
        };
        use proto::ticket_status::State;
        report("deleted", State::Deleted.into());
        report("solved", State::Solved.into());
        report("pending", State::Pending.into());
        let path = folder.path().join("ledger.sqlite");
        let file = Connection::open(&path).unwrap();
        // Their clocks were started; that of the last was taken away.
        let started = "UPDATE ticket SET overdue = CASE id WHEN ?1 THEN NULL ELSE 0 END";
        file.execute(started, [TicketId::of_post(Network::Bluesky, "erased").as_bytes()]).unwrap();
        let late = |now_us: i64| {
            let mut late = 0;
            outcomes(&path, i64::MIN, |outcome| late += u64::from(outcome.is_late(now_us) == Some(true)))
                .unwrap();
            late
        };
        assert_eq!(late(i64::MAX), 4, "they were due in 1970");
        file.execute("UPDATE ticket SET stopped_at_us = 0 WHERE stopped_at_us NOT NULL", []).unwrap();
        assert_eq!(late(i64::MAX), 1, "the one that waits");
        running.stop();
    }

    #[test]
    fn factors_are_those_of_the_last_reading_before_another_post_joined() {
        use proto::update::{FollowedUp, Rescored};
        let factors = |points: &[i32]| -> Vec<proto::Factor> {
            points
                .iter()
                .map(|points| proto::Factor { points: *points, ..proto::Factor::default() })
                .collect()
        };
        let told = |changes: Vec<Change>| {
            let mut outcome = Outcome::default();
            outcome.begin(proto::Ticket { factors: factors(&[1]), ..proto::Ticket::default() });
            for change in changes {
                outcome.update(
                    proto::Update { change: Some(change), ..proto::Update::default() },
                    &mut Said::default(),
                );
            }
            let points = outcome.ticket.factors.iter().map(|factor| factor.points).sum::<i32>();
            (points, outcome.is_unsupported)
        };
        let rescored = |points, unsupported| {
            Change::Rescored(Rescored { factors: factors(&[points]), unsupported, ..Rescored::default() })
        };
        let joined = || Change::FollowedUp(FollowedUp { factors: factors(&[40]), ..FollowedUp::default() });
        assert_eq!(told(vec![]), (1, false));
        assert_eq!(told(vec![rescored(2, false), joined()]), (2, false));
        assert_eq!(told(vec![joined(), rescored(43, false)]), (1, false));
        assert_eq!(told(vec![joined(), rescored(43, true)]), (1, true));
    }

    /// Whoever made a million tickets before the time that is asked for does not wait for them.
    #[test]
    fn only_tickets_of_the_time_that_is_asked_for_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let running = Running::start(folder.path());
        let names: Vec<String> = (0..2 * TICKETS_MAX + 10).map(|n| n.to_string()).collect();
        running.settle(settlement(10, 0, names.iter().map(|name| ticket(name, 100)).collect()));
        running.stop();
        let path = folder.path().join("ledger.sqlite");
        let file = Connection::open(&path).unwrap();
        // Two clocks have said the same, and one was set back.
        file.execute("UPDATE ticket SET created_at_us = (seq - 1) / 2 * 2 WHERE seq <> 5", []).unwrap();
        let (mut page, mut sizes, mut after) = (Page::default(), Vec::new(), (0, 0));
        loop {
            page.read(&file, after).unwrap();
            let Some(last) = page.tickets.last() else { break };
            sizes.push(page.tickets.len() as i64);
            after = (last.created_at_us, last.seq);
        }
        assert_eq!(sizes, [TICKETS_MAX, TICKETS_MAX, 10], "each once");
        let from = |since_us| {
            let mut visited = 0;
            outcomes(&path, since_us, |_| visited += 1).unwrap();
            visited
        };
        assert_eq!([i64::MIN, 0, 1, 2000, 2008, 2009].map(from), [2010, 2010, 2007, 10, 2, 0]);
        let plan = |after: (i64, i64)| {
            let explained = format!("EXPLAIN QUERY PLAN {TICKETS}");
            let mut statement = file.prepare(&explained).unwrap();
            let detail = |row: &rusqlite::Row<'_>| row.get::<_, String>("detail");
            let steps = statement.query_map(params![after.0, after.1, 1], detail).unwrap();
            steps.collect::<rusqlite::Result<Vec<_>>>().unwrap()
        };
        assert_eq!(
            plan((0, 0)),
            ["SEARCH ticket USING COVERING INDEX ticket_made ((created_at_us,seq)>(?,?))"],
            "in the index's order, and nothing of the rows"
        );
    }

    #[test]
    fn a_page_of_large_tickets_has_fewer() {
        let folder = tempfile::tempdir().unwrap();
        let running = Running::start(folder.path());
        running.settle(settlement(10, 0, vec![ticket("a", 100), ticket("b", 100), ticket("c", 100)]));
        running.stop();
        let file = Connection::open(folder.path().join("ledger.sqlite")).unwrap();
        let large = "UPDATE record SET body = zeroblob(?1) WHERE seq = 2";
        file.execute(large, [PAGE_BYTES_MAX as i64]).unwrap();
        let mut page = Page::default();
        page.read(&file, (0, 0)).unwrap();
        assert_eq!(page.tickets.len(), 2);
        page.read(&file, (0, 2)).unwrap();
        assert_eq!(page.tickets.len(), 1);
    }
}
