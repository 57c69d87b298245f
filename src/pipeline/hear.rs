//! What helpdesks report, as the desk hears it on its own thread.

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::oneshot;
use tracing::{error, warn};

use super::reload::Rules;
use crate::desk::Desk;
use crate::desk::conversation::{CONVERSATIONS_MAX, Remembered};
use crate::desk::told::Heard;
use crate::ledger::Handle;
use crate::ledger::assigned::Assigned;

/// Takes over who has a ticket, as the ledger knows it.
pub(super) fn restore(desk: &mut Desk, assigned: &Assigned) {
    let Assigned { ticket_id, assignee, by_helpdesk, is_open } = assigned;
    desk.restore_assignment(*ticket_id, &assignee.team, &assignee.agent, !by_helpdesk, *is_open);
}

/// What helpdesks report, on the desk's thread. `underway` is what the ledger has not yet recorded of tickets that
/// were assigned anew.
pub(super) fn hear(
    desk: &mut Desk,
    heard: Heard,
    rules: &ArcSwap<Rules>,
    ledger: &Handle,
    underway: &mut Option<oneshot::Receiver<Result<(), String>>>,
) {
    match heard {
        Heard::Told(told) => desk.hear(&told),
        Heard::Agents(agents) => desk.set_agents(&agents),
        Heard::Orphans => {
            // One batch at a time is with the ledger, and nobody waits for it: a team that leaves fills no queue.
            let is_underway = underway
                .as_mut()
                .is_some_and(|answer| matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
            if !is_underway {
                let anew = desk.assign_anew(&rules.load().desk, Timestamp::now());
                *underway = (!anew.is_empty()).then(|| ledger.assign(anew));
            }
        }
        Heard::Missed => {
            warn!(
                "helpdesks reported faster than the desk could hear: it reads from the ledger what became of tickets"
            );
            let closed =
                |ticket: Remembered| desk.conversations.set_closed(ticket.ticket_id, ticket.is_closed);
            let conversations = ledger.conversations(CONVERSATIONS_MAX, closed);
            let held = desk.held();
            if let Err(error) =
                conversations.and_then(|()| ledger.assigned(&held, |assigned| restore(desk, assigned)))
            {
                // Until the next time, or the next start, some agents count as busier than they are, and posts join
                // tickets that are closed.
                error!(%error, "the desk does not know who has which ticket, nor which are closed");
            }
        }
    }
}
