//! What a desk reads again of the ledger.

use super::*;
use crate::desk::case::Case;
use crate::desk::{self, Agent, Decision, Desk, Opinion, Strangers};
use crate::ledger::assigned::Assignee;

const SUPPORT: &str = "support";

/// Who gets the ticket of this post of Ana's, and the last of the reasons.
fn gets(desk: &mut Desk, post: &str) -> (String, String) {
    let routes = desk::Routes { default_team: Some(SUPPORT.to_owned()), ..desk::Routes::default() };
    let conversation = desk::conversation::Config { join_hours: 0, ..desk::conversation::Config::default() };
    let config = desk::Config { routes, conversation, ..desk::Config::default() };
    let mut case = Case::new("ana");
    case.candidate.post.network = Network::Bluesky;
    case.candidate.post.id = post.to_owned().into();
    let opinion = Opinion { model: "model 1", provisional: false };
    let decided =
        desk.decide(&config, &case.candidate, &case.verdict, opinion, &mut Strangers, case.now).unwrap();
    let Decision::Ticket(ticket) = decided else { panic!("{decided:?}") };
    let assignment = ticket.assignment.unwrap();
    (assignment.agent, assignment.reasons.last().unwrap().clone())
}

/// A report that finds no room on its way to the desk is in the ledger alone.
#[test]
fn who_answered_whom_is_known_though_the_report_of_it_was_missed() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let mut desk = Desk::default();
    let agent = |name: &str| Agent {
        name: name.to_owned(),
        team: SUPPORT.to_owned(),
        capacity: 9,
        ..Agent::default()
    };
    desk.set_agents(&[agent("kim"), agent("lena")]);
    assert_eq!(gets(&mut desk, "a").0, "kim");
    let Entry::Ticket(mut ticket) = ticket("a", 500) else { panic!() };
    let id = TicketId::of_post(Network::Bluesky, "a");
    let needs = desk.needs_of(id).unwrap();
    ticket.assignee = Some(Assignee { team: SUPPORT.to_owned(), agent: "kim".to_owned(), needs });
    running.settle(settlement(1, 1, vec![Entry::Ticket(ticket)]));
    let (ticket_id, agent) = (id.as_bytes().to_vec(), "kim".to_owned());
    let status =
        proto::TicketStatus { ticket_id, state: 1, agent, first_answer_at_us: 50, ..Default::default() };
    running
        .handle
        .feedback(Feedback::TicketStatus(id, status.encode_to_vec()))
        .blocking_recv()
        .unwrap()
        .unwrap();
    running.handle.answers(&mut desk).unwrap();
    // Lena has less to do.
    let expected = ("kim".to_owned(), "kim: answered this person before".to_owned());
    assert_eq!(gets(&mut desk, "b"), expected);
    running.stop();
}
