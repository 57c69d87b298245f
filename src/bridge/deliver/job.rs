//! What is to be done about one delivery: plain code, told what each step has given and what time it is.
//!
//! A step is one operation of the helpdesk or one write to the case store, so that a crash is always between two of
//! them or within one. What follows from that:
//!
//! - That a ticket is about to be made is written before the helpdesk is asked, and forgotten only once it has said
//!   that it has not made it. Whoever finds it written looks for the ticket before making one.
//! - A record that is in the helpdesk is written before it is acknowledged. Coming again it asks for no call.
//! - Of changes, setting a priority and erasing may be done again without harm. A note may not, and cannot be looked for:
//!   after an unclear end it is added again, so that agents may read it twice and never miss it.

mod change;

use std::collections::VecDeque;
use std::time::Duration;

use change::Act;

use super::{Policy, WhenUnknown};
use crate::bridge::helpdesk::{Case, Values};
use crate::bridge::http::CallError;
use crate::ledger::cases::{Change as Fact, Entry, Note, Origin, Place};
use crate::ticket::TicketId;
use crate::ticket::proto::update::Change;
use crate::ticket::proto::{Ticket, delivery};

/// So often a ticket is made within one delivery, each time after looking for it; then others go first.
const CREATIONS_MAX: u32 = 2;
/// So often a helpdesk may refuse a change before agents do without it, so that what comes after it comes at all.
/// Erasures are tried for ever.
const REFUSALS_MAX: u32 = 6;
/// So many calls in a row must have ended unclear for it to be the helpdesk's fault and not a ticket's.
const SUSPECT_FAILURES: u32 = 3;
/// Longest wait between two tries of one ticket.
const AGAIN_MAX: Duration = Duration::from_secs(3600);

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Look for the ticket by our reference.
    Find,
    /// Make it.
    Create,
    /// Do what making it may have left undone.
    Complete(Case),
    /// Give it the level of the record.
    Reprioritise(Case),
    /// Add the record's note.
    Note(Case),
    /// Take the text out of it.
    Erase(Case),
    /// Take the text out of one of its notes, of which this is known.
    EraseNote(Case, Values),
    /// Write this, all or nothing.
    Write(Vec<Fact>),
    /// No more.
    End(End),
}

/// What a step has given.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// There was none yet.
    Begun,
    /// It is on the disk.
    Written,
    /// The ids that were found; `None`: the helpdesk cannot look.
    Found(Option<Vec<String>>),
    /// It was made.
    Made(Case),
    /// It was done.
    Done,
    /// It was added, and this is known of it.
    Noted(Values),
    /// It was not, or nobody knows; with the ticket, if that was made before.
    Failed(CallError, Option<Case>),
}

/// How a delivery ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It is in the helpdesk, for good.
    Ack,
    /// Others first: to be delivered again after this.
    Back(Duration, String),
    /// The helpdesk itself must be waited for.
    Hold(CallError),
}

/// One delivery under way.
#[derive(Debug)]
pub struct Job {
    /// The daemon's number of the record.
    pub seq: u64,
    /// Whose record.
    pub ticket_id: TicketId,
    /// The record itself.
    pub record: delivery::Record,
    /// In which the record's ticket is put into words; empty: the record is none.
    language: String,
    /// What is known of the ticket.
    entry: Entry,
    /// Whether the case store has known nothing of it.
    is_new: bool,
    stage: Stage,
    acts: VecDeque<Act>,
    /// Written with the end of the record.
    facts: Vec<Fact>,
    creations: u32,
    policy: Policy,
}

#[derive(Debug, Clone, PartialEq)]
enum Stage {
    Begin,
    Looking,
    /// Written that it will be made.
    Attempting,
    Creating,
    /// Written that nobody knows.
    Unclear,
    /// Written where it is; what its creation may have left undone comes next.
    Placed,
    /// The same, but what comes next has just failed.
    Partial(CallError),
    Completing,
    /// The first of the acts is under way.
    Acting,
    /// The last write before this end.
    Ending(End),
}

