//! What authors delete of conversations.

use super::*;

#[test]
fn a_deleted_post_goes_alone_and_the_ticket_stays_while_another_is_there() {
    let mut ledger = Ledger::of(vec![ticket("a", 300), joins("b", "a", "ana", 1), joins("c", "a", "ana", 1)]);
    let post_erased = |post: &str| {
        let (post_id, reason) = (post.to_owned(), "post_deleted".to_owned());
        Change::PostErased(proto::update::PostErased { post_id, reason })
    };
    let texts = |ledger: &Ledger| -> Vec<String> {
        let followed = |change| match change {
            Change::FollowedUp(followed) => Some(followed.post.unwrap().text),
            _ => None,
        };
        ledger.changes("a").into_iter().filter_map(followed).collect()
    };
    for (post, expected) in [("b", ["", "text of c"]), ("a", ["", "text of c"]), ("c", ["", ""])] {
        assert_eq!(ledger.settle(vec![erased(post), erased(post)])[Bucket::Erased], 1, "{post}");
        assert_eq!(ledger.changes("a").pop(), Some(post_erased(post)));
        assert_eq!(texts(&ledger), expected);
    }
    let body: Vec<u8> = ledger
        .0
        .connection
        .query_row("SELECT body FROM record WHERE kind = 0", [], |row| row.get(0))
        .unwrap();
    let left = proto::Ticket::decode(&*body).unwrap();
    assert_eq!((left.post.unwrap().text.as_str(), left.erased), ("", false), "others had joined it");
    // Nothing is left that could be joined, and what is gone is known all the same.
    assert_eq!(ledger.settle(vec![joins("d", "a", "ana", 1)])[Bucket::Ticketed], 1);
    assert_eq!(ledger.settle(vec![joins("b", "a", "ana", 1), ticket("c", 1)])[Bucket::Duplicate], 2);
}

#[test]
fn an_author_who_is_gone_takes_along_what_they_put_into_others_tickets() {
    let entries = vec![ticket("a", 300), joins("b", "a", "bob", 1), joins("c", "a", "did:plc:author", 1)];
    let gone = |author: &str| {
        let (network, author_id) = (Network::Bluesky, author.to_owned());
        Entry::EraseAuthor { network, author_id, at: at(200) }
    };
    let mut ledger = Ledger::of(entries);
    assert_eq!(ledger.settle(vec![gone("bob")])[Bucket::Erased], 1);
    let Some(Change::PostErased(erased)) = ledger.changes("a").pop() else { panic!() };
    assert_eq!((erased.post_id.as_str(), erased.reason.as_str()), ("b", "account_deleted"));
    // What is left is of one person: the ticket goes whole.
    assert_eq!(ledger.settle(vec![gone("did:plc:author")])[Bucket::Erased], 1);
    assert!(matches!(ledger.changes("a").pop(), Some(Change::Erased(_))));
    let bodies = records::bodies_of(&ledger.0.connection, id("a")).unwrap();
    let has_text = |body: &Body| {
        let (Body::Ticket(bytes) | Body::Update(bytes)) = body;
        bytes.windows(7).any(|window| window == b"text of")
    };
    assert!(!bodies.iter().any(|(_, body)| has_text(body)));
    let is_erased = |body: &Body| match body {
        Body::Ticket(bytes) => Some(proto::Ticket::decode(bytes.as_slice()).unwrap().erased),
        Body::Update(_) => None,
    };
    assert_eq!(bodies.iter().filter_map(|(_, body)| is_erased(body)).collect::<Vec<_>>(), [true]);
}

#[test]
fn what_was_overheard_and_became_a_ticket_goes_with_its_text() {
    let post = ThreadPost {
        post_id: id("b"),
        ticket_id: id("a"),
        network: Network::Bluesky,
        author_id: "bob".to_owned(),
        watch: 1,
        at: at(1),
    };
    let overheard = Entry::Bystander { post, bucket: Bucket::Unmatched };
    let mut ledger = Ledger::of(vec![ticket("a", 300), overheard, ticket("b", 300)]);
    assert_eq!(ledger.settle(vec![erased("b")])[Bucket::Erased], 1);
    assert_eq!((ledger.count("post"), ledger.count("ticket WHERE erased_at_us IS NULL")), (0, 1));
}

#[test]
fn no_byte_of_a_deleted_follow_up_stays_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.settle(settlement(1, 0, vec![ticket("a", 300), joins("b", "a", "ana", 1)]));
    running.settle(settlement(2, 0, vec![ticket("c", 300)]));
    running.subscribe("all", false);
    let has = |text: &[u8]| {
        let files =
            ["ledger.sqlite", "ledger.sqlite-wal"].map(|name| std::fs::read(folder.path().join(name)));
        files.into_iter().flatten().any(|file| file.windows(text.len()).any(|window| window == text))
    };
    assert!(has(b"text of b"), "the fault could fire");
    running.settle(settlement(3, 0, vec![erased("b")]));
    running.stop();
    assert!(!has(b"text of b"));
    assert!(has(b"text of a"), "and what others are made of stays");
}

