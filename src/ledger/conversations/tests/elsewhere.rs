//! Posts whose ticket is closed, full or gone by the time that they are to join it, and what the desk is told.

use super::*;
use crate::desk::conversation::JOINED_MAX;
use crate::desk::told::Told;
use crate::ledger::assigned::Assignee;

impl Ledger {
    fn told(&mut self, entries: Vec<Entry>) -> (Buckets, Vec<Told>) {
        let (buckets, outcome) = self.0.settle(&settlement(1, 0, entries)).unwrap();
        (buckets, outcome.told)
    }

    fn close(&self, ticket: &str) {
        let body = proto::TicketStatus { state: 3, ..proto::TicketStatus::default() }.encode_to_vec();
        set_status(&self.0.connection, id(ticket), &body, at(50)).unwrap();
    }

    /// Of the posts that joined.
    fn ticket_of(&self, post: &str) -> Option<TicketId> {
        further(&self.0.connection, id(post)).unwrap().map(|further| further.ticket_id)
    }
}

/// By the author of all tickets here.
fn author_joins(post: &str, to: &str) -> Entry {
    joins(post, to, "did:plc:author", 1)
}

fn belongs(post: &str, to: &str) -> Told {
    Told::Belongs { post_id: id(post), ticket_id: id(to), brand: "Lumio".into(), at_us: 100_000_000 }
}

#[test]
fn posts_that_come_while_their_ticket_is_closed_make_one_ticket_together() {
    let mut ledger = Ledger::of(vec![ticket("a", 300)]);
    ledger.close("a");
    // The desk does not know yet: within one commit, and in the next.
    let (buckets, told) = ledger.told(vec![author_joins("b", "a"), author_joins("c", "a")]);
    assert_eq!((buckets[Bucket::Ticketed], buckets[Bucket::Merged]), (1, 1));
    assert_eq!(told, [belongs("b", "b"), belongs("c", "b")]);
    let (buckets, told) = ledger.told(vec![author_joins("d", "a")]);
    assert_eq!((buckets[Bucket::Merged], told), (1, vec![belongs("d", "b")]));
    assert_eq!((ledger.ticket_of("c"), ledger.ticket_of("d")), (Some(id("b")), Some(id("b"))));
    // A stranger's is nobody else's.
    let (buckets, told) = ledger.told(vec![joins("e", "a", "bob", 1)]);
    assert_eq!((buckets[Bucket::Ticketed], told), (1, vec![belongs("e", "e")]));
}

#[test]
fn only_an_open_ticket_of_the_brand_that_is_not_too_old_is_joined_instead() {
    let nord = || {
        let new = new_ticket("nord");
        NewTicket { traits: crate::ledger::Traits { brand: "Nord".into(), ..new.traits }, ..new }
    };
    let old = NewTicket { created_at: at(100 - 3600), ..new_ticket("old") };
    let young = NewTicket { created_at: at(101 - 3600), ..new_ticket("young") };
    for (other, is_joined) in [(nord(), false), (old, false), (young, true)] {
        let mut ledger = Ledger::of(vec![ticket("a", 300), Entry::Ticket(Box::new(other))]);
        ledger.close("a");
        let (buckets, _) = ledger.told(vec![author_joins("b", "a")]);
        assert_eq!(buckets[Bucket::Merged] == 1, is_joined);
    }
}

#[test]
fn what_makes_no_ticket_by_itself_stays_a_part_of_the_thread() {
    let mut ledger = Ledger::of(vec![ticket("a", 300)]);
    ledger.close("a");
    let unnamed = |post: &str, to: &str| {
        let otherwise = Otherwise::Bucket(Bucket::Unmatched);
        Entry::FollowUp(Box::new(NewFollowUp { otherwise, ..new(post, to, "ana", 1) }))
    };
    let (buckets, told) = ledger.told(vec![unnamed("b", "a"), unnamed("c", "never")]);
    assert_eq!(buckets[Bucket::Unmatched], 2);
    assert_eq!(told, [Told::Closed(id("a")), Told::Closed(id("never"))]);
    assert_eq!((ledger.ticket_of("b"), ledger.ticket_of("c")), (Some(id("a")), None));
    assert_eq!(ledger.count("post WHERE kind = 2"), 1);
}

