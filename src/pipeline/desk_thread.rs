//! The desk thread: takes decided batches in their sources' order, and reports before the decisions that come after them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam::channel::{Receiver, Select, Sender, TryRecvError};

use super::model::Decided;
use super::reload::Rules;
use super::settle::{Clock, settle};
use crate::desk::articles::{Articles, NoArticles};
use crate::desk::told::{Heard, Hearing};
use crate::desk::{Desk, People, Unreadable};
use crate::ledger::Settlement;
use crate::telemetry::pulse::Pulse;

/// Batches that may wait for the desk while it still looks articles up, some 0.5 ms for a ticket at 2,000 articles:
/// a queue that grows is worth more to shorten, and its tickets go without.
const ARTICLES_WAITING_MAX: usize = 8;

/// Between two looks at who can answer: `vigie import agents` takes effect within it, and so does the hour at which a shift
/// begins.
const AGENTS_EVERY: Duration = Duration::from_secs(1);

/// Between two batches of tickets that are decided about anew, where nothing else wakes the desk.
const ANEW_EVERY: Duration = Duration::from_millis(20);

/// Runs until the model thread or the ledger has ended. `hear` is given what helpdesks report, before the decisions
/// that come after it.
///
/// # Errors
///
/// It cannot be known who wrote a post: the daemon must end.
#[expect(clippy::too_many_arguments, reason = "all that a thread of its own is given, once")]
pub fn run(
    mut desk: Desk,
    people: &mut dyn People,
    articles: &mut dyn Articles,
    rules: &ArcSwap<Rules>,
    decided: &Receiver<Decided>,
    mut hearing: Hearing,
    mut hear: impl FnMut(&mut Desk, Heard),
    ledger: &Sender<Settlement>,
    pulse: &Pulse,
) -> Result<(), Unreadable> {
    let mut order = Order::default();
    let mut agents_due = None;
    loop {
        {
            // Only woken here; reports are taken first, so that a decision goes by what was known before it.
            let mut woken = Select::new();
            woken.recv(decided);
            woken.recv(hearing.queue());
            let has_more = desk.has_orphans() || desk.has_changed();
            let wait = if has_more { ANEW_EVERY } else { AGENTS_EVERY };
            // Where nothing comes, there are still the agents to look at.
            let _ = woken.ready_timeout(wait);
        }
        pulse.begin();
        hearing.hear(|heard| hear(&mut desk, heard));
        if agents_due.is_none_or(|due| due <= Instant::now()) {
            if let Some(agents) = people.new_agents()? {
                hear(&mut desk, Heard::Agents(agents));
            }
            hear(&mut desk, Heard::Waiting);
            agents_due = Some(Instant::now() + AGENTS_EVERY);
        }
        if desk.has_orphans() {
            hear(&mut desk, Heard::Orphans);
        }
        if desk.has_changed() {
            hear(&mut desk, Heard::Changed);
        }
        let taken = match decided.try_recv() {
            Ok(taken) => taken,
            Err(TryRecvError::Empty) => {
                pulse.rest();
                continue;
            }
            Err(TryRecvError::Disconnected) => {
                pulse.rest();
                return Ok(());
            }
        };
        let rules = rules.load();
        let is_behind = decided.len() > ARTICLES_WAITING_MAX;
        for decided in order.next(taken) {
            let articles: &mut dyn Articles = if is_behind { &mut NoArticles } else { articles };
            let settlement =
                settle(&mut desk, &rules.desk, people, articles, Clock::Arrival, decided, |_| ())?;
            if pulse.resting(|| ledger.send(settlement).is_err()) {
                pulse.rest();
                return Ok(());
            }
        }
        pulse.rest();
    }
}

/// Brings each source's batches back into their order: several lanes finish them out of it, and the cursor
/// may only move over what is settled. Holds what the other lanes finish while one holds the next batch.
#[derive(Debug, Default)]
struct Order {
    sources: HashMap<Arc<str>, (u64, BTreeMap<u64, Decided>)>,
}

impl Order {
    /// Takes one batch and gives those whose turn it is.
    fn next(&mut self, decided: Decided) -> Vec<Decided> {
        let source = decided.output.source.clone();
        let (next, early) = self.sources.entry(source).or_default();
        early.insert(decided.output.first_sequence, decided);
        let mut ready = Vec::new();
        while let Some(decided) = early.remove(next) {
            *next = decided.output.end_sequence;
            ready.push(decided);
        }
        ready
    }
}

#[cfg(test)]
mod tests;