#[test]
fn the_sensitive_words_of_a_post_that_is_erased_are_named_nowhere() {
    let evidence =
        |evidence: &str| proto::Factor { evidence: evidence.to_owned(), ..factor("sensitive", 300) };
    let fire = NewFollowUp { factors: vec![evidence("safety: fire")], ..new("b", "a", "ana", 1) };
    let mut ledger =
        Ledger::of(vec![reasoned("a", 100), Entry::FollowUp(Box::new(fire)), joins("c", "a", "ana", 1)]);
    let named = |ledger: &Ledger| -> Vec<proto::Factor> {
        let factors = |change| match change {
            Change::FollowedUp(followed) => followed.factors,
            _ => Vec::new(),
        };
        let factors = ledger.changes("a").into_iter().flat_map(factors);
        factors.filter(|factor| factor.name == "sensitive").collect()
    };
    assert_eq!(named(&ledger), vec![evidence("safety: fire"); 2]);
    ledger.settle(vec![erased("b"), joins("d", "a", "ana", 1)]);
    assert_eq!(named(&ledger), vec![evidence("erased"); 3], "nor by posts that come later");
    assert_eq!(ledger.last_priority("a"), 100 + 300 + 120);
}

#[test]
fn all_that_an_author_has_put_into_a_ticket_goes_at_once() {
    let posts = ["b", "c", "d"];
    let mut entries = vec![ticket("a", 300), joins("x", "a", "ana", 1)];
    entries.extend(posts.map(|post| joins(post, "a", "bob", 1)));
    let mut ledger = Ledger::of(entries);
    let gone = Entry::EraseAuthor { network: Network::Bluesky, author_id: "bob".to_owned(), at: at(200) };
    assert_eq!(ledger.settle(vec![gone])[Bucket::Erased], 1);
    let (mut texts, mut told) = (Vec::new(), Vec::new());
    for change in ledger.changes("a") {
        match change {
            Change::FollowedUp(followed) => texts.push(followed.post.unwrap().text),
            Change::PostErased(erased) => told.push(erased.post_id),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(texts, ["text of x", "", "", ""]);
    assert_eq!(told, posts);
    assert_eq!(ledger.settle(vec![joins("e", "a", "ana", 1)])[Bucket::Merged], 1, "others are there");
}

#[test]
fn a_ticket_that_has_lost_its_own_post_goes_on_while_one_of_those_that_joined_is_there() {
    let mut ledger = Ledger::of(vec![ticket("a", 300), joins("b", "a", "ana", 1), joins("c", "a", "ana", 1)]);
    ledger.settle(vec![erased("a"), erased("b")]);
    assert_eq!(ledger.settle(vec![joins("d", "a", "ana", 1)])[Bucket::Merged], 1);
    ledger.settle(vec![erased("c"), erased("d")]);
    assert_eq!(ledger.settle(vec![joins("e", "a", "ana", 1)])[Bucket::Ticketed], 1);
}

#[test]
fn an_answer_of_ours_that_is_deleted_stays_so() {
    let post = ThreadPost {
        post_id: id("x"),
        ticket_id: id("a"),
        network: Network::Bluesky,
        author_id: "lumio".to_owned(),
        watch: 1,
        at: at(150),
    };
    let answer = || Entry::Answer { post: post.clone(), answered: proto::update::Answered::default() };
    let mut ledger = Ledger::of(vec![ticket("a", 300), answer()]);
    assert_eq!(ledger.settle(vec![erased("x")])[Bucket::Control], 1);
    let mut remembered = Vec::new();
    remembered_posts(&ledger.0.connection, 10, |post| remembered.push(post.is_erased)).unwrap();
    assert_eq!(remembered, [true]);
    // A stream that is rewound shows it again.
    ledger.settle(vec![answer(), erased("x")]);
    assert_eq!(ledger.changes("a").len(), 1);
}

#[test]
fn whose_ticket_it_was_is_not_known_once_its_own_post_is_gone() {
    for (gone, is_known) in [(None, true), (Some(erased("b")), true), (Some(erased("a")), false)] {
        let needs = crate::desk::route::Needs { person: 5, ..Default::default() };
        let assignee =
            crate::ledger::assigned::Assignee { team: "billing".to_owned(), agent: "lena".to_owned(), needs };
        let ticket = NewTicket { assignee: Some(assignee), ..new_ticket("a") };
        let mut ledger = Ledger::of(vec![
            Entry::Ticket(Box::new(ticket)),
            joins("b", "a", "bob", 1),
            joins("c", "a", "bob", 1),
        ]);
        crate::ledger::assigned::answered(&ledger.0.connection, id("a"), None, 7).unwrap();
        ledger.settle(gone.into_iter().collect());
        assert_eq!(ledger.count("assigned WHERE person = 5 AND answered_by = 'lena'") == 1, is_known);
        assert_eq!(ledger.count("assigned WHERE is_open = 1 AND agent = 'lena'"), 1, "others wait");
    }
}
