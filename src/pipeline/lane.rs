//! A lane: parses and prefilters whole batches, and hands on what is left of them.

use std::sync::Arc;

use crate::parse::{Format, Frame, Parser, Post};
use crate::prefilter::watched::{Standing, Watched};
use crate::prefilter::{Candidate, Prefilter, Scan, Scratch};
use crate::source::{FrameBatch, ndjson};
use crate::telemetry::{Bucket, Buckets};

mod bound;
mod forward;
mod output;

pub use forward::{Forward, ModelGone, Waiting};
pub use output::{Item, LaneOutput, MALFORMED_TOLD_MAX, MalformedFrame};

use bound::{bound, said};

/// The buffers of a lane.
#[derive(Debug, Default)]
pub struct Lane {
    parsers: Vec<(Format, Parser)>,
    scratch: Scratch,
    watched: Option<Arc<Watched>>,
}

impl Lane {
    /// A lane that hands on what is said in threads that are watched, too.
    pub fn watching(watched: Arc<Watched>) -> Lane {
        Lane { watched: Some(watched), ..Lane::default() }
    }

    /// Parses and prefilters every frame of the batch.
    pub fn process(&mut self, prefilter: &Prefilter, mut batch: FrameBatch) -> LaneOutput {
        let mut buckets = Buckets::default();
        buckets[Bucket::Oversize] += batch.oversize;
        buckets[Bucket::Malformed] += batch.unreadable;
        buckets[Bucket::Control] += batch.heartbeats;
        buckets[Bucket::Duplicate] += batch.duplicates;
        // A line's number and what the line itself says are two units: the source chose.
        let counts_frames = batch.position.is_some();
        let mut position = batch.position;
        // A time stamp from the future would send every later resume there; one that is too early only has
        // something repeated.
        let position_max = batch.received_at.as_microsecond();
        let mut items = Vec::new();

        let scratch = &mut self.scratch;
        let watched = self.watched.as_deref();
        let look = watched.map(Watched::look);
        let parser = parser_of(&mut self.parsers, batch.format);
        let mut malformed = Vec::new();
        let lines =
            if batch.oversize + batch.unreadable + batch.heartbeats == 0 { batch.position } else { None };
        let before = lines.map(|last| ndjson::lines_of(last).saturating_sub(batch.frames.len() as i64));
        for (index, range) in batch.frames.into_iter().enumerate() {
            let frame = batch.bytes.get_mut(range).unwrap_or_default();
            let mut passes = |post: &Post<'_>| {
                prefilter.passes_over(post, scratch) && !look.as_ref().is_some_and(|look| look.is_reply(post))
            };
            let parsed = match parser.parse_unless(frame, &mut passes) {
                Ok(parsed) => parsed,
                Err(why) => {
                    buckets[Bucket::Malformed] += 1;
                    if malformed.len() < MALFORMED_TOLD_MAX {
                        let line = before.map(|before| before + index as i64 + 1);
                        malformed.push(MalformedFrame { frame: index, line, why });
                    }
                    continue;
                }
            };
            if !counts_frames {
                position = position.max(parsed.position.map(|position| position.min(position_max)));
            }
            match parsed.frame {
                Frame::Post(mut post) => {
                    post.hashtags.truncate(SCANNED_ITEMS_MAX);
                    post.mentions.truncate(SCANNED_ITEMS_MAX);
                    // A repost says nothing in a thread that its author has not said.
                    let in_thread = match &look {
                        Some(look) if post.reposted_by.is_none() => look.standing(&post),
                        _ => None,
                    };
                    match (prefilter.scan(&post, scratch), in_thread) {
                        (Scan::Own, None) => buckets[Bucket::Own] += 1,
                        (Scan::Own, Some(_)) => match said(&post) {
                            Some(answer) => {
                                watched.iter().for_each(|watched| watched.note_post(&answer));
                                items.push(Item::Answer(answer));
                            }
                            None => buckets[Bucket::Own] += 1,
                        },
                        (Scan::Unmatched, _) if post.edited => {
                            let is_kept = look.as_ref().is_some_and(|look| look.is_kept(&post));
                            // Most are strangers': no more of them is owned than id and text.
                            let mut kept = is_kept.then(|| post.clone().into_owned());
                            items.push(match kept.take_if(bound) {
                                Some(post) => Item::Reply(Box::new(Candidate::in_thread(post))),
                                None => Item::edited(&post, Bucket::Unmatched),
                            });
                        }
                        (Scan::Unmatched, None) => {
                            let is_ours = || look.as_ref().is_some_and(|look| look.is_ours(&post));
                            let mut named = prefilter.named(scratch).into_iter();
                            match named.next().filter(|_| post.reposted_by.is_none() && is_ours()) {
                                None => buckets[Bucket::Unmatched] += 1,
                                Some(brand) => {
                                    let mut post = post.into_owned();
                                    if bound(&mut post) {
                                        watched.iter().for_each(|watched| watched.note(&post));
                                        let candidate = Candidate::only_named(post, brand, named.collect());
                                        items.push(Item::Reply(Box::new(candidate)));
                                    } else {
                                        buckets[Bucket::Malformed] += 1;
                                    }
                                }
                            }
                        }
                        (Scan::Unmatched, Some(standing))
                            if standing == Standing::Ours || prefilter.speaks_of_danger(&post.text) =>
                        {
                            let mut post = post.into_owned();
                            if bound(&mut post) {
                                watched.iter().for_each(|watched| watched.note(&post));
                                items.push(Item::Reply(Box::new(Candidate::in_thread(post))));
                            } else {
                                buckets[Bucket::Malformed] += 1;
                            }
                        }
                        (Scan::Unmatched, Some(_)) => match said(&post) {
                            Some(overheard) => {
                                watched.iter().for_each(|watched| watched.note_post(&overheard));
                                items.push(Item::Overheard(overheard));
                            }
                            None => buckets[Bucket::Unmatched] += 1,
                        },
                        (Scan::Candidate(mut candidate), _) => {
                            if bound(&mut candidate.post) {
                                watched.iter().for_each(|watched| watched.note(&candidate.post));
                                items.push(Item::Candidate(candidate));
                            } else {
                                buckets[Bucket::Malformed] += 1;
                            }
                        }
                    }
                }
                Frame::PassedOver => buckets[Bucket::Unmatched] += 1,
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
            malformed,
            gaps: batch.gaps,
            recovered: batch.recovered,
            items,
            received_at: batch.received_at,
            patient_permit: if batch.patient { batch.permit } else { None },
        }
    }
}

/// Hashtags and mentions that are looked at, of each. No network lets a person write a tenth of it.
const SCANNED_ITEMS_MAX: usize = 256;

fn parser_of(parsers: &mut Vec<(Format, Parser)>, format: Format) -> &mut Parser {
    let index = parsers.iter().position(|(known, _)| *known == format).unwrap_or_else(|| {
        parsers.push((format, Parser::new(format)));
        parsers.len() - 1
    });
    &mut parsers[index].1
}

#[cfg(test)]
mod tests;
