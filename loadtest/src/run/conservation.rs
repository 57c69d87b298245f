//! Whether everything that was offered is accounted for.
//!
//! Frames: what the servers wrote is what the daemon's buckets sum to. Where a connection was lost, the reader
//! asks again from a little before where it was, so that more is written than there are events; and what a cut
//! connection still held was written and never read. Then the sum lies between the number of distinct events
//! and what was written.
//!
//! Tickets: those that came are those that `vigie replay` makes of the same posts; and so are the posts that joined one. Under overload two things are
//! allowed, and counted: a candidate may be shed, and the small model may make a ticket of what the full one does
//! not. The small model gives no post up, so that it excuses no missing ticket; and what it makes in excess must be
//! taken back: once the full model has read everything, an update has come that says so.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Serialize;

use super::subscriber::{Joined, Taken, TicketId};

/// The name of the model that decides under overload, before its version: as in `models/small/model.json`.
const SMALL_MODEL: &str = "vigie-small";

/// Everything that was counted on both sides.
#[derive(Debug, Default)]
pub(super) struct Books<'a> {
    /// Distinct events of the streams.
    pub(super) events: u64,
    /// Frames that the servers wrote.
    pub(super) written: u64,
    /// Frames that the daemon says it received.
    pub(super) received: u64,
    /// Where they ended.
    pub(super) buckets: BTreeMap<String, u64>,
    /// Connections to servers that the daemon made again, and those that the plan ended.
    pub(super) connections_lost: u64,
    pub(super) connections_ended: u64,
    /// Holes that the daemon booked.
    pub(super) gaps: u64,
    /// Tickets that only the small model has read.
    pub(super) provisional: u64,
    /// What took a ticket back: no customer message after all, or erased.
    pub(super) withdrawn: Option<&'a HashSet<TicketId>>,
    /// Posts of the stream that need support.
    pub(super) support: Option<&'a BTreeSet<TicketId>>,
    /// What `replay` made; `None` if it was not asked.
    pub(super) expected: Option<&'a BTreeSet<TicketId>>,
    /// What came, each once.
    pub(super) tickets: &'a [Taken],
    /// Posts that joined a ticket, each once.
    pub(super) joined: &'a [Joined],
    /// What came again and must not have.
    pub(super) duplicates: u64,
}

/// What the comparison gave.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Balance {
    /// Tickets that `replay` makes of the posts; `null` if it was not asked.
    pub tickets_expected: Option<u64>,
    /// Tickets that came, each counted once.
    pub tickets_received: u64,
    /// Posts that joined a ticket, each counted once.
    pub posts_joined: u64,
    /// Expected tickets that did not come.
    pub absent: u64,
    /// How many may be absent: a candidate for each that was shed.
    pub excused: u64,
    /// Expected tickets that did not come and that shedding does not explain.
    pub missing: u64,
    /// Tickets that came and that `replay` does not make, but for those of the small model that were taken back.
    pub unexpected: u64,
    /// Tickets of the small model that `replay` does not make and that were taken back.
    pub withdrawn: u64,
    /// Tickets that came again after their acknowledgement was confirmed, or twice for one post.
    pub duplicates: u64,
    /// Tickets that the small model decided.
    pub small_model: u64,
    /// Candidates that were shed.
    pub shed: u64,
    /// Frames received more than once, because the reader asked for them again after a lost connection.
    pub frames_repeated: u64,
    /// Frames written and lost with a connection.
    pub frames_lost_in_transit: u64,
    /// Everything that does not add up, in words; empty if all does.
    pub violations: Vec<String>,
}

