//! What helpdesks report, as the desk hears it on its own thread.

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::oneshot;
use tracing::{error, warn};

use super::reload::Rules;
use crate::desk::anew::CHANGED_MAX;
use crate::desk::conversation::CONVERSATIONS_MAX;
use crate::desk::told::Heard;
use crate::desk::{Anew, Desk};
use crate::ledger::Handle;
use crate::ledger::recall::restore;

/// What was decided anew and the ledger has not yet recorded: one batch of each kind at a time, and nobody waits for it, so
/// that neither a team that leaves nor a storm of further posts fills a queue.
#[derive(Debug, Default)]
pub(super) struct Underway {
    orphans: Batch,
    waiting: Batch,
    changed: Batch,
}

impl Underway {
    /// Waits for the ledger's next commit at most, which itself waits for nobody here. One that has ended or failed ends the
    /// daemon.
    fn finish(&mut self) {
        for batch in [&mut self.orphans, &mut self.waiting, &mut self.changed] {
            let _ = batch.0.take().map(oneshot::Receiver::blocking_recv);
        }
    }
}

#[derive(Debug, Default)]
struct Batch(Option<oneshot::Receiver<Result<(), String>>>);

impl Batch {
    fn is_underway(&mut self) -> bool {
        let answer = self.0.as_mut().map(oneshot::Receiver::try_recv);
        matches!(answer, Some(Err(oneshot::error::TryRecvError::Empty)))
    }

    fn send(&mut self, ledger: &Handle, decided: Vec<Anew>) {
        self.0 = (!decided.is_empty()).then(|| ledger.assign(decided));
    }
}

/// What helpdesks report, and what else there is to do between decisions, on the desk's thread.
pub(super) fn hear(
    desk: &mut Desk,
    heard: Heard,
    rules: &ArcSwap<Rules>,
    ledger: &Handle,
    underway: &mut Underway,
) {
    match heard {
        Heard::Told(told) => desk.hear(&told),
        Heard::Agents(agents) => desk.set_agents(&agents),
        Heard::Orphans => {
            if !underway.orphans.is_underway() {
                let anew = desk.assign_anew(&rules.load().desk, Timestamp::now());
                underway.orphans.send(ledger, anew);
            }
        }
        Heard::Waiting => {
            if !underway.waiting.is_underway() {
                let anew = desk.assign_waiting(&rules.load().desk, Timestamp::now());
                underway.waiting.send(ledger, anew);
            }
        }
        Heard::Changed => {
            // Read only once the outcome of the last ones is recorded: the ledger would name them again.
            if underway.changed.is_underway() {
                return;
            }
            match ledger.changed(CHANGED_MAX) {
                Ok(changed) => {
                    // After fewer than there may be, the next one is told.
                    desk.look_for_changed(changed.len() == CHANGED_MAX);
                    let (rules, now) = (rules.load(), Timestamp::now());
                    let decide = |changed| desk.decide_anew(&rules.desk, changed, now);
                    underway.changed.send(ledger, changed.iter().map(decide).collect());
                }
                Err(error) => {
                    // They stay marked in the file: until the next one changes, or the next start.
                    desk.look_for_changed(false);
                    error!(%error, "the desk does not know which tickets have changed: they stay whose they are");
                }
            }
        }
        Heard::Missed => {
            // What is on its way to somebody is nobody's in the file yet, or whoever's it was.
            underway.finish();
            desk.look_for_changed(true);
            warn!(
                "helpdesks reported faster than the desk could hear: it reads from the ledger what became of tickets"
            );
            let mut is_newer = false;
            let conversations = ledger.conversations(CONVERSATIONS_MAX, |ticket| {
                is_newer |= desk.recall_conversation(&ticket, is_newer);
            });
            let held = desk.held();
            let assigned =
                conversations.and_then(|()| ledger.assigned(&held, |assigned| restore(desk, assigned)));
            if let Err(error) = assigned.and_then(|()| ledger.answers(desk)) {
                // Until the next time, or the next start, some agents count as busier than they are, and posts join
                // tickets that are closed.
                error!(%error, "the desk does not know who has which ticket, nor which are closed");
            }
        }
    }
}

#[cfg(test)]
mod tests;
