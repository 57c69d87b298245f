//! One delivery worked off: the steps of its [`Job`], done.

use std::sync::atomic::Ordering;

use tracing::{debug, error, info, warn};

use super::errors::{Error, Of};
use super::job::{End, Job, Outcome, Step};
use super::run::REFUSED_IN_ROW_MAX;
use super::{Bridge, Policy, Target, Worked};
use crate::bridge::helpdesk::Values;
use crate::bridge::http::CallError;
use crate::bridge::text::{About, Language, Texts};
use crate::ledger::LedgerError;
use crate::ledger::cases::{Change as Fact, Origin};
use crate::ticket::TicketId;
use crate::ticket::proto::update::Change;
use crate::ticket::proto::{Delivery, Level, delivery};

impl<T: Target> Bridge<T> {
    /// Does all that is to be done about one delivery.
    ///
    /// Dropped at any moment it leaves what a crash would leave.
    pub(super) async fn work(&self, delivery: Delivery) -> Result<Worked, LedgerError> {
        let mut calls = 0;
        let end = self.work_off(delivery.seq, delivery.record, &mut calls).await?;
        Ok(Worked { seq: delivery.seq, end, calls })
    }

    async fn work_off(
        &self,
        seq: u64,
        record: Option<delivery::Record>,
        calls: &mut u32,
    ) -> Result<End, LedgerError> {
        // What a newer daemon sends and we do not know is not ours to keep.
        let Some(record) = record else { return Ok(End::Ack) };
        let mut failed = None;
        let known = |id: TicketId| match self.shared.cases.lock().get(id) {
            Ok(entry) => entry,
            Err(error) => {
                failed = Some(error);
                None
            }
        };
        let language = match &record {
            delivery::Record::Ticket(ticket) => self.texts.language(ticket).tag(),
            delivery::Record::Update(_) => "",
        };
        // It may have forgotten something since we began.
        let cases_know_since_us = self.shared.cases.lock().knows_since_us();
        let cut_off_us = self.cut_off_us.load(Ordering::Relaxed);
        let started_at_us = self.policy.started_at_us.max(cut_off_us);
        let policy = Policy { cases_know_since_us, started_at_us, ..self.policy };
        let job = Job::new(seq, record, language, known, policy);
        if let Some(error) = failed {
            return Err(error);
        }
        let Some(mut job) = job else { return Ok(End::Ack) };
        if job.is_erasure() || job.is_taken_back() {
            self.shared.counts.lock().errors.forget_words_of(job.ticket_id);
        }
        let reference = job.ticket_id.to_string();
        let mut outcome = Outcome::Begun;
        // What the helpdesk said last of a call that failed, in full: it may hold a post's text, and of one that takes a
        // text out it is nobody's business.
        let mut said = None;
        loop {
            let failures = self.health.lock().failures;
            let step = job.next(outcome, (self.clock)(), failures);
            *calls += u32::from(!matches!(step, Step::Write(_) | Step::End(_)));
            outcome = match step {
                Step::Write(facts) => {
                    let mut cases = self.shared.cases.lock();
                    cases.apply(job.ticket_id, &facts, (self.clock)())?;
                    if facts.iter().any(|fact| matches!(fact, Fact::Moved { .. }))
                        && let Some(entry) = cases.get(job.ticket_id)?
                    {
                        job.learn(entry);
                    }
                    drop(cases);
                    job.wrote(&facts);
                    self.wrote(&job, &facts);
                    Outcome::Written
                }
                Step::Find => self.heard(self.target.find(&reference).await.map(Outcome::Found)),
                Step::Create => {
                    let mut values = self.values(&job, &reference);
                    if job.is_without_fields() {
                        values.insert("fields".to_owned(), Values::new().into());
                    }
                    match self.target.create(&values).await {
                        Ok(case) => self.heard(Ok(Outcome::Made(case))),
                        Err((error, case)) => {
                            self.heard(Err(error.clone()));
                            Outcome::Failed(error, case)
                        }
                    }
                }
                Step::Complete(case) => {
                    let values = self.values(&job, &reference);
                    self.heard(self.target.complete(&case, &values).await.map(|()| Outcome::Done))
                }
                Step::Reprioritise(case) => {
                    let values = self.values(&job, &reference);
                    self.heard(self.target.reprioritise(&case, &values).await.map(|()| Outcome::Done))
                }
                Step::Note(case) => {
                    let mut values = self.values(&job, &reference);
                    if job.leaves_text() {
                        values.extend(self.left(&job, &reference));
                    }
                    self.heard(self.target.note(&case, &values).await.map(Outcome::Noted))
                }
                Step::Erase(case) => {
                    let values = self.values(&job, &reference);
                    self.heard(self.target.erase(&case, &values).await.map(|()| Outcome::Done))
                }
                Step::EraseNote(case, note) => {
                    let values = self.values(&job, &reference);
                    self.heard(self.target.erase_note(&case, &note, &values).await.map(|()| Outcome::Done))
                }
                Step::Look(case) => self.heard(self.target.whereabouts(&case).await.map(Outcome::Seen)),
                Step::Probe => self.heard(self.target.is_sound().await.map(Outcome::Sound)),
                Step::End(end) => {
                    let end = match end {
                        End::Hold(error) if job.is_erasure() => End::Hold(error.without_words()),
                        end => end,
                    };
                    self.ended(&job, &end, said);
                    return Ok(end);
                }
            };
            if let Outcome::Failed(error, _) = &outcome
                && !job.is_erasure()
            {
                said = Some(error.to_string());
            }
        }
    }

