//! A lane: parses and prefilters whole batches, and hands on what is left of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam::channel::{Sender, TrySendError};
use jiff::Timestamp;

use crate::parse::{Format, Frame, Network, Parser};
use crate::prefilter::{Candidate, Prefilter, Scan, Scratch};
use crate::source::{FrameBatch, Gap};
use crate::telemetry::{Bucket, Buckets};

/// What a lane leaves of a batch.
#[derive(Debug)]
pub struct LaneOutput {
    /// The source's name in config.
    pub source: Arc<str>,
    /// First of the source's batches in this output; the counting of [`FrameBatch::sequence`].
    pub first_sequence: u64,
    /// One past the last of them.
    pub end_sequence: u64,
    /// Greatest position among the frames.
    pub position: Option<i64>,
    /// Where the frames ended that are not in `items`.
    pub buckets: Buckets,
    /// Holes noticed before the batch.
    pub gaps: Vec<Gap>,
    /// What later stages decide about, in the order of the frames.
    pub items: Vec<Item>,
    /// When the batch arrived, by our clock.
    pub received_at: Timestamp,
    /// Whether the source rather waits than loses candidates.
    pub patient: bool,
}

/// A frame that later stages decide about.
#[derive(Debug)]
pub enum Item {
    /// A post that a rule matched.
    Candidate(Box<Candidate>),
    /// A post is gone.
    PostDeleted {
        /// On which network.
        network: Network,
        /// As in [`crate::parse::Post::id`].
        id: String,
    },
    /// An account is gone.
    AccountDeleted {
        /// On which network.
        network: Network,
        /// As in [`crate::parse::Author::id`].
        author_id: String,
    },
}

impl LaneOutput {
    /// The candidates, in order.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.items.iter().filter_map(|item| match item {
            Item::Candidate(candidate) => Some(&**candidate),
            Item::PostDeleted { .. } | Item::AccountDeleted { .. } => None,
        })
    }

    /// Takes the least valuable candidates out, all but `keep` of them, and counts them as shed.
    fn shed_all_but(&mut self, keep: usize) {
        let mut values: Vec<u8> = self.candidates().map(|candidate| candidate.value).collect();
        let Some(shed) = values.len().checked_sub(keep).filter(|shed| *shed > 0) else { return };
        values.sort_unstable();
        // All below the threshold go, and as many at it as are still too many.
        let threshold = values[shed - 1];
        let mut at_threshold = values[..shed].iter().filter(|value| **value == threshold).count();
        self.items.retain(|item| match item {
            Item::Candidate(candidate) if candidate.value < threshold => false,
            Item::Candidate(candidate) if candidate.value == threshold && at_threshold > 0 => {
                at_threshold -= 1;
                false
            }
            _ => true,
        });
        self.buckets[Bucket::Shed] += shed as u64;
    }

    /// Joins the source's next output to this one.
    fn append(&mut self, next: LaneOutput) {
        self.end_sequence = next.end_sequence;
        self.position = self.position.max(next.position);
        self.buckets.add(&next.buckets);
        self.gaps.extend(next.gaps);
        self.items.extend(next.items);
        self.received_at = next.received_at;
    }
}

/// The buffers of a lane.
#[derive(Debug, Default)]
pub struct Lane {
    parsers: Vec<(Format, Parser)>,
    scratch: Scratch,
}

impl Lane {
    /// Parses and prefilters every frame of the batch.
    pub fn process(&mut self, prefilter: &Prefilter, mut batch: FrameBatch) -> LaneOutput {
        let mut buckets = Buckets::default();
        buckets[Bucket::Oversize] += batch.oversize;
        buckets[Bucket::Malformed] += batch.unreadable;
        buckets[Bucket::Control] += batch.heartbeats;
        let mut position = batch.position;
        let mut items = Vec::new();

        let scratch = &mut self.scratch;
        let parser = parser_of(&mut self.parsers, batch.format);
        for range in batch.frames {
            let frame = batch.bytes.get_mut(range).unwrap_or_default();
            let Ok(parsed) = parser.parse(frame) else {
                buckets[Bucket::Malformed] += 1;
                continue;
            };
            position = position.max(parsed.position);
            match parsed.frame {
                Frame::Post(post) => match prefilter.scan(&post, scratch) {
                    Scan::Unmatched => buckets[Bucket::Unmatched] += 1,
                    Scan::Own => buckets[Bucket::Own] += 1,
                    Scan::Candidate(candidate) => items.push(Item::Candidate(candidate)),
                },
                Frame::Control => buckets[Bucket::Control] += 1,
                Frame::PostDeleted { network, id } => {
                    items.push(Item::PostDeleted { network, id: id.into_owned() });
                }
                Frame::AccountDeleted { network, author_id } => {
                    items.push(Item::AccountDeleted { network, author_id: author_id.into_owned() });
                }
            }
        }
        LaneOutput {
            source: batch.source,
            first_sequence: batch.sequence,
            end_sequence: batch.sequence + 1,
            position,
            buckets,
            gaps: batch.gaps,
            items,
            received_at: batch.received_at,
            patient: batch.patient,
        }
    }
}

