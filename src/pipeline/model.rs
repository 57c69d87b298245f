//! The model thread: takes what waits, classifies it together, and keeps the order.
//!
//! When more waits than the full model can take in time, the small one answers alone until that is worked
//! off ([`Overload`]); what it decided is read again by the full one when there is time ([`Rescorer`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};

use super::lane::{LaneOutput, Waiting};
use super::overload::{Overload, Pace};
use super::rescore::{RescoreError, Rescorer};
use crate::classify::{Classifier, ClassifyError, Verdict};
use crate::telemetry::pulse::Pulse;

/// A lane's output with a verdict for each of its candidates.
#[derive(Debug)]
pub struct Decided {
    /// What the lane left of the batch.
    pub output: LaneOutput,
    /// One for each candidate, in their order.
    pub verdicts: Vec<Verdict>,
    /// Name and version of the model that gave them.
    pub model: Arc<str>,
    /// Whether that was the small model, for want of time.
    pub provisional: bool,
}

/// A classifier with the names that its verdicts are signed with.
pub struct Model {
    classifier: Classifier,
    name: Arc<str>,
    quick_name: Option<Arc<str>>,
}

impl Model {
    /// This classifier.
    pub fn new(classifier: Classifier) -> Model {
        let name = classifier.model().into();
        let quick_name = classifier.quick_model().map(Into::into);
        Model { classifier, name, quick_name }
    }

    /// Name and version of the model that decides in the end.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether there is a small model beside it, to answer under overload.
    pub fn has_quick(&self) -> bool {
        self.quick_name.is_some()
    }

    /// Classifies whatever the outputs hold, in one go.
    ///
    /// # Errors
    ///
    /// The runtime failed: a restart may cure it.
    pub fn classify(&mut self, pace: Pace, outputs: Vec<LaneOutput>) -> Result<Vec<Decided>, ClassifyError> {
        self.classify_by_batches(pace, outputs, || {})
    }

    /// As [`Model::classify`]; calls `begins` before each batch that the model takes at once.
    fn classify_by_batches(
        &mut self,
        pace: Pace,
        outputs: Vec<LaneOutput>,
        begins: impl FnMut(),
    ) -> Result<Vec<Decided>, ClassifyError> {
        let texts: Vec<&str> =
            outputs.iter().flat_map(LaneOutput::candidates).map(|candidate| &*candidate.post.text).collect();
        let verdicts = self.read(pace, &texts, begins)?;
        let quick_name = self.quick_name.as_ref().filter(|_| pace == Pace::Quick);
        let (model, provisional) = (quick_name.unwrap_or(&self.name), quick_name.is_some());
        let mut verdicts = verdicts.into_iter();
        Ok(outputs
            .into_iter()
            .map(|mut output| {
                output.patient_permit = None;
                let verdicts = verdicts.by_ref().take(output.candidates().count()).collect();
                Decided { output, verdicts, model: model.clone(), provisional }
            })
            .collect())
    }

    /// The verdicts on `texts`, in their order, batch by batch: the last output of a gathering may hold many times what
    /// the model takes at once.
    fn read(
        &mut self,
        pace: Pace,
        texts: &[&str],
        mut begins: impl FnMut(),
    ) -> Result<Vec<Verdict>, ClassifyError> {
        let is_quick = pace == Pace::Quick && self.has_quick();
        let posts_max = if is_quick { QUICK_POSTS_MAX } else { self.classifier.batch_posts_max().get() };
        let mut verdicts = Vec::with_capacity(texts.len());
        for batch in texts.chunks(posts_max) {
            begins();
            if is_quick {
                self.classifier.classify_quickly(batch, &mut verdicts)?;
            } else {
                self.classifier.classify(batch, &mut verdicts)?;
            }
        }
        Ok(verdicts)
    }

    /// The full model's verdicts on `texts`, in their order.
    ///
    /// # Errors
    ///
    /// The runtime failed: a restart may cure it.
    pub fn read_again(&mut self, texts: &[&str]) -> Result<Vec<Verdict>, ClassifyError> {
        let mut verdicts = Vec::with_capacity(texts.len());
        self.classifier.classify(texts, &mut verdicts)?;
        Ok(verdicts)
    }
}

/// Verdicts given since the start, by model. Written by the model thread, read by anyone, relaxed: nothing
/// else depends on them.
#[derive(Debug, Default)]
pub struct Verdicts {
    full: AtomicU64,
    quick: AtomicU64,
}

impl Verdicts {
    /// By the configured model.
    pub fn full(&self) -> u64 {
        self.full.load(Ordering::Relaxed)
    }

    /// By the small one alone, under overload.
    pub fn quick(&self) -> u64 {
        self.quick.load(Ordering::Relaxed)
    }

    fn add(&self, pace: Pace, verdicts: usize) {
        let counter = match pace {
            Pace::Full => &self.full,
            Pace::Quick => &self.quick,
        };
        counter.fetch_add(verdicts as u64, Ordering::Relaxed);
    }
}

