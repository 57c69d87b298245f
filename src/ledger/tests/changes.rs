//! Edits and erasures.

use super::*;
use crate::ledger::records::bodies_of;
use crate::ledger::store::EDITS_MAX;

fn text_of(handle: &Handle, seq: Seq) -> String {
    match handle.read(&[seq]).unwrap().pop().unwrap().1 {
        Body::Ticket(bytes) => proto::Ticket::decode(&*bytes).unwrap().post.unwrap().text,
        Body::Update(bytes) => match proto::Update::decode(&*bytes).unwrap().change {
            Some(proto::update::Change::Edited(edited)) => edited.text,
            other => format!("{other:?}"),
        },
    }
}

#[test]
fn an_erasure_removes_the_text_everywhere_and_is_delivered_as_an_update() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.subscribe("helpdesk", false);
    let ticket_id = TicketId::of_post(Network::Bluesky, "a");
    let at = Timestamp::UNIX_EPOCH;
    // On the disk with its text, before it is erased.
    running.settle(settlement(1, 0, vec![ticket("a", 100)]));
    running.subscribe("first", false);
    running.settle(settlement(
        1,
        0,
        vec![
            Entry::Edit {
                ticket_id,
                text: "new text of a".to_owned(),
                at,
                otherwise: Bucket::Duplicate,
                amended: None,
            },
            Entry::Erase { ticket_id, at },
            Entry::Erase { ticket_id, at },
            Entry::Edit {
                ticket_id,
                text: "too late".to_owned(),
                at,
                otherwise: Bucket::Unmatched,
                amended: None,
            },
            Entry::Erase { ticket_id: TicketId::of_post(Network::X, "a"), at },
        ],
    ));
    // Any answer from the writer comes after the commit before it.
    running.subscribe("other", false);
    let mut seqs = Vec::new();
    for _ in 0..3 {
        // An update is offered only once what came before it on the same ticket is acknowledged.
        let taken = running.take("helpdesk");
        running.acknowledge("helpdesk", &taken);
        seqs.extend(taken);
    }
    let texts: Vec<_> = seqs.iter().map(|seq| text_of(&running.handle, *seq)).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert_eq!(texts[..2], ["", ""]);
    assert!(texts[2].contains("post_deleted"), "{texts:?}");
    for file in ["ledger.sqlite", "ledger.sqlite-wal"] {
        let bytes = std::fs::read(folder.path().join(file)).unwrap();
        let is_there = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(!is_there(b"text of a"), "the erased text is still in {file}");
    }
    let accounting = running.stop();
    let buckets = accounting.total();
    let of = |bucket| buckets[bucket];
    assert_eq!(
        (
            of(Bucket::Ticketed),
            of(Bucket::Merged),
            of(Bucket::Erased),
            of(Bucket::Control),
            of(Bucket::Unmatched)
        ),
        (1, 1, 1, 2, 1)
    );
}

#[test]
fn an_account_that_is_gone_takes_all_its_texts_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let at = Timestamp::UNIX_EPOCH;
    let gone_from = |network, author: &str| Entry::EraseAuthor { network, author_id: author.to_owned(), at };
    let gone = |author: &str| gone_from(Network::Bluesky, author);
    running.settle(settlement(
        1,
        0,
        vec![
            ticket("a", 1),
            ticket("b", 1),
            gone("did:plc:somebody"),
            gone_from(Network::Mastodon, "did:plc:author"),
        ],
    ));
    // Any answer from the writer comes after the commit before it.
    running.subscribe("after the others", false);
    let handle = running.handle.clone();
    assert_eq!(text_of(&handle, Seq::new(1).unwrap()), "text of a", "only a namesake is gone");
    running.settle(settlement(2, 0, vec![gone("did:plc:author"), gone("did:plc:author")]));
    let buckets = running.stop().total();
    assert_eq!((buckets[Bucket::Erased], buckets[Bucket::Control]), (1, 3));
    for seq in [1, 2] {
        assert_eq!(text_of(&handle, Seq::new(seq).unwrap()), "");
    }
}