#[test]
fn a_ticket_takes_so_many_posts_and_the_next_one_makes_another_of_the_thread() {
    let mut ledger = Ledger::of(vec![ticket("a", 300)]);
    let all = (0..JOINED_MAX).map(|n| author_joins(&n.to_string(), "a"));
    assert_eq!(ledger.settle(all.collect())[Bucket::Merged], u64::from(JOINED_MAX));
    // Those that were taken back count, as what is told of them does.
    ledger.settle(vec![erased("0")]);
    let Entry::FollowUp(mut more) = author_joins("more", "a") else { unreachable!() };
    more.otherwise = Otherwise::Ticket(Box::new(NewTicket { thread: Some(id("a")), ..new_ticket("more") }));
    let (buckets, told) = ledger.told(vec![Entry::FollowUp(more), author_joins("next", "a")]);
    assert_eq!((buckets[Bucket::Ticketed], buckets[Bucket::Merged]), (1, 1));
    assert_eq!(told, [belongs("more", "more"), belongs("next", "more")]);
    assert_eq!(ledger.count("post WHERE kind = 0 AND seq IS NULL"), 0, "all are told");
    let mut threads = Vec::new();
    remembered(&ledger.0.connection, 10, |ticket| threads.push(ticket.thread)).unwrap();
    assert_eq!(threads, [None, Some(id("a"))]);
}

#[test]
fn the_desk_is_told_of_tickets_of_which_nothing_is_left() {
    let gone = |author: &str| {
        let (network, author_id) = (Network::Bluesky, author.to_owned());
        Entry::EraseAuthor { network, author_id, at: at(200) }
    };
    // Of all, whoever else is there and however many.
    let entries: Vec<_> = ["a", "b", "c", "d", "e", "f"].map(|name| ticket(name, 300)).into();
    let mut ledger = Ledger::of(entries);
    ledger.settle(vec![joins("x", "b", "bob", 1), author_joins("y", "c")]);
    let (_, told) = ledger.told(vec![gone("did:plc:author")]);
    let over = |name: &str| Told::Over(id(name));
    // In the order of their ids.
    assert_eq!(told.len(), 5);
    assert!(["a", "c", "d", "e", "f"].map(over).iter().all(|over| told.contains(over)), "{told:?}");
    // By the last post of somebody who has no ticket of their own.
    let (_, told) = ledger.told(vec![gone("bob")]);
    assert_eq!(told, [over("b")]);
    // Post by post.
    let mut ledger = Ledger::of(vec![ticket("a", 300), author_joins("b", "a")]);
    let (_, told) = ledger.told(vec![erased("a")]);
    assert_eq!(told, []);
    let (_, told) = ledger.told(vec![erased("b")]);
    assert_eq!(told, [over("a")]);
}

/// By a model that has read only the first post.
fn dismissed(post: &str) -> Rescoring {
    let change = proto::update::Rescored { priority: 10, unsupported: true, ..Default::default() };
    Rescoring { ticket_id: id(post), at: at(300), change: Some(Box::new(change)), terms: terms() }
}

fn of_lena(post: &str) -> Entry {
    let Entry::Ticket(new) = provisional(post, 300) else { unreachable!() };
    let assignee = Assignee { team: "billing".to_owned(), agent: "lena".to_owned(), ..Default::default() };
    Entry::Ticket(Box::new(NewTicket { assignee: Some(assignee), at_risk_at_us: Some(1), ..*new }))
}

