//! What a run comes to, once the daemon has ended: everything counted is compared, and figures are made of it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::conservation::{self, Balance, Books};
use super::crowd::CrowdResult;
use super::daemon::State;
use super::expectation;
use super::feed::Feed;
use super::figures::{Percentiles, rounded, slope};
use super::growth::Growth;
use super::order;
use super::outcome::{Outcome, ReplayedCounts, RunResult, SlowHelpdesk};
use super::scenario::{Plan, Scenario};
use super::status::Status;
use super::subscriber::{Intake, Joined, Taken, TicketId};
use super::usage;
use super::watch::{Progress, Sample, written_at_us};
use super::{Progressing, Settings, counts};
use crate::EventKind;

/// Part of the stream that the achieved rate leaves out, while caches fill.
const WARM_UP: f64 = 0.1;

/// Part by which the achieved rate may exceed the offered one and still be the same: six seconds of 6,000/s, all
/// kept up with, were measured as 6,009/s.
const EXCESS: f64 = 0.01;

/// Everything there is to know once the daemon has ended.
pub(super) struct Seen {
    pub(super) plan: Plan,
    pub(super) feeds: Arc<Vec<Feed>>,
    pub(super) start: Timestamp,
    pub(super) settled_us: i64,
    /// It lived until it was told to end.
    pub(super) alive: bool,
    pub(super) samples: Vec<Sample>,
    pub(super) progress: Vec<Progress>,
    /// Of the subscription that takes everything at once.
    pub(super) intake: Intake,
    /// What a slow helpdesk took, and records it left.
    pub(super) slow: Option<(Intake, u64)>,
    /// What was taken for it afterwards.
    pub(super) rest: Option<Intake>,
    /// Idle clients that were to come, that came, and that stayed.
    pub(super) crowd: Option<(u32, u32, u32)>,
    pub(super) trouble: Vec<String>,
    pub(super) marks: Vec<(f64, &'static str)>,
}

/// What `replay` made of the posts.
pub(super) struct Expectation {
    pub(super) tickets: BTreeSet<TicketId>,
    pub(super) counts: ReplayedCounts,
}

impl Expectation {
    pub(super) fn ask(
        state: &State,
        feeds: &[Feed],
        progress: Progressing<'_>,
    ) -> anyhow::Result<Expectation> {
        let mut expectation = Expectation { tickets: BTreeSet::new(), counts: ReplayedCounts::default() };
        for feed in feeds {
            progress(&format!("replaying the mentions of {}", feed.name()));
            let mentions = expectation::mentions(state.command("replay"), feed, progress)?;
            let background = expectation::background(state.command("replay"), feed)?;
            expectation.tickets.extend(mentions.tickets);
            expectation.counts.mentions += mentions.frames;
            expectation.counts.background += background.frames;
            expectation.counts.background_candidates += background.candidates();
        }
        Ok(expectation)
    }
}

/// The posts that need support.
pub(super) fn support(feeds: &[Feed]) -> BTreeSet<TicketId> {
    let of = |feed: &Feed| -> Vec<TicketId> {
        let events = feed.served().mentions(feed.events());
        let posts = events.filter(|(_, event)| event.kind == EventKind::Support);
        let posts = posts.filter_map(|(_, event)| event.support);
        posts.map(|post| conservation::id_of(feed.network(), &post.id)).collect()
    };
    feeds.iter().flat_map(of).collect()
}

/// Of the posts that joined a ticket those that replay was fed: background refers to any earlier post, and now and
/// then an author of the background answers the own mention.
pub(super) fn mentioned(feeds: &[Feed], joined: &[Joined]) -> Vec<Joined> {
    let is_background = |joined: &&Joined| {
        let feeds = feeds.iter().filter(|feed| feed.network() == joined.post.network);
        let mut events = feeds.filter_map(|feed| Some((feed, feed.served().index_of(&joined.post.post_id)?)));
        events.any(|(feed, n)| feed.served().kind(n) == EventKind::Background)
    };
    joined.iter().filter(|joined| !is_background(joined)).cloned().collect()
}

impl Seen {
    pub(super) fn conclude(
        mut self,
        expectation: Option<Expectation>,
        settings: &Settings,
        state: &State,
    ) -> Outcome {
        if settings.lose_ticket {
            self.intake.tickets.pop();
        }
        let status = self.samples.iter().rev().find_map(|sample| sample.status.clone()).unwrap_or_default();
        let (events, written) = counts(&self.feeds);
        let support = support(&self.feeds);
        let expected = expectation.as_ref().map(|expectation| &expectation.tickets);
        let joined = mentioned(&self.feeds, &self.intake.joined);
        let mut balance = conservation::check(&Books {
            events,
            written,
            received: status.received,
            buckets: status.buckets.clone(),
            connections_lost: status.reconnects(),
            connections_ended: self.plan.interruptions.len() as u64,
            gaps: status.sources.iter().map(|source| source.gaps).sum(),
            provisional: status.tickets_provisional,
            withdrawn: Some(&self.intake.withdrawn),
            support: Some(&support),
            expected,
            tickets: &self.intake.tickets,
            joined: &joined,
            duplicates: self.duplicates(),
        });
        self.judge_ends(&mut balance, &status);
        // First, as the rest may follow from it.
        balance.violations.splice(0..0, self.trouble.drain(..));
        let slow_helpdesk = self.judge_slow(&mut balance);
        if let Some(counts) = expectation.as_ref().map(|expectation| expectation.counts)
            && counts.background_candidates > 0
        {
            let candidates = counts.background_candidates;
            balance.violations.push(format!("{candidates} background frames are candidates"));
        }
        let latencies = self.latencies();
        let strangers = self.intake.tickets.len() - latencies.len();
        if strangers > 0 {
            balance.violations.push(format!("{strangers} tickets are of posts that were not served"));
        }
        let result = self.result(balance, &status, &latencies, (events, written));
        let mut result = RunResult {
            slow_helpdesk,
            crowd: self.crowd(),
            growth: self.growth(),
            checked_against: if expectation.is_some() { "replay" } else { "counts" },
            replayed: expectation.map(|expectation| expectation.counts),
            state_fs: state.file_system(),
            ..result
        };
        result.balance.violations.extend(result.crowd.iter().flat_map(CrowdResult::violations));
        result.balance.violations.extend(result.growth.iter().flat_map(Growth::violations));
        Outcome {
            result,
            description: self.plan.scenario.description(),
            log: std::fs::read_to_string(state.log()).unwrap_or_default(),
            config: std::fs::read_to_string(state.config()).unwrap_or_default(),
            samples: self.samples,
            latencies,
            start_us: self.start.as_microsecond(),
            marks: self.marks,
        }
    }