#[test]
fn an_erasure_takes_the_words_that_made_a_ticket_sensitive_and_leaves_the_topics() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.subscribe("helpdesk", false);
    let Entry::Ticket(mut new) = ticket("a", 100) else { panic!("a ticket") };
    let factor = |name: &str, evidence: &str| proto::Factor {
        name: name.to_owned(),
        points: 100,
        evidence: evidence.to_owned(),
    };
    let mut message = proto::Ticket::decode(&*new.body).unwrap();
    message.factors = vec![factor("age", "posted 1 min before"), factor("sensitive", "legal: lawyer")];
    message.sensitive = vec!["legal".to_owned()];
    new.body = message.encode_to_vec();
    let (ticket_id, at) = (new.id, Timestamp::UNIX_EPOCH);
    running.settle(settlement(1, 0, vec![Entry::Ticket(new), Entry::Erase { ticket_id, at }]));
    running.subscribe("other", false);
    let taken = running.take("helpdesk");
    let Some((_, Body::Ticket(body))) = running.handle.read(&taken).unwrap().pop() else {
        panic!("a ticket")
    };
    let kept = proto::Ticket::decode(&*body).unwrap();
    assert_eq!(kept.factors, [factor("age", "posted 1 min before"), factor("sensitive", "erased")]);
    assert_eq!(kept.sensitive, ["legal"]);
}

#[test]
fn a_reader_holds_up_no_commit_and_an_erased_text_goes_once_it_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let log = || std::fs::read(folder.path().join("ledger.sqlite-wal")).unwrap();
    let has_text = || log().windows(9).any(|window| window == b"text of a");
    let running = Running::start(folder.path());
    running.subscribe("first", false);
    // As `vigie backup` while it copies.
    let reader = Connection::open(config(folder.path()).path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM ticket").unwrap();
    running.settle(settlement(1, 0, vec![ticket("a", 100)]));
    // In the log with its text, before it is erased.
    running.subscribe("committed", false);
    let ticket_id = TicketId::of_post(Network::Bluesky, "a");
    running.settle(settlement(2, 0, vec![Entry::Erase { ticket_id, at: Timestamp::UNIX_EPOCH }]));
    running.subscribe("second", false);
    // Each would wait five seconds: nothing but a bound that no machine is too slow for.
    let begun = std::time::Instant::now();
    (0..20).for_each(|position| {
        running.settle(settlement(position, 0, vec![Entry::Erase { ticket_id, at: Timestamp::UNIX_EPOCH }]));
        running.settle(settlement(position, 0, vec![ticket(&format!("b{position}"), 100)]));
        let ticket_id = TicketId::of_post(Network::Bluesky, &format!("b{position}"));
        running.settle(settlement(position, 0, vec![Entry::Erase { ticket_id, at: Timestamp::UNIX_EPOCH }]));
        running.subscribe(&format!("after {position}"), false);
    });
    assert!(begun.elapsed() < Duration::from_secs(90), "{:?}", begun.elapsed());
    assert!(has_text(), "the reader holds the log");
    reader.execute_batch("ROLLBACK").unwrap();
    while has_text() {
        std::thread::yield_now();
    }
    running.stop();
}

#[test]
fn an_edited_text_is_what_a_restart_remembers() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let ticket_id = TicketId::of_post(Network::Bluesky, "a");
    let (text, at) = ("new text of a".to_owned(), Timestamp::UNIX_EPOCH);
    let edit = Entry::Edit { ticket_id, text: text.clone(), at, otherwise: Bucket::Duplicate, amended: None };
    running.settle(settlement(1, 0, vec![ticket("a", 100), edit]));
    running.stop();
    let mut known = Vec::new();
    let ledger = Ledger::open(config(folder.path())).unwrap();
    ledger.tickets(10, |id, text_hash| known.push((id, text_hash))).unwrap();
    assert_eq!(known, [(ticket_id, crate::desk::text_hash(&text))]);
}

#[test]
fn an_edit_within_the_disorder_of_a_networks_clock_is_recorded_once() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let ticket_id = TicketId::of_post(Network::Bluesky, "a");
    let edit = |text: &str, at_us: i64| Entry::Edit {
        ticket_id,
        text: text.to_owned(),
        at: Timestamp::from_microsecond(at_us).unwrap(),
        otherwise: Bucket::Duplicate,
        amended: None,
    };
    // The second edit has the earlier time, as Jetstream's clock may run backwards by 32 ms.
    let edits = [edit("b", 5_032_000), edit("c", 5_000_000)];
    running.settle(settlement(1, 0, [&[ticket("a", 100)][..], &edits].concat()));
    running.settle(settlement(1, 0, edits.to_vec()));
    let buckets = running.stop().total();
    assert_eq!((buckets[Bucket::Merged], buckets[Bucket::Duplicate]), (2, 2));
}