impl Job {
    /// A delivery of this record, of whose ticket this is known; `None` if it holds none that we understand. `language`
    /// is that in which a ticket is put into words, and empty of an update.
    pub fn new(
        seq: u64,
        record: delivery::Record,
        language: &str,
        known: impl FnOnce(TicketId) -> Option<Entry>,
        policy: Policy,
    ) -> Option<Job> {
        let id = match &record {
            delivery::Record::Ticket(ticket) => &ticket.id,
            delivery::Record::Update(update) => &update.ticket_id,
        };
        let ticket_id = TicketId::from_bytes(id)?;
        let known = known(ticket_id);
        let is_new = known.is_none();
        let mut entry = known.unwrap_or_default();
        // An attempt that a crash has cut short may still be on its way.
        entry.is_unclear |= entry.attempted_at_us.is_some();
        Some(Job {
            seq,
            ticket_id,
            record,
            language: language.to_owned(),
            entry,
            is_new,
            stage: Stage::Begin,
            acts: VecDeque::new(),
            facts: Vec::new(),
            creations: 0,
            policy,
        })
    }

    /// What the helpdesk holds: brand and level as told last, or as the record says.
    pub fn level(&self) -> i32 {
        let level = match &self.record {
            delivery::Record::Ticket(ticket) => ticket.level,
            delivery::Record::Update(update) => match &update.change {
                Some(Change::Rescored(rescored)) => rescored.level,
                Some(Change::FollowedUp(followed)) => followed.level,
                _ => self.entry.level,
            },
        };
        if level == 0 { self.entry.level } else { level }
    }

    /// The brand of the record's ticket; empty where neither says it.
    pub fn brand(&self) -> &str {
        match &self.record {
            delivery::Record::Ticket(ticket) => &ticket.brand,
            delivery::Record::Update(_) => &self.entry.brand,
        }
    }

    /// In which language the ticket was put into words, so that what follows is in the same; empty: not known.
    pub fn language(&self) -> &str {
        if self.language.is_empty() { &self.entry.language } else { &self.language }
    }

    /// What to do next. `failures` are the calls in a row, of whatever ticket, that have ended unclear.
    pub fn next(&mut self, outcome: Outcome, now_us: i64, failures: u32) -> Step {
        match std::mem::replace(&mut self.stage, Stage::Begin) {
            Stage::Begin => self.begin(),
            Stage::Looking => match outcome {
                Outcome::Found(found) => self.found(found, now_us),
                other => self.looking_failed(other, failures),
            },
            Stage::Attempting => self.go(Stage::Creating, Step::Create),
            Stage::Creating => self.created(outcome, now_us),
            Stage::Unclear => self.go(Stage::Looking, Step::Find),
            Stage::Placed => match self.case() {
                Some(case) => self.go(Stage::Completing, Step::Complete(case)),
                None => Step::End(End::Ack),
            },
            Stage::Partial(error) => self.completing_failed(error, failures),
            Stage::Completing => match outcome {
                Outcome::Failed(error, _) => self.completing_failed(error, failures),
                _ => self.done([Fact::Completed]),
            },
            Stage::Acting => self.acted(outcome, failures),
            Stage::Ending(end) => Step::End(end),
        }
    }

    fn go(&mut self, stage: Stage, step: Step) -> Step {
        self.stage = stage;
        step
    }

    fn end_with(&mut self, end: End, facts: impl IntoIterator<Item = Fact>) -> Step {
        let facts: Vec<Fact> = facts.into_iter().collect();
        if facts.is_empty() {
            return Step::End(end);
        }
        self.go(Stage::Ending(end), Step::Write(facts))
    }

    /// The record is in the helpdesk.
    fn done(&mut self, facts: impl IntoIterator<Item = Fact>) -> Step {
        let done = Fact::Done { seq: self.seq, level: self.level() };
        let noted = std::mem::take(&mut self.facts);
        self.end_with(End::Ack, facts.into_iter().chain(noted).chain([done]))
    }

    fn case(&self) -> Option<Case> {
        let place = self.entry.place.as_ref()?;
        Some(Case { id: place.id.clone(), captured: values_of(&place.captured) })
    }

