//! What helpdesks report back, on its way from the ledger to the desk: against the data's direction.
//!
//! A report is told once it is durable. The ledger never waits for the desk, which waits for the ledger itself: what
//! finds no room is not queued, and a mark is left that the desk's memory no longer agrees with the ledger. The desk
//! then reads from there again all that it would have been told, so that nothing is lost but time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded, never};

use super::agent::Agent;
use crate::ticket::proto::ticket_status::State;
use crate::ticket::{TicketId, proto};

/// Reports that wait for the desk, in all: under 2 MiB. [`Told`] itself takes at most 64 bytes, and each of the at most
/// two names in it no more than the 200 that the ticket socket lets through.
pub const QUEUE_TOLD: usize = 4096;

/// Something that is durable, and that the desk goes by: no more of it than the desk needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// What a helpdesk says has become of a ticket that the ledger has.
    Status(TicketId, Status),
    /// How busy a helpdesk says that an agent is. What they can do comes with [`Heard::Agents`].
    Agent(Load),
    /// Whose a ticket is, where the ledger knows better than the desk, which counted it when it decided; `None`: nobody
    /// works on it.
    Stands(TicketId, Option<Holder>),
    /// Nothing joins this ticket any more, though no helpdesk says so: it is no customer message, or the desk has taken a
    /// post for one that joins it that did not.
    Closed(TicketId),
    /// Nothing is left of this ticket, nor will be: erased.
    Over(TicketId),
    /// The desk took a post for one that joins a ticket, and that one was closed by then, full, or gone: nothing joins it.
    Belongs {
        /// Which post.
        post_id: TicketId,
        /// Where it belongs instead: to another ticket of its author's, or its own if both are the same.
        ticket_id: TicketId,
        /// Whom that ticket is about.
        brand: Arc<str>,
        /// Whether it hangs in the thread of the one that it was taken to join.
        in_thread: bool,
        /// When it was posted, µs since 1970.
        at_us: i64,
    },
    /// The desk took this post for one that joins a ticket, and that one was closed by then, or gone; by itself the post
    /// is nothing for us. It stands beside.
    Beside(TicketId),
    /// Tickets have come to be about something else, or to matter more or less: which ones the ledger keeps in its file.
    Changed,
}

/// What the desk needs of a `TicketStatus`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What became of the ticket.
    pub state: State,
    /// Whose it is; empty if that is not said.
    pub agent: Box<str>,
    /// When it was answered first, µs since 1970; 0: not yet.
    pub first_answer_at_us: i64,
}

impl Status {
    /// Of such a report.
    pub fn of(status: proto::TicketStatus) -> Status {
        let state = status.state();
        Status { state, agent: status.agent.into(), first_answer_at_us: status.first_answer_at_us }
    }
}

/// What the desk needs of an `AgentState` at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Who.
    pub agent: Box<str>,
    /// Tickets that they have open, by their own count.
    pub open_tickets: u32,
    /// Most tickets open at once; 0: as before.
    pub capacity: u32,
}

impl Load {
    /// Of such a report.
    pub fn of(state: proto::AgentState) -> Load {
        let (open_tickets, capacity) = (state.open_tickets, state.capacity);
        Load { agent: state.agent.trim().into(), open_tickets, capacity }
    }
}

/// Whose a ticket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// As in config.
    pub team: Box<str>,
    /// Empty: only the team's.
    pub agent: Box<str>,
    /// Whether the desk named the agent, and not a helpdesk, or may name one: not of what a supplier has.
    pub is_ours: bool,
}

/// What the desk hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A report.
    Told(Told),
    /// Reports found no room: what they said is in the ledger. Everything told so far was heard before.
    Missed,
    /// Who can answer has changed: all agents, as they are now.
    Agents(Vec<Agent>),
    /// Some tickets' agents are no longer there: a few may be assigned anew. Said once a turn while there are any.
    Orphans,
    /// Once in a while: somebody may be there by now for tickets without an agent.
    Waiting,
    /// Some tickets have changed: a few may be [decided about anew](super::Desk::decide_anew). Said likewise.
    Changed,
}

