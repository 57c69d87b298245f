//! A lane: parses and prefilters whole batches, and hands on what is left of them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::{Sender, TrySendError};
use jiff::Timestamp;

use crate::parse::{Author, Format, Frame, Network, Parser, Post};
use crate::prefilter::watched::{Standing, Watched};
use crate::prefilter::{Candidate, Prefilter, Scan, Scratch};
use crate::source::{FrameBatch, Gap};
use crate::telemetry::pulse::Pulse;
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
    /// As in [`FrameBatch::recovered`].
    pub recovered: Vec<(i64, i64)>,
    /// What later stages decide about, in the order of the frames.
    pub items: Vec<Item>,
    /// When the batch arrived, by our clock.
    pub received_at: Timestamp,
    /// The batch's place among the few of a source that rather waits than loses candidates, given back when
    /// the model has taken it; `None` for a live source.
    pub patient_permit: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// A frame that later stages decide about.
#[derive(Debug)]
pub enum Item {
    /// A post that a rule matched.
    Candidate(Box<Candidate>),
    /// A reply that no rule matched, in a thread that is watched, by somebody who is in conversation with us.
    Reply(Box<Candidate>),
    /// The same by somebody who is not; without its text.
    Overheard(Box<Post<'static>>),
    /// An answer of one of our own accounts in such a thread; without its text.
    Answer(Box<Post<'static>>),
    /// A post is gone.
    PostDeleted {
        /// On which network.
        network: Network,
        /// As in [`crate::parse::Post::id`].
        id: String,
    },
    /// A post was changed into one that no rule matches; it may have a ticket all the same.
    Edited {
        /// On which network.
        network: Network,
        /// As in [`crate::parse::Post::id`].
        id: String,
        /// The new text.
        text: String,
        /// When the network showed it, where it says so.
        seen_at: Option<Timestamp>,
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
    /// The candidates, in order; replies among them.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.items.iter().filter_map(|item| match item {
            Item::Candidate(candidate) | Item::Reply(candidate) => Some(&**candidate),
            Item::Overheard(_)
            | Item::Answer(_)
            | Item::Edited { .. }
            | Item::PostDeleted { .. }
            | Item::AccountDeleted { .. } => None,
        })
    }

    /// Takes out what there is no room for beside `waiting` others, and counts it as shed.
    ///
    /// The queue is open to all while it is half empty, then to hashtags and rules, and its last fifth to
    /// posts that name our handle: what waits cannot be taken back, so room is kept for what matters more.
    fn shed(&mut self, waiting: usize, candidates_max: usize) {
        let limit = |value: u8| match value {
            0 | 1 => candidates_max.div_ceil(2),
            2 => candidates_max - candidates_max / 5,
            _ => candidates_max,
        };
        let mut values: Vec<u8> = self.candidates().map(|candidate| candidate.value).collect();
        values.sort_unstable_by(|a, b| b.cmp(a));
        // The most valuable first: how many of each value find room.
        let mut room = [0_usize; 256];
        let mut admitted = 0;
        for value in values {
            if waiting + admitted < limit(value) {
                room[usize::from(value)] += 1;
                admitted += 1;
            }
        }
        let mut shed = 0;
        self.items.retain(|item| {
            let (Item::Candidate(candidate) | Item::Reply(candidate)) = item else { return true };
            let room = &mut room[usize::from(candidate.value)];
            let stays = *room > 0;
            *room = room.saturating_sub(1);
            shed += u64::from(!stays);
            stays
        });
        self.buckets[Bucket::Shed] += shed;
    }