/// Compares both sides.
pub(super) fn check(books: &Books<'_>) -> Balance {
    let bucket = |name: &str| books.buckets.get(name).copied().unwrap_or(0);
    let (small, full): (Vec<&Taken>, Vec<&Taken>) =
        books.tickets.iter().partition(|ticket| ticket.model.starts_with(SMALL_MODEL));
    let mut balance = Balance {
        tickets_received: books.tickets.len() as u64,
        posts_joined: books.joined.len() as u64,
        duplicates: books.duplicates,
        small_model: small.len() as u64,
        shed: bucket("shed"),
        excused: bucket("shed"),
        frames_repeated: books.received.saturating_sub(books.events),
        frames_lost_in_transit: books.written.saturating_sub(books.received),
        ..Balance::default()
    };
    frames(books, &mut balance.violations);
    if bucket("ticketed") != balance.tickets_received {
        balance.violations.push(format!(
            "{} frames made a ticket, and {} tickets came",
            bucket("ticketed"),
            balance.tickets_received
        ));
    }
    // Edits are merged, too.
    if bucket("merged") < balance.posts_joined {
        balance.violations.push(format!(
            "{} frames were merged, and {} posts joined tickets",
            bucket("merged"),
            balance.posts_joined
        ));
    }
    if balance.duplicates > 0 {
        balance.violations.push(format!("{} tickets came twice", balance.duplicates));
    }
    let forged =
        books.tickets.iter().filter(|ticket| ticket.id != id_of(&ticket.network, &ticket.post_id)).count();
    if forged > 0 {
        balance.violations.push(format!("{forged} tickets have an id that is not that of their post"));
    }
    if let Some(expected) = books.expected {
        let came = came(books);
        let absent = expected.iter().filter(|id| !came.contains(id)).count() as u64;
        balance.tickets_expected = Some(expected.len() as u64);
        balance.absent = absent;
        balance.missing = absent.saturating_sub(balance.excused);
        let excess = |tickets: &[&Taken], allowed: &dyn Fn(&TicketId) -> bool| {
            let excess = tickets.iter().filter(|ticket| !expected.contains(&ticket.id));
            excess.filter(|ticket| !allowed(&ticket.id)).count() as u64
        };
        let withdrawn = |id: &TicketId| books.withdrawn.is_some_and(|withdrawn| withdrawn.contains(id));
        // One that others have joined stays, whatever its first post was.
        let joined: HashSet<TicketId> = books.joined.iter().map(|joined| joined.ticket).collect();
        let kept = excess(&small, &|id| withdrawn(id) || joined.contains(id));
        balance.withdrawn = excess(&small, &|_| false) - kept;
        balance.unexpected = excess(&full, &|_| false);
        let joined = books.joined.iter().filter(|joined| !joined.post.model.starts_with(SMALL_MODEL));
        balance.unexpected += excess(&joined.map(|joined| &joined.post).collect::<Vec<_>>(), &|_| false);
        // Before the full model has read everything, it may still take them back; that it has not is said elsewhere.
        if books.provisional == 0 {
            balance.unexpected += kept;
        }
        if balance.missing > 0 {
            let why = match balance.excused {
                0 => String::new(),
                shed => format!(" beyond the {shed} shed"),
            };
            balance.violations.push(format!("{} tickets are missing{why}", balance.missing));
        }
        if balance.unexpected > 0 {
            balance.violations.push(format!("{} tickets came that replay does not make", balance.unexpected));
        }
    }
    support(books, &mut balance);
    balance
}

/// Posts that came, by a ticket of their own or by joining one.
fn came<'b>(books: &'b Books<'_>) -> HashSet<&'b TicketId> {
    let joined = books.joined.iter().map(|joined| &joined.post.id);
    books.tickets.iter().map(|ticket| &ticket.id).chain(joined).collect()
}

/// Every post that needs support has its ticket, or may have ended otherwise.
fn support(books: &Books<'_>, balance: &mut Balance) {
    let Some(support) = books.support.filter(|support| !support.is_empty()) else { return };
    let bucket = |name: &str| books.buckets.get(name).copied().unwrap_or(0);
    let posts = support.len();
    if balance.tickets_expected.unwrap_or(balance.tickets_received) == 0 {
        balance.violations.push(format!("no ticket is made of {posts} posts that need support"));
    }
    let came = came(books);
    let untold = support.iter().filter(|id| !came.contains(id)).count() as u64;
    let ended = bucket("unsupported") + bucket("shed");
    if untold > ended {
        balance.violations.push(format!(
            "{untold} of {posts} posts that need support have no ticket, and {ended} candidates were unsupported or shed"
        ));
    }
}

fn frames(books: &Books<'_>, violations: &mut Vec<String>) {
    let Books { events, written, received, connections_lost, connections_ended, .. } = *books;
    let sum: u64 = books.buckets.values().sum();
    if sum != received {
        violations.push(format!("the buckets sum to {sum}, and {received} frames were received"));
    }
    let interrupted = connections_lost > 0 || connections_ended > 0;
    if !interrupted && (received != written || received != events) {
        violations.push(format!("{events} events, {written} frames written, {received} received"));
    }
    if interrupted && !(events..=written).contains(&received) {
        violations
            .push(format!("{events} events, {written} frames written with repetitions, {received} received"));
    }
    if connections_lost > connections_ended {
        violations.push(format!(
            "{connections_lost} connections were made again, and {connections_ended} were ended"
        ));
    }
    if books.gaps > 0 {
        violations.push(format!("{} holes in the streams", books.gaps));
    }
}