    /// Samples, each with when it was taken, seconds since the start.
    fn looks(&self) -> impl Iterator<Item = (f64, &Sample)> {
        let start_us = self.start.as_microsecond();
        self.samples.iter().map(move |sample| ((sample.at_us - start_us) as f64 / 1e6, sample))
    }

    fn crowd(&self) -> Option<CrowdResult> {
        let duration_s = self.plan.duration.as_secs_f64();
        let looks = self.looks().map(|(at_s, sample)| (at_s, sample.clone()));
        self.crowd.map(|counts| CrowdResult::of(counts, looks, duration_s))
    }

    fn growth(&self) -> Option<Growth> {
        let is_looked_for = self.plan.scenario == Scenario::Soak;
        is_looked_for.then(|| Growth::of(self.looks(), self.plan.duration.as_secs_f64()))
    }

    /// Everyone who took tickets.
    fn intakes(&self) -> impl Iterator<Item = &Intake> {
        let slow = self.slow.iter().map(|(taken, _)| taken);
        std::iter::once(&self.intake).chain(slow).chain(&self.rest)
    }

    /// What came again and must not have, to anyone.
    fn duplicates(&self) -> u64 {
        let again = match (&self.slow, &self.rest) {
            (Some((taken, _)), Some(rest)) => rest.again_after(taken),
            _ => 0,
        };
        again + self.intakes().map(|intake| intake.duplicates).sum::<u64>()
    }

    /// Connections that ended and must not have, tickets not scored again, and positions acknowledged too early or
    /// not at all.
    fn judge_ends(&self, balance: &mut Balance, status: &Status) {
        let violations = &mut balance.violations;
        if self.alive && self.plan.scenario != Scenario::Reconnects {
            for intake in self.intakes() {
                let times = intake.troubles.len();
                if let Some(first) = intake.troubles.first() {
                    violations.push(format!("{times} times the ticket socket failed, first: {first}"));
                }
            }
        }
        if status.tickets_provisional > 0 {
            let tickets = status.tickets_provisional;
            violations.push(format!(
                "{tickets} tickets are provisional: the time for the full model to score them again ran out"
            ));
        }
        let early: u64 = self.samples.iter().map(|sample| sample.acked_early).sum();
        if early > 0 {
            violations.push(format!("{early} times a position was acknowledged before it was committed"));
        }
        for feed in self.feeds.iter().filter(|_| self.alive) {
            let events = feed.events();
            let last = events.end - events.start;
            if let Some(acked) = feed.acked()
                && acked != last
            {
                let name = feed.name();
                violations.push(format!("{name}: the last position is {last}, and {acked} is acknowledged"));
            }
        }
    }