    /// Joins the source's next output to this one.
    fn append(&mut self, next: LaneOutput) {
        self.end_sequence = next.end_sequence;
        self.position = self.position.max(next.position);
        self.buckets.add(&next.buckets);
        self.gaps.extend(next.gaps);
        self.recovered.extend(next.recovered);
        self.items.extend(next.items);
        self.received_at = next.received_at;
    }
}

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
        for range in batch.frames {
            let frame = batch.bytes.get_mut(range).unwrap_or_default();
            let mut passes = |post: &Post<'_>| {
                prefilter.passes_over(post, scratch) && !look.as_ref().is_some_and(|look| look.is_reply(post))
            };
            let Ok(parsed) = parser.parse_unless(frame, &mut passes) else {
                buckets[Bucket::Malformed] += 1;
                continue;
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
                        (Scan::Unmatched, _) if post.edited => items.push(Item::Edited {
                            network: post.network,
                            id: post.id.into_owned(),
                            text: cut(&post.text).to_owned(),
                            seen_at: post.seen_at,
                        }),
                        (Scan::Unmatched, None) => buckets[Bucket::Unmatched] += 1,
                        (Scan::Unmatched, Some(Standing::Ours)) => {
                            let mut post = post.into_owned();
                            if bound(&mut post) {
                                watched.iter().for_each(|watched| watched.note(&post));
                                items.push(Item::Reply(Box::new(Candidate::in_thread(post))));
                            } else {
                                buckets[Bucket::Malformed] += 1;
                            }
                        }
                        (Scan::Unmatched, Some(Standing::Bystander)) => match said(&post) {
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

/// Longest text that is kept of a post. X's long posts have at most 25,000 characters, others far less.
const TEXT_BYTES_MAX: usize = 32 * 1024;
/// Longest id, and longest of the other strings; the rest of a longer one is cut.
const ID_BYTES_MAX: usize = 1024;
const STRING_BYTES_MAX: usize = 512;
/// Mentions, hashtags and links that are kept, of each.
const LIST_ITEMS_MAX: usize = 32;

/// Cuts a candidate's post to what a ticket may hold, at most some 90 KiB, whatever the network sent; `false`
/// if its identity itself is too long.
fn bound(post: &mut Post<'static>) -> bool {
    let cut_to = |text: &mut Cow<'static, str>, bytes_max: usize| {
        if text.len() > bytes_max {
            *text = Cow::Owned(text[..text.floor_char_boundary(bytes_max)].to_owned());
        }
    };
    cut_to(&mut post.text, TEXT_BYTES_MAX);
    post.quoted_text = None;
    for list in [&mut post.mentions, &mut post.hashtags, &mut post.links] {
        list.truncate(LIST_ITEMS_MAX);
        list.shrink_to_fit();
        list.iter_mut().for_each(|item| cut_to(item, STRING_BYTES_MAX));
    }
    let shown = [&mut post.author.handle, &mut post.author.name, &mut post.language];
    shown.into_iter().flatten().for_each(|text| cut_to(text, STRING_BYTES_MAX));
    let ids = [&post.page, &post.reply_to, &post.quote_of, &post.reposted_by];
    let mut ids = ids.into_iter().flatten().chain([&post.id, &post.author.id]);
    ids.all(|id| id.len() <= ID_BYTES_MAX)
}

/// Who says something in which thread, and where, without what; `None` where an id is too long to be kept.
fn said(post: &Post<'_>) -> Option<Box<Post<'static>>> {
    let mut said = Post::new(post.network, post.id.clone(), Author::default(), "".into()).into_owned();
    said.author.id = Cow::Owned(post.author.id.clone().into_owned());
    said.author.handle = post.author.handle.as_deref().map(|handle| Cow::Owned(handle.to_owned()));
    said.page = post.page.as_deref().map(|page| Cow::Owned(page.to_owned()));
    said.reply_to = post.reply_to.as_deref().map(|parent| Cow::Owned(parent.to_owned()));
    said.seen_at = post.seen_at;
    said.written_at = post.written_at;
    bound(&mut said).then(|| Box::new(said))
}

/// The text as far as a ticket may hold it.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
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

#[cfg(test)]
mod tests {
    use crossbeam::channel::bounded;

    use super::*;
    use crate::prefilter;
    use crate::source::Gap;

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
        let mut batch = FrameBatch {
            oversize: 1,
            unreadable: 2,
            heartbeats: 3,
            duplicates: 4,
            recovered: vec![(1, 2)],
            position: Some(7),
            ..FrameBatch::empty(Arc::from("file"), Format::Plain, sequence)
        };
        for (id, text) in texts.iter().enumerate() {
            let frame = serde_json::json!({ "id": format!("{sequence}.{id}"), "author": "a", "text": text });
            batch.push(frame.to_string().as_bytes());
        }
        batch
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
        assert_eq!((buckets[Bucket::Duplicate], &*output.recovered), (4, &[(1, 2)][..]));
        assert_eq!((buckets[Bucket::Unmatched], buckets.received()), (1, 11));
        assert_eq!(output.position, Some(7));
    }

    #[test]
    fn what_is_passed_over_early_is_what_a_whole_reading_leaves_unmatched() {
        let post = |did: &str, operation: &str, text: &str| {
            format!(
                r#"{{"did":"{did}","time_us":5,"kind":"commit","commit":{{"operation":"{operation}","collection":"app.bsky.feed.post","rkey":"1","record":{{"text":"{text}","tags":["{text}"]}}}}}}"#
            )
        };
        let mut batch = batch(0, &[]);
        batch.format = Format::Jetstream;
        for frame in [
            post("did:plc:a", "create", "nobody"),
            post("did:plc:a", "create", "@lumio"),
            post("lumio", "create", "nobody"),
            post("did:plc:a", "update", "nobody"),
            post("did:plc:a", "delete", "nobody"),
            post("did:plc:a", "create", "nobody").replace("rkey", "key"),
        ] {
            batch.push(frame.as_bytes());
        }
        let output = Lane::default().process(&prefilter(), batch);
        let buckets = &output.buckets;
        // Beside what the batch itself counts.
        assert_eq!((buckets[Bucket::Unmatched], buckets[Bucket::Own]), (1, 1));
        assert_eq!((buckets[Bucket::Malformed], buckets[Bucket::Control]), (2 + 1, 3));
        let [Item::Candidate(_), Item::Edited { text, .. }, Item::PostDeleted { .. }] = &output.items[..]
        else {
            panic!("{:?}", output.items);
        };
        assert_eq!(text, "nobody");
    }

    /// However a reply is read: in full, or passed over early where nothing is watched.
    #[test]
    fn what_is_said_in_a_thread_is_handed_on_by_whoever_says_it() {
        let post = |did: &str, rkey: &str, parent: &str, text: &str| {
            let parent = format!("at://did:plc:{parent}");
            let reply = serde_json::json!({ "parent": { "uri": parent } });
            serde_json::json!({
                "did": did, "time_us": 5, "kind": "commit",
                "commit": {
                    "operation": "create", "collection": "app.bsky.feed.post", "rkey": rkey,
                    "record": { "text": text, "reply": reply },
                },
            })
            .to_string()
        };
        let first = "ana/app.bsky.feed.post/1";
        let mut batch = batch(0, &[]);
        batch.format = Format::Jetstream;
        for frame in [
            post("did:plc:ana", "1", "nobody", "@lumio panne"),
            post("did:plc:ana", "2", first, "toujours rien"),
            post("did:plc:bob", "3", first, "essaie de redémarrer"),
            post("lumio", "4", first, "bonjour"),
            post("did:plc:ana", "5", "bob/app.bsky.feed.post/3", "merci"),
            post("did:plc:ana", "6", "nobody", "toujours rien"),
            post("lumio", "7", "nobody", "bonjour"),
        ] {
            batch.push(frame.as_bytes());
        }
        let mut lane = Lane::watching(Arc::default());
        let output = lane.process(&prefilter(), batch);
        let [
            Item::Candidate(_),
            Item::Reply(own),
            Item::Overheard(said),
            Item::Answer(answer),
            Item::Reply(thanks),
        ] = &output.items[..]
        else {
            panic!("{:?}", output.items);
        };
        assert_eq!(
            (&*own.post.text, own.is_of_thread(), &*thanks.post.text),
            ("toujours rien", true, "merci")
        );
        assert_eq!((&*said.text, &*said.author.id, &*answer.author.id), ("", "did:plc:bob", "lumio"));
        assert_eq!(output.candidates().count(), 3, "what the model reads");
        assert_eq!((output.buckets[Bucket::Unmatched], output.buckets[Bucket::Own]), (1, 1));
    }

    #[test]
    fn the_least_valuable_are_shed_and_the_order_of_the_rest_is_kept() {
        let check = |waiting: usize, expected: &[&str]| {
            let mut output = output(0, &["lumio 1", "@lumio 2", "lumio 3", "@lumio 4"]);
            output.shed(waiting, 10);
            assert_eq!(texts(&output), expected, "beside {waiting}");
            assert_eq!(output.buckets[Bucket::Shed], 4 - expected.len() as u64);
        };
        check(0, &["lumio 1", "@lumio 2", "lumio 3", "@lumio 4"]);
        check(1, &["lumio 1", "@lumio 2", "lumio 3", "@lumio 4"]);
        check(2, &["lumio 1", "@lumio 2", "@lumio 4"]);
        check(5, &["@lumio 2", "@lumio 4"]);
        check(9, &["@lumio 2"]);
        check(10, &[]);
    }

    #[test]
    fn a_post_to_our_handle_finds_room_where_mere_names_have_filled_theirs() {
        let (mut forward, model) = forward(8, 4);
        forward.send(output(0, &["lumio 1", "lumio 2", "lumio 3"]), now()).unwrap();
        forward.send(output(1, &["lumio 4", "@lumio 5"]), now()).unwrap();
        let seen: Vec<_> = model.try_iter().map(|output| texts(&output).join(", ")).collect();
        assert_eq!(seen, ["lumio 1, lumio 2", "@lumio 5"]);
    }

    #[test]
    fn a_candidate_is_cut_to_what_a_ticket_may_hold() {
        let long = format!("@lumio {}", "é".repeat(100_000));
        let output = output(0, &[&long]);
        let post = &output.candidates().next().unwrap().post;
        assert!(post.text.len() <= TEXT_BYTES_MAX && post.text.len() > TEXT_BYTES_MAX - 2);

        let frame =
            serde_json::json!({ "id": "x".repeat(2000), "author": "a", "text": "@lumio" }).to_string();
        let mut batch = batch(0, &[]);
        batch.frames.push(0..frame.len());
        batch.bytes = frame.into_bytes();
        let output = Lane::default().process(&prefilter(), batch);
        assert_eq!((output.items.len(), output.buckets[Bucket::Malformed]), (0, 3));
    }

    #[test]
    fn a_position_is_never_later_than_our_clock() {
        let event = |time_us: i64| format!(r#"{{"did":"did:plc:a","time_us":{time_us},"kind":"identity"}}"#);
        let mut batch = batch(0, &[]);
        batch.format = Format::Jetstream;
        batch.position = None;
        batch.received_at = Timestamp::from_second(60).unwrap();
        for time_us in [5_000_000, i64::MAX, 70_000_000] {
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(event(time_us).as_bytes());
            batch.frames.push(start..batch.bytes.len());
        }
        assert_eq!(Lane::default().process(&prefilter(), batch).position, Some(60_000_000));
    }

    /// One and the same instant in a test, however slow the machine.
    fn now() -> Instant {
        static NOW: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        *NOW
    }

    #[test]
    fn a_line_number_is_not_mistaken_for_the_time_that_the_line_tells() {
        let mut batch = batch(0, &[]);
        batch.format = Format::Jetstream;
        batch.received_at = Timestamp::from_second(60).unwrap();
        batch.push(br#"{"did":"did:plc:a","time_us":5000000,"kind":"identity"}"#);
        assert_eq!(Lane::default().process(&prefilter(), batch).position, Some(7));
    }

    fn forward(outputs: usize, candidates_max: usize) -> (Forward, crossbeam::channel::Receiver<LaneOutput>) {
        let (queue, model) = bounded(outputs);
        (Forward::new(queue, Arc::default(), candidates_max), model)
    }

    #[test]
    fn a_patient_source_is_never_shed_and_takes_no_room_from_live_ones() {
        let (mut forward, model) = forward(8, 2);
        let mut patient = output(0, &["lumio 1", "lumio 2", "lumio 3", "lumio 4"]);
        let places = Arc::new(tokio::sync::Semaphore::new(1));
        patient.patient_permit = places.clone().try_acquire_owned().ok();
        forward.send(patient, now()).unwrap();
        assert_eq!(forward.waiting.candidates(), 0);
        forward.send(output(0, &["@lumio 5"]), now()).unwrap();
        let seen: Vec<_> = model.try_iter().map(|output| texts(&output).join(", ")).collect();
        assert_eq!(seen, ["lumio 1, lumio 2, lumio 3, lumio 4", "@lumio 5"]);
        assert_eq!(
            places.available_permits(),
            1,
            "the place is given back once the model has taken the batch"
        );
    }

    #[test]
    fn a_full_queue_holds_the_counts_and_hands_them_over_in_order() {
        let (mut forward, model) = forward(1, 100);
        for sequence in 0..4 {
            forward.send(output(sequence, &["nobody"]), now()).unwrap();
            forward.pass_on().unwrap();
        }
        let first = model.recv().unwrap();
        assert_eq!((first.first_sequence, first.end_sequence), (0, 1));
        forward.send(output(4, &["nobody"]), now()).unwrap();
        forward.pass_on().unwrap();
        let rest = model.recv().unwrap();
        assert_eq!((rest.first_sequence, rest.end_sequence), (1, 5));
        assert_eq!(rest.buckets.received(), 4 * 11);
        assert_eq!(forward.wait(now()), None);
    }

    #[test]
    fn counts_alone_go_with_the_next_candidate() {
        let (mut forward, model) = forward(4, 100);
        forward.send(output(0, &["nobody"]), now()).unwrap();
        forward.send(output(1, &["nobody"]), now()).unwrap();
        assert_eq!(forward.wait(now()), Some(UNAWAITED_DELAY_MAX));
        assert_eq!(model.try_iter().count(), 0);
        forward.send(output(2, &["lumio"]), now()).unwrap();
        let joined = model.recv().unwrap();
        assert_eq!(
            (joined.first_sequence, joined.end_sequence, joined.buckets.received()),
            (0, 3, 2 * 11 + 10)
        );
        assert_eq!(forward.wait(now()), None);
    }

    #[test]
    fn a_lane_that_ends_hands_over_what_it_holds() {
        let (mut forward, model) = forward(4, 100);
        forward.send(output(0, &["nobody"]), now()).unwrap();
        assert_eq!(model.try_iter().count(), 0, "counts alone wait");
        forward.flush().unwrap();
        assert_eq!(model.recv().unwrap().buckets.received(), 11);
    }

    #[test]
    fn joined_outputs_have_the_holes_and_the_greatest_position_of_both() {
        let (mut forward, model) = forward(4, 100);
        for (sequence, position) in [(0, 20), (1, 10), (2, 30)] {
            let mut output = output(sequence, &["nobody"]);
            output.position = Some(position);
            output.gaps.push(Gap { from: position - 5, to: position, reason: "a test".to_owned() });
            forward.send(output, now()).unwrap();
        }
        forward.pass_on().unwrap();
        let joined = model.recv().unwrap();
        let gaps: Vec<_> = joined.gaps.iter().map(|gap| gap.to).collect();
        assert_eq!((joined.position, gaps), (Some(30), vec![20, 10, 30]));
    }

    #[test]
    fn a_batch_that_another_lane_has_keeps_outputs_from_being_joined() {
        let (mut forward, model) = forward(4, 100);
        for _ in 0..4 {
            forward.send(output(9, &["nobody"]), now()).unwrap();
            forward.pass_on().unwrap();
        }
        // Batch 1 went to another lane, and the queue is full: both are held, and neither blocks this lane.
        forward.send(output(0, &["nobody"]), now()).unwrap();
        forward.send(output(2, &["nobody"]), now()).unwrap();
        forward.pass_on().unwrap();
        assert_eq!(forward.wait(now()), Some(HELD_RETRY));
        assert_eq!(model.try_iter().count(), 4);
        forward.pass_on().unwrap();
        let sequences: Vec<_> = model.try_iter().map(|output| output.first_sequence).collect();
        assert_eq!(sequences, [0, 2]);
    }
}
