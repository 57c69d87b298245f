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
