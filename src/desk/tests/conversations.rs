//! What becomes of posts in threads: from the candidate to the decision.

use super::*;
use crate::desk::conversation::{Part, Remembered, RememberedPost};
use crate::desk::told::{Status, Told};
use crate::ticket::proto::ticket_status::State;

const THANKFUL: Verdict = Verdict {
    sentiment: [0.0, 0.0, 1.0],
    intent: [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    urgency: [1.0, 0.0, 0.0],
    language: Language::UNCLEAR,
};

fn id(post: &str) -> TicketId {
    TicketId::of_post(Network::Plain, post)
}

/// A post of Lumio's, or of nobody's, by `author` in answer to `reply_to`.
fn post(name: &str, author: &str, reply_to: &str, brand: &str, text: &str) -> Candidate {
    let mut candidate = candidate(name, text);
    candidate.post.author.id = author.to_owned().into();
    candidate.post.reply_to = (!reply_to.is_empty()).then(|| reply_to.to_owned().into());
    candidate.brand = brand.into();
    candidate
}

/// Ana's ticket "a".
fn of_ana() -> Desk {
    let mut desk = Desk::default();
    assert!(is_ticket(&decide(&mut desk, &post("a", "ana", "", "Lumio", "lumio panne"), &PROBLEM)));
    desk
}

fn joined(decision: Decision) -> TicketId {
    let Decision::Joined(joined) = decision else { panic!("{decision:?}") };
    joined.ticket_id
}

fn solved(ticket: &str) -> Told {
    Told::Status(id(ticket), Status { state: State::Solved, agent: "".into(), first_answer_at_us: 0 })
}

#[test]
fn a_bystanders_answer_never_cuts_the_thread_off() {
    // What it is itself: a ticket, no customer message, a helper's, or a stranger's.
    let is_helper = |desk: &mut Desk| {
        for ticket in 0..3 {
            desk.conversations.remember_thanks(Network::Plain, "bob", id(&ticket.to_string()), 0);
        }
    };
    let check = |brand: &str, verdict: Verdict, helper: bool, expected: fn(&Decision) -> bool| {
        let mut desk = of_ana();
        if helper {
            is_helper(&mut desk);
        }
        let advice = post("b", "bob", "a", brand, "lumio does that, try restarting");
        let decision = decide(&mut desk, &advice, &verdict);
        assert!(expected(&decision), "{decision:?}");
        let answer = post("c", "ana", "b", "", "did that, still broken");
        assert_eq!(joined(decide(&mut desk, &answer, &PROBLEM)), id("a"), "after {decision:?}");
    };
    let is_beside = |decision: &Decision| *decision == Decision::Bystander(id("a"));
    check("Lumio", PROBLEM, false, is_ticket);
    check("Lumio", other(0.99), false, is_beside);
    check("Lumio", PROBLEM, true, is_beside);
    check("", PROBLEM, false, is_beside);
    // Not where it stands in no thread.
    let mut desk = of_ana();
    let alone = post("b", "bob", "", "Lumio", "lumio does that");
    assert_eq!(decide(&mut desk, &alone, &other(0.99)), Decision::Unsupported);
}

#[test]
fn who_writes_again_below_a_closed_ticket_gets_another_of_its_brand_which_says_so() {
    let mut desk = of_ana();
    desk.hear(&solved("a"));
    // Thanks are none, and a part of the thread all the same.
    let thanks = post("b", "ana", "a", "", "merci beaucoup !");
    assert_eq!(decide(&mut desk, &thanks, &THANKFUL), Decision::Bystander(id("a")));
    let again = post("c", "ana", "b", "", "non, toujours rien");
    let Decision::Ticket(ticket) = decide(&mut desk, &again, &PROBLEM) else { panic!() };
    assert_eq!(ticket.brand, "Lumio");
    assert!(ticket.factors.iter().any(|factor| factor.name == "follow_ups"), "{:?}", ticket.factors);
    assert_eq!(joined(decide(&mut desk, &post("d", "ana", "a", "", "et maintenant ?"), &PROBLEM)), id("c"));
    // Nobody else has part in it.
    let stranger = post("e", "bob", "a", "", "et maintenant ?");
    assert_eq!(decide(&mut desk, &stranger, &PROBLEM), Decision::Bystander(id("a")));
}

#[test]
fn a_post_that_the_ledger_put_elsewhere_is_where_it_is() {
    let mut desk = of_ana();
    assert_eq!(joined(decide(&mut desk, &post("b", "ana", "a", "", "toujours rien"), &PROBLEM)), id("a"));
    desk.hear(&Told::Belongs { post_id: id("b"), ticket_id: id("b"), brand: "Lumio".into(), at_us: 0 });
    assert_eq!(joined(decide(&mut desk, &post("c", "ana", "b", "", "toujours rien"), &PROBLEM)), id("b"));
    assert_eq!(joined(decide(&mut desk, &post("d", "ana", "", "Lumio", "lumio !"), &PROBLEM)), id("b"));
    // What is gone stays so, whatever a helpdesk says of it; what is no customer message may be opened again.
    let open = |ticket: &str| {
        Told::Status(id(ticket), Status { state: State::Open, agent: "".into(), first_answer_at_us: 0 })
    };
    let next = |desk: &mut Desk, name: &str| decide(desk, &post(name, "ana", "b", "", "rien"), &PROBLEM);
    [Told::Closed(id("b")), open("b")].iter().for_each(|told| desk.hear(told));
    assert_eq!(joined(next(&mut desk, "e")), id("b"));
    [Told::Over(id("b")), open("b")].iter().for_each(|told| desk.hear(told));
    assert!(is_ticket(&next(&mut desk, "f")));
}

#[test]
fn a_restart_knows_which_tickets_stand_in_one_thread() {
    let mut desk = Desk::default();
    let remembered = |ticket: &str, author: &str, thread: Option<&str>| Remembered {
        ticket_id: id(ticket),
        network: Network::Plain,
        author_id: author.to_owned(),
        brand: "Lumio".into(),
        created_at_us: 0,
        watch: None,
        thread: thread.map(id),
        is_closed: false,
        is_erased: false,
    };
    desk.remember_conversation(&remembered("a", "ana", None));
    desk.remember_conversation(&remembered("b", "bob", Some("a")));
    assert_eq!(joined(decide(&mut desk, &post("c", "ana", "b", "", "toujours rien"), &PROBLEM)), id("a"));
    // Posts that are gone have joined all the same.
    let gone = |n: u32| RememberedPost {
        post_id: id(&format!("gone {n}")),
        ticket_id: id("b"),
        network: Network::Plain,
        author_id: "bob".to_owned(),
        text_hash: 0,
        part: Part::Joined,
        at_us: 0,
        is_erased: true,
        watch: None,
    };
    (0..conversation::JOINED_MAX).for_each(|n| desk.remember_post(&gone(n)));
    assert!(is_ticket(&decide(&mut desk, &post("d", "bob", "b", "", "toujours rien"), &PROBLEM)));
    // And what was missed while running.
    let missed = Remembered { is_closed: true, ..remembered("a", "ana", None) };
    desk.recall_conversation(&missed);
    desk.recall_conversation(&remembered("e", "eve", Some("a")));
    assert_eq!(joined(decide(&mut desk, &post("f", "eve", "a", "", "toujours rien"), &PROBLEM)), id("e"));
    assert!(is_ticket(&decide(&mut desk, &post("g", "ana", "a", "", "toujours rien"), &PROBLEM)));
}

#[test]
fn an_answer_counts_from_when_it_was_given() {
    let at = |second: i64| Timestamp::from_second(second).unwrap();
    let check = |seen: Option<i64>, expected: i64| {
        let mut answer = candidate("x", "bonjour").post;
        answer.seen_at = seen.map(at);
        assert_eq!(answered_at(&answer, at(500)), at(expected), "{seen:?}");
    };
    // After an outage it comes late; a network's clock may be ahead.
    check(Some(100), 100);
    check(Some(900), 500);
    check(None, 500);
}

#[test]
fn whatever_the_desk_may_have_forgotten_the_ledger_is_asked_for() {
    let mut desk = of_ana();
    assert!(!desk.deletes(id("never")), "certain");
    desk.conversations.add(id("b"), id("unknown"), Network::Plain, "bob", Part::Bystander, 0);
    assert!(desk.deletes(id("never")));
}
