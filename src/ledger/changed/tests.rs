//! Tickets that have changed: what the desk is given, and what of its outcome is recorded.

use super::super::tests::{Running, config, settlement, ticket};
use super::super::{
    Entry, Feedback, NewFollowUp, NewTicket, Otherwise, Outcome, Records, Rescoring, Scratch, assigned,
    deadlines, feedback, rescoring,
};
use super::*;
use crate::desk::anew::DueAnew;
use crate::desk::told::{self, Heard, Holder, Told};
use crate::desk::{Anew, Whose};
use crate::ledger::assigned::Assignee;
use crate::parse::Network;
use crate::telemetry::Bucket;
use proto::update::Change;

fn id(post: &str) -> TicketId {
    TicketId::of_post(Network::Bluesky, post)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn terms() -> crate::desk::Terms {
    crate::desk::Config::default().terms("")
}

fn factor(points: i32) -> proto::Factor {
    proto::Factor { name: "urgency".to_owned(), points, evidence: String::new() }
}

fn verdict(model: &str) -> proto::Verdict {
    proto::Verdict { model: model.to_owned(), ..Default::default() }
}

/// A ticket of these points, that a route gave to `team`, if any; due at second 1000.
fn of_team(post: &str, urgency: u16, team: &str) -> NewTicket {
    let Entry::Ticket(mut new) = ticket(post, urgency) else { unreachable!() };
    let assignment =
        proto::Assignment { team: team.to_owned(), agent: "lena".to_owned(), ..Default::default() };
    let message = proto::Ticket {
        factors: vec![factor(urgency.into())],
        priority: urgency.into(),
        verdict: Some(verdict("own")),
        assignment: (!team.is_empty()).then_some(assignment),
        due_at_us: 1_000_000_000,
        ..proto::Ticket::decode(&*new.body).unwrap()
    };
    new.assignee = message.assignment.clone().map(|assignment| {
        let proto::Assignment { team, agent, .. } = assignment;
        Assignee { team, agent, ..Default::default() }
    });
    new.due_at_us = message.due_at_us;
    new.body = message.encode_to_vec();
    *new
}

/// As [`joins`], at this second, by which somebody is in danger: on this floor.
fn in_danger(post: &str, to: &str, floor: &str, second: i64) -> Entry {
    let Entry::FollowUp(mut new) = joins(post, to, 100, true) else { unreachable!() };
    (new.at, new.posted_at) = (at(second), at(second));
    new.factors.push(proto::Factor { name: format!("floor of {floor}"), ..Default::default() });
    Entry::FollowUp(new)
}

/// A post of these points joins the ticket of post `to`.
fn joins(post: &str, to: &str, urgency: i32, raises: bool) -> Entry {
    Entry::FollowUp(Box::new(NewFollowUp {
        post_id: id(post),
        ticket_id: id(to),
        network: Network::Bluesky,
        author_id: "did:plc:author".to_owned(),
        text_hash: 7,
        at: at(100),
        posted_at: at(100),
        post: proto::Post { id: post.to_owned(), text: format!("text of {post}"), ..Default::default() },
        verdict: verdict(post),
        factors: vec![factor(urgency)],
        raises,
        thanks: None,
        terms: terms(),
        join_us: 3_600_000_000,
        otherwise: Otherwise::Bucket(Bucket::Unmatched),
    }))
}

fn ledger(tickets: Vec<NewTicket>) -> Scratch {
    let mut ledger = Scratch::new().unwrap();
    settle(&mut ledger, tickets.into_iter().map(|ticket| Entry::Ticket(Box::new(ticket))).collect());
    ledger
}

fn settle(ledger: &mut Scratch, entries: Vec<Entry>) {
    ledger.settle(&settlement(1, 0, entries)).unwrap();
}

fn report(ledger: &Scratch, ticket: &str, state: i32, agent: &str) {
    let ticket_id = id(ticket).as_bytes().to_vec();
    let status = proto::TicketStatus { ticket_id, state, agent: agent.to_owned(), ..Default::default() };
    let status = Feedback::TicketStatus(id(ticket), status.encode_to_vec());
    assert!(feedback::add_feedback(&ledger.connection, &status, at(150)).unwrap());
}

fn one(ledger: &Scratch) -> Changed {
    let mut changed = ledger.changed(10).unwrap();
    assert_eq!(changed.len(), 1);
    changed.remove(0)
}

/// The desk has decided that it is critical.
fn critical(changed: &Changed) -> Anew {
    let assignment =
        proto::Assignment { team: "critical".to_owned(), agent: "max".to_owned(), ..Default::default() };
    Anew {
        ticket_id: changed.ticket_id,
        at: at(200),
        change: Some(changed.change),
        assignment: Some(assignment),
        needs: None,
        due: Some(DueAnew { at_risk_at: at(300), due_at: at(400), danger_at: None }),
    }
}

/// Team and agent, and when it is due, in seconds, as helpdesks are told.
fn said(outcome: &Outcome) -> Vec<(String, i64)> {
    let assigned = |update: &proto::Update| {
        let Some(Change::Assigned(assigned)) = &update.change else { panic!("{update:?}") };
        let assignment = assigned.assignment.clone().unwrap_or_default();
        (format!("{}/{}", assignment.team, assignment.agent), assigned.due_at_us / 1_000_000)
    };
    outcome.updates.iter().map(assigned).collect()
}

#[test]
fn danger_is_of_the_post_that_first_said_it_and_after_an_answer_of_one_that_says_so_since() {
    let mut ledger = ledger(vec![of_team("a", 300, "support")]);
    let read = |ledger: &Scratch| {
        let changed = one(ledger);
        (changed.is_answered, changed.danger_at.map(Timestamp::as_second))
    };
    settle(&mut ledger, vec![joins("b", "a", 500, true)]);
    assert_eq!(read(&ledger), (false, None));
    settle(&mut ledger, vec![in_danger("c", "a", "safety", 200), in_danger("d", "a", "safety", 300)]);
    assert_eq!(read(&ledger), (false, Some(200)));
    let answers = |ledger: &Scratch, second: i64| {
        let status = proto::TicketStatus {
            ticket_id: id("a").as_bytes().to_vec(),
            first_answer_at_us: second * 1_000_000,
            ..Default::default()
        };
        let report = Feedback::TicketStatus(id("a"), status.encode_to_vec());
        deadlines::reported(&ledger.connection, &report, at(second), &mut Changes::default()).unwrap();
    };
    answers(&ledger, 350);
    assert_eq!(read(&ledger), (true, None), "all of that is answered");
    settle(&mut ledger, vec![in_danger("e", "a", "safety", 400)]);
    assert_eq!(read(&ledger), (true, None), "nothing new");
    settle(&mut ledger, vec![in_danger("f", "a", "selfharm", 500)]);
    assert_eq!(read(&ledger), (true, Some(500)));
}

#[test]
fn a_change_is_kept_until_the_desk_has_decided_about_that_very_one() {
    let mut ledger = ledger(vec![of_team("a", 300, "support")]);
    assert_eq!(ledger.changed(10).unwrap(), []);
    settle(&mut ledger, vec![joins("thanks", "a", 900, false)]);
    assert_eq!(ledger.changed(10).unwrap(), [], "thanks change nothing");
    settle(&mut ledger, vec![joins("b", "a", 100, true)]);
    let milder = one(&ledger);
    assert_eq!((milder.ticket.priority, milder.whose, milder.at), (340, Whose::Ours, at(100)));
    assert_eq!(milder.verdict.model, "own", "what is milder leaves the ticket what it was");
    assert_eq!(milder.further, ["text of thanks", "text of b"]);
    // Before that is decided about, a worse one joins.
    settle(&mut ledger, vec![joins("c", "a", 500, true)]);
    let none = Anew { assignment: None, due: None, ..critical(&milder) };
    assert_eq!(ledger.assign(&[none]).unwrap().updates, [], "nothing is told where nothing changes");
    let worse = one(&ledger);
    assert_eq!((worse.ticket.priority, worse.verdict.model.as_str()), (580, "c"));
    let outcome = ledger.assign(&[critical(&worse)]).unwrap();
    assert_eq!((said(&outcome), outcome.told), (vec![("critical/max".to_owned(), 400)], vec![]));
    assert_eq!(ledger.changed(10).unwrap(), []);
    // The next change is one of what it is by now.
    settle(&mut ledger, vec![joins("d", "a", 10, true)]);
    let next = one(&ledger);
    assert_eq!(next.ticket.assignment.as_ref().unwrap().team, "critical");
    assert_eq!((next.ticket.due_at_us, next.verdict.model.as_str()), (400_000_000, "c"));
    let outcome = ledger.assign(&[Anew { assignment: None, ..critical(&next) }]).unwrap();
    assert_eq!(outcome.updates, [], "due when it was");
}

#[test]
fn the_oldest_changes_come_first_and_no_more_than_asked_for() {
    let mut ledger = ledger(["a", "b", "c"].map(|post| of_team(post, 300, "support")).into());
    settle(
        &mut ledger,
        ["c", "a", "b", "c"].iter().enumerate().map(|(n, to)| joins(&n.to_string(), to, 1, true)).collect(),
    );
    let ids: Vec<_> = ledger.changed(2).unwrap().iter().map(|changed| changed.ticket_id).collect();
    assert_eq!(ids, [id("a"), id("b")]);
}

#[test]
fn what_a_helpdesk_says_in_between_counts_for_more() {
    let mut ledger = ledger(vec![
        of_team("named", 300, "support"),
        of_team("closed", 300, "support"),
        of_team("free", 300, ""),
    ]);
    settle(
        &mut ledger,
        ["named", "closed", "free"].map(|to| joins(&format!("to {to}"), to, 500, true)).into(),
    );
    let changed = ledger.changed(10).unwrap();
    assert!(changed.iter().all(|changed| changed.whose == Whose::Ours));
    report(&ledger, "named", 1, "kim");
    report(&ledger, "closed", 4, "");
    report(&ledger, "free", 1, "kim");
    let again: Vec<_> = ledger.changed(10).unwrap().iter().map(|changed| changed.whose).collect();
    assert_eq!(again, [Whose::Theirs, Whose::Nobodys, Whose::Theirs]);
    let outcome = ledger.assign(&changed.iter().map(critical).collect::<Vec<_>>()).unwrap();
    // Late is late, whoever has it: of what is closed there is nothing to say.
    assert_eq!(said(&outcome), [("/".to_owned(), 400), ("/".to_owned(), 400)]);
    let kim = Holder { team: "support".into(), agent: "kim".into(), is_ours: false };
    let told = [("named", Some(kim)), ("closed", None), ("free", None)];
    assert_eq!(outcome.told, told.map(|(post, holder)| Told::Stands(id(post), holder)));
    assert_eq!(ledger.changed(10).unwrap(), []);
}

#[test]
fn a_ticket_that_no_route_spoke_of_is_somebodys_from_then_on() {
    let mut ledger = ledger(vec![of_team("a", 300, "")]);
    settle(&mut ledger, vec![joins("b", "a", 500, true)]);
    ledger.assign(&[critical(&one(&ledger))]).unwrap();
    let mut open = Vec::new();
    assigned::visit_open(&ledger.connection, 10, |one| open.push(one.assignee.clone())).unwrap();
    let [Assignee { team, agent, .. }] = &*open else { panic!("{open:?}") };
    assert_eq!((team.as_str(), agent.as_str()), ("critical", "max"));
}

#[test]
fn what_is_erased_or_no_customer_message_is_not_given_to_anybody() {
    let provisional = |post: &str| NewTicket { provisional: true, ..of_team(post, 300, "") };
    let mut ledger =
        ledger(vec![of_team("erased", 300, "support"), provisional("joke"), provisional("worse")]);
    settle(&mut ledger, vec![joins("b", "erased", 500, true)]);
    let erase = |post: &str| Entry::Erase { ticket_id: id(post), at: at(120) };
    settle(&mut ledger, vec![erase("erased"), erase("b")]);
    for (post, unsupported) in [("joke", true), ("worse", false)] {
        let change =
            proto::update::Rescored { unsupported, verdict: Some(verdict("full")), ..Default::default() };
        let rescoring =
            Rescoring { ticket_id: id(post), at: at(130), change: Some(Box::new(change)), terms: terms() };
        rescoring::rescore(&ledger.connection, &rescoring, 0, &mut Changes::default()).unwrap();
    }
    let changed: Vec<_> = ledger.changed(10).unwrap();
    let whose: Vec<_> = changed.iter().map(|changed| (changed.ticket_id, changed.whose)).collect();
    assert_eq!(whose, [(id("erased"), Whose::Nobodys), (id("worse"), Whose::Ours)]);
    assert_eq!(changed[1].verdict.model, "full");
    let outcome = ledger.assign(&changed.iter().map(critical).collect::<Vec<_>>()).unwrap();
    assert_eq!(said(&outcome), [("critical/max".to_owned(), 400)]);
}

#[test]
fn a_change_that_the_desk_does_not_hear_of_is_found_later_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    // A queue that is always full.
    let (teller, mut hearing) = told::channel(0);
    let running = Running::start_telling(folder.path(), config(folder.path()).retention, Some(teller));
    let entry = |ticket| Entry::Ticket(Box::new(ticket));
    running.settle(settlement(1, 0, vec![entry(of_team("a", 300, "support"))]));
    running.settle(settlement(2, 0, vec![joins("b", "a", 500, true)]));
    // Committed after both.
    running.handle.assign(Vec::new()).blocking_recv().unwrap().unwrap();
    let mut heard = Vec::new();
    hearing.hear(|told| heard.push(told));
    assert_eq!(heard, [Heard::Missed]);
    let changed = running.handle.changed(10).unwrap();
    assert_eq!(changed.len(), 1);
    running.stop();
    let running = Running::start(folder.path());
    assert_eq!(running.handle.changed(10).unwrap(), changed);
    running.handle.assign(vec![critical(&changed[0])]).blocking_recv().unwrap().unwrap();
    assert_eq!(running.handle.changed(10).unwrap(), []);
    running.stop();
}

#[test]
fn a_nearer_time_puts_a_ticket_that_still_waits_before_its_equals() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.subscribe("desk", false);
    let entry = |post| Entry::Ticket(Box::new(of_team(post, 300, "support")));
    running.settle(settlement(1, 0, vec![entry("a"), entry("b")]));
    let b = |due_at| {
        let due = Some(DueAnew { at_risk_at: due_at, due_at, danger_at: None });
        Anew { ticket_id: id("b"), at: at(200), change: None, assignment: None, needs: None, due }
    };
    running.handle.assign(vec![b(at(400))]).blocking_recv().unwrap().unwrap();
    let seqs = running.take("desk");
    let bodies = running.handle.read(&seqs[..1]).unwrap();
    let Body::Ticket(first) = &bodies[0].1 else { panic!() };
    assert_eq!(proto::Ticket::decode(&**first).unwrap().id, id("b").as_bytes());
    running.stop();
}
