//! What becomes of tickets in the helpdesk → the daemon, as `TicketStatus` on the bridge's connection.
//!
//! The helpdesk is asked which tickets have changed, where its preset can; each open ticket is asked for in turn, often
//! where that is all there is, else a few times a day for what a listing leaves out. Webhooks are hints that a ticket be
//! read now; nothing is believed of them. All of it stays within a tenth of the calls ([`plan::SHARE`]), so that no
//! number of open tickets keeps new ones from being made.
//!
//! What is new against what was told last ([`status`]) is told. The socket confirms no report, so one counts as taken,
//! and is written down as told, once its connection has lasted for a while; what went over one that was lost is told
//! again, as is what a crash has cut off: the listing's cursor and a ticket's next look are kept only behind that. The
//! same twice does no harm.
//!
//! Of a ticket that was merged into another one the other is read from then on. One that was split stays what it was:
//! what was split off does not hold our reference in its field. One that is gone was deleted, if the helpdesk that says
//! so answers its preset's first question rightly: else it is another's, or our account has lost its rights.

pub mod plan;
pub mod status;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use prost::Message;
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use self::plan::{Plan, Task, Wanted};
use super::deliver::{Link, Shared};
use super::helpdesk::{Case, GONE, Helpdesk, MERGERS_MAX, Standing, Values};
use super::http::CallError;
use super::preset::Changed;
use crate::ledger::LedgerError;
use crate::ledger::cases::{Change as Fact, Entry};
use crate::ticket::TicketId;
use crate::ticket::proto::{TicketStatus, client_message::Kind, ticket_status};

/// How often an open ticket is asked for where a listing says what has changed: of what that leaves out, such as
/// deletions, one hears within that.
const ROUND: Duration = Duration::from_secs(6 * 60 * 60);
/// Longest rest: a ticket that was just made is due, and nobody says so.
const REST_MAX: Duration = Duration::from_secs(1);
/// A hint that comes so soon after we have written a ticket is of that; else each write would cost a call more.
const ECHO_MAX_US: i64 = 5_000_000;
/// What a listing says was changed so shortly before or after we wrote it there was changed by us: such a ticket has its
/// turn so much later, and those that agents have changed go first.
const OWN_MAX_US: i64 = 2_000_000;
const OWN_AFTER_US: i64 = 600_000_000;
/// Tickets of which the time of their last change is remembered, so that what is listed twice is read once.
const LISTED_MAX: usize = 10_000;
/// So often, once a day, a ticket is looked at that the helpdesk does not show us any more.
const HIDDEN_LOOKS_MAX: u32 = 14;
/// What nobody understands is named in the log once, so much of each field.
const MISREAD_MAX: usize = 100;
/// Tickets with such a thing that are counted.
const MISREAD_TICKETS_MAX: usize = 10_000;

/// Looks at what becomes of tickets.
pub struct Reconciler<'b> {
    name: &'b str,
    helpdesk: &'b Helpdesk,
    shared: Shared,
    /// Between two looks: at the listing, or at each ticket where there is none.
    every: Duration,
    clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// What the helpdesk says that nobody understands and the log has named, such as a state that the preset does not
    /// know: field and value.
    named: parking_lot::Mutex<BTreeSet<(&'static str, String)>>,
    /// The tickets of which it says such a thing.
    misread: parking_lot::Mutex<BTreeSet<TicketId>>,
    /// When tickets were changed last, as a listing has said it, by id.
    listed: parking_lot::Mutex<HashMap<String, String>>,
}

/// What is known of the tickets that one ticket there is.
type Known = Vec<(TicketId, Entry)>;