fn parser_of(parsers: &mut Vec<(Format, Parser)>, format: Format) -> &mut Parser {
    let index = parsers.iter().position(|(known, _)| *known == format).unwrap_or_else(|| {
        parsers.push((format, Parser::new(format)));
        parsers.len() - 1
    });
    &mut parsers[index].1
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

/// A lane's end of the queue to the model. Never stalls a live source: what does not fit is shed, lowest
/// value first, and its counts travel with the next output that fits.
#[derive(Debug)]
pub struct Forward {
    /// To the model thread.
    pub queue: Sender<LaneOutput>,
    /// Shared with the model thread.
    pub waiting: Arc<Waiting>,
    /// Most candidates that may wait.
    pub candidates_max: usize,
    /// Outputs that found the queue full, one a source.
    pub held: Vec<LaneOutput>,
}

/// Deletions in one held output at most. Beyond it the lane waits: losing them would leave text that its
/// author has deleted.
const HELD_ITEMS_MAX: usize = 100_000;

/// The model thread has ended.
#[derive(Debug)]
pub struct ModelGone;

impl Forward {
    /// Hands the output to the model, shedding what does not fit.
    ///
    /// # Errors
    ///
    /// The model thread is gone: the lane ends.
    pub fn send(&mut self, mut output: LaneOutput) -> Result<(), ModelGone> {
        if !output.patient {
            output.shed_all_but(self.candidates_max.saturating_sub(self.waiting.candidates()));
        }
        let candidates = output.candidates().count();
        self.waiting.add(candidates);

        let held = self.held.iter().position(|held| held.source == output.source);
        let output = match held {
            Some(index) if self.held[index].end_sequence == output.first_sequence => {
                let mut held = self.held.swap_remove(index);
                held.append(output);
                held
            }
            Some(index) => {
                // Another lane has the batches in between: nothing to join, so the order is kept by waiting.
                let held = self.held.swap_remove(index);
                self.queue.send(held).map_err(|_| ModelGone)?;
                output
            }
            None => output,
        };
        if output.patient || output.items.len() > HELD_ITEMS_MAX {
            return self.queue.send(output).map_err(|_| ModelGone);
        }
        match self.queue.try_send(output) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(output)) => {
                self.held.push(output);
                Ok(())
            }
            Err(TrySendError::Disconnected(_)) => Err(ModelGone),
        }
    }

    /// Hands over what is still held, waiting for room: the lane is about to idle or to end.
    ///
    /// # Errors
    ///
    /// The model thread is gone.
    pub fn flush(&mut self) -> Result<(), ModelGone> {
        self.held.drain(..).try_for_each(|held| self.queue.send(held).map_err(|_| ModelGone))
    }
}

#[cfg(test)]
mod tests {
    use crossbeam::channel::bounded;

    use super::*;
    use crate::prefilter;

    fn prefilter() -> Prefilter {
        let brand = prefilter::Brand {
            name: "Lumio".to_owned(),
            handles: vec!["@lumio".to_owned()],
            names: vec!["lumio".to_owned()],
            listen: "handle OR name".to_owned(),
            ..prefilter::Brand::default()
        };
        Prefilter::build(&prefilter::Config { brands: vec![brand], ..prefilter::Config::default() }).unwrap()
    }

