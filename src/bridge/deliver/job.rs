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
use crate::bridge::helpdesk::{Case, Values, Whereabouts};
use crate::bridge::http::CallError;
use crate::ledger::cases::{Change as Fact, Entry, Note, Origin, Place};
use crate::ticket::TicketId;
use crate::ticket::proto::update::Change;
use crate::ticket::proto::{Ticket, delivery};

/// So often a helpdesk may refuse a change before agents do without it, so that what comes after it comes at all.
const REFUSALS_MAX: u32 = 6;
/// So often an erasure: with the waits between them some 24 hours, within which an operator can give the right that lacks.
const ERASURE_REFUSALS_MAX: u32 = 30;
/// So many calls in a row must have ended unclear for it to be the helpdesk's fault and not a ticket's.
const SUSPECT_FAILURES: u32 = 3;
/// What is said of a ticket of which that is so.
const UNCLEAR_AGAIN: &str = "making it ends unclear again and again";
/// Longest wait between two tries of one ticket.
pub(super) const AGAIN_MAX: Duration = Duration::from_secs(3600);

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
    /// See where it is.
    Look(Case),
    /// Ask the preset's first question: whether the helpdesk takes calls of ours at all.
    Probe,
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
    /// Where it is.
    Seen(Whereabouts),
    /// Whether the helpdesk's answer to the first question is right.
    Sound(bool),
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
    /// The same, and nothing is wrong: it is too early to know whether the ticket is there.
    Early(Duration),
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
    /// How often the record had been refused before this delivery, and has been in it.
    refused: (u32, u32),
    /// Whether an erasure was refused so often that agents are told instead.
    gave_up: bool,
    /// Whether a text that its author has taken back was left there.
    stays: bool,
    /// The helpdesk has the ticket itself no more.
    is_gone: bool,
    /// The helpdesk's tickets whose text the record has taken out, now or at an earlier delivery.
    taken_out: Vec<String>,
    /// Mergers that were followed.
    mergers: usize,
    /// Whether it is made without the operator's fields, with which it was refused again and again.
    is_without_fields: bool,
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
    /// Written that it was not made, since it was refused so: whether others may be is asked next.
    Refused(CallError),
    /// That is under way.
    Asking(CallError),
    /// Written where it is; what its creation may have left undone comes next.
    Placed,
    /// The same, but what comes next has just failed.
    Partial(CallError),
    Completing,
    /// Its text is to be erased: whether it is still a ticket of its own.
    Checking,
    /// The first of the acts is under way.
    Acting,
    /// This failed as it does where a ticket is gone or out of our reach, or where all of them are.
    Doubting(CallError),
    /// Its text is to be erased, and it was gone when it was last looked at.
    Missing,
    /// Its text is to be erased, and it was not found.
    Lost,
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
        let (refused_seq, times) = entry.refused;
        let refused_before = if refused_seq == seq { times } else { 0 };
        let taken_out =
            entry.taken_out.iter().filter(|(of, _)| *of == seq).map(|(_, id)| id.clone()).collect();
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
            refused: (refused_before, 0),
            gave_up: false,
            stays: false,
            is_gone: false,
            taken_out,
            mergers: 0,
            is_without_fields: false,
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

    /// The helpdesk's id of the ticket; empty: not known.
    pub fn case_id(&self) -> &str {
        self.entry.place.as_ref().map_or("", |place| &place.id)
    }

    /// In which language the ticket was put into words, so that what follows is in the same; empty: not known.
    pub fn language(&self) -> &str {
        if self.language.is_empty() { &self.entry.language } else { &self.language }
    }

    /// What is known of the ticket now, after it was found in another one.
    pub fn learn(&mut self, entry: Entry) {
        self.entry = entry;
    }

    /// These were written of it.
    pub fn wrote(&mut self, facts: &[Fact]) {
        let refusals = facts.iter().filter(|fact| matches!(fact, Fact::Refused { .. })).count();
        self.refused.1 += u32::try_from(refusals).unwrap_or(u32::MAX);
    }

    /// Whether the helpdesk refuses so often to make the ticket that people are to be told, which is once: at the delivery
    /// that comes to so many. One may be refused more than once.
    pub fn is_stuck(&self) -> bool {
        let (before, now) = self.refused;
        let is_now = before < REFUSALS_MAX && before + now >= REFUSALS_MAX;
        self.ticket().is_some() && self.entry.place.is_none() && is_now
    }

    /// Whether it is made without the operator's fields, since the helpdesk refuses again and again to make it with them.
    pub fn is_without_fields(&self) -> bool {
        self.is_without_fields
    }

    /// What to do next. `failures` are the calls in a row, of whatever ticket, that have ended unclear.
    pub fn next(&mut self, outcome: Outcome, now_us: i64, failures: u32) -> Step {
        match std::mem::replace(&mut self.stage, Stage::Begin) {
            Stage::Begin => self.begin(),
            Stage::Doubting(error) => self.doubted(error, outcome, failures),
            Stage::Missing => self.missed(outcome, failures),
            Stage::Lost => match outcome {
                // Of what was never there, or is there no more.
                Outcome::Sound(true) => Step::End(End::Ack),
                Outcome::Failed(error, _) => self.failed(error, failures),
                _ => self.back("it is not found, and the helpdesk does not answer as it should".to_owned()),
            },
            Stage::Looking => match outcome {
                Outcome::Found(found) => self.found(found, now_us),
                other => self.looking_failed(other, failures),
            },
            Stage::Attempting => self.go(Stage::Creating, Step::Create),
            Stage::Creating => self.created(outcome, now_us),
            Stage::Unclear => self.go(Stage::Looking, Step::Find),
            Stage::Refused(error) => self.go(Stage::Asking(error), Step::Probe),
            Stage::Asking(error) => self.asked(error, outcome),
            Stage::Placed => match self.case() {
                Some(case) => self.go(Stage::Completing, Step::Complete(case)),
                None => Step::End(End::Ack),
            },
            Stage::Partial(error) => self.not_taken(error, failures),
            Stage::Completing => match outcome {
                Outcome::Failed(error, _) => self.not_taken(error, failures),
                _ => self.done([Fact::Completed]),
            },
            Stage::Checking => self.checked(outcome, failures),
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
        let stays = self.stays.then_some(Fact::TextStays { seq: self.seq });
        self.end_with(End::Ack, facts.into_iter().chain(noted).chain([done]).chain(stays))
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
                match (may_be_there, ticket.erased) {
                    (true, _) => self.go(Stage::Looking, Step::Find),
                    (false, false) => self.attempt(),
                    // Nobody is to work on what its author has taken back.
                    (false, true) => Step::End(End::Ack),
                }
            }
            // Its ticket came before it, and our file has forgotten it, or is another one.
            (delivery::Record::Update(_), None) => self.go(Stage::Looking, Step::Find),
            (delivery::Record::Update(_), Some(place)) if place.is_gone => {
                let may_be_back = self.is_erasure() && !place.id.is_empty();
                match self.case().filter(|_| may_be_back) {
                    Some(case) => self.go(Stage::Missing, Step::Look(case)),
                    None => {
                        // Nobody knows whether it is there, and nobody can look.
                        self.stays = self.erases_ticket();
                        self.done([])
                    }
                }
            }
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
            return match can_look && self.is_erasure() {
                true => self.go(Stage::Lost, Step::Probe),
                false => Step::End(End::Ack),
            };
        }
        if let Some(attempted_at_us) = self.entry.attempted_at_us {
            // What we have given up waiting for may still be under way there, as may what was when we ended; and only
            // what is done is found, a while later.
            let settle = self.policy.settle.saturating_add(self.policy.find_lag);
            let base = attempted_at_us.max(self.policy.started_at_us);
            let wait = base.saturating_add(micros(settle)).saturating_sub(now_us);
            if can_look && wait > 0 {
                let wait = Duration::from_micros(wait.unsigned_abs()).min(settle);
                return Step::End(match self.refusals() {
                    0 => End::Early(wait),
                    _ => End::Back(wait.max(self.again()), UNCLEAR_AGAIN.to_owned()),
                });
            }
            if !can_look && (self.policy.when_unknown == WhenUnknown::Leave || self.is_taken_back()) {
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
        if self.is_taken_back() {
            return Step::End(End::Ack);
        }
        // Others first. That it has ended unclear again is counted already.
        if self.creations > 0 {
            return Step::End(End::Back(self.again(), UNCLEAR_AGAIN.to_owned()));
        }
        self.attempt()
    }

    /// Written where it is.
    fn placed(&mut self, place: Place, others: usize, then: Stage) -> Step {
        let is_found_for_update = then == Stage::Placed && place.is_complete;
        let fact = Fact::Placed {
            brand: self.brand().to_owned(),
            // Which level it holds there nobody knows: that of the record is still to be told.
            level: if is_found_for_update { 0 } else { self.level() },
            language: self.language().to_owned(),
            place: place.clone(),
            others,
        };
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
                // As it was made it is known; else a burst of new ones would keep all others from being looked at.
                let look =
                    Fact::Read { again_at_us: Some(now_us.saturating_add(micros(self.policy.look_after))) };
                self.done([fact, look])
            }
            Outcome::Failed(error, Some(case)) => {
                let place = place(case, false);
                self.placed(place, 0, Stage::Partial(error))
            }
            Outcome::Failed(error, None) if error.is_unclear() => {
                self.creations += 1;
                self.entry.is_unclear = true;
                self.entry.attempted_at_us = Some(now_us);
                let mut facts = vec![Fact::Unclear];
                // Once may happen to any; more than that comes later each time.
                if was_unclear {
                    self.entry.refused = (self.seq, self.refusals() + 1);
                    facts.push(Fact::Refused { seq: self.seq });
                }
                self.go(Stage::Unclear, Step::Write(facts))
            }
            // One team's queue is not there or not ours, or what stands before the helpdesk takes some words for an attack:
            // others may be taken. Where nobody can be asked a wrong key or address, which is everybody's, is likelier.
            Outcome::Failed(error, None) if error.may_be_of_one() || error.is_absence() => {
                let is_everybodys = error.is_absence() || error.is_stranger();
                match (is_everybodys && !self.policy.can_ask, was_unclear) {
                    (true, _) => self.end_with(End::Hold(error), nothing_done),
                    (false, true) => self.go(Stage::Asking(error), Step::Probe),
                    (false, false) => self.go(Stage::Refused(error), Step::Write(vec![Fact::Withdrawn])),
                }
            }
            // One may hold what the helpdesk does not take there, and agents miss it less than the ticket.
            Outcome::Failed(error, None) if error.is_of_one() && self.may_be_for_fields() => {
                self.is_without_fields = true;
                self.go(Stage::Creating, Step::Create)
            }
            Outcome::Failed(error, None) if error.is_of_one() => {
                let again = self.again();
                let refused = Fact::Refused { seq: self.seq };
                self.end_with(End::Back(again, error.in_short()), nothing_done.chain([refused]))
            }
            Outcome::Failed(error, None) => self.end_with(End::Hold(error), nothing_done),
            other => unreachable!("a creation gives no {other:?}"),
        }
    }

    /// Whether it was refused so often that it is to be tried without the operator's fields.
    fn may_be_for_fields(&self) -> bool {
        self.policy.has_fields && !self.is_without_fields && self.refusals() + 1 >= REFUSALS_MAX
    }

    /// It was refused in a way that may mean this ticket, its team's, or all of them.
    fn asked(&mut self, error: CallError, outcome: Outcome) -> Step {
        match outcome {
            Outcome::Sound(true) => self.back(error.in_short()),
            Outcome::Failed(other, _) => Step::End(End::Hold(other)),
            _ => Step::End(End::Hold(error)),
        }
    }

    fn looking_failed(&mut self, outcome: Outcome, failures: u32) -> Step {
        let Outcome::Failed(error, _) = outcome else { unreachable!("a search gives no {outcome:?}") };
        match self.ticket() {
            // Without having looked nothing is made.
            Some(_) => self.failed(error, failures),
            None => self.not_taken(error, failures),
        }
    }

    /// An operation on a ticket that is there has failed, or the search for one that is to be changed.
    fn not_taken(&mut self, error: CallError, failures: u32) -> Step {
        if error.is_absence() || error.may_be_of_one() {
            return self.doubt(error);
        }
        match error.is_of_one() {
            true => self.refused_alone(&error),
            false => self.failed(error, failures),
        }
    }

    /// An operation on a ticket that is there has failed in a way that may mean more than this ticket, or less.
    fn doubt(&mut self, error: CallError) -> Step {
        match self.case().filter(|_| error.is_absence()) {
            Some(case) => self.go(Stage::Doubting(error), Step::Look(case)),
            None => self.go(Stage::Doubting(error), Step::Probe),
        }
    }

    fn doubted(&mut self, error: CallError, outcome: Outcome, failures: u32) -> Step {
        match outcome {
            Outcome::Seen(Whereabouts::Gone) if !self.is_gone => self.gone(),
            // The note, or the double, itself is gone.
            Outcome::Seen(_) if self.erases_beside() => self.acted(Outcome::Done, failures),
            Outcome::Seen(_) | Outcome::Sound(true) => self.refused_alone(&error),
            Outcome::Failed(other, _) if other.may_be_of_one() && !error.may_be_of_one() => self.doubt(other),
            Outcome::Failed(other, _) => self.failed(other, failures),
            _ => self.hold(error),
        }
    }

    fn missed(&mut self, outcome: Outcome, failures: u32) -> Step {
        match outcome {
            Outcome::Seen(Whereabouts::There | Whereabouts::In(_)) => {
                if let Some(place) = &mut self.entry.place {
                    place.is_gone = false;
                }
                self.go(Stage::Begin, Step::Write(vec![Fact::Back]))
            }
            Outcome::Failed(error, _) if error.may_be_of_one() => self.doubt(error),
            Outcome::Failed(error, _) => self.failed(error, failures),
            _ => self.gone(),
        }
    }

    /// The helpdesk does not do it to this ticket and takes others.
    fn refused_alone(&mut self, error: &CallError) -> Step {
        let refusals_max = if self.is_erasure() { ERASURE_REFUSALS_MAX } else { REFUSALS_MAX };
        if self.refusals() + 1 < refusals_max {
            return self.back(error.in_short());
        }
        if self.ticket().is_some() {
            // It is there; what is left is a label or the like.
            return self.done([Fact::Completed]);
        }
        self.do_without()
    }

    /// An operation on a ticket that is there has failed.
    fn failed(&mut self, error: CallError, failures: u32) -> Step {
        let is_suspect = error.is_unclear() && !error.asks_to_wait() && failures < SUSPECT_FAILURES;
        match error.is_of_one() || is_suspect {
            true => self.back(error.in_short()),
            false => self.hold(error),
        }
    }

    /// The helpdesk itself must be waited for; or this ticket alone, where its limit is used up and the helpdesk takes other
    /// calls. One that is not there has no limit of its own: that is one of all that are to be made, or looked for.
    fn hold(&mut self, error: CallError) -> Step {
        let stays = (self.is_erasure() && !error.asks_to_wait()).then_some(Fact::TextStays { seq: self.seq });
        let mut facts: Vec<Fact> = self.took_out().chain(stays).collect();
        if !error.is_limit_of_one() || self.entry.place.is_none() {
            return self.end_with(End::Hold(error), facts);
        }
        // Where it does not say how long, later each time.
        facts.extend(error.wait().is_none().then_some(Fact::Refused { seq: self.seq }));
        let again = error.wait().unwrap_or(self.again()).min(AGAIN_MAX);
        self.end_with(End::Back(again, error.in_short()), facts)
    }

    /// Others first, and this one later each time.
    fn back(&mut self, why: String) -> Step {
        let again = self.again();
        let mut facts = Vec::new();
        if self.is_new && self.ticket().is_none() && self.entry.place.is_none() {
            // There is no entry yet to count in.
            let (brand, language) = (self.brand().to_owned(), self.language().to_owned());
            facts.extend([Fact::Attempted { brand, level: self.level(), language }, Fact::Withdrawn]);
        }
        facts.push(Fact::Refused { seq: self.seq });
        facts.extend(self.took_out());
        facts.extend(self.is_erasure().then_some(Fact::TextStays { seq: self.seq }));
        self.end_with(End::Back(again, why), facts)
    }

    fn refusals(&self) -> u32 {
        let (seq, times) = self.entry.refused;
        if seq == self.seq { times } else { 0 }
    }

    fn again(&self) -> Duration {
        let factor = 4_u32.checked_pow(self.refusals()).unwrap_or(u32::MAX);
        self.policy.retry_min.saturating_mul(factor).min(AGAIN_MAX.max(self.policy.retry_min))
    }

    /// Whether the ticket is delivered, and its author has taken it back already.
    pub fn is_taken_back(&self) -> bool {
        self.ticket().is_some_and(|ticket| ticket.erased)
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
