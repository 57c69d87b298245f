//! Who has which ticket, and what the desk hears of it.

use super::*;
use crate::desk::told::{self, Heard, Told};
use crate::ledger::assigned::{Assigned, Assignee};

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
    let expected = [Told::Status(id("a"), status(id("a"))), Told::Agent(agent)].map(Heard::Told);
    assert_eq!(heard, expected);
    running.stop();
}

#[test]
fn who_has_which_ticket_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let assigned = |name: &str| {
        let Entry::Ticket(mut ticket) = ticket(name, 500) else { panic!() };
        ticket.assignee = Some(Assignee { team: "billing".to_owned(), agent: "lena".to_owned() });
        Entry::Ticket(ticket)
    };
    running.settle(settlement(1, 1, vec![assigned("a"), assigned("b"), ticket("c", 1), assigned("d")]));
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
    let anew = vec![(id("d"), assignment.clone()), (gone, assignment.clone())];
    running.handle.assign(anew).blocking_recv().unwrap().unwrap();
    let Body::Update(update) = running.handle.read(&[Seq::new(5).unwrap()]).unwrap().pop().unwrap().1 else {
        panic!()
    };
    let update = proto::Update::decode(&*update).unwrap();
    assert_eq!(update.ticket_id, id("d").as_bytes());
    let told = proto::update::Change::Assigned(proto::update::Assigned { assignment: Some(assignment) });
    assert_eq!(update.change, Some(told));
    assert!(running.handle.read(&[Seq::new(6).unwrap()]).unwrap().is_empty());

    let line = |one: &Assigned| {
        let Assignee { team, agent } = &one.assignee;
        let name = ["a", "b", "c", "d"].into_iter().find(|name| id(name) == one.ticket_id);
        let by = if one.by_helpdesk { " (helpdesk)" } else { "" };
        format!("{} {team} {agent}{by} {}", name.unwrap(), one.is_open)
    };
    let expected = ["a billing lena false", "b billing kim (helpdesk) true", "d frontline max true"];
    let mut all = Vec::new();
    running.handle.assigned(|one| all.push(line(one))).unwrap();
    assert_eq!(all, expected);
    // Opened again.
    report("a", 2, "");
    report("b", 5, "");
    running.stop();
    let mut open = Vec::new();
    let ledger = Ledger::open(config(folder.path())).unwrap();
    ledger.open_assigned(|one| open.push(line(one))).unwrap();
    assert_eq!(open, ["a billing lena true", "d frontline max true"]);
}
