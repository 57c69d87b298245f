//! Whether a slow helpdesk got, each time, the ticket that mattered most.
//!
//! "Among the pending records of the subscription it always sends the one that matters most next: highest
//! priority, then nearest `due_at`, then oldest. Waiting adds priority slowly."
//!
//! What was pending at an instant is known from outside by a second subscription that takes everything at once:
//! a ticket that it had when the slow one made room was pending for the slow one too.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::subscriber::{Raise, Taken, TicketId};

/// Time that earns a waiting ticket one point: 100 points an hour, the daemon's default.
const AGEING_STEP_US: i64 = 36_000_000;

/// Greater goes first.
type Rank = (i64, Reverse<i64>, Reverse<u64>);

fn rank(ticket: &Taken) -> Rank {
    let worth = i64::from(ticket.priority) - ticket.created_at_us.div_euclid(AGEING_STEP_US);
    (worth, Reverse(ticket.due_at_us), Reverse(ticket.seq))
}

/// A ticket as it came to matter in the end.
fn raised(ticket: &Taken, greatest: &HashMap<TicketId, u32>) -> Taken {
    let priority = greatest.get(&ticket.id).copied().unwrap_or(0).max(ticket.priority);
    Taken { priority, ..ticket.clone() }
}

/// The greatest priority that each ticket was raised to.
fn greatest(raises: &[Raise]) -> HashMap<TicketId, u32> {
    let mut greatest = HashMap::new();
    for Raise { ticket, priority, .. } in raises {
        let known: &mut u32 = greatest.entry(*ticket).or_default();
        *known = (*priority).max(*known);
    }
    greatest
}

/// How many of `slow`'s tickets were sent although one that mattered more was pending, by what `prompt` had.
///
/// A ticket with `raises` may have mattered as much as in the end from any of them on: when the slow one was given it, the
/// prompt one may not have heard of that yet.
pub(super) fn out_of_turn(slow: &[Taken], prompt: &[Taken], raises: &[Raise]) -> u64 {
    let greatest = greatest(raises);
    let of = |raise: &Raise| {
        let ticket = prompt.iter().find(|ticket| ticket.id == raise.ticket)?;
        Some(Taken { priority: raise.priority, at_us: raise.at_us, ..ticket.clone() })
    };
    let mut arrivals: Vec<Taken> = prompt.iter().cloned().chain(raises.iter().filter_map(of)).collect();
    arrivals.sort_by_key(|arrival| arrival.at_us);
    let mut arrivals = arrivals.iter().peekable();
    let mut pending = BinaryHeap::new();
    let mut sent = HashSet::new();
    let mut wrong = 0;
    for ticket in slow {
        while let Some(arrived) = arrivals.next_if(|arrived| arrived.at_us < ticket.room_at_us) {
            pending.push((rank(arrived), arrived.id));
        }
        while pending.peek().is_some_and(|(_, id)| sent.contains(id)) {
            pending.pop();
        }
        wrong += u64::from(pending.peek().is_some_and(|(best, _)| *best > rank(&raised(ticket, &greatest))));
        sent.insert(ticket.id);
    }
    wrong
}

/// How many of these were sent after one that mattered less, when all of them were pending from the beginning.
pub(super) fn unsorted(tickets: &[Taken], raises: &[Raise]) -> u64 {
    let greatest = greatest(raises);
    let tickets: Vec<Taken> = tickets.iter().map(|ticket| raised(ticket, &greatest)).collect();
    tickets.windows(2).filter(|pair| rank(&pair[0]) < rank(&pair[1])).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(id: u8, priority: u32, at_us: i64, room_at_us: i64) -> Taken {
        Taken {
            is_erased: false,
            id: [id; 16],
            seq: id.into(),
            network: String::new(),
            post_id: String::new(),
            seen_at_us: 0,
            created_at_us: 0,
            due_at_us: 0,
            priority,
            model: String::new(),
            at_us,
            room_at_us,
        }
    }

    #[test]
    fn a_better_ticket_that_was_pending_must_come_first() {
        let prompt = [ticket(1, 10, 1, 0), ticket(2, 20, 2, 0), ticket(3, 30, 9, 0)];
        let check = |order: [(u8, u32, i64); 3], expected| {
            let slow = order.map(|(id, priority, room)| ticket(id, priority, room, room));
            assert_eq!(out_of_turn(&slow, &prompt, &[]), expected, "{order:?}");
        };
        check([(2, 20, 5), (1, 10, 6), (3, 30, 10)], 0);
        check([(1, 10, 5), (2, 20, 6), (3, 30, 10)], 1);
        // Before the second had come, the first was right.
        check([(1, 10, 2), (2, 20, 6), (3, 30, 10)], 0);
        // The third has come, and is passed over twice.
        check([(1, 10, 10), (2, 20, 10), (3, 30, 10)], 2);
    }

    #[test]
    fn what_was_all_pending_comes_sorted() {
        let of = |priorities: &[u32]| {
            let tickets = (0..).zip(priorities).map(|(id, priority)| ticket(id, *priority, 0, 0));
            unsorted(&tickets.collect::<Vec<_>>(), &[])
        };
        assert_eq!((of(&[30, 20, 20, 10]), of(&[30, 10, 20, 20]), of(&[])), (0, 1, 0));
    }

    #[test]
    fn a_ticket_that_was_raised_may_come_by_what_it_matters_then() {
        let prompt = [ticket(1, 10, 1, 0), ticket(2, 20, 2, 0)];
        let raises = [Raise { ticket: [1; 16], priority: 30, at_us: 3 }];
        let slow = |order: [u8; 2]| order.map(|id| ticket(id, u32::from(id) * 10, 5, 5));
        assert_eq!(
            (out_of_turn(&slow([1, 2]), &prompt, &[]), out_of_turn(&slow([1, 2]), &prompt, &raises)),
            (1, 0)
        );
        assert_eq!(out_of_turn(&slow([2, 1]), &prompt, &raises), 1);
        assert_eq!((unsorted(&slow([1, 2]), &raises), unsorted(&slow([2, 1]), &raises)), (0, 1));
    }

    #[test]
    fn waiting_earns_points() {
        let old = Taken { created_at_us: 0, ..ticket(1, 10, 0, 0) };
        let new = Taken { created_at_us: 2 * AGEING_STEP_US, ..ticket(2, 11, 0, 0) };
        assert!(rank(&old) > rank(&new));
    }
}