    /// What a slow helpdesk got, and whether it got everything in the order of what matters.
    fn judge_slow(&self, balance: &mut Balance) -> Option<SlowHelpdesk> {
        let (taken, pending) = self.slow.as_ref()?;
        let rest = self.rest.as_ref().map_or(&[][..], |rest| &rest.tickets);
        let out_of_turn = order::out_of_turn(&taken.tickets, &self.intake.tickets, &self.intake.raises)
            + order::unsorted(rest, &self.intake.raises);
        if out_of_turn > 0 {
            balance.violations.push(format!("{out_of_turn} tickets were sent before one that mattered more"));
        }
        let both: BTreeSet<TicketId> = taken.tickets.iter().chain(rest).map(|ticket| ticket.id).collect();
        let lost = self.intake.tickets.iter().filter(|ticket| !both.contains(&ticket.id)).count();
        if lost > 0 {
            balance.violations.push(format!("{lost} tickets never reached the slow helpdesk"));
        }
        Some(SlowHelpdesk { taken: taken.tickets.len() as u64, pending: *pending, out_of_turn })
    }

    /// When each ticket's post was due, and how long after that it came; sorted by the first.
    fn latencies(&self) -> Vec<(i64, i64)> {
        let earlier: Vec<_> = self.feeds.iter().map(Feed::earlier_posts).collect();
        let mut latencies: Vec<(i64, i64)> = self
            .intake
            .tickets
            .iter()
            .filter_map(|ticket| self.due_us(ticket, &earlier).map(|due_us| (due_us, ticket.at_us - due_us)))
            .collect();
        latencies.sort_unstable();
        latencies
    }

    /// When the event that made this ticket was due, or in an unlimited rate handed over; `None` if no stream has
    /// its post.
    fn due_us(&self, ticket: &Taken, earlier: &[HashMap<String, u64>]) -> Option<i64> {
        let feeds = self.feeds.iter().zip(&self.progress).zip(earlier);
        let mut feeds = feeds.filter(|((feed, _), _)| feed.network() == ticket.network);
        feeds.find_map(|((feed, progress), earlier)| {
            let served = feed.served();
            let first = served.index_of(&ticket.post_id).or_else(|| earlier.get(&ticket.post_id).copied())?;
            let n = feed.seen_event(first, ticket.seen_at_us);
            if feed.is_unlimited() {
                written_at_us(progress, n + 1 - served.timeline().start())
            } else {
                Some(served.scheduled_us(n))
            }
        })
    }

