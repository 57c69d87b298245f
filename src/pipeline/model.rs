//! The model thread: takes what waits, classifies it together, and keeps the order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};

use super::lane::{LaneOutput, Waiting};
use crate::classify::{Classifier, ClassifyError, Verdict};

/// A lane's output with a verdict for each of its candidates.
#[derive(Debug)]
pub struct Decided {
    /// What the lane left of the batch.
    pub output: LaneOutput,
    /// One for each candidate, in their order.
    pub verdicts: Vec<Verdict>,
    /// Name and version of the model that gave them.
    pub model: Arc<str>,
}

/// Classifies whatever the outputs hold, in one go.
///
/// # Errors
///
/// The runtime failed: a restart may cure it.
pub fn classify(
    classifier: &mut Classifier,
    model: &Arc<str>,
    outputs: Vec<LaneOutput>,
) -> Result<Vec<Decided>, ClassifyError> {
    let texts: Vec<&str> =
        outputs.iter().flat_map(LaneOutput::candidates).map(|candidate| &*candidate.post.text).collect();
    let mut verdicts = Vec::with_capacity(texts.len());
    classifier.classify(&texts, &mut verdicts)?;
    let mut verdicts = verdicts.into_iter();
    Ok(outputs
        .into_iter()
        .map(|mut output| {
            output.patient_permit = None;
            let verdicts = verdicts.by_ref().take(output.candidates().count()).collect();
            Decided { output, verdicts, model: model.clone() }
        })
        .collect())
}

/// Runs until the lanes or the desk have ended.
///
/// # Errors
///
/// The runtime failed: a restart may cure it.
pub fn run(
    mut classifier: Classifier,
    batch_delay_max: Duration,
    lanes: &Receiver<LaneOutput>,
    waiting: &Waiting,
    desk: &Sender<Decided>,
) -> Result<(), ClassifyError> {
    let model: Arc<str> = Arc::from(classifier.model());
    let posts_max = classifier.batch_posts_max().get();
    while let Some(outputs) = gather(lanes, posts_max, batch_delay_max) {
        let live = outputs.iter().filter(|output| output.patient_permit.is_none());
        waiting.subtract(live.map(|output| output.candidates().count()).sum());
        for decided in classify(&mut classifier, &model, outputs)? {
            if desk.send(decided).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Waits for a batch of candidates; outputs without any are passed on at once when none is waited for.
fn gather(lanes: &Receiver<LaneOutput>, posts_max: usize, delay_max: Duration) -> Option<Vec<LaneOutput>> {
    let first = lanes.recv().ok()?;
    let mut posts = first.candidates().count();
    let mut outputs = vec![first];
    let deadline = Instant::now() + delay_max;
    // Without a candidate nobody gains by waiting; with one, a fuller batch is cheaper a post.
    while posts < posts_max {
        let wait =
            if posts == 0 { Duration::ZERO } else { deadline.saturating_duration_since(Instant::now()) };
        match lanes.recv_timeout(wait) {
            Ok(output) => {
                posts += output.candidates().count();
                outputs.push(output);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    Some(outputs)
}
