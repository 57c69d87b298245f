//! Who has which ticket, and what the desk hears of it.

use super::*;
use crate::desk::Anew;
use crate::desk::told::{self, Heard, Holder, Load, Status, Told};
use crate::ledger::assigned::{Assigned, Assignee};
use crate::ticket::proto::ticket_status::State;

#[test]
fn the_desk_is_told_what_is_durable_and_speaks_of_a_ticket_that_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let (teller, mut hearing) = told::channel(8);
    let running = Running::start_telling(folder.path(), config(folder.path()).retention, Some(teller));
    running.settle(settlement(1, 1, vec![ticket("a", 500)]));
    let status = |of: TicketId| {
        let ticket_id = of.as_bytes().to_vec();
        proto::TicketStatus { ticket_id, state: 3, agent: "lena".to_owned(), ..Default::default() }
    };
    let agent = proto::AgentState { agent: "lena".to_owned(), open_tickets: 3, ..Default::default() };
    let report = |feedback| running.handle.feedback(feedback).blocking_recv().unwrap().unwrap();
    let id = |id: &str| TicketId::of_post(Network::Bluesky, id);
    // A settlement handed over before is committed before.
    report(Feedback::TicketStatus(id("a"), status(id("a")).encode_to_vec()));
    report(Feedback::TicketStatus(id("unknown"), status(id("unknown")).encode_to_vec()));
    let brands = Brands::new(["another".to_owned()]).unwrap();
    let body = status(id("a")).encode_to_vec();
    report(Feedback::TicketStatusWithin { ticket_id: id("a"), body, brands });
    report(Feedback::AgentState(agent.encode_to_vec()));
    let mut heard = Vec::new();
    hearing.hear(|told| heard.push(told));
    let solved = Status { state: State::Solved, agent: "lena".into(), first_answer_at_us: 0 };
    let load = Load { agent: "lena".into(), open_tickets: 3, capacity: 0 };
    let expected = [Told::Status(id("a"), solved), Told::Agent(load)].map(Heard::Told);
    assert_eq!(heard, expected);
    running.stop();
}

/// A ticket that the desk gave to lena.
fn of_lena(name: &str) -> Entry {
    let Entry::Ticket(mut ticket) = provisional(name, 500) else { panic!() };
    ticket.assignee = Some(Assignee { team: "billing".to_owned(), agent: "lena".to_owned() });
    Entry::Ticket(ticket)
}

#[test]
fn the_desk_is_told_where_it_counted_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let (teller, mut hearing) = told::channel(16);
    let running = Running::start_telling(folder.path(), config(folder.path()).retention, Some(teller));
    let id = |name: &str| TicketId::of_post(Network::Bluesky, name);
    let joins = |name: &str, otherwise: Entry| {
        let Entry::Ticket(otherwise) = otherwise else { panic!() };
        Entry::FollowUp(Box::new(NewFollowUp {
            post_id: id(name),
            ticket_id: id("gone"),
            network: Network::Bluesky,
            author_id: "did:plc:author".to_owned(),
            text_hash: 7,
            at: Timestamp::UNIX_EPOCH,
            post: proto::Post::default(),
            verdict: proto::Verdict::default(),
            factors: Vec::new(),
            raises: true,
            thanks: None,
            terms: terms(),
            join_us: 3_600_000_000,
            otherwise: Otherwise::Ticket(otherwise),
        }))
    };
    let erase = |name: &str| Entry::Erase { ticket_id: id(name), at: Timestamp::UNIX_EPOCH };
    // What the desk decided and the ledger took as it was is no news.
    running.settle(settlement(1, 0, vec![of_lena("a"), of_lena("b"), ticket("c", 1), of_lena("d")]));
    running.settle(settlement(2, 0, vec![of_lena("a"), ticket("a", 1), ticket("c", 1), erase("c")]));
    running.settle(settlement(3, 0, vec![joins("e", of_lena("e")), joins("f", ticket("f", 1)), erase("b")]));
    // By now nobody's.
    running.settle(settlement(4, 0, vec![of_lena("b"), joins("b", of_lena("b")), erase("b")]));
    let unsupported = proto::update::Rescored { unsupported: true, ..Default::default() };
    let rescoring = |name: &str, change| {
        let (ticket_id, at, terms) = (id(name), Timestamp::UNIX_EPOCH, terms());
        Rescoring { ticket_id, at, change: Some(Box::new(change)), terms }
    };
    let rescorings = vec![rescoring("a", Default::default()), rescoring("d", unsupported)];
    running.handle.rescore(rescorings).blocking_recv().unwrap().unwrap();
    running.stop();
    let lena = || Some(Holder { team: "billing".into(), agent: "lena".into(), is_ours: true });
    let expected = [("a", lena()), ("e", lena()), ("b", None), ("b", None), ("d", None)];
    let mut heard = Vec::new();
    hearing.hear(|told| heard.push(told));
    let expected = expected.map(|(name, holder)| Told::Stands(id(name), holder));
    // And that "a" has been read again: of one that is no customer message there is nothing to decide.
    let expected: Vec<_> = expected.into_iter().chain([Told::Changed]).map(Heard::Told).collect();
    assert_eq!(heard, expected);
}