    fn result(
        &self,
        balance: Balance,
        status: &Status,
        latencies: &[(i64, i64)],
        (events, written): (u64, u64),
    ) -> RunResult {
        let start_us = self.start.as_microsecond();
        let duration_s = self.plan.duration.as_secs_f64();
        let at_s = |sample: &Sample| (sample.at_us - start_us) as f64 / 1e6;
        let during = duration_s * WARM_UP..duration_s;
        let received = self
            .samples
            .iter()
            .filter_map(|sample| sample.status.as_ref().map(|status| (at_s(sample), status.received)));
        let offered = match self.feeds.iter().any(Feed::is_unlimited) {
            true => slope(self.samples.iter().map(|sample| (at_s(sample), sample.due)), during.clone()),
            false => events as f64 / duration_s,
        };
        let usages: Vec<_> = self
            .samples
            .iter()
            .filter_map(|sample| Some((at_s(sample), sample, sample.usage.as_ref()?)))
            .collect();
        let first = usages.iter().rev().find(|(at_s, ..)| *at_s <= 0.0).or(usages.first());
        let end = usages.iter().rev().find(|(at_s, ..)| *at_s <= duration_s);
        let (Some((first_s, begun, first)), Some((end_s, ended, end)), Some((.., last))) =
            (first, end, usages.last())
        else {
            return RunResult { balance, ..RunResult::default() };
        };
        let streamed_s = (end_s - first_s).max(f64::MIN_POSITIVE);
        let firehose_cpu_s = ended.firehose_cpu_s - begun.firehose_cpu_s;
        let known_s = firehose_cpu_s + end.cpu_s - first.cpu_s;
        let others_s = (ended.machine.busy_s - begun.machine.busy_s - known_s).max(0.0);
        let thread = |(name, cpu_s): (&String, &f64)| {
            let before = first.thread_cpu_s.get(name).copied().unwrap_or(0.0);
            (name.clone(), rounded((cpu_s - before) / streamed_s))
        };
        // Which frames are repeated is not known, only how many are in all.
        let once = if balance.frames_repeated > 0 { events as f64 / status.received as f64 } else { 1.0 };
        let achieved = slope(received, during) * once;
        let catching_up = achieved > offered * (1.0 + EXCESS);
        let achieved = if catching_up { achieved } else { achieved.min(offered) };
        let frames = |sample: &Sample| sample.status.as_ref().map_or(0, |status| status.received);
        // Until everything was accounted for; what comes after is the scoring again.
        let accounted = usages.iter().find(|(at_s, sample, _)| {
            let queued =
                sample.status.as_ref().map_or(0, |status| status.queue_batches + status.queue_candidates);
            *at_s >= duration_s && frames(sample) == status.received && queued == 0
        });
        let Some((_, all, accounted)) = accounted.or(usages.last()) else {
            return RunResult { balance, ..RunResult::default() };
        };
        let posts = frames(all).saturating_sub(frames(begun)) as f64 * once;
        let millions = (posts / 1e6).max(f64::MIN_POSITIVE);
        let mut taken_us: Vec<i64> = latencies.iter().map(|(_, latency_us)| *latency_us).collect();
        let slow = self.slow.as_ref().map_or(&self.intake, |(taken, _)| taken);
        RunResult {
            scenario: self.plan.scenario.name().to_owned(),
            started_at: self.start.to_string(),
            duration_s,
            offered_posts: events,
            offered_posts_per_s: rounded(offered),
            achieved_posts_per_s: rounded(achieved),
            catching_up,
            balance,
            latency_ms: Percentiles::of(&mut taken_us),
            first_ticket_ms: self.first_ticket_ms(latencies),
            cpu_s_per_million_posts: rounded((accounted.cpu_s - first.cpu_s) / millions),
            cpu_s_rescoring: rounded(last.cpu_s - accounted.cpu_s),
            cpu_share: rounded((end.cpu_s - first.cpu_s) / streamed_s),
            firehose_cpu_share: rounded(firehose_cpu_s / streamed_s),
            others_cpu_share: rounded(others_s / streamed_s),
            stolen_cpu_share: rounded((ended.machine.stolen_s - begun.machine.stolen_s) / streamed_s),
            cpu_share_by_thread: end.thread_cpu_s.iter().map(thread).collect(),
            rss_max_mib: rounded(last.rss_bytes_max as f64 / f64::from(1 << 20)),
            buckets: status.buckets.clone(),
            frames_written: written,
            frames_received: status.received,
            updates: self.intake.updates,
            rescored: self.intake.rescored,
            provisional: status.tickets_provisional,
            redelivered: slow.again,
            connections_lost: status.reconnects(),
            helpdesk_reconnects: slow.reconnects,
            settled_after_s: rounded((self.settled_us - start_us) as f64 / 1e6 - duration_s),
            cpu_model: usage::cpu_model(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
            runtime: status.runtime.clone(),
            model: status.model.clone(),
            vigie_version: status.version.clone(),
            ..RunResult::default()
        }
    }

    /// From the first report of an outage, whether or not it made a ticket, to the first of its tickets at the
    /// client.
    fn first_ticket_ms(&self, latencies: &[(i64, i64)]) -> Option<f64> {
        let burst_us =
            self.start.as_microsecond() + i64::try_from(self.plan.burst_after()?.as_micros()).ok()?;
        let first_us = self.feeds.iter().filter_map(|feed| {
            let served = feed.served();
            let mut events = served.timeline().first_at(burst_us)..feed.events().end;
            events.find(|n| served.kind(*n).is_mention()).map(|n| served.scheduled_us(n))
        });
        let first_us = first_us.min()?;
        let reports = latencies.iter().filter(|(due_us, _)| *due_us >= first_us);
        let came_us = reports.map(|(due_us, latency_us)| due_us + latency_us).min()?;
        Some(rounded((came_us - first_us) as f64 / 1e3))
    }
}
