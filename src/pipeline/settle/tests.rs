//! What becomes of batches that are decided.

use std::sync::Arc;

use super::*;
use crate::desk::Strangers;
use crate::desk::articles::NoArticles;
use crate::pipeline::lane::LaneOutput;
use crate::telemetry::Buckets;

pub(in crate::pipeline) fn decided(source: &str, first_sequence: u64, end_sequence: u64) -> Decided {
    let output = LaneOutput {
        source: Arc::from(source),
        first_sequence,
        end_sequence,
        position: None,
        buckets: Buckets::default(),
        malformed: Vec::new(),
        gaps: Vec::new(),
        recovered: Vec::new(),
        items: Vec::new(),
        received_at: Timestamp::UNIX_EPOCH,
        patient_permit: None,
    };
    Decided { output, verdicts: Vec::new(), model: Arc::from("model 1"), provisional: false }
}

#[test]
fn a_settlement_ends_where_the_last_of_its_batches_does() {
    let decided = decided("a", 3, 5);
    let settlement = settle(
        &mut Desk::default(),
        &desk::Config::default(),
        &mut Strangers,
        &mut NoArticles,
        Clock::Arrival,
        decided,
        |_| (),
    );
    assert_eq!(settlement.unwrap().end_sequence, 5);
}

/// As a replay does it: lane, model's verdicts, desk. Posts are id, author, parent and text.
fn settled(config: &desk::Config, posts: &[(&str, &str, &str, &str)]) -> Settlement {
    use crate::classify::{Language, Verdict};
    use crate::parse::Format;
    use crate::pipeline::lane::Lane;
    use crate::prefilter::{self, Prefilter};
    use crate::source::FrameBatch;
    let brand = prefilter::Brand {
        name: "Lumio".to_owned(),
        handles: vec!["@lumio".to_owned()],
        ..prefilter::Brand::default()
    };
    let prefilter =
        Prefilter::build(&prefilter::Config { brands: vec![brand], ..prefilter::Config::default() }).unwrap();
    let mut batch = FrameBatch::empty(Arc::from("a"), Format::Plain, 0);
    for (id, author, reply_to, text) in posts {
        let frame = serde_json::json!({ "id": id, "author": author, "reply_to": reply_to, "text": text });
        batch.push(frame.to_string().as_bytes());
    }
    let watched = Arc::<prefilter::watched::Watched>::default();
    let output = Lane::watching(watched.clone()).process(&prefilter, batch);
    let problem = Verdict {
        sentiment: [1.0, 0.0, 0.0],
        intent: [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        urgency: [0.0, 1.0, 0.0],
        language: Language::UNCLEAR,
    };
    let verdicts = output.candidates().map(|_| problem).collect();
    let decided = Decided { output, verdicts, model: Arc::from("model 1"), provisional: false };
    let mut desk = Desk::default();
    desk.conversations.watched_by(watched);
    settle(&mut desk, config, &mut Strangers, &mut NoArticles, Clock::Posts, decided, |_| ()).unwrap()
}

#[test]
fn a_conversation_is_one_ticket_and_every_frame_ends_somewhere() {
    use crate::ledger::Scratch;
    let posts = [
        ("1", "ana", "", "@lumio panne"),
        ("2", "ana", "", "@lumio toujours la panne"),
        ("3", "ana", "1", "toujours rien"),
        ("4", "bob", "1", "essaie de redémarrer"),
        ("5", "lumio", "1", "bonjour, nous regardons"),
        ("6", "ana", "5", "alors ?"),
        ("3", "ana", "1", "toujours rien"),
        ("7", "bob", "8", "rien à voir"),
    ];
    let settlement = settled(&desk::Config::default(), &posts);
    let (buckets, outcome) = Scratch::new().unwrap().settle(&settlement).unwrap();
    let counts = [Bucket::Ticketed, Bucket::Merged, Bucket::Own, Bucket::Duplicate, Bucket::Unmatched];
    assert_eq!((counts.map(|bucket| buckets[bucket]), buckets.received()), ([1, 3, 1, 1, 2], 8));
    assert_eq!(outcome.updates.len(), 3);
}

#[test]
fn an_edit_that_was_not_read_changes_its_ticket_or_ends_where_it_would_have() {
    use crate::parse::Network;
    let mut desk = Desk::default();
    desk.remember(TicketId::of_post(Network::Plain, "1"), desk::text_hash("@lumio my number is 06"));
    let edited = |id: &str, otherwise: Bucket| Item::Edited {
        network: Network::Plain,
        id: id.to_owned(),
        text: "@lumio call me".to_owned(),
        seen_at: None,
        otherwise,
    };
    let mut decided = decided("a", 0, 1);
    decided.output.items =
        vec![edited("1", Bucket::Shed), edited("2", Bucket::Shed), edited("3", Bucket::Unmatched)];
    let (people, config) = (&mut Strangers, desk::Config::default());
    let settlement =
        settle(&mut desk, &config, people, &mut NoArticles, Clock::Arrival, decided, |_| ()).unwrap();
    let [Entry::Edit { text, otherwise: Bucket::Shed, .. }] = &settlement.entries[..] else {
        panic!("{settlement:?}")
    };
    assert_eq!(text, "@lumio call me");
    let buckets = &settlement.buckets;
    assert_eq!((buckets[Bucket::Shed], buckets[Bucket::Unmatched], buckets.received()), (1, 1, 2));
}

/// Its ticket may be gone by then, and whoever gets the new one may leave.
#[test]
fn what_a_post_needs_that_joins_is_known_if_it_makes_a_ticket_instead() {
    let routes = desk::Routes { default_team: Some("support".to_owned()), ..desk::Routes::default() };
    let config = desk::Config { routes, ..desk::Config::default() };
    let settlement =
        settled(&config, &[("1", "ana", "", "@lumio panne"), ("2", "ana", "", "@lumio toujours la panne")]);
    let [Entry::Ticket(first), Entry::FollowUp(second)] = &settlement.entries[..] else {
        panic!("{settlement:?}")
    };
    let Otherwise::Ticket(second) = &second.otherwise else { panic!("{second:?}") };
    let needs = |ticket: &NewTicket| ticket.assignee.clone().unwrap().needs;
    assert_eq!(needs(second), needs(first));
    assert_ne!(needs(first).person, 0);
}

#[test]
fn what_makes_a_ticket_instead_stands_in_the_thread_only_where_it_hangs_there() {
    let settlement = settled(
        &desk::Config::default(),
        &[
            ("1", "ana", "", "@lumio panne"),
            ("2", "ana", "", "@lumio toujours la panne"),
            ("3", "ana", "1", "@lumio toujours la panne"),
        ],
    );
    let threads = settlement.entries.iter().filter_map(|entry| match entry {
        Entry::FollowUp(new) => match &new.otherwise {
            Otherwise::Ticket(ticket) => Some(ticket.thread),
            Otherwise::Bucket(_) => None,
        },
        _ => None,
    });
    let first = TicketId::of_post(crate::parse::Network::Plain, "1");
    assert_eq!(threads.collect::<Vec<_>>(), [None, Some(first)]);
}

/// Which brands were asked about.
#[derive(Default)]
struct Asked(Vec<Arc<str>>);

impl Articles for Asked {
    fn seek(&mut self, question: &Question, _: bool) -> desk::articles::Sought {
        self.0.push(question.brand.clone());
        desk::articles::Sought::default()
    }
}

#[test]
fn a_reply_that_names_no_brand_and_makes_a_ticket_gets_its_brands_articles() {
    use crate::classify::{Language, Verdict};
    use crate::parse::{Author, Network};
    let mut desk = Desk::default();
    let asked = TicketId::of_post(Network::X, "1");
    desk.conversations.begin(asked, Network::X, "ana", &"Lumio".into(), None, 0);
    desk.conversations.set_closed(asked, true);
    let ana = Author { id: "ana".into(), ..Author::default() };
    let mut post = Post::new(Network::X, "2".into(), ana, "toujours en panne".into());
    post.reply_to = Some("1".into());
    let brand = "".into();
    let reply =
        Candidate { post, brand, also_named: Vec::new(), hits: Vec::new(), addressed: false, value: 1 };
    let verdict = Verdict {
        sentiment: [1.0, 0.0, 0.0],
        intent: [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        urgency: [0.0, 1.0, 0.0],
        language: Language::UNCLEAR,
    };
    let mut decided = decided("a", 0, 1);
    decided.output.items.push(Item::Reply(Box::new(reply)));
    decided.verdicts.push(verdict);
    let (config, mut articles) = (desk::Config::default(), Asked::default());
    settle(&mut desk, &config, &mut Strangers, &mut articles, Clock::Arrival, decided, |_| ()).unwrap();
    assert_eq!(articles.0, ["Lumio".into()]);
}

#[test]
fn a_post_that_comes_late_is_recorded_with_when_it_was_posted() {
    use crate::classify::{Language, Verdict};
    use crate::parse::{Author, Network};
    let at = |second: i64| Timestamp::from_second(second).unwrap();
    let verdict = Verdict {
        sentiment: [1.0, 0.0, 0.0],
        intent: [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        urgency: [0.0, 1.0, 0.0],
        language: Language::UNCLEAR,
    };
    let mut decided = decided("a", 0, 2);
    decided.output.received_at = at(5000);
    for (name, seen) in [("1", 100), ("2", 200)] {
        let ana = Author { id: "ana".into(), ..Author::default() };
        let mut post = Post::new(Network::X, name.into(), ana, "lumio est en panne".into());
        post.seen_at = Some(at(seen));
        let brand = "Lumio".into();
        let candidate =
            Candidate { post, brand, also_named: Vec::new(), hits: Vec::new(), addressed: false, value: 1 };
        decided.output.items.push(Item::Candidate(Box::new(candidate)));
        decided.verdicts.push(verdict);
    }
    let (mut desk, config) = (Desk::default(), desk::Config::default());
    let settled =
        settle(&mut desk, &config, &mut Strangers, &mut NoArticles, Clock::Arrival, decided, |_| ());
    let entries = settled.unwrap().entries;
    let [Entry::Ticket(ticket), Entry::FollowUp(joined)] = &*entries else { panic!("{entries:?}") };
    assert_eq!((ticket.created_at, ticket.posted_at), (at(5000), at(100)));
    assert_eq!((joined.at, joined.posted_at), (at(5000), at(200)));
}

#[test]
fn an_answer_that_comes_late_counts_from_when_it_was_given() {
    use crate::parse::{Author, Network};
    let at = |second: i64| Timestamp::from_second(second).unwrap();
    let mut desk = Desk::default();
    let asked = TicketId::of_post(Network::X, "1");
    desk.conversations.begin(asked, Network::X, "ana", &"Lumio".into(), None, 0);
    let ours = Author { id: "lumio".into(), ..Author::default() };
    let mut answer = Post::new(Network::X, "2".into(), ours, "bonjour".into());
    answer.reply_to = Some("1".into());
    answer.seen_at = Some(at(100));
    let mut decided = decided("a", 0, 1);
    decided.output.received_at = at(5000);
    decided.output.items.push(Item::Answer(Box::new(answer)));
    let (people, config) = (&mut Strangers, desk::Config::default());
    let settled =
        settle(&mut desk, &config, people, &mut NoArticles, Clock::Arrival, decided, |_| ()).unwrap();
    let [Entry::Answer { post, .. }] = &*settled.entries else { panic!("{:?}", settled.entries) };
    assert_eq!((post.ticket_id, post.at), (asked, at(100)));
}