    fn batch(sequence: u64, texts: &[&str]) -> FrameBatch {
        let mut bytes = Vec::new();
        let mut frames = Vec::new();
        for (id, text) in texts.iter().enumerate() {
            let start = bytes.len();
            let frame = serde_json::json!({ "id": format!("{sequence}.{id}"), "author": "a", "text": text });
            bytes.extend_from_slice(frame.to_string().as_bytes());
            frames.push(start..bytes.len());
        }
        FrameBatch {
            source: Arc::from("file"),
            format: Format::Plain,
            sequence,
            bytes,
            frames,
            oversize: 1,
            unreadable: 2,
            heartbeats: 3,
            position: Some(7),
            received_at: Timestamp::UNIX_EPOCH,
            gaps: Vec::new(),
            patient: false,
            permit: None,
        }
    }

    fn output(sequence: u64, texts: &[&str]) -> LaneOutput {
        Lane::default().process(&prefilter(), batch(sequence, texts))
    }

    fn texts(output: &LaneOutput) -> Vec<&str> {
        output.candidates().map(|candidate| &*candidate.post.text).collect()
    }

    #[test]
    fn every_frame_of_a_batch_is_counted_or_handed_on() {
        let output = output(0, &["lumio a", "nobody", "@lumio b"]);
        assert_eq!(texts(&output), ["lumio a", "@lumio b"]);
        let buckets = &output.buckets;
        assert_eq!(
            (buckets[Bucket::Oversize], buckets[Bucket::Malformed], buckets[Bucket::Control]),
            (1, 2, 3)
        );
        assert_eq!((buckets[Bucket::Unmatched], buckets.received()), (1, 7));
        assert_eq!(output.position, Some(7));
    }

    #[test]
    fn the_least_valuable_are_shed_and_the_order_of_the_rest_is_kept() {
        let check = |keep: usize, expected: &[&str]| {
            let mut output = output(0, &["lumio 1", "@lumio 2", "lumio 3", "@lumio 4"]);
            output.shed_all_but(keep);
            assert_eq!(texts(&output), expected, "keeping {keep}");
            assert_eq!(output.buckets[Bucket::Shed], 4 - expected.len() as u64);
        };
        check(5, &["lumio 1", "@lumio 2", "lumio 3", "@lumio 4"]);
        check(4, &["lumio 1", "@lumio 2", "lumio 3", "@lumio 4"]);
        check(3, &["@lumio 2", "lumio 3", "@lumio 4"]);
        check(2, &["@lumio 2", "@lumio 4"]);
        check(1, &["@lumio 4"]);
        check(0, &[]);
    }

    fn forward(outputs: usize, candidates_max: usize) -> (Forward, crossbeam::channel::Receiver<LaneOutput>) {
        let (queue, model) = bounded(outputs);
        (Forward { queue, waiting: Arc::default(), candidates_max, held: Vec::new() }, model)
    }

    #[test]
    fn a_live_source_sheds_beyond_the_limit_and_a_patient_one_does_not() {
        let (mut forward, model) = forward(8, 3);
        forward.send(output(0, &["lumio 1", "lumio 2"])).unwrap();
        forward.send(output(1, &["lumio 3", "@lumio 4"])).unwrap();
        let mut patient = output(2, &["lumio 5"]);
        patient.patient = true;
        forward.send(patient).unwrap();
        let seen: Vec<_> = model.try_iter().map(|output| texts(&output).join(", ")).collect();
        assert_eq!(seen, ["lumio 1, lumio 2", "@lumio 4", "lumio 5"]);
        assert_eq!(forward.waiting.candidates(), 4);
    }

    #[test]
    fn a_full_queue_holds_the_counts_and_hands_them_over_in_order() {
        let (mut forward, model) = forward(1, 100);
        for sequence in 0..4 {
            forward.send(output(sequence, &["nobody"])).unwrap();
        }
        let first = model.recv().unwrap();
        assert_eq!((first.first_sequence, first.end_sequence), (0, 1));
        forward.send(output(4, &["nobody"])).unwrap();
        let rest = model.recv().unwrap();
        assert_eq!((rest.first_sequence, rest.end_sequence), (1, 5));
        assert_eq!(rest.buckets.received(), 4 * 7);
        assert!(forward.held.is_empty());
    }

    #[test]
    fn a_batch_that_another_lane_has_keeps_outputs_from_being_joined() {
        let (mut forward, model) = forward(4, 100);
        let held = output(0, &["nobody"]);
        forward.held.push(held);
        // Batch 1 went to another lane.
        forward.send(output(2, &["nobody"])).unwrap();
        let sequences: Vec<_> = model.try_iter().map(|output| output.first_sequence).collect();
        assert_eq!(sequences, [0, 2]);
    }
}