    fn begin(&mut self) -> Step {
        if self.entry.done_seq >= self.seq {
            return Step::End(End::Ack);
        }
        match (&self.record, &self.entry.place) {
            (delivery::Record::Ticket(_), Some(place)) if place.is_complete || place.is_gone => self.done([]),
            (delivery::Record::Ticket(_), Some(_)) => {
                self.stage = Stage::Placed;
                self.next(Outcome::Begun, 0, 0)
            }
            (delivery::Record::Ticket(ticket), None) => {
                // Of a ticket that is older than our file an earlier file may have known more.
                let may_be_there = self.entry.attempted_at_us.is_some()
                    || (self.is_new && ticket.created_at_us < self.policy.cases_know_since_us);
                match may_be_there {
                    true => self.go(Stage::Looking, Step::Find),
                    false => self.attempt(),
                }
            }
            // Its ticket came before it, and our file has forgotten it, or is another one.
            (delivery::Record::Update(_), None) => self.go(Stage::Looking, Step::Find),
            (delivery::Record::Update(_), Some(place)) if place.is_gone => self.done([]),
            (delivery::Record::Update(_), Some(_)) => self.change(),
        }
    }

    fn attempt(&mut self) -> Step {
        let attempted = Fact::Attempted {
            brand: self.brand().to_owned(),
            level: self.level(),
            language: self.language().to_owned(),
        };
        self.go(Stage::Attempting, Step::Write(vec![attempted]))
    }

    fn found(&mut self, found: Option<Vec<String>>, now_us: i64) -> Step {
        let can_look = found.is_some();
        let ids = found.map(oldest_first).unwrap_or_default();
        if let Some(id) = ids.first() {
            let is_complete = matches!(self.record, delivery::Record::Update(_));
            let place = Place {
                id: id.clone(),
                captured: "{}".to_owned(),
                origin: Origin::Found,
                is_complete,
                is_gone: false,
            };
            return self.placed(place, ids.len() - 1, Stage::Placed);
        }
        if matches!(self.record, delivery::Record::Update(_)) {
            // A change of what was never there, or is there no more.
            return Step::End(End::Ack);
        }
        if let Some(attempted_at_us) = self.entry.attempted_at_us {
            // One that was under way when we ended may have been done until we began again.
            let base = attempted_at_us.max(self.policy.started_at_us);
            let wait = base.saturating_add(micros(self.policy.find_lag)).saturating_sub(now_us);
            if can_look && wait > 0 && !self.policy.find_lag.is_zero() {
                let wait = Duration::from_micros(wait.unsigned_abs()).min(self.policy.find_lag);
                return Step::End(End::Back(wait, "the helpdesk's search may not know it yet".to_owned()));
            }
            if !can_look && self.policy.when_unknown == WhenUnknown::Leave {
                let place = Place {
                    id: String::new(),
                    captured: "{}".to_owned(),
                    origin: Origin::Unknown,
                    is_complete: true,
                    is_gone: true,
                };
                return self.placed(place, 0, Stage::Ending(End::Ack));
            }
        }
        if self.creations >= if can_look { CREATIONS_MAX } else { 1 } {
            return self.back("making it ends unclear again and again".to_owned());
        }
        self.attempt()
    }

    /// Written where it is.
    fn placed(&mut self, place: Place, others: usize, then: Stage) -> Step {
        let fact = Fact::Placed {
            brand: self.brand().to_owned(),
            level: self.level(),
            language: self.language().to_owned(),
            place: place.clone(),
            others,
        };
        let is_found_for_update = then == Stage::Placed && place.is_complete;
        self.entry.place = Some(place);
        match is_found_for_update {
            // What it is found for is done next.
            true => self.go(Stage::Begin, Step::Write(vec![fact])),
            false => self.go(then, Step::Write(vec![fact])),
        }
    }

