//! A lane's end of the queue to the model: sheds, holds and joins what does not fit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::{Sender, TrySendError};

use super::LaneOutput;
use crate::telemetry::pulse::Pulse;

/// A lane's end of the queue to the model. Never stalls a live source: what does not fit is shed, lowest
/// value first, and what the queue has no place for is held until it has.
#[derive(Debug)]
pub struct Forward {
    queue: Sender<LaneOutput>,
    waiting: Arc<Waiting>,
    candidates_max: usize,
    /// Outputs that found the queue full, and those without a candidate, which nobody waits for; oldest first.
    held: VecDeque<LaneOutput>,
    /// When the latter are to go, if no candidate takes them along before.
    due_at: Option<Instant>,
    pulse: Arc<Pulse>,
}

/// How long batches without a candidate may wait for one with: each hand-over wakes three threads, and the
/// ledger takes longer than this to commit counts alone.
const UNAWAITED_DELAY_MAX: Duration = Duration::from_millis(100);

/// Outputs held at most, and items in all of them: beyond it the lane waits. Most items are deletions, and
/// losing them would leave text that its author has deleted.
const HELD_OUTPUTS_MAX: usize = 256;
const HELD_ITEMS_MAX: usize = 100_000;

/// Between two tries to hand over what the queue to the model had no room for.
const HELD_RETRY: Duration = Duration::from_millis(5);

/// The model thread has ended.
#[derive(Debug)]
pub struct ModelGone;

impl Forward {
    /// Sends into `queue`, letting at most `candidates_max` candidates of live sources wait.
    pub fn new(queue: Sender<LaneOutput>, waiting: Arc<Waiting>, candidates_max: usize) -> Forward {
        Forward { queue, waiting, candidates_max, held: VecDeque::new(), due_at: None, pulse: Arc::default() }
    }

    /// Says by this pulse that the lane waits for the model, where it does.
    pub fn with_pulse(self, pulse: Arc<Pulse>) -> Forward {
        Forward { pulse, ..self }
    }

    /// How long from `now` until something that is held can be handed over; `None` if nothing is.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let until = |due_at: Instant| due_at.saturating_duration_since(now);
        (!self.held.is_empty()).then(|| self.due_at.map_or(HELD_RETRY, until))
    }

    /// Hands the output to the model, shedding what does not fit.
    ///
    /// # Errors
    ///
    /// The model thread is gone: the lane ends.
    pub fn send(&mut self, mut output: LaneOutput, now: Instant) -> Result<(), ModelGone> {
        // A patient source is bounded by its own few batches, and must not crowd out the live ones.
        if output.patient_permit.is_none() {
            output.shed(self.waiting.candidates(), self.candidates_max);
            self.waiting.add(output.candidates().count());
        }
        // Deletions, mostly of posts that nobody knows, may wait like counts; what is held because the queue was
        // full goes at the next chance.
        let is_awaited = output.candidates().next().is_some() || output.patient_permit.is_some();
        if self.held.is_empty() && !is_awaited {
            self.due_at = Some(now + UNAWAITED_DELAY_MAX);
        }
        self.hold(output);
        if is_awaited || self.due_at.is_none_or(|due_at| due_at <= now) {
            self.pass_on()?;
        }
        let items = |held: &VecDeque<LaneOutput>| held.iter().map(|held| held.items.len()).sum::<usize>();
        while self.held.len() > HELD_OUTPUTS_MAX || items(&self.held) > HELD_ITEMS_MAX {
            let Some(oldest) = self.held.pop_front() else { break };
            self.pulse.resting(|| self.queue.send(oldest).map_err(|_| ModelGone))?;
        }
        Ok(())
    }

    /// Hands over what is held, as far as there is room.
    ///
    /// # Errors
    ///
    /// The model thread is gone.
    pub fn pass_on(&mut self) -> Result<(), ModelGone> {
        self.due_at = None;
        while let Some(oldest) = self.held.pop_front() {
            match self.queue.try_send(oldest) {
                Ok(()) => {}
                Err(TrySendError::Full(oldest)) => {
                    self.held.push_front(oldest);
                    return Ok(());
                }
                Err(TrySendError::Disconnected(_)) => return Err(ModelGone),
            }
        }
        Ok(())
    }

    /// Hands over everything that is held, waiting for room: the lane ends.
    ///
    /// # Errors
    ///
    /// The model thread is gone.
    pub fn flush(&mut self) -> Result<(), ModelGone> {
        self.pulse.rest();
        self.held.drain(..).try_for_each(|held| self.queue.send(held).map_err(|_| ModelGone))
    }

    /// Joins the output to its source's last held one, unless another lane has the batches in between.
    fn hold(&mut self, output: LaneOutput) {
        let last = self.held.iter_mut().rev().find(|held| held.source == output.source);
        match last {
            Some(last) if last.end_sequence == output.first_sequence && output.patient_permit.is_none() => {
                last.append(output);
            }
            _ => self.held.push_back(output),
        }
    }
}

/// How many candidates wait for the model.
///
/// The lanes add before they send and the model thread subtracts after it has received, both relaxed: the
/// number only bounds the queue and is never used to find data.
#[derive(Debug, Default)]
pub struct Waiting(AtomicUsize);

impl Waiting {
    /// Candidates that wait now.
    pub fn candidates(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, candidates: usize) {
        self.0.fetch_add(candidates, Ordering::Relaxed);
    }

    /// The model thread has taken these.
    pub fn subtract(&self, candidates: usize) {
        self.0.fetch_sub(candidates, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
