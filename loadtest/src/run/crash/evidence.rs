//! What the helpdesk of a run of kills was told of posts that their authors changed, and which tickets are suspect.

use std::collections::{BTreeSet, HashMap};

use crate::EventKind;
use crate::run::conservation::id_of;
use crate::run::feed::{Feed, JITTER_US};
use crate::run::subscriber::{Intake, PostChange, Taken, TicketId, hex};

/// Suspects that are listed, of each kind.
pub(super) const SUSPECTS_MAX: usize = 10;

/// Updates of posts.
type Changes = BTreeSet<(TicketId, PostChange)>;

/// The updates that there must be, each once: of every ticket that came, what its author did to the post after the
/// ticket was made of it. A post of these streams is changed once at most.
///
/// And those that there may be: a post that was edited so soon that the network's clock, which is early by up to 31 ms,
/// may give the edit the time of the post. Nobody can tell then which of the two made the ticket.
pub(super) fn changes(feed: &Feed, intake: &Intake) -> (Changes, Changes) {
    let served = feed.served();
    let mut first_seen = HashMap::new();
    for ticket in posts(intake) {
        if let Some(first) = served.index_of(&ticket.post_id) {
            first_seen.insert(first, (ticket.id, feed.seen_event(first, ticket.seen_at_us)));
        }
    }
    let change = |n| match served.kind(n) {
        EventKind::Withdrawal { of } => Some((of, PostChange::Erased)),
        EventKind::Edit { of } => Some((of, PostChange::Edited)),
        _ => None,
    };
    let (mut sure, mut possible) = (Changes::new(), Changes::new());
    for n in feed.events() {
        let Some((of, change)) = change(n) else { continue };
        let Some((id, made_by)) = first_seen.get(&of) else { continue };
        let is_close = served.scheduled_us(n) <= served.scheduled_us(of) + JITTER_US;
        if change == PostChange::Edited && is_close {
            possible.insert((*id, change));
        } else if *made_by < n {
            // An edit that made the ticket is no change of it.
            sure.insert((*id, change));
        }
    }
    (sure, possible)
}

/// Every post that came, by a ticket of its own or by joining one.
fn posts(intake: &Intake) -> impl Iterator<Item = &Taken> {
    intake.tickets.iter().chain(intake.joined.iter().map(|joined| &joined.post))
}

/// Those of them that did not come once each, and those that came without being among them.
pub(super) fn wrong(expected: &Changes, possible: &Changes, intake: &Intake) -> Vec<String> {
    let line = |what: &str, (id, change): &(TicketId, PostChange)| {
        format!("{what}: that the post of ticket {} was {change:?}", hex(id))
    };
    let missing = expected.iter().filter(|change| !intake.changes.contains_key(change));
    let twice = intake.changes.iter().filter(|(_, times)| **times > 1).map(|(change, _)| change);
    // Of posts from before the stream nothing is known, and their tickets are not looked at.
    let known: BTreeSet<TicketId> = posts(intake).map(|post| post.id).collect();
    let is_expected =
        |change: &(TicketId, PostChange)| expected.contains(change) || possible.contains(change);
    let strange = intake.changes.keys().filter(|change| known.contains(&change.0) && !is_expected(change));
    let missing = missing.map(|change| line("missing", change));
    let twice = twice.map(|change| line("twice", change));
    missing.chain(twice).chain(strange.map(|change| line("never asked for", change))).collect()
}

/// Tickets that are missing or came again, with their posts where the stream knows them.
pub(super) fn suspects(feed: &Feed, expected: &BTreeSet<TicketId>, intake: &Intake) -> Vec<String> {
    let came: BTreeSet<TicketId> = posts(intake).map(|post| post.id).collect();
    let missing: Vec<&TicketId> = expected.difference(&came).take(SUSPECTS_MAX).collect();
    let repeated: Vec<&TicketId> = intake.repeated.iter().take(SUSPECTS_MAX).collect();
    if missing.is_empty() && repeated.is_empty() {
        return Vec::new();
    }
    let posts = feed.served().mentions(feed.events()).filter_map(|(_, event)| event.support);
    let posts: HashMap<TicketId, String> =
        posts.map(|post| (id_of(feed.network(), &post.id), post.id)).collect();
    let line = |what: &str, id: &TicketId| {
        format!(
            "{what}: ticket {}, {}",
            hex(id),
            posts.get(id).map_or("a post that needs no support", String::as_str)
        )
    };
    let missing = missing.into_iter().map(|id| line("missing", id));
    missing.chain(repeated.into_iter().map(|id| line("twice", id))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(id: u8) -> Taken {
        Taken {
            is_erased: false,
            id: [id; 16],
            seq: id.into(),
            network: String::new(),
            post_id: String::new(),
            seen_at_us: 0,
            created_at_us: 0,
            due_at_us: 0,
            priority: 0,
            model: String::new(),
            at_us: 0,
            room_at_us: 0,
        }
    }

    #[test]
    fn an_update_that_is_missing_or_comes_twice_or_unasked_is_wrong() {
        let erased = |id: u8| ([id; 16], PostChange::Erased);
        let check = |expected: &[u8], came: &[(u8, u64)], count: usize| {
            let mut intake = Intake::default();
            intake.tickets.extend([1, 2].map(ticket));
            intake.changes.extend(came.iter().map(|(id, times)| (erased(*id), *times)));
            let expected = expected.iter().map(|id| erased(*id)).collect();
            assert_eq!(wrong(&expected, &Changes::new(), &intake).len(), count, "{came:?}");
        };
        check(&[1, 2], &[(1, 1), (2, 1)], 0);
        check(&[1, 2], &[(1, 1)], 1);
        check(&[1, 2], &[(1, 1), (2, 2)], 1);
        check(&[1], &[(1, 1), (2, 1)], 1);
        // Of a post from before the stream.
        check(&[1], &[(1, 1), (9, 1)], 0);
    }
}