/// The ledger's end.
#[derive(Debug)]
pub struct Teller {
    queue: Sender<Told>,
    /// Stored with release after a report was left out, taken with acquire by [`Hearing::missed`].
    missed: Arc<AtomicBool>,
}

/// The desk's end.
#[derive(Debug)]
pub struct Hearing {
    queue: Receiver<Told>,
    missed: Arc<AtomicBool>,
}

/// Both ends of a queue of `reports_max`; the daemon's holds [`QUEUE_TOLD`].
pub fn channel(reports_max: usize) -> (Teller, Hearing) {
    let (sender, receiver) = bounded(reports_max);
    let missed = Arc::<AtomicBool>::default();
    (Teller { queue: sender, missed: missed.clone() }, Hearing { queue: receiver, missed })
}

impl Teller {
    /// Never waits.
    pub fn tell(&self, told: Told) {
        // A desk that has ended decides nothing more.
        if let Err(TrySendError::Full(_)) = self.queue.try_send(told) {
            self.missed.store(true, Ordering::Release);
        }
    }
}

impl Hearing {
    /// Hears nothing, ever.
    pub fn nothing() -> Hearing {
        Hearing { queue: never(), missed: Arc::default() }
    }

    /// The queue, to wait at together with others.
    pub fn queue(&self) -> &Receiver<Told> {
        &self.queue
    }

    /// Hands on everything that is there by now, without waiting; whether the ledger may tell more.
    pub fn hear(&mut self, mut hear: impl FnMut(Heard)) -> bool {
        // No more than the queue holds: what is told meanwhile waits for the next turn.
        for _ in 0..QUEUE_TOLD {
            match self.queue.try_recv() {
                Ok(told) => hear(Heard::Told(told)),
                Err(error) if error.is_disconnected() => {
                    self.queue = never();
                    return false;
                }
                Err(_) => break,
            }
        }
        // Left just after this look, the mark is seen at the next turn: when anything else comes to the desk.
        if self.missed.swap(false, Ordering::Acquire) {
            hear(Heard::Missed);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solved(ticket: u8) -> Told {
        let status = Status { state: State::Solved, agent: "lena".into(), first_answer_at_us: 0 };
        Told::Status(TicketId::from_bytes(&[ticket; 16]).unwrap(), status)
    }

    fn heard(hearing: &mut Hearing) -> Vec<Heard> {
        let mut all = Vec::new();
        hearing.hear(|heard| all.push(heard));
        all
    }

    #[test]
    fn what_finds_no_room_is_said_to_be_missing_after_what_did() {
        let (teller, mut hearing) = channel(2);
        (1..=3).for_each(|ticket| teller.tell(solved(ticket)));
        let expected = [Heard::Told(solved(1)), Heard::Told(solved(2)), Heard::Missed];
        assert_eq!(heard(&mut hearing), expected);
        // Said once; and there is room again.
        teller.tell(solved(4));
        assert_eq!(heard(&mut hearing), [Heard::Told(solved(4))]);
    }

    #[test]
    fn a_full_queue_takes_the_memory_that_it_says() {
        assert!(size_of::<Told>() <= 64, "{}", size_of::<Told>());
    }

    #[test]
    fn a_ledger_that_has_ended_is_not_waited_for() {
        let (teller, mut hearing) = channel(2);
        teller.tell(solved(1));
        drop(teller);
        let mut count = 0;
        assert!(!hearing.hear(|_| count += 1));
        assert_eq!(count, 1);
        assert!(hearing.queue().try_recv().is_err_and(|error| !error.is_disconnected()), "waits for ever");
    }

    #[test]
    fn a_desk_that_has_ended_stops_nobody() {
        let (teller, hearing) = channel(1);
        drop(hearing);
        (1..=3).for_each(|ticket| teller.tell(solved(ticket)));
    }
}
