//! One transaction for all that waits, and what is told once it is durable.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use jiff::Timestamp;
use prost::Message;

use super::apply::{Changes, apply};
use super::{FLOOR_EVERY_ACKS, Request, Writer};
use crate::desk::told::{Load, Status, Told};
use crate::ledger::{
    Feedback, Settlement, accounting, assigned, deadlines, deliveries, feedback, gaps, rescoring, store, wal,
};
use crate::source::Durable;
use crate::telemetry::{Bucket, Buckets};
use crate::ticket::proto;

impl Writer {
    /// One transaction for everything in the group; returns whether the outbox got new heads.
    pub(super) fn commit(
        &mut self,
        settlements: &[Settlement],
        requests: &[Request],
    ) -> rusqlite::Result<bool> {
        let now = Timestamp::now();
        let ageing = self.config.ageing_points_per_hour;
        let transaction = wal::begin(&self.connection)?;
        let mut changes = Changes::default();
        let mut ends = Vec::with_capacity(settlements.len());
        let mut filled = Vec::with_capacity(settlements.len());
        for settlement in settlements {
            let buckets = apply(&transaction, settlement, ageing, &mut changes)?;
            accounting::add_buckets(&transaction, &settlement.source, &buckets)?;
            store::move_position(&transaction, &settlement.source, settlement.position)?;
            for gap in &settlement.gaps {
                gaps::add_gap(&transaction, &settlement.source, gap, now)?;
            }
            ends.push(buckets);
            let mut lengths = Vec::new();
            for stretch in &settlement.recovered {
                lengths.extend(gaps::recover_gaps(&transaction, &settlement.source, *stretch)?);
            }
            filled.push(lengths);
        }
        for request in requests {
            match request {
                Request::Acknowledge { subscription, seqs, .. } => {
                    deliveries::acknowledge(&transaction, subscription, seqs)?;
                    self.acknowledgements += seqs.len() as u64;
                }
                Request::Feedback(feedback, _) => {
                    if feedback::add_feedback(&transaction, feedback, now)? {
                        changes.told.extend(told(feedback));
                    }
                    deadlines::reported(&transaction, feedback, now, &mut changes)?;
                }
                Request::Rescore(rescorings, _) => {
                    for rescoring in rescorings {
                        rescoring::rescore(&transaction, rescoring, ageing, &mut changes)?;
                    }
                }
                Request::Assign(assignments, _) => {
                    for anew in assignments {
                        assigned::assign(&transaction, anew, ageing, &mut changes)?;
                    }
                }
                Request::Subscribe(..) | Request::Broken(_) | Request::Stop => {}
            }
        }
        // After the reports: what is answered with this very commit is not late.
        let alarm = self.alarm.after(&transaction, now, ageing, &mut changes)?;
        let reranked = rescoring::reranked(&transaction, ageing, &mut changes)?;
        // Counted in SQL and not beside it: a duplicate or an erasure is decided there.
        transaction.commit()?;

        let Changes { heads, placed: _, provisional, clocks, told, changed } = changes;
        self.alarm = alarm;
        if !clocks.moves.is_empty() {
            self.figures.lock().standing.apply(&clocks.moves);
        }
        if let Some(teller) = &self.teller {
            told.into_iter().for_each(|told| teller.tell(told));
            if changed {
                teller.tell(Told::Changed);
            }
        }
        let before = self.provisional.load(Ordering::Relaxed);
        self.provisional.store(before.saturating_add_signed(provisional), Ordering::Relaxed);
        self.account(settlements, &ends, &filled);
        if ends.iter().any(|buckets| buckets[Bucket::Erased] > 0) {
            self.truncate_due = Some(Instant::now());
        }
        let heads: Vec<_> = heads.into_iter().map(Arc::new).collect();
        {
            let mut outbox = self.outbox.lock();
            outbox.rerank(&reranked);
            outbox.publish(&heads);
        }
        if self.acknowledgements >= FLOOR_EVERY_ACKS {
            self.acknowledgements = 0;
            self.raise_floors()?;
        }
        Ok(!heads.is_empty())
    }

    /// Shows the commit's frames to readers, all batches at once, and tells the sources.
    fn account(&self, settlements: &[Settlement], ends: &[Buckets], filled: &[Vec<f64>]) {
        let mut accounting = self.accounting.lock();
        for ((settlement, buckets), filled) in settlements.iter().zip(ends).zip(filled) {
            let account = accounting.sources.entry(settlement.source.clone()).or_default();
            account.buckets.add(buckets);
            account.position = account.position.max(settlement.position);
            account.gaps += settlement.gaps.len() as u64;
            account.gap_length +=
                settlement.gaps.iter().map(|gap| gap.to as f64 - gap.from as f64).sum::<f64>();
            account.gaps_recovered += filled.len() as u64;
            account.gap_length_recovered += filled.iter().sum::<f64>();
            if settlement.position.is_some()
                && let Some(durable) = self.durable.get(&settlement.source)
            {
                let Settlement { end_sequence, position, .. } = *settlement;
                durable.send_replace(Durable { end_sequence, position });
            }
        }
    }
}

/// What the desk is told of it. The wire has decoded these bytes before: none of them is broken.
fn told(feedback: &Feedback) -> Option<Told> {
    match feedback {
        Feedback::TicketStatus(id, body) | Feedback::TicketStatusWithin { ticket_id: id, body, .. } => {
            proto::TicketStatus::decode(&**body).ok().map(|status| Told::Status(*id, Status::of(status)))
        }
        Feedback::AgentState(body) => {
            proto::AgentState::decode(&**body).ok().map(|state| Told::Agent(Load::of(state)))
        }
        // Looked up in the ledger when its person writes.
        Feedback::Touchpoint(_) | Feedback::Contacts(_) => None,
    }
}