    fn created(&mut self, outcome: Outcome, now_us: i64) -> Step {
        let was_unclear = self.entry.is_unclear;
        let origin = match was_unclear && !self.policy.can_find {
            true => Origin::Unknown,
            false => Origin::Made,
        };
        let place = |case: Case, is_complete| Place {
            id: case.id,
            captured: serde_json::Value::from(case.captured).to_string(),
            origin,
            is_complete,
            is_gone: false,
        };
        let nothing_done = [Fact::Withdrawn];
        let nothing_done = nothing_done.into_iter().filter(|_| !was_unclear);
        match outcome {
            Outcome::Made(case) => {
                let fact = Fact::Placed {
                    brand: self.brand().to_owned(),
                    level: self.level(),
                    language: self.language().to_owned(),
                    place: place(case, true),
                    others: 0,
                };
                self.done([fact])
            }
            Outcome::Failed(error, Some(case)) => {
                let place = place(case, false);
                self.placed(place, 0, Stage::Partial(error))
            }
            Outcome::Failed(CallError::Unclear(_), None) => {
                self.creations += 1;
                self.entry.is_unclear = true;
                self.entry.attempted_at_us = Some(now_us);
                self.go(Stage::Unclear, Step::Write(vec![Fact::Unclear]))
            }
            // Where tickets are made there is nothing: the address is wrong, for all of them.
            Outcome::Failed(error, None) if error.is_of_one() && !error.is_absence() => {
                let again = self.again();
                let refused = Fact::Refused { seq: self.seq };
                self.end_with(End::Back(again, error.to_string()), nothing_done.chain([refused]))
            }
            Outcome::Failed(error, None) => self.end_with(End::Hold(error), nothing_done),
            other => unreachable!("a creation gives no {other:?}"),
        }
    }

    fn looking_failed(&mut self, outcome: Outcome, failures: u32) -> Step {
        let Outcome::Failed(error, _) = outcome else { unreachable!("a search gives no {outcome:?}") };
        // Without having looked nothing is made.
        match error.is_of_one() || (error.is_unclear() && failures < SUSPECT_FAILURES) {
            true => self.back(error.to_string()),
            false => Step::End(End::Hold(error)),
        }
    }

    fn completing_failed(&mut self, error: CallError, failures: u32) -> Step {
        if error.is_absence() {
            return self.done([Fact::Gone]);
        }
        // It is there; what is left is a label or the like.
        match error.is_of_one() && self.refusals() + 1 >= REFUSALS_MAX {
            true => self.done([Fact::Completed]),
            false => self.failed(error, failures),
        }
    }

    /// An operation on a ticket that is there has failed.
    fn failed(&mut self, error: CallError, failures: u32) -> Step {
        match error.is_of_one() || (error.is_unclear() && failures < SUSPECT_FAILURES) {
            true => self.back(error.to_string()),
            false => Step::End(End::Hold(error)),
        }
    }

    /// Others first, and this one later each time.
    fn back(&mut self, why: String) -> Step {
        let again = self.again();
        // Where there is no entry there is nothing to count in.
        self.end_with(End::Back(again, why), [Fact::Refused { seq: self.seq }])
    }

    fn refusals(&self) -> u32 {
        let (seq, times) = self.entry.refused;
        if seq == self.seq { times } else { 0 }
    }

    fn again(&self) -> Duration {
        let factor = 4_u32.checked_pow(self.refusals()).unwrap_or(u32::MAX);
        self.policy.retry_min.saturating_mul(factor).min(AGAIN_MAX.max(self.policy.retry_min))
    }

    /// The ticket, if that is what is delivered.
    pub fn ticket(&self) -> Option<&Ticket> {
        match &self.record {
            delivery::Record::Ticket(ticket) => Some(ticket),
            delivery::Record::Update(_) => None,
        }
    }
}

/// By number where all are numbers, else as the helpdesk lists them; each once.
fn oldest_first(mut ids: Vec<String>) -> Vec<String> {
    let numbers: Option<Vec<u64>> = ids.iter().map(|id| id.parse().ok()).collect();
    if numbers.is_some() {
        ids.sort_by_key(|id| id.parse::<u64>().unwrap_or(u64::MAX));
    }
    ids.dedup();
    ids
}

fn values_of(json: &str) -> Values {
    serde_json::from_str(json).unwrap_or_default()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