impl<'b> Reconciler<'b> {
    /// For the bridge of this name; `clock` gives microseconds since 1970.
    pub fn new(
        name: &'b str,
        helpdesk: &'b Helpdesk,
        shared: Shared,
        every: Duration,
        clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    ) -> Reconciler<'b> {
        let (named, misread, listed) = Default::default();
        Reconciler { name, helpdesk, shared, every, clock, named, misread, listed }
    }

    /// Looks until `stop`; gives what is new to `reports`, which go over the connection that `link` tells of. `hints`
    /// are ids of the helpdesk's.
    ///
    /// # Errors
    ///
    /// The case store is broken: the process is to end.
    pub async fn run(
        &self,
        reports: mpsc::Sender<Kind>,
        mut link: watch::Receiver<Link>,
        hints: &mut mpsc::Receiver<String>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), LedgerError> {
        let calls = &self.helpdesk.preset().calls;
        if calls.read.is_none() {
            info!(bridge = %self.name, "this helpdesk does not say what becomes of tickets");
            drop(stop.wait_for(|stop| *stop).await);
            return Ok(());
        }
        let apart_us =
            |changed: &Changed| i64::try_from(changed.interval_min_ms).unwrap_or(i64::MAX / 1_000) * 1_000;
        let mut plan = Plan::new(calls.changed.is_some().then_some(micros(self.every)))
            .with_listings_apart(calls.changed.as_ref().map_or(0, apart_us));
        let mut cursor = self.shared.cases.lock().cursor()?;
        let mut hints_end = false;
        loop {
            while let Ok(id) = hints.try_recv() {
                plan.hint(id);
            }
            let until_us = {
                let step = self.step(&mut plan, &mut cursor, &reports, &link);
                tokio::select! {
                    until_us = step => until_us?,
                    _ = stop.wait_for(|stop| *stop) => return Ok(()),
                }
            };
            let Some(until_us) = until_us else { continue };
            let rest_us = u64::try_from(until_us - (self.clock)()).unwrap_or(0);
            tokio::select! {
                () = tokio::time::sleep(Duration::from_micros(rest_us).min(REST_MAX)) => {}
                hint = hints.recv(), if !hints_end => match hint {
                    Some(id) => plan.hint(id),
                    None => hints_end = true,
                },
                changed = link.changed() => if changed.is_err() { return Ok(()) },
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            }
        }
    }

    /// Does one thing; gives until when there is nothing more to do.
    async fn step(
        &self,
        plan: &mut Plan,
        cursor: &mut Option<String>,
        reports: &mpsc::Sender<Kind>,
        link: &watch::Receiver<Link>,
    ) -> Result<Option<i64>, LedgerError> {
        self.settle(plan, reports, link).await?;
        let now_us = (self.clock)();
        match plan.next(now_us) {
            Task::List => self.list(plan, cursor).await?,
            Task::Read(wanted) => self.read(plan, *wanted).await?,
            Task::Due => match self.due(now_us)? {
                Some(known) => self.look(plan, known).await?,
                None if plan.is_idle(now_us) => return Ok(Some(now_us + micros(REST_MAX))),
                None => {}
            },
            Task::Wait(until_us) => return Ok(Some(until_us)),
        }
        Ok(None)
    }

    /// Sends what is to be sent, and writes down what was taken.
    async fn settle(
        &self,
        plan: &mut Plan,
        reports: &mpsc::Sender<Kind>,
        link: &watch::Receiver<Link>,
    ) -> Result<(), LedgerError> {
        plan.connected(link.borrow().lost);
        while let Some(status) = plan.to_send() {
            // Nobody takes them any more: the bridge ends.
            drop(reports.send(Kind::TicketStatus(status)).await);
        }
        let now_us = (self.clock)();
        let link = *link.borrow();
        plan.connected(link.lost);
        if link.is_up && reports.capacity() == reports.max_capacity() {
            plan.sent(now_us);
        }
        while let Some((ticket_id, report)) = plan.taken(now_us) {
            self.shared.cases.lock().apply(ticket_id, &report.facts, now_us)?;
            self.shared.counts.lock().reported += 1;
        }
        if let Some(cursor) = plan.cursor() {
            self.shared.cases.lock().set_cursor(&cursor)?;
        }
        Ok(())
    }

    /// Asks which tickets have changed.
    async fn list(&self, plan: &mut Plan, cursor: &mut Option<String>) -> Result<(), LedgerError> {
        let now = Timestamp::from_microsecond((self.clock)()).unwrap_or_default();
        let answer = self.helpdesk.changed(cursor.as_deref(), now).await;
        let is_empty = matches!(&answer, Ok(Some(changes)) if changes.cases.is_empty());
        let listing = self.helpdesk.preset().calls.changed.as_ref();
        self.spent(plan, listing.map_or(0, |listing| calls_of(listing, cursor.is_none(), is_empty)));
        match answer {
            Ok(Some(changes)) => {
                plan.succeeded();
                let mut ours = Vec::new();
                for (case_id, standing) in changes.cases {
                    let known = self.shared.cases.lock().of_case(&case_id)?;
                    let is_news = match changes.at.get(&case_id) {
                        Some(at) if !known.is_empty() => self.is_news(&case_id, at, &known)?,
                        _ => true,
                    };
                    if !known.is_empty() && is_news {
                        // Of one that was merged more is to be asked.
                        ours.push((case_id, standing.filter(|standing| standing.merged_into.is_none())));
                    }
                }
                let has_more = changes.more && cursor.as_ref() != Some(&changes.cursor);
                *cursor = Some(changes.cursor.clone());
                plan.listed((self.clock)(), ours, changes.cursor, has_more);
            }
            Ok(None) => {}
            Err(error) => {
                // One that is refused says nothing of the tickets: they are asked for all the same.
                let is_of_listing = self.is_of_one(plan, &error).await;
                let is_refused = is_of_listing && !error.asks_to_wait();
                if plan.list_failed((self.clock)(), is_refused, error.wait().map_or(0, micros)) {
                    warn!(bridge = %self.name, "the listing of changes begins anew: what has changed since is found late");
                    *cursor = None;
                }
                self.failed(plan, &error, is_of_listing);
            }
        }
        Ok(())
    }

    /// Whether what a listing says to have been changed `at` is to be read first.
    fn is_news(&self, case_id: &str, at: &str, known: &[TicketId]) -> Result<bool, LedgerError> {
        let before = {
            let mut listed = self.listed.lock();
            if listed.len() >= LISTED_MAX {
                listed.clear();
            }
            listed.insert(case_id.to_owned(), at.to_owned())
        };
        if before.as_deref() == Some(at) {
            return Ok(false);
        }
        let Ok(at) = at.parse::<Timestamp>() else { return Ok(true) };
        let mut cases = self.shared.cases.lock();
        let is_ours = |id: &TicketId| {
            let wrote_at_us = cases.wrote_at_us(*id);
            wrote_at_us.is_some_and(|wrote| (at.as_microsecond() - wrote).abs() <= OWN_MAX_US)
        };
        if !known.iter().any(is_ours) {
            return Ok(true);
        }
        // An agent may have changed it in the same moment.
        let now_us = (self.clock)();
        for ticket_id in known {
            let again_at_us = cases.get(*ticket_id)?.and_then(|entry| entry.again_at_us);
            if again_at_us.is_none_or(|again_at_us| again_at_us > now_us + OWN_AFTER_US) {
                let again = Fact::Read { again_at_us: Some(now_us + OWN_AFTER_US) };
                cases.apply(*ticket_id, &[again], now_us)?;
            }
        }
        Ok(false)
    }

    /// Reads a ticket that something was heard of, if it is ours.
    async fn read(&self, plan: &mut Plan, wanted: Wanted) -> Result<(), LedgerError> {
        let mut known = Known::new();
        {
            let cases = self.shared.cases.lock();
            for ticket_id in cases.of_case(&wanted.case_id)? {
                known.extend(cases.get(ticket_id)?.map(|entry| (ticket_id, entry)));
            }
        }
        let Some(case) = case_of(&known) else { return Ok(()) };
        let listing = wanted.listing;
        if listing.is_none() && self.is_echo(&known) {
            return Ok(());
        }
        if let Some(standing) = &wanted.standing {
            return self.learn(plan, known, &case.id, standing, listing);
        }
        match self.ask(plan, case).await {
            Ok((case_id, standing)) => self.learn(plan, known, &case_id, &standing, listing),
            Err(error) => {
                let is_of_one = self.is_of_one(plan, &error).await;
                if is_of_one && error.may_be_of_one() {
                    return self.hide(known);
                }
                self.failed(plan, &error, is_of_one);
                if !plan.failed(wanted) {
                    self.later(&known, 0)?;
                }
                Ok(())
            }
        }
    }

    /// The ticket that has been due for longest.
    fn due(&self, now_us: i64) -> Result<Option<Known>, LedgerError> {
        let cases = self.shared.cases.lock();
        let Some(ticket_id) = cases.due(now_us, 1)?.pop() else { return Ok(None) };
        let Some(entry) = cases.get(ticket_id)? else { return Ok(None) };
        Ok(Some(vec![(ticket_id, entry)]))
    }

    /// Reads a ticket that is due.
    async fn look(&self, plan: &mut Plan, known: Known) -> Result<(), LedgerError> {
        let Some(case) = case_of(&known) else { return Ok(()) };
        match self.ask(plan, case).await {
            Ok((case_id, standing)) => self.learn(plan, known, &case_id, &standing, None),
            Err(error) => {
                let is_of_one = self.is_of_one(plan, &error).await;
                if is_of_one && error.may_be_of_one() {
                    return self.hide(known);
                }
                self.failed(plan, &error, is_of_one);
                // It is no better known now, but others are to have their turn.
                self.later(&known, self.round_us())
            }
        }
    }

    /// What has become of a ticket, and of the one that it was merged into; with the id of that.
    async fn ask(&self, plan: &mut Plan, mut case: Case) -> Result<(String, Standing), CallError> {
        let mut seen = BTreeSet::new();
        loop {
            let mut calls = 0;
            let read = self.helpdesk.read_counting(&case, &mut calls).await;
            self.spent(plan, calls);
            let standing =
                read?.ok_or_else(|| CallError::Template("read: there is no such call".to_owned()))?;
            if standing.state_there == GONE && !self.helpdesk.preset().calls.probe.is_empty() {
                let answer = self.helpdesk.probe(0, None).await;
                self.spent(plan, 1);
                if let Err(advice) = answer? {
                    return Err(CallError::Unclear(format!("it knows no ticket {}: {advice}", case.id)));
                }
            }
            plan.succeeded();
            seen.insert(case.id.clone());
            match &standing.merged_into {
                Some(into) if !seen.contains(into) && seen.len() <= MERGERS_MAX => case.id.clone_from(into),
                _ => return Ok((case.id, standing)),
            }
        }
    }

    /// What is new is told, and when to look again is remembered.
    fn learn(
        &self,
        plan: &mut Plan,
        known: Known,
        case_id: &str,
        standing: &Standing,
        listing: Option<u64>,
    ) -> Result<(), LedgerError> {
        let now_us = (self.clock)();
        for (ticket_id, entry) in known {
            self.note_misread(ticket_id, case_id, standing);
            if entry.hidden > 0 {
                info!(bridge = %self.name, ticket = %ticket_id, case = case_id, "visible again");
                self.shared.cases.lock().apply(ticket_id, &[Fact::Shown], now_us)?;
            }
            let told = TicketStatus::decode(entry.reported.as_slice()).ok();
            let told = told.filter(|told| !told.ticket_id.is_empty());
            let before = plan.on_its_way(ticket_id).or(told.as_ref());
            let is_moved = entry.place.as_ref().is_some_and(|place| place.id != case_id);
            let (mut joined, mut standing) = (Vec::new(), standing.clone());
            if is_moved || entry.is_merged {
                let stood_there = match TicketStatus::decode(entry.stood_there.as_slice()) {
                    Ok(stood_there) if !is_moved && !stood_there.ticket_id.is_empty() => stood_there,
                    _ => {
                        let stands_there = status::status(ticket_id, case_id, &standing, None);
                        joined.push(Fact::StoodThere(stands_there.encode_to_vec()));
                        stands_there
                    }
                };
                standing = status::of_merged(standing, entry.made_at_us, &stood_there);
            }
            let status = status::status(ticket_id, case_id, &standing, before);
            let touched_at_us = self.shared.cases.lock().touched_at_us(ticket_id)?.unwrap_or(now_us);
            let again_at_us = status::again_at_us(
                now_us,
                self.round_us(),
                &status,
                told.as_ref(),
                entry.again_at_us,
                touched_at_us,
            );
            let is_back =
                standing.state_there != GONE && entry.place.as_ref().is_some_and(|place| place.is_gone);
            if is_back {
                info!(bridge = %self.name, ticket = %ticket_id, case = case_id, "the helpdesk has it after all");
                self.shared.cases.lock().apply(ticket_id, &[Fact::Back], now_us)?;
            }
            if is_moved {
                info!(bridge = %self.name, ticket = %ticket_id, case = case_id, "merged in the helpdesk");
                joined.insert(0, Fact::Moved { id: case_id.to_owned() });
            }
            if !joined.is_empty() {
                self.shared.cases.lock().apply(ticket_id, &joined, now_us)?;
            }
            let mut facts = vec![Fact::Read { again_at_us }];
            let is_told = told.as_ref() == Some(&status) && plan.on_its_way(ticket_id).is_none();
            if !is_told {
                // Soon, until the daemon is known to have it: a crash may come before.
                let soon = Fact::Read { again_at_us: Some(now_us + micros(self.every)) };
                self.shared.cases.lock().apply(ticket_id, &[soon], now_us)?;
            }
            if before == Some(&status) {
                if is_told {
                    self.shared.cases.lock().apply(ticket_id, &facts, now_us)?;
                }
                continue;
            }
            // Some only say so of it: what is left there is for whoever has deleted it.
            if status.state() == ticket_status::State::Deleted {
                facts.push(Fact::Deleted);
            }
            if standing.state_there == GONE {
                facts.push(Fact::Gone);
            }
            if status::has_ended(&status) && !before.is_some_and(status::has_ended) {
                self.shared.counts.lock().ended += 1;
            }
            facts.push(Fact::Reported(status.encode_to_vec()));
            plan.report(ticket_id, status, facts, listing);
        }
        Ok(())
    }

    /// The helpdesk does not show us these and shows us others: agents have moved them to where we have no rights. Said
    /// once; they are looked at once a day for a while, since a right may be given back, then not unless something is heard
    /// of them.
    fn hide(&self, known: Known) -> Result<(), LedgerError> {
        let now_us = (self.clock)();
        for (ticket_id, entry) in known {
            let looks = entry.hidden + 1;
            if looks == 1 {
                let case = entry.place.map(|place| place.id).unwrap_or_default();
                warn!(
                    bridge = %self.name, ticket = %ticket_id, %case,
                    "no longer visible: the helpdesk does not show it to our account any more; what becomes of it is not heard of"
                );
            }
            let again_at_us = (looks < HIDDEN_LOOKS_MAX).then_some(now_us + status::ONCE_MORE_US);
            self.shared.cases.lock().apply(ticket_id, &[Fact::Hidden, Fact::Read { again_at_us }], now_us)?;
        }
        Ok(())
    }

    fn later(&self, known: &Known, after_us: i64) -> Result<(), LedgerError> {
        let now_us = (self.clock)();
        for (ticket_id, _) in known {
            let again = Fact::Read { again_at_us: Some(now_us + after_us) };
            self.shared.cases.lock().apply(*ticket_id, &[again], now_us)?;
        }
        Ok(())
    }

    fn round_us(&self) -> i64 {
        let has_listing = self.helpdesk.preset().calls.changed.is_some();
        micros(if has_listing { self.every.max(ROUND) } else { self.every })
    }

    fn spent(&self, plan: &mut Plan, calls: u32) {
        let every_us = micros(self.shared.pace.standing().every);
        plan.spent((self.clock)(), calls, every_us);
    }

    /// Whether a ticket that could not be read is the only one, or the listing all that was refused.
    async fn is_of_one(&self, plan: &mut Plan, error: &CallError) -> bool {
        if !error.may_be_of_one() {
            return error.is_of_one() || error.is_limit_of_one();
        }
        let is_sound = self.helpdesk.is_sound().await;
        self.spent(plan, 1);
        is_sound.unwrap_or(false)
    }

    /// Whether a hint of these comes of what we have just done ourselves.
    fn is_echo(&self, known: &Known) -> bool {
        let cases = self.shared.cases.lock();
        let now_us = (self.clock)();
        known.iter().any(|(ticket_id, _)| {
            cases.wrote_at_us(*ticket_id).is_some_and(|at_us| (at_us..at_us + ECHO_MAX_US).contains(&now_us))
        })
    }

    /// One ticket that cannot be read, or a listing, is no reason to ask for no other; everything else is.
    fn failed(&self, plan: &mut Plan, error: &CallError, is_of_one: bool) {
        let why = error.in_short();
        debug!(bridge = %self.name, %error, "a call has failed");
        if is_of_one {
            warn!(bridge = %self.name, %why, "a ticket or listing cannot be read");
        } else if plan.pause((self.clock)()) && !error.asks_to_wait() {
            warn!(bridge = %self.name, %why, "the helpdesk does not say what has become of tickets");
        }
    }

    /// What nobody understands is said once, and counted as long as it stands there.
    fn note_misread(&self, ticket_id: TicketId, case_id: &str, standing: &Standing) {
        let mut misread = self.misread.lock();
        match standing.misread.is_empty() {
            true => drop(misread.remove(&ticket_id)),
            false if misread.len() < MISREAD_TICKETS_MAX => drop(misread.insert(ticket_id)),
            false => {}
        }
        self.shared.counts.lock().misread = misread.len() as u64;
        let mut named = self.named.lock();
        for (field, value) in &standing.misread {
            let of_field = named.iter().filter(|(of, _)| of == field).count();
            if of_field < MISREAD_MAX && named.insert((field, value.clone())) {
                let why = match *field {
                    "state" => "the preset's states lack this one",
                    "satisfaction" => "no whole number from 1 to 5",
                    "recommendation" => "no whole number from 0 to 10",
                    _ => "no time",
                };
                warn!(
                    bridge = %self.name, field, value, why, ticket = %ticket_id, case = case_id,
                    "not understood; it changes nothing"
                );
            }
        }
    }
}