/// Why the model thread ends.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The runtime failed.
    #[error(transparent)]
    Classify(#[from] ClassifyError),
    /// Tickets cannot be scored again.
    #[error(transparent)]
    Rescore(#[from] RescoreError),
}

/// Most posts that the small model takes at once: 20 ms of its work.
const QUICK_POSTS_MAX: usize = 1024;

/// The model thread's ends of the queues around it, and what it decides by.
pub struct Stage {
    /// From the lanes.
    pub lanes: Receiver<LaneOutput>,
    /// How many candidates are in that queue.
    pub waiting: Arc<Waiting>,
    /// To the desk.
    pub desk: Sender<Decided>,
    /// How long a candidate may wait for others.
    pub batch_delay_max: Duration,
    /// When the small model answers.
    pub overload: Overload,
    /// What it decided, to be read again; `None` where that is nobody's business.
    pub rescorer: Option<Rescorer>,
    /// Counts.
    pub verdicts: Arc<Verdicts>,
    /// What the thread is doing: one batch that the model takes at once is a piece of work.
    pub pulse: Arc<Pulse>,
}

impl Stage {
    /// Runs until the lanes or the desk have ended.
    ///
    /// # Errors
    ///
    /// A restart may cure it.
    pub fn run(mut self, mut model: Model) -> Result<(), ModelError> {
        let posts_max = model.classifier.batch_posts_max().get();
        loop {
            self.pulse.rest();
            let Some(first) = self.next(&mut model)? else { return Ok(()) };
            let pace = match self.overload.pace(self.waiting.candidates(), Instant::now()) {
                Pace::Quick if model.has_quick() => Pace::Quick,
                _ => Pace::Full,
            };
            let outputs = match pace {
                Pace::Full => self.gather(first, posts_max, self.batch_delay_max),
                Pace::Quick => self.gather(first, QUICK_POSTS_MAX, Duration::ZERO),
            };
            let live = outputs.iter().filter(|output| output.patient_permit.is_none());
            self.waiting.subtract(live.map(|output| output.candidates().count()).sum());
            for decided in model.classify_by_batches(pace, outputs, || self.pulse.begin())? {
                self.verdicts.add(pace, decided.verdicts.len());
                if self.pulse.resting(|| self.desk.send(decided).is_err()) {
                    self.pulse.rest();
                    return Ok(());
                }
            }
        }
    }

    /// The next output; while none is there and the load allows, tickets are scored again.
    fn next(&mut self, model: &mut Model) -> Result<Option<LaneOutput>, ModelError> {
        loop {
            let is_calm = self.overload.is_calm(Instant::now());
            let wait = self.rescorer.as_ref().and_then(|rescorer| rescorer.wait(is_calm));
            if let (Some(Duration::ZERO), Some(rescorer)) = (wait, &mut self.rescorer) {
                match self.lanes.try_recv() {
                    Ok(output) => return Ok(Some(output)),
                    Err(TryRecvError::Disconnected) => return Ok(None),
                    Err(TryRecvError::Empty) => {
                        self.pulse.begin();
                        rescorer.rescore(model, &self.pulse)?;
                        self.pulse.rest();
                    }
                }
                continue;
            }
            let received = match wait {
                None => self.lanes.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(wait) => self.lanes.recv_timeout(wait),
            };
            match received {
                Ok(output) => return Ok(Some(output)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Waits for a batch of candidates; outputs without any are passed on at once when none is waited for.
    fn gather(&self, first: LaneOutput, posts_max: usize, delay_max: Duration) -> Vec<LaneOutput> {
        let mut posts = first.candidates().count();
        let mut outputs = vec![first];
        let deadline = Instant::now() + delay_max;
        // Without a candidate nobody gains by waiting; with one, a fuller batch is cheaper a post.
        while posts < posts_max {
            let wait =
                if posts == 0 { Duration::ZERO } else { deadline.saturating_duration_since(Instant::now()) };
            match self.lanes.recv_timeout(wait) {
                Ok(output) => {
                    posts += output.candidates().count();
                    outputs.push(output);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        outputs
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::classify::{Config, ModelChoice};

    #[test]
    fn each_batch_is_a_piece_of_work_of_its_own() {
        let batch_posts_max = NonZeroUsize::new(2);
        let config = Config { model: ModelChoice::Small, batch_posts_max, ..Config::default() };
        let mut model = Model::new(Classifier::open(&config).unwrap());
        let texts = ["ma box est en panne", "merci", "", "no signal since this morning", "???"];
        let mut batches = 0;
        let verdicts = model.read(Pace::Full, &texts, || batches += 1).unwrap();
        assert_eq!((verdicts.len(), batches), (5, 3));
        for (text, verdict) in texts.iter().zip(&verdicts) {
            let alone = model.read(Pace::Full, &[text], || ()).unwrap();
            assert_eq!(alone[0].language, verdict.language, "{text:?} has another's verdict");
        }
    }
}
