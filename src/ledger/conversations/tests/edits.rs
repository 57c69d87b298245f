//! Posts that their authors have changed into something worse.

use super::*;
use crate::desk::Amended;
use crate::ledger::store::EDITS_MAX;
use crate::ledger::tickets;

fn verdict(intent: &str) -> proto::Verdict {
    proto::Verdict { intent: [(intent.to_owned(), 1.0)].into(), ..proto::Verdict::default() }
}

/// The post says this from that second on, as bad as `urgency`.
fn edit(post: &str, urgency: i32, second: i64) -> Entry {
    edit_of(post, vec![factor("urgency", urgency)], second)
}

fn edit_of(post: &str, factors: Vec<proto::Factor>, second: i64) -> Entry {
    Entry::Edit {
        ticket_id: id(post),
        text: format!("{post} at {second}"),
        at: at(second),
        otherwise: Bucket::Unmatched,
        amended: Some(Box::new(Amended { verdict: verdict("churn"), factors, terms: terms() })),
    }
}

/// A ticket of so many points, as all of it says.
fn made(post: &str, urgency: u16) -> Entry {
    let Entry::Ticket(mut new) = reasoned(post, urgency) else { unreachable!() };
    let mut message = proto::Ticket::decode(&*new.body).unwrap();
    message.priority = urgency.into();
    message.set_level(terms().levels.level(urgency));
    message.verdict = Some(verdict("churn"));
    new.body = message.encode_to_vec();
    Entry::Ticket(new)
}

fn pending(ledger: &Ledger) {
    state(ledger, 2);
}

fn state(ledger: &Ledger, state: i32) {
    let body = proto::TicketStatus { state, ..proto::TicketStatus::default() }.encode_to_vec();
    let status = Feedback::TicketStatus(id("a"), body);
    feedback::add_feedback(&ledger.0.connection, &status, at(50)).unwrap();
    deadlines::reported(&ledger.0.connection, &status, at(50), &mut Changes::default()).unwrap();
}

/// What was told of the ticket: of a reading the priority, of all else nothing.
fn told(ledger: &Ledger) -> Vec<Option<u32>> {
    let priority = |change| match change {
        Change::Rescored(rescored) if rescored.edited && !rescored.unsupported => Some(rescored.priority),
        Change::Edited(_) | Change::FollowedUp(_) => None,
        other => panic!("{other:?}"),
    };
    ledger.changes("a").into_iter().map(priority).collect()
}

fn kept(ledger: &Ledger) -> tickets::Kept {
    tickets::one(&ledger.0.connection, id("a")).unwrap().unwrap()
}

#[test]
fn an_edit_raises_its_ticket_as_if_that_had_been_posted_and_never_lowers_it() {
    let mut ledger = Ledger::of(vec![made("a", 100)]);
    let told_of = |ledger: &mut Ledger, entry| {
        assert_eq!(ledger.settle(vec![entry])[Bucket::Merged], 1);
        let all = told(ledger);
        all[all.iter().rposition(Option::is_none).unwrap()..].to_vec()
    };
    assert_eq!(told_of(&mut ledger, edit("a", 500, 5)), [None, Some(500)]);
    let Some(Change::Rescored(rescored)) = ledger.changes("a").pop() else { panic!() };
    assert_eq!((rescored.level(), rescored.verdict), (proto::Level::P2, Some(verdict("churn"))));
    assert_eq!(rescored.factors, [factor("urgency", 500)], "nobody has posted again");
    assert_eq!(ledger.count("ticket WHERE rescored = 500 AND rescored_intent = 'churn'"), 1);
    assert_eq!(told_of(&mut ledger, edit("a", 50, 6)), [None], "milder");
    assert_eq!(told_of(&mut ledger, edit("a", 505, 7)), [None], "the same in other words");
    assert_eq!(ledger.settle(vec![edit("a", 500, 5), edit("a", 505, 7)])[Bucket::Duplicate], 2);
    // What comes after it is joined with what it has said.
    ledger.settle(vec![joins("b", "a", "ana", 10)]);
    assert_eq!(ledger.last_priority("a"), 540);
    assert_eq!(told_of(&mut ledger, edit("a", 700, 8)), [None, Some(740)]);
    assert_eq!(ledger.count("ticket WHERE rescored = 740"), 1);
    // And so is a post that has joined it.
    assert_eq!(told_of(&mut ledger, edit("b", 600, 9)), [None]);
    assert_eq!(told_of(&mut ledger, edit("b", 900, 10)).len(), 2);
    let later: Vec<_> =
        kept(&ledger).later.iter().map(|reading| reading.post.clone().unwrap().text).collect();
    assert_eq!(later, ["a at 5", "text of b", "a at 8", "b at 10"]);
}

#[test]
fn whoever_changes_a_post_for_ever_is_reckoned_with_as_often_as_that_is_told() {
    let mut ledger = Ledger::of(vec![made("a", 0)]);
    let last = EDITS_MAX + 5;
    let edits = (1..=last).map(|n| edit("a", i32::try_from(n).unwrap() * 30, i64::try_from(n).unwrap()));
    ledger.settle(edits.collect());
    assert_eq!(told(&ledger).len(), 2 * EDITS_MAX);
    assert_eq!(ledger.last_priority("a"), 600, "of the last that is told");
    // Each hour's first is.
    ledger.settle(vec![edit("a", 720, 3600), edit("a", 750, 3601)]);
    assert_eq!(ledger.last_priority("a"), 720);
}