/// How many calls a listing takes, at most: of nothing there is nothing more to ask.
fn calls_of(listing: &Changed, is_first: bool, is_empty: bool) -> u32 {
    let also = if is_empty { 0 } else { listing.also.len() };
    let calls = 1 + also + usize::from(is_first && listing.start.is_some());
    u32::try_from(calls).unwrap_or(u32::MAX)
}

/// The ticket there that these are.
fn case_of(known: &Known) -> Option<Case> {
    let place = known.first()?.1.place.as_ref()?;
    let captured: Values = serde_json::from_str(&place.captured).unwrap_or_default();
    Some(Case { id: place.id.clone(), captured })
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::calls_of;
    use crate::bridge::preset::{BUILT_IN, Preset};

    #[test]
    fn each_call_of_a_listing_is_counted() {
        let calls = |kind: &str, is_first, is_empty| {
            let text = BUILT_IN.iter().find(|(name, _)| *name == kind).unwrap().1;
            calls_of(Preset::parse(text).unwrap().calls.changed.as_ref().unwrap(), is_first, is_empty)
        };
        assert_eq!(
            (calls("rt", true, false), calls("rt", false, false), calls("rt", false, true)),
            (3, 2, 1)
        );
        assert_eq!((calls("zendesk", true, false), calls("zendesk", false, false)), (1, 1));
    }
}