#[test]
fn who_has_which_ticket_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.settle(settlement(1, 1, vec![of_lena("a"), of_lena("b"), ticket("c", 1), of_lena("d")]));
    let id = |name: &str| TicketId::of_post(Network::Bluesky, name);
    let report = |name: &str, state: i32, agent: &str| {
        let ticket_id = id(name).as_bytes().to_vec();
        let status = proto::TicketStatus { ticket_id, state, agent: agent.to_owned(), ..Default::default() };
        let feedback = Feedback::TicketStatus(id(name), status.encode_to_vec());
        running.handle.feedback(feedback).blocking_recv().unwrap().unwrap();
    };
    report("a", 3, "");
    report("b", 1, "kim");
    report("b", 1, "kim");
    report("d", 1, "lena");
    report("c", 1, "kim");
    let assignment =
        proto::Assignment { team: "frontline".to_owned(), agent: "max".to_owned(), ..Default::default() };
    // One that is erased is nobody's work any more: its helpdesks are not told.
    let gone = TicketId::of_post(Network::Bluesky, "gone");
    let anew = [id("d"), gone].map(|ticket_id| Anew {
        ticket_id,
        at: Timestamp::UNIX_EPOCH,
        change: None,
        assignment: Some(assignment.clone()),
        due: None,
    });
    running.handle.assign(anew.to_vec()).blocking_recv().unwrap().unwrap();
    let Body::Update(update) = running.handle.read(&[Seq::new(5).unwrap()]).unwrap().pop().unwrap().1 else {
        panic!()
    };
    let update = proto::Update::decode(&*update).unwrap();
    assert_eq!(update.ticket_id, id("d").as_bytes());
    let told = proto::update::Assigned { assignment: Some(assignment), ..Default::default() };
    let told = proto::update::Change::Assigned(told);
    assert_eq!(update.change, Some(told));
    assert!(running.handle.read(&[Seq::new(6).unwrap()]).unwrap().is_empty());

    let line = |one: &Assigned| {
        let Assignee { team, agent } = &one.assignee;
        let name = ["a", "b", "c", "d"].into_iter().find(|name| id(name) == one.ticket_id);
        let by = if one.by_helpdesk { " (helpdesk)" } else { "" };
        format!("{} {team} {agent}{by} {}", name.unwrap(), one.is_open)
    };
    let held = ["a", "b", "d"].map(id);
    let mut all = Vec::new();
    running.handle.assigned(&[held.as_slice(), &[gone]].concat(), |one| all.push(line(one))).unwrap();
    let open = ["b billing kim (helpdesk) true", "d frontline max true"];
    assert_eq!(all, [&["a billing lena false"], &open[..]].concat());
    all.clear();
    running.handle.assigned(&[id("b")], |one| all.push(line(one))).unwrap();
    assert_eq!(all, open, "of those that are closed only what the desk holds");
    // A report that says nothing of it closes and opens nothing.
    report("a", 0, "");
    report("b", 0, "");
    all.clear();
    running.handle.assigned(&[], |one| all.push(line(one))).unwrap();
    assert_eq!(all, open);
    // Opened again.
    report("a", 2, "");
    report("b", 5, "");
    running.stop();
    let mut open = Vec::new();
    let ledger = Ledger::open(config(folder.path())).unwrap();
    ledger.open_assigned(|one| open.push(line(one))).unwrap();
    assert_eq!(open, ["a billing lena true", "d frontline max true"]);
    let (connection, _) = open_to_read(&config(folder.path()).path).unwrap();
    let newest = |tickets_max| {
        let mut newest = Vec::new();
        assigned::visit_open(&connection, tickets_max, |one| newest.push(line(one))).unwrap();
        newest
    };
    assert_eq!(newest(1), ["d frontline max true"]);
    assert_eq!(newest(2), open);
    let plan: String = connection
        .query_row(&format!("EXPLAIN QUERY PLAN {}", assigned::NEWEST), [1], |row| row.get("detail"))
        .unwrap();
    assert!(plan.contains("assigned_open"), "{plan}");
}