#[test]
fn an_edit_that_comes_again_or_after_a_newer_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let ticket_id = TicketId::of_post(Network::Bluesky, "a");
    let edit = |text: &str, second: i64| Entry::Edit {
        ticket_id,
        text: text.to_owned(),
        at: Timestamp::from_second(second).unwrap(),
        otherwise: Bucket::Unmatched,
        amended: None,
    };
    // Edited twice, back to what it was first; then the stream is rewound.
    let entries = vec![ticket("a", 100), edit("b", 5), edit("c", 6), edit("b", 7)];
    running.settle(settlement(1, 0, entries));
    running.settle(settlement(1, 0, vec![edit("b", 5), edit("c", 6), edit("b", 7)]));
    let accounting = running.stop();
    let buckets = accounting.sources["bluesky"].buckets;
    assert_eq!((buckets[Bucket::Merged], buckets[Bucket::Duplicate], buckets[Bucket::Unmatched]), (3, 3, 0));
}

#[test]
fn a_post_that_is_changed_for_ever_is_told_so_often_and_the_ledger_has_its_last_text() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let edit = |name: &str, second: usize| Entry::Edit {
        ticket_id: TicketId::of_post(Network::Bluesky, name),
        text: format!("version {second}"),
        at: Timestamp::from_second(i64::try_from(second).unwrap()).unwrap(),
        otherwise: Bucket::Unmatched,
        amended: None,
    };
    let last = EDITS_MAX + 5;
    let edits = |name: &'static str| (1..=last).map(move |second| edit(name, second));
    let tickets = [ticket("a", 100), ticket("b", 100)];
    running.settle(settlement(1, 0, tickets.into_iter().chain(edits("a")).collect()));
    // The stream is rewound; and another post is changed.
    running.settle(settlement(1, 0, edits("a").chain([edit("b", 1)]).collect()));
    let path = folder.path().join("ledger.sqlite");
    let file = rusqlite::Connection::open(&path).unwrap();
    let texts = |name: &str| -> Vec<String> {
        // Answered once what was settled before is durable.
        running.subscribe("helpdesk", false);
        let bodies = bodies_of(&file, TicketId::of_post(Network::Bluesky, name)).unwrap().into_iter();
        let texts = bodies.filter_map(|(_, body)| match body {
            Body::Update(bytes) => match proto::Update::decode(bytes.as_slice()).unwrap().change {
                Some(proto::update::Change::Edited(edited)) => Some(edited.text),
                _ => None,
            },
            Body::Ticket(_) => None,
        });
        texts.collect()
    };
    let told = texts("a");
    assert_eq!((told.len(), told.last().unwrap().as_str()), (EDITS_MAX, "version 25"));
    assert!(!told.contains(&"version 20".to_owned()), "what was taken out is nowhere");
    assert_eq!(texts("b").len(), 1);
    // Each hour's first is told.
    running.settle(settlement(1, 0, vec![edit("a", 3600), edit("a", 3700)]));
    assert_eq!(texts("a")[EDITS_MAX - 1..], ["version 25", "version 3700"]);
    // Whoever is erased does not come back by a change.
    let ticket_id = TicketId::of_post(Network::Bluesky, "a");
    let erase = Entry::Erase { ticket_id, at: Timestamp::from_second(3800).unwrap() };
    running.settle(settlement(1, 0, vec![erase, edit("a", 3900)]));
    assert!(texts("a").iter().all(String::is_empty));
    let buckets = running.stop().sources["bluesky"].buckets;
    let buckets =
        [Bucket::Merged, Bucket::Duplicate, Bucket::Erased, Bucket::Unmatched].map(|one| buckets[one]);
    let last = u64::try_from(last).unwrap();
    assert_eq!(buckets, [last + 3, last, 1, 1]);
}