#[test]
fn an_edit_that_makes_a_ticket_worse_is_one_that_the_desk_looks_at_again() {
    let mut ledger = Ledger::of(vec![made("a", 100), made("z", 100)]);
    let shown = Entry::Edit {
        ticket_id: id("z"),
        text: "shown only".to_owned(),
        at: at(5),
        otherwise: Bucket::Unmatched,
        amended: None,
    };
    ledger.settle(vec![shown]);
    assert_eq!(ledger.0.changed(10).unwrap(), []);
    let on_floor = proto::Factor { name: "floor of safety".to_owned(), ..factor("", 0) };
    ledger.settle(vec![edit_of("a", vec![factor("urgency", 120), on_floor], 70)]);
    let [changed] = &ledger.0.changed(10).unwrap()[..] else { panic!() };
    assert_eq!((changed.ticket_id, changed.at, changed.danger_at), (id("a"), at(70), Some(at(70))));
    assert!(changed.ticket.priority >= 900, "{changed:?}");
    assert_eq!((&changed.further[..], &changed.verdict), (&["a at 70".to_owned()][..], &verdict("churn")));
    // What it says may be another team's, however much it matters.
    ledger.settle(vec![edit("z", 100, 80)]);
    let changed: Vec<_> = ledger.0.changed(10).unwrap().into_iter().map(|changed| changed.further).collect();
    assert_eq!(changed[1], ["shown only", "z at 80"]);
}

#[test]
fn an_edit_that_makes_a_ticket_worse_ends_the_wait_for_its_author_but_opens_nothing_again() {
    let stopped = |ledger: &Ledger| ledger.count("ticket WHERE stopped_at_us IS NOT NULL");
    let mut ledger = Ledger::of(vec![made("a", 100)]);
    pending(&ledger);
    ledger.settle(vec![edit("a", 90, 60)]);
    assert_eq!(stopped(&ledger), 1);
    ledger.settle(vec![edit("a", 500, 61)]);
    assert_eq!(stopped(&ledger), 0);
    let mut ledger = Ledger::of(vec![made("a", 100)]);
    state(&ledger, 3);
    ledger.settle(vec![edit("a", 500, 61)]);
    assert_eq!((stopped(&ledger), ledger.last_priority("a")), (1, 500));
}

#[test]
fn a_second_reading_takes_nothing_back_that_an_edit_has_said_and_counts_it_once() {
    let check = |small: i32, full: u32, expected: u32| {
        let Entry::Ticket(new) = made("a", 300) else { unreachable!() };
        let new = NewTicket { provisional: true, ..*new };
        let mut ledger = Ledger::of(vec![Entry::Ticket(Box::new(new)), edit("a", small, 5)]);
        let rescoring = Rescoring {
            ticket_id: id("a"),
            at: at(300),
            change: Some(Box::new(proto::update::Rescored {
                priority: full,
                factors: vec![factor("urgency", i32::try_from(full).unwrap())],
                unsupported: true,
                ..proto::update::Rescored::default()
            })),
            terms: terms(),
        };
        let mut changes = Changes::default();
        rescoring::rescore(&ledger.0.connection, &rescoring, 0, &mut changes).unwrap();
        let Some(Change::Rescored(rescored)) = ledger.changes("a").pop() else { panic!() };
        assert_eq!((rescored.priority, rescored.edited, changes.provisional), (expected, false, -1));
        // What an edit has not changed is the full model's alone.
        assert_eq!(rescored.unsupported, small <= 300, "{small}");
        ledger.settle(vec![edit("a", 10, 400)]);
    };
    check(500, 450, 500);
    check(500, 500, 500);
    check(500, 600, 600);
    check(300, 100, 100);
}

#[test]
fn an_erasure_leaves_no_word_of_an_edit() {
    let mut ledger = Ledger::of(vec![made("a", 100), joins("b", "a", "ben", 1)]);
    let words = proto::Factor { evidence: "safety: burning".to_owned(), ..factor("sensitive", 800) };
    ledger.settle(vec![edit_of("a", vec![words], 5), erased("a")]);
    let kept = kept(&ledger);
    assert!(kept.edits.iter().all(|edited| edited.text.is_empty()) && kept.edits.len() == 1);
    let evidences: Vec<_> =
        kept.later.iter().flat_map(|reading| &reading.factors).map(|one| &one.evidence).collect();
    assert!(!evidences.iter().any(|evidence| evidence.contains("burning")), "{evidences:?}");
    ledger.settle(vec![joins("c", "a", "ben", 1)]);
    assert!(!format!("{:?}", ledger.changes("a")).contains("burning"));
    // Nor does a further edit bring one.
    assert_eq!(ledger.settle(vec![edit("a", 900, 300)])[Bucket::Unmatched], 1);
}
