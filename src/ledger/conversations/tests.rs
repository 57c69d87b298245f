//! Posts that join tickets: what is recorded, who gets it, and how it goes again.

use prost::Message;

use super::*;
use crate::desk::follow_up::Terms;
use crate::desk::priority::Levels;
use crate::ledger::outbox::Filter;
use crate::ledger::tests::{Running, config, provisional, settlement, ticket};
use crate::ledger::{
    Entry, Feedback, NewTicket, Otherwise, Records, Rescoring, Scratch, SubscriptionRequest, feedback,
    rescoring,
};
use crate::telemetry::{Bucket, Buckets};
use crate::ticket::proto::update::Change;

mod edits;
mod elsewhere;
mod erasure;
mod timeline;

fn id(post: &str) -> TicketId {
    TicketId::of_post(Network::Bluesky, post)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn terms() -> Terms {
    crate::desk::Config::default().terms("")
}

fn factor(name: &str, points: i32) -> proto::Factor {
    proto::Factor { name: name.to_owned(), points, evidence: String::new() }
}

/// A post by `author` that joins the ticket of post `to`, and reads as bad as `urgency`.
fn new(post: &str, to: &str, author: &str, urgency: i32) -> NewFollowUp {
    let Entry::Ticket(otherwise) = ticket(post, 100) else { unreachable!() };
    NewFollowUp {
        post_id: id(post),
        ticket_id: id(to),
        network: Network::Bluesky,
        author_id: author.to_owned(),
        text_hash: 7,
        at: at(100),
        posted_at: at(100),
        post: proto::Post {
            network: "bluesky".to_owned(),
            id: post.to_owned(),
            text: format!("text of {post}"),
            ..proto::Post::default()
        },
        verdict: proto::Verdict::default(),
        factors: vec![factor("urgency", urgency)],
        raises: true,
        thanks: None,
        terms: terms(),
        join_us: 3_600_000_000,
        otherwise: Otherwise::Ticket(otherwise),
    }
}

fn joins(post: &str, to: &str, author: &str, urgency: i32) -> Entry {
    Entry::FollowUp(Box::new(new(post, to, author, urgency)))
}

fn new_ticket(post: &str) -> NewTicket {
    let Entry::Ticket(new) = ticket(post, 300) else { unreachable!() };
    *new
}

fn erased(post: &str) -> Entry {
    Entry::Erase { ticket_id: id(post), at: at(200) }
}

/// A ticket whose factors say what its priority is.
fn reasoned(post: &str, urgency: u16) -> Entry {
    let Entry::Ticket(mut new) = ticket(post, urgency) else { unreachable!() };
    let mut message = proto::Ticket::decode(&*new.body).unwrap();
    message.factors = vec![factor("urgency", urgency.into())];
    new.body = message.encode_to_vec();
    new.author_id = "ana".to_owned();
    Entry::Ticket(new)
}

struct Ledger(Scratch);

impl Ledger {
    fn of(entries: Vec<Entry>) -> Ledger {
        let mut ledger = Ledger(Scratch::new().unwrap());
        ledger.settle(entries);
        ledger
    }

    fn settle(&mut self, entries: Vec<Entry>) -> Buckets {
        self.0.settle(&settlement(1, 0, entries)).unwrap().0
    }

    fn changes(&self, ticket: &str) -> Vec<Change> {
        let update = |body| match body {
            Body::Update(bytes) => proto::Update::decode(bytes.as_slice()).unwrap().change,
            Body::Ticket(_) => None,
        };
        let bodies = records::bodies_of(&self.0.connection, id(ticket)).unwrap();
        bodies.into_iter().filter_map(|(_, body)| update(body)).collect()
    }

    fn count(&self, rows: &str) -> i64 {
        self.0.connection.query_row(&format!("SELECT count(*) FROM {rows}"), [], |row| row.get(0)).unwrap()
    }

    fn last_priority(&self, ticket: &str) -> u32 {
        match self.changes(ticket).pop() {
            Some(Change::FollowedUp(followed)) => followed.priority,
            Some(Change::Rescored(rescored)) => rescored.priority,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_post_joins_once_and_raises_its_ticket() {
    let mut ledger = Ledger::of(vec![reasoned("a", 300)]);
    let buckets = ledger.settle(vec![joins("b", "a", "ana", 100)]);
    assert_eq!((buckets[Bucket::Merged], ledger.last_priority("a")), (1, 340));
    let Some(Change::FollowedUp(followed)) = ledger.changes("a").pop() else { panic!() };
    assert_eq!((followed.level(), followed.factors.len()), (proto::Level::P3, 2));
    // The next one reads worse than the ticket.
    ledger.settle(vec![joins("c", "a", "ana", 500)]);
    assert_eq!(ledger.last_priority("a"), 580);
    // Known, whatever is thought of it now.
    let again = vec![joins("b", "a", "ana", 100), ticket("b", 100), joins("a", "c", "ana", 1)];
    assert_eq!(ledger.settle(again)[Bucket::Duplicate], 3);
    // Thanks say that nobody waits.
    let thanks = NewFollowUp { raises: false, ..new("d", "a", "ana", 900) };
    ledger.settle(vec![Entry::FollowUp(Box::new(thanks))]);
    assert_eq!(ledger.last_priority("a"), 580);
}

#[test]
fn posts_of_others_in_a_ticket_are_none_that_its_author_has_waited_for() {
    let mut ledger = Ledger::of(vec![reasoned("a", 300)]);
    ledger.settle(vec![joins("b", "a", "ben", 100), joins("c", "a", "ana", 100), joins("d", "a", "cy", 100)]);
    let Some(Change::FollowedUp(followed)) = ledger.changes("a").pop() else { panic!() };
    let again = followed.factors.iter().find(|factor| factor.name == "follow_ups").unwrap();
    assert_eq!((followed.priority, again.evidence.as_str()), (340, "posted again"));
    // What one of them says may be worse than all before it.
    ledger.settle(vec![joins("e", "a", "cy", 500)]);
    assert_eq!(ledger.last_priority("a"), 540);
}

#[test]
fn a_post_whose_ticket_is_gone_is_not_lost() {
    let mut ledger = Ledger::of(vec![ticket("a", 300), erased("a")]);
    let unnamed = NewFollowUp { otherwise: Otherwise::Bucket(Bucket::Unmatched), ..new("c", "a", "ana", 1) };
    let entries =
        vec![joins("b", "a", "ana", 1), Entry::FollowUp(Box::new(unnamed)), joins("d", "never", "ana", 1)];
    let buckets = ledger.settle(entries);
    assert_eq!((buckets[Bucket::Ticketed], buckets[Bucket::Unmatched], buckets[Bucket::Merged]), (2, 1, 0));
}

#[test]
fn an_edit_of_a_post_that_joined_says_whose_it_is() {
    let mut ledger = Ledger::of(vec![ticket("a", 300), joins("b", "a", "ana", 1)]);
    let edit = |post: &str, text: &str, second: i64| Entry::Edit {
        ticket_id: id(post),
        text: text.to_owned(),
        at: at(second),
        otherwise: Bucket::Unmatched,
        amended: None,
    };
    assert_eq!(ledger.settle(vec![edit("b", "new", 5), edit("a", "own", 6)])[Bucket::Merged], 2);
    let edits: Vec<_> = ledger.changes("a").into_iter().skip(1).collect();
    let edited = |text: &str, post_id: &str| {
        Change::Edited(proto::update::Edited { text: text.to_owned(), post_id: post_id.to_owned() })
    };
    assert_eq!(edits, [edited("new", "b"), edited("own", "")]);
    // A stream that is rewound shows them again; one post's edit is not the other's.
    assert_eq!(ledger.settle(vec![edit("b", "new", 5), edit("a", "own", 6)])[Bucket::Duplicate], 2);
    assert_eq!(ledger.count("post WHERE text_hash <> 7"), 1);
}

#[test]
fn who_had_the_ticket_gets_the_update_and_who_wants_it_now_gets_both() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let seqs = |numbers: &[u64]| numbers.iter().map(|seq| Seq::new(*seq).unwrap()).collect::<Vec<_>>();
    running.subscribe("all", false);
    let filter = Filter { priority_min: 500, ..Filter::default() };
    let request = SubscriptionRequest { name: "worst".to_owned(), filter, start_next: false };
    running.handle.subscribe(request).blocking_recv().unwrap().unwrap();
    running.settle(settlement(1, 0, vec![reasoned("a", 460), reasoned("b", 480)]));
    running.subscribe("later", false);
    running.acknowledge("all", &running.take("all"));
    assert_eq!(running.take("worst"), []);
    // Twice, each a commit of its own, so that what waits is ranked anew twice.
    for (n, post) in (2..).zip(["c", "d"]) {
        running.settle(settlement(n, 0, vec![joins(post, "a", "ana", 1)]));
        running.subscribe(&n.to_string(), false);
    }
    assert_eq!(running.take("all"), seqs(&[3]), "the next update waits for the acknowledgement of the first");
    running.acknowledge("all", &seqs(&[3]));
    assert_eq!(running.take("all"), seqs(&[4]));
    assert_eq!(running.take("worst"), seqs(&[1]));
    running.acknowledge("worst", &seqs(&[1]));
    assert_eq!(running.take("worst"), seqs(&[3]));
    assert_eq!(running.take("later"), seqs(&[1, 2]), "it matters more now than b");
    running.stop();
    let again = Running::start(folder.path());
    again.subscribe("later", false);
    assert_eq!(again.take("later"), seqs(&[1, 2]), "and so after a restart");
    again.stop();
}

#[test]
fn the_first_answer_stops_the_clock_and_whoever_writes_again_does_not_start_it() {
    let post = |name: &str| ThreadPost {
        post_id: id(name),
        ticket_id: id("a"),
        network: Network::Bluesky,
        author_id: "lumio".to_owned(),
        watch: 1,
        at: at(150),
    };
    let answer =
        |name: &str| Entry::Answer { post: post(name), answered: proto::update::Answered::default() };
    let mut ledger = Ledger::of(vec![ticket("a", 300)]);
    assert_eq!(ledger.settle(vec![answer("x"), answer("x")])[Bucket::Own], 2);
    // What people wait for is the first answer.
    let stopped = "ticket WHERE stopped_at_us = 150000000 AND answered_at_us = 150000000";
    assert_eq!((ledger.changes("a").len(), ledger.count(stopped)), (1, 1));
    ledger.settle(vec![joins("b", "a", "ana", 1)]);
    assert_eq!(ledger.count(stopped), 1);
    // What strangers say is kept without a word, and no more of them than anybody needs.
    let many = (0..BYSTANDERS_MAX + 5)
        .map(|n| Entry::Bystander { post: post(&n.to_string()), bucket: Bucket::Unmatched });
    assert_eq!(ledger.settle(many.collect())[Bucket::Unmatched], 105);
    assert_eq!(ledger.count("post WHERE kind = 2"), i64::from(BYSTANDERS_MAX));
}

#[test]
fn who_writes_again_waits_again_for_a_first_answer() {
    let mut ledger = Ledger::of(vec![ticket("a", 300)]);
    let body = proto::TicketStatus { state: 2, ..proto::TicketStatus::default() }.encode_to_vec();
    let pending = Feedback::TicketStatus(id("a"), body);
    deadlines::reported(&ledger.0.connection, &pending, at(50), &mut Changes::default()).unwrap();
    let stopped = |ledger: &Ledger| ledger.count("ticket WHERE stopped_at_us IS NOT NULL");
    let thanks = NewFollowUp { raises: false, ..new("b", "a", "ana", 1) };
    ledger.settle(vec![Entry::FollowUp(Box::new(thanks))]);
    assert_eq!(stopped(&ledger), 1);
    ledger.settle(vec![joins("c", "a", "ana", 1)]);
    assert_eq!(stopped(&ledger), 0);
}

#[test]
fn a_second_reading_takes_nothing_back_that_further_posts_have_said() {
    let reading = |priority: u32| Rescoring {
        ticket_id: id("a"),
        at: at(300),
        change: Some(Box::new(proto::update::Rescored {
            priority,
            factors: vec![factor("urgency", i32::try_from(priority).unwrap())],
            ..proto::update::Rescored::default()
        })),
        terms: Terms { levels: Levels { p1_min: 600, p2_min: 430, p3_min: 250 }, ..terms() },
    };
    let check = |priority: u32, expected: u32| {
        let mut ledger = Ledger::of(vec![provisional("a", 300), joins("b", "a", "did:plc:author", 400)]);
        assert_eq!(ledger.last_priority("a"), 440);
        let mut changes = Changes::default();
        rescoring::rescore(&ledger.0.connection, &reading(priority), 0, &mut changes).unwrap();
        assert_eq!((ledger.last_priority("a"), changes.provisional), (expected, -1), "{priority}");
        ledger.settle(vec![joins("c", "a", "did:plc:author", 1)]);
        assert_eq!(ledger.last_priority("a"), expected + 40);
    };
    check(100, 440);
    check(600, 640);
}

#[test]
fn what_the_desk_remembers_is_what_the_ledger_holds() {
    let mut ledger = Ledger::of(vec![
        ticket("a", 300),
        joins("b", "a", "ana", 1),
        ticket("z", 1),
        erased("z"),
        erased("b"),
    ]);
    let body = |state: i32| proto::TicketStatus { state, ..proto::TicketStatus::default() }.encode_to_vec();
    let report = |ledger: &Ledger, state: i32| {
        let feedback = Feedback::TicketStatus(id("a"), body(state));
        feedback::add_feedback(&ledger.0.connection, &feedback, at(400)).unwrap();
    };
    let remembered = |ledger: &Ledger| {
        let mut all = Vec::new();
        remembered(&ledger.0.connection, 10, |ticket| {
            all.push((ticket.is_closed, ticket.is_erased, ticket.thread));
        })
        .unwrap();
        all
    };
    let gone = (false, true, None);
    let in_thread = NewTicket { thread: Some(id("a")), ..new_ticket("y") };
    ledger.settle(vec![Entry::Ticket(Box::new(in_thread))]);
    let last = (false, false, Some(id("a")));
    assert_eq!(remembered(&ledger), [(false, false, None), gone, last]);
    for (state, is_closed) in [(3, true), (0, true), (1, false), (4, true), (2, false), (5, true)] {
        report(&ledger, state);
        assert_eq!(remembered(&ledger), [(is_closed, false, None), gone, last], "{state}");
    }
    let mut posts = Vec::new();
    remembered_posts(&ledger.0.connection, 10, |post| {
        posts.push((post.post_id, post.text_hash, post.is_erased));
    })
    .unwrap();
    assert_eq!(posts, [(id("b"), 7, true)]);
    // Pruned, the posts leave their ids.
    prune(&ledger.0.connection, id("a")).unwrap();
    assert_eq!((ledger.count("post"), ledger.count("conversation"), ledger.count("pruned")), (0, 0, 1));
    assert_eq!(ledger.settle(vec![ticket("b", 1)])[Bucket::Duplicate], 1);
}

#[test]
fn who_is_thanked_in_several_conversations_is_a_helper() {
    let mut ledger = Ledger::of(Vec::new());
    for (n, asked) in (1..).zip(["a", "b", "c"]) {
        let said = ThreadPost {
            post_id: id(&format!("help {asked}")),
            ticket_id: id(asked),
            network: Network::Bluesky,
            author_id: "helen".to_owned(),
            watch: 1,
            at: at(n),
        };
        let thanks = |name: &str| {
            let thanks = Some(id(&format!("help {asked}")));
            let new = new(&format!("{name} {asked}"), asked, "did:plc:author", 1);
            Entry::FollowUp(Box::new(NewFollowUp { raises: false, thanks, posted_at: at(n), ..new }))
        };
        // Twice in one conversation counts once.
        let entries = vec![
            ticket(asked, 1),
            Entry::Bystander { post: said, bucket: Bucket::Unmatched },
            thanks("x"),
            thanks("y"),
        ];
        ledger.settle(entries);
        let found = helpers(&ledger.0.connection, 3, at(0)).unwrap();
        assert_eq!(
            found.iter().map(|helper| helper.thanked).collect::<Vec<_>>(),
            vec![3; usize::from(n == 3)]
        );
    }
    let found = &helpers(&ledger.0.connection, 1, at(0)).unwrap()[0];
    assert_eq!((found.author_id.as_str(), found.last), ("helen", at(3)));
    assert_eq!(helpers(&ledger.0.connection, 1, at(4)).unwrap(), []);
    forget_helpers_before(&ledger.0.connection, at(4).as_microsecond(), 10).unwrap();
    assert_eq!((ledger.count("helper"), ledger.count("thanked")), (0, 0));
}