/// "From network and post id: the same on any machine": the first 16 bytes of BLAKE3 over the network's name, a
/// zero byte and the post's id.
pub(super) fn id_of(network: &str, post_id: &str) -> TicketId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(network.as_bytes()).update(&[0]).update(post_id.as_bytes());
    let mut id = TicketId::default();
    id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(post: &str, model: &str) -> Taken {
        Taken {
            is_erased: false,
            id: id_of("bluesky", post),
            seq: 1,
            network: "bluesky".to_owned(),
            post_id: post.to_owned(),
            seen_at_us: 0,
            created_at_us: 0,
            due_at_us: 0,
            priority: 0,
            model: model.to_owned(),
            at_us: 0,
            room_at_us: 0,
        }
    }

    fn expected(posts: &[&str]) -> BTreeSet<TicketId> {
        posts.iter().map(|post| id_of("bluesky", post)).collect()
    }

    fn buckets(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    /// Two tickets of ten events, all in order.
    fn sound<'a>(tickets: &'a [Taken], expected: &'a BTreeSet<TicketId>) -> Books<'a> {
        Books {
            events: 10,
            written: 10,
            received: 10,
            buckets: buckets(&[("unmatched", 8), ("ticketed", 2)]),
            expected: Some(expected),
            tickets,
            ..Books::default()
        }
    }

    fn violated(books: &Books<'_>, text: &str) {
        let balance = check(books);
        assert!(balance.violations.iter().any(|violation| violation.contains(text)), "{text}: {balance:?}");
    }

    #[test]
    fn an_id_is_the_daemons() {
        let id = id_of("bluesky", "at://did:plc:a/app.bsky.feed.post/1");
        assert_eq!(id[..4], [0xd0, 0xb5, 0x5b, 0x3e], "as in the daemon's own test");
    }

    #[test]
    fn what_adds_up_is_no_violation() {
        let (tickets, expected) = ([ticket("a", "vigie 2"), ticket("b", "vigie 2")], expected(&["a", "b"]));
        let balance = check(&sound(&tickets, &expected));
        assert_eq!(balance.violations, [""; 0]);
        assert_eq!((balance.tickets_expected, balance.tickets_received), (Some(2), 2));
        let repeated = Books {
            written: 14,
            received: 12,
            connections_ended: 1,
            connections_lost: 1,
            ..sound(&tickets, &expected)
        };
        let repeated = Books { buckets: buckets(&[("unmatched", 10), ("ticketed", 2)]), ..repeated };
        assert_eq!(check(&repeated).violations, [""; 0]);
        let Balance { frames_repeated, frames_lost_in_transit, .. } = check(&repeated);
        assert_eq!((frames_repeated, frames_lost_in_transit), (2, 2));
        violated(
            &Books { connections_lost: 2, ..repeated },
            "2 connections were made again, and 1 were ended",
        );
    }

    #[test]
    fn a_lost_frame_is_seen() {
        let (tickets, expected) = ([ticket("a", "vigie 2"), ticket("b", "vigie 2")], expected(&["a", "b"]));
        let one_less = buckets(&[("unmatched", 7), ("ticketed", 2)]);
        violated(&Books { buckets: one_less.clone(), ..sound(&tickets, &expected) }, "the buckets sum to 9");
        let lost = Books { received: 9, buckets: one_less, ..sound(&tickets, &expected) };
        violated(&lost, "10 events, 10 frames written, 9 received");
        violated(&Books { connections_lost: 1, ..lost }, "with repetitions, 9 received");
        violated(&Books { gaps: 1, ..sound(&tickets, &expected) }, "1 holes");
    }

    #[test]
    fn a_ticket_too_few_or_too_many_is_seen() {
        let both = [ticket("a", "vigie 2"), ticket("b", "vigie 2")];
        let (two, three) = (expected(&["a", "b"]), expected(&["a", "b", "c"]));
        violated(&sound(&both[..1], &two), "1 tickets are missing");
        violated(&sound(&both[..1], &two), "2 frames made a ticket, and 1 tickets came");
        violated(&sound(&both, &three), "1 tickets are missing");
        violated(&sound(&both, &expected(&["a"])), "1 tickets came that replay does not make");
        violated(&Books { duplicates: 1, ..sound(&both, &two) }, "1 tickets came twice");
        let forged = [both[0].clone(), Taken { post_id: "c".to_owned(), ..both[1].clone() }];
        violated(&sound(&forged, &two), "not that of their post");
    }

    #[test]
    fn a_post_that_joined_a_ticket_has_come_as_well() {
        let tickets = [ticket("a", "vigie 2")];
        let joined = [Joined { ticket: tickets[0].id, post: ticket("b", "vigie 2") }];
        let counts = buckets(&[("unmatched", 8), ("ticketed", 1), ("merged", 1)]);
        let (two, one) = (expected(&["a", "b"]), expected(&["a"]));
        let books = Books { buckets: counts, joined: &joined, ..sound(&tickets, &two) };
        let balance = check(&books);
        assert_eq!((balance.violations.len(), balance.posts_joined), (0, 1), "{balance:?}");
        violated(&Books { expected: Some(&one), ..books }, "1 tickets came that replay does not make");
        let counts = buckets(&[("unmatched", 9), ("ticketed", 1)]);
        let uncounted = Books { buckets: counts, joined: &joined, ..sound(&tickets, &two) };
        violated(&uncounted, "0 frames were merged, and 1 posts joined");
        violated(&Books { joined: &[], ..uncounted }, "1 tickets are missing");
    }

    #[test]
    fn what_was_shed_excuses_missing_tickets_and_the_small_model_does_not() {
        let tickets = [ticket("a", "vigie 2"), ticket("b", "vigie-small 2")];
        let expected = expected(&["a", "b", "c"]);
        let counts = buckets(&[("unmatched", 7), ("ticketed", 2), ("shed", 1)]);
        let books = Books { buckets: counts, ..sound(&tickets, &expected) };
        let balance = check(&books);
        assert_eq!(balance.violations, [""; 0]);
        assert_eq!((balance.absent, balance.excused, balance.missing), (1, 1, 0));
        let counts = buckets(&[("unmatched", 7), ("ticketed", 2), ("unsupported", 1)]);
        violated(&Books { buckets: counts, ..books }, "1 tickets are missing");
    }

    #[test]
    fn what_the_small_model_made_in_excess_must_be_taken_back() {
        let tickets = [ticket("a", "vigie 2"), ticket("b", "vigie-small 2")];
        let expected = expected(&["a"]);
        let books = sound(&tickets, &expected);
        violated(&books, "1 tickets came that replay does not make");
        let withdrawn = HashSet::from([id_of("bluesky", "b")]);
        let balance = check(&Books { withdrawn: Some(&withdrawn), ..books });
        assert_eq!((balance.violations.len(), balance.unexpected, balance.withdrawn), (0, 0, 1));
        let joined = [Joined { ticket: id_of("bluesky", "b"), post: ticket("a", "vigie 2") }];
        let balance = check(&Books {
            joined: &joined,
            buckets: buckets(&[("unmatched", 7), ("ticketed", 2), ("merged", 1)]),
            ..books
        });
        assert_eq!(balance.unexpected, 0, "{:?}", balance.violations);
    }

    #[test]
    fn posts_that_need_support_are_somewhere() {
        let tickets = [ticket("a", "vigie 2"), ticket("b", "vigie 2")];
        let (two, three) = (expected(&["a", "b"]), expected(&["a", "b", "c"]));
        violated(&Books { support: Some(&three), ..sound(&tickets, &two) }, "1 of 3 posts that need support");
        let counts = buckets(&[("unmatched", 7), ("ticketed", 2), ("unsupported", 1)]);
        let told = Books { support: Some(&three), buckets: counts, ..sound(&tickets, &two) };
        assert_eq!(check(&told).violations, [""; 0]);
        let none = BTreeSet::new();
        let nothing = Books { buckets: buckets(&[("unmatched", 10)]), ..sound(&[], &none) };
        assert_eq!(check(&nothing).violations, [""; 0]);
        violated(&Books { support: Some(&three), ..nothing }, "no ticket is made of 3 posts");
    }

    #[test]
    fn without_replay_only_counts_are_compared() {
        let tickets = [ticket("a", "vigie 2"), ticket("b", "vigie 2")];
        let expected = BTreeSet::new();
        let balance = check(&Books { expected: None, ..sound(&tickets, &expected) });
        assert_eq!((balance.tickets_expected, balance.violations.len()), (None, 0));
    }
}