    /// Takes note of how a call went.
    fn heard(&self, called: Result<Outcome, CallError>) -> Outcome {
        let mut health = self.health.lock();
        if let Err(error) = &called {
            // Some repeat what they were sent: that is for nobody's log.
            debug!(bridge = %self.name, %error, "a call has failed");
        }
        // What took no call, since all of its steps were left out, is no sign of life.
        let answers = self.target.answers();
        let is_answered = std::mem::replace(&mut health.answers, answers) != answers;
        match &called {
            Ok(_) if !is_answered => {}
            // Something answers, and it is not the helpdesk that it should be.
            Ok(Outcome::Sound(false)) => health.failures = 0,
            Ok(_) => {
                health.failures = 0;
                health.backoff.reset();
                if std::mem::take(&mut health.is_told) {
                    info!(bridge = %self.name, "the helpdesk takes tickets again");
                    self.shared.counts.lock().is_held = false;
                }
                self.shared.counts.lock().errors.over(Of::Helpdesk);
            }
            Err(CallError::Limited { .. } | CallError::Trouble { wait: Some(_), .. }) => {}
            Err(CallError::Unclear(_) | CallError::Trouble { .. } | CallError::NotSent(_)) => {
                health.failures += 1;
            }
            Err(CallError::Refused { .. } | CallError::Template(_)) => health.failures = 0,
        }
        match called {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Failed(error, None),
        }
    }

    fn wrote(&self, job: &Job, facts: &[Fact]) {
        let mut counts = self.shared.counts.lock();
        for fact in facts {
            counts.wrote(fact);
            if let Fact::Placed { place, others, .. } = fact
                && *others > 0
            {
                let (ticket, case) = (job.ticket_id, &place.id);
                warn!(bridge = %self.name, %ticket, %case, others, "the helpdesk has this ticket more than once");
            }
            if matches!(fact, Fact::Placed { .. }) && job.is_without_fields() {
                warn!(
                    bridge = %self.name, ticket = %job.ticket_id,
                    "made without the fields of [bridge.fields], with which the helpdesk refuses this ticket again and again"
                );
                let why =
                    "a ticket was made without the fields of [bridge.fields], with which it was refused";
                counts.errors.failed(self.error(job, Of::Fields, why.to_owned(), why.to_owned()));
            } else if made_with_fields(fact, job, &self.texts) {
                counts.errors.over(Of::Fields);
            }
        }
    }