#[test]
fn a_second_reading_takes_no_ticket_from_those_who_have_joined_it() {
    let mut ledger = Ledger::of(vec![of_lena("a"), joins("b", "a", "bob", 1)]);
    let mut changes = Changes::default();
    rescoring::rescore(&ledger.0.connection, &dismissed("a"), 0, &mut changes).unwrap();
    let Some(Change::Rescored(rescored)) = ledger.changes("a").pop() else { panic!() };
    assert!(!rescored.unsupported, "people wait there");
    assert_eq!(changes.told, []);
    assert_eq!(
        (ledger.count("assigned WHERE is_open = 1"), ledger.count("ticket WHERE overdue = 0")),
        (1, 1)
    );
    assert_eq!(ledger.settle(vec![joins("c", "a", "bob", 1)])[Bucket::Merged], 1);
}

#[test]
fn a_ticket_that_turned_out_to_be_no_customer_message_is_joined_by_nothing() {
    let mut ledger = Ledger::of(vec![of_lena("a")]);
    let mut changes = Changes::default();
    rescoring::rescore(&ledger.0.connection, &dismissed("a"), 0, &mut changes).unwrap();
    let Some(Change::Rescored(rescored)) = ledger.changes("a").pop() else { panic!() };
    assert!(rescored.unsupported);
    assert_eq!(changes.told, [Told::Closed(id("a")), Told::Stands(id("a"), None)]);
    assert_eq!(
        (ledger.count("assigned WHERE is_open = 1"), ledger.count("ticket WHERE overdue = 0")),
        (0, 0)
    );
    // What its author really wants is a ticket, before the desk knows and after a restart.
    let (buckets, told) = ledger.told(vec![author_joins("b", "a")]);
    assert_eq!((buckets[Bucket::Ticketed], told), (1, vec![belongs("b", "b")]));
    let mut closed = Vec::new();
    remembered(&ledger.0.connection, 10, |ticket| closed.push(ticket.is_closed)).unwrap();
    assert_eq!(closed, [true, false]);
}

#[test]
fn help_that_made_a_ticket_is_thanked_for() {
    let helps = NewTicket { author_id: "helen".to_owned(), ..new_ticket("help") };
    let mut ledger = Ledger::of(vec![ticket("a", 300), Entry::Ticket(Box::new(helps))]);
    let thanks =
        NewFollowUp { raises: false, thanks: Some(id("help")), ..new("thanks", "a", "did:plc:author", 1) };
    ledger.settle(vec![Entry::FollowUp(Box::new(thanks))]);
    let found = helpers(&ledger.0.connection, 1, at(0)).unwrap();
    assert_eq!(
        found.iter().map(|helper| (&*helper.author_id, helper.thanked)).collect::<Vec<_>>(),
        [("helen", 1)]
    );
    assert_eq!(ledger.count(&format!("thanked WHERE ticket_id = x'{}'", id("a"))), 1);
}

#[test]
fn a_ticket_is_ranked_anew_once_for_all_posts_of_a_commit() {
    let ledger = Ledger::of(vec![reasoned("a", 300), joins("x", "a", "ana", 1), reasoned("z", 100)]);
    let mut changes = Changes::default();
    for n in 0..20 {
        let new = new(&n.to_string(), "a", "ana", 300 + n);
        follow_up(&ledger.0.connection, &new, 0, &mut changes).unwrap();
    }
    assert_eq!((changes.heads.len(), changes.placed.len()), (20, 1));
    let reranked = rescoring::reranked(&ledger.0.connection, 0, &mut changes).unwrap();
    // Its own record, and that of the post before; the others are as new as their rank.
    let [reranked] = &*reranked else { panic!("{reranked:?}") };
    let ranks: Vec<_> = reranked.records.iter().map(|(head, _)| head.rank).collect();
    assert_eq!(ranks.len(), 2);
    assert!(changes.heads.iter().all(|head| head.rank == ranks[0]) && ranks[1] == ranks[0], "{ranks:?}");
    assert_eq!(
        reranked.rescored_before.as_ref().map(|(priority, _)| *priority),
        Some(340),
        "of before them all"
    );
}