    fn ended(&self, job: &Job, end: &End, said: Option<String>) {
        match end {
            End::Ack => {
                self.health.lock().refused.clear();
                {
                    let mut counts = self.shared.counts.lock();
                    counts.changed += u64::from(job.ticket().is_none());
                    counts.errors.over(Of::Record(job.seq));
                }
                if job.has_left_text() && job.case_id().is_empty() {
                    error!(
                        bridge = %self.name, ticket = %job.ticket_id,
                        "an author's text may be in the helpdesk: nobody knows whether this ticket was made there, and its API \
                         cannot look for it; somebody must look, and take it out"
                    );
                } else if job.has_left_text() {
                    error!(
                        bridge = %self.name, ticket = %job.ticket_id, case = job.case_id(),
                        "an author's text stays in the helpdesk: it is merged with another's ticket, or the helpdesk refuses \
                         to take it out or cannot; an administrator must take it out"
                    );
                }
            }
            End::Back(again, why) => {
                let mut health = self.health.lock();
                if health.refused.len() < REFUSED_IN_ROW_MAX {
                    health.refused.insert(job.ticket_id);
                }
                drop(health);
                let said = said.unwrap_or_else(|| why.clone());
                let failed = self.error(job, Of::Record(job.seq), said, why.clone());
                self.shared.counts.lock().errors.failed(failed);
                let again_s = again.as_secs();
                if job.is_stuck() {
                    error!(
                        bridge = %self.name, ticket = %job.ticket_id, %why,
                        "the helpdesk refuses again and again to make this ticket: its agents do not know of it"
                    );
                }
                warn!(bridge = %self.name, ticket = %job.ticket_id, %why, again_s, "not taken; tried again later");
            }
            End::Hold(error) if !error.asks_to_wait() || error.is_limit_of_one() => {
                let failed = self.error(job, Of::Helpdesk, error.to_string(), error.in_short());
                self.shared.counts.lock().errors.failed(failed);
            }
            End::Early(_) | End::Hold(_) => {}
        }
    }

    fn error(&self, job: &Job, of: Of, said: String, in_short: String) -> Error {
        Error { of, at_us: (self.clock)(), said, ticket_id: Some(job.ticket_id), in_short }
    }

    /// What agents read of a text that stays.
    fn left(&self, job: &Job, reference: &str) -> Values {
        let delivery::Record::Update(update) = &job.record else { return Values::new() };
        let about =
            About { reference, brand: job.brand(), language: Language::of(job.language()), level: None };
        match &update.change {
            Some(Change::Erased(erased)) => self.texts.left(&about, &erased.reason),
            Some(Change::PostErased(_)) if job.erases_ticket() => self.texts.left(&about, ""),
            Some(Change::PostErased(erased)) => self.texts.left_of_one(&about, &erased.post_id),
            _ => Values::new(),
        }
    }

    /// What templates see of a delivery.
    fn values(&self, job: &Job, reference: &str) -> Values {
        let level = Level::try_from(job.level()).unwrap_or_default();
        let mut values = match &job.record {
            delivery::Record::Ticket(ticket) => self.texts.ticket(ticket),
            delivery::Record::Update(update) => {
                let language = Language::of(job.language());
                let about = About { reference, brand: job.brand(), language, level: None };
                return self.texts.change(&about, update, level);
            }
        };
        // One that comes late may have another level by now.
        self.texts.set_level(&mut values, level);
        values
    }
}

/// Whether this says that a ticket was made, and with some of the operator's fields.
fn made_with_fields(fact: &Fact, job: &Job, texts: &Texts) -> bool {
    let is_made = matches!(fact, Fact::Placed { place, .. } if place.origin == Origin::Made);
    is_made && job.ticket().is_some_and(|ticket| !texts.fields().of(ticket).is_empty())
}
