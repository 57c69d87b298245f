//! What the reconciler does next, and what of it is still open. Plain code: it is told the time and what was found.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::bridge::helpdesk::Standing;
use crate::ledger::cases::Change as Fact;
use crate::ticket::TicketId;
use crate::ticket::proto::TicketStatus;

/// Of the helpdesk's calls one in so many is ours: so that no number of open tickets delays new ones by much.
pub const SHARE: u32 = 10;
/// Hints that wait. Beyond it they are dropped: what they are about is found without them.
pub const HINTS_MAX: usize = 1_000;
/// Reports that are not known to be taken, and listed tickets that are not read: with more no listing is asked for.
pub const OPEN_MAX: usize = 1_000;
/// A report counts as taken once the connection that it went over has lasted so long after it. A daemon that takes
/// nothing is silent for three heartbeats before that, and then its connection is lost.
pub const TAKEN_AFTER_US: i64 = 60_000_000;
/// So often a ticket is tried to be read at once, then when its turn comes.
const TRIES_MAX: u32 = 3;
/// Waits for a helpdesk that takes nothing.
const PAUSE_MIN_US: i64 = 1_000_000;
const PAUSE_MAX_US: i64 = 300_000_000;
/// So often in a row the helpdesk may refuse a listing before the listing begins anew.
const LIST_REFUSALS_MAX: u32 = 5;

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Task {
    /// Ask the helpdesk which tickets have changed.
    List,
    /// Read this one there, unless the listing has said all.
    Read(Box<Wanted>),
    /// See whether a ticket is due; if none is, wait.
    Due,
    /// Nothing before that.
    Wait(i64),
}

/// A ticket that something was heard of.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Its id there.
    pub case_id: String,
    /// What the listing says of it.
    pub standing: Option<Standing>,
    /// The listing that it was in; `None`: a hint.
    pub listing: Option<u64>,
    tries: u32,
}

/// A report on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What is told.
    pub status: TicketStatus,
    /// What is true once it is taken.
    pub facts: Vec<Fact>,
    listing: Option<u64>,
    is_queued: bool,
    sent_at_us: Option<i64>,
}

/// What there is to be done, each in its turn: no flood of one keeps the others waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// A ticket of which the helpdesk has told of itself.
    Hint,
    /// A ticket that was listed, or the next listing.
    List,
    /// The ticket that has been due for longest.
    Due,
}

impl Turn {
    fn after(self) -> Turn {
        match self {
            Turn::Hint => Turn::List,
            Turn::List => Turn::Due,
            Turn::Due => Turn::Hint,
        }
    }
}

/// The reconciler's mind.
#[derive(Debug)]
pub struct Plan {
    list_every_us: Option<i64>,
    /// Least time from one listing to the next, also where there is more to ask for.
    list_apart_us: i64,
    list_at_us: i64,
    /// No call before that: our share of the calls is used up.
    free_at_us: i64,
    /// No call before that: the helpdesk takes nothing.
    paused_until_us: i64,
    failures: u32,
    /// Listings in a row that have failed.
    list_failures: u32,
    /// Whose turn it is.
    turn: Turn,
    hints: VecDeque<Wanted>,
    hinted: BTreeSet<String>,
    listed: VecDeque<Wanted>,
    reports: BTreeMap<TicketId, Report>,
    /// From where to go on after each listing that is not worked off.
    cursors: VecDeque<(u64, String)>,
    listings: u64,
    /// Connections lost so far.
    lost: u64,
}

impl Plan {
    /// With a listing every so often; `None`: the helpdesk has none.
    pub fn new(list_every_us: Option<i64>) -> Plan {
        Plan {
            list_every_us,
            list_apart_us: 0,
            list_at_us: 0,
            free_at_us: 0,
            paused_until_us: 0,
            failures: 0,
            list_failures: 0,
            turn: Turn::Hint,
            hints: VecDeque::new(),
            hinted: BTreeSet::new(),
            listed: VecDeque::new(),
            reports: BTreeMap::new(),
            cursors: VecDeque::new(),
            listings: 0,
            lost: 0,
        }
    }

    /// The same with at least so much between two listings: the helpdesk takes no more of them.
    pub fn with_listings_apart(self, list_apart_us: i64) -> Plan {
        Plan { list_apart_us, ..self }
    }

    /// What to do now: what a listing has said in full, then a hint, what was listed or the next listing, and what is
    /// due of itself, in turn.
    pub fn next(&mut self, now_us: i64) -> Task {
        if let Some(wanted) = self.listed.pop_front_if(|wanted| wanted.standing.is_some()) {
            return Task::Read(Box::new(wanted));
        }
        let free_at_us = self.free_at_us.max(self.paused_until_us);
        if free_at_us > now_us {
            return Task::Wait(free_at_us);
        }
        loop {
            let turn = self.turn;
            self.turn = turn.after();
            let task = match turn {
                Turn::Hint => self.next_hint(),
                Turn::List => self.next_of_listing(now_us),
                Turn::Due if self.is_full() => Some(Task::Wait(now_us + TAKEN_AFTER_US)),
                Turn::Due => Some(Task::Due),
            };
            if let Some(task) = task {
                return task;
            }
        }
    }

    fn next_hint(&mut self) -> Option<Task> {
        let wanted = self.hints.pop_front()?;
        self.hinted.remove(&wanted.case_id);
        Some(Task::Read(Box::new(wanted)))
    }

    fn next_of_listing(&mut self, now_us: i64) -> Option<Task> {
        if let Some(wanted) = self.listed.pop_front() {
            return Some(Task::Read(Box::new(wanted)));
        }
        let is_due = self.list_every_us.is_some() && self.list_at_us <= now_us;
        (is_due && !self.is_full()).then_some(Task::List)
    }

    fn is_full(&self) -> bool {
        self.reports.len() >= OPEN_MAX
    }

    /// Whether nothing but what is due of itself is to be done now.
    pub fn is_idle(&self, now_us: i64) -> bool {
        let is_list_due = self.list_every_us.is_some() && self.list_at_us <= now_us && !self.is_full();
        self.hints.is_empty() && self.listed.is_empty() && !is_list_due
    }

    /// Something may have become of this one.
    pub fn hint(&mut self, case_id: String) {
        if self.hints.len() < HINTS_MAX && self.hinted.insert(case_id.clone()) {
            self.hints.push_back(Wanted { case_id, standing: None, listing: None, tries: 0 });
        }
    }

    /// A listing named these, of those that are ours, and goes on at `cursor`.
    pub fn listed(
        &mut self,
        now_us: i64,
        cases: impl IntoIterator<Item = (String, Option<Standing>)>,
        cursor: String,
        has_more: bool,
    ) {
        self.listings += 1;
        let listing = Some(self.listings);
        let wanted =
            cases.into_iter().map(|(case_id, standing)| Wanted { case_id, standing, listing, tries: 0 });
        self.listed.extend(wanted);
        self.cursors.push_back((self.listings, cursor));
        self.list_failures = 0;
        let after_us = if has_more { 0 } else { self.list_every_us.unwrap_or_default() };
        self.list_at_us = now_us + after_us.max(self.list_apart_us);
    }

    /// The listing has failed, and is asked for later each time, and not before `wait_us`; what is due goes on. Gives
    /// whether it is to begin anew: the helpdesk refuses it again and again, as it may what is too long ago.
    pub fn list_failed(&mut self, now_us: i64, is_refused: bool, wait_us: i64) -> bool {
        let every_us = self.list_every_us.unwrap_or_default().max(PAUSE_MIN_US);
        let later_us = (every_us << self.list_failures.min(10)).min(PAUSE_MAX_US.max(every_us));
        self.list_failures += 1;
        self.list_at_us = now_us + later_us.max(wait_us).max(self.list_apart_us);
        is_refused && self.list_failures.is_multiple_of(LIST_REFUSALS_MAX)
    }

    /// So many calls were made, of which the helpdesk takes one `every`.
    pub fn spent(&mut self, now_us: i64, calls: u32, every_us: i64) {
        self.free_at_us = self.free_at_us.max(now_us) + i64::from(calls * SHARE) * every_us;
    }

    /// A call has succeeded.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The helpdesk takes nothing: gives whether that is new.
    pub fn pause(&mut self, now_us: i64) -> bool {
        let pause_us = (PAUSE_MIN_US << self.failures.min(10)).min(PAUSE_MAX_US);
        self.failures += 1;
        self.paused_until_us = now_us + pause_us;
        self.failures == 1
    }

    /// This one could not be read: gives whether it is tried again soon. If not, it has its turn when it is due.
    pub fn failed(&mut self, mut wanted: Wanted) -> bool {
        wanted.tries += 1;
        wanted.standing = None;
        if wanted.tries >= TRIES_MAX {
            return false;
        }
        match wanted.listing {
            // Behind the others: one that cannot be read is not to keep them.
            Some(_) => self.listed.push_back(wanted),
            None if self.hinted.insert(wanted.case_id.clone()) => self.hints.push_back(wanted),
            None => {}
        }
        true
    }

    /// What the daemon was told last of this ticket, if that is on its way.
    pub fn on_its_way(&self, ticket_id: TicketId) -> Option<&TicketStatus> {
        self.reports.get(&ticket_id).map(|report| &report.status)
    }

    /// Something new is to be told.
    pub fn report(
        &mut self,
        ticket_id: TicketId,
        status: TicketStatus,
        facts: Vec<Fact>,
        listing: Option<u64>,
    ) {
        // Of two listings the earlier one is not worked off before the daemon knows the newest.
        let before = self.reports.get(&ticket_id).and_then(|report| report.listing);
        let listing = before.or(listing);
        let report = Report { status, facts, listing, is_queued: false, sent_at_us: None };
        self.reports.insert(ticket_id, report);
    }

    /// The connection to the daemon: after one was lost all that is on its way is told again.
    pub fn connected(&mut self, lost: u64) {
        if lost != self.lost {
            self.lost = lost;
            for report in self.reports.values_mut() {
                (report.is_queued, report.sent_at_us) = (false, None);
            }
        }
    }

    /// The next report that is to be sent.
    pub fn to_send(&mut self) -> Option<TicketStatus> {
        let report = self.reports.values_mut().find(|report| !report.is_queued)?;
        report.is_queued = true;
        Some(report.status.clone())
    }

    /// All that were queued are with the daemon's socket.
    pub fn sent(&mut self, now_us: i64) {
        for report in self.reports.values_mut().filter(|report| report.is_queued) {
            report.sent_at_us.get_or_insert(now_us);
        }
    }

    /// The next report that counts as taken.
    pub fn taken(&mut self, now_us: i64) -> Option<(TicketId, Report)> {
        let is_taken = |report: &Report| report.sent_at_us.is_some_and(|at| at + TAKEN_AFTER_US <= now_us);
        let id = self.reports.iter().find(|(_, report)| is_taken(report)).map(|(id, _)| *id)?;
        self.reports.remove(&id).map(|report| (id, report))
    }

    /// From where to go on after a restart: behind the last listing of which nothing is open.
    pub fn cursor(&mut self) -> Option<String> {
        let wanted = self.listed.iter().filter_map(|wanted| wanted.listing);
        let reports = self.reports.values().filter_map(|report| report.listing);
        let open = wanted.chain(reports).min().unwrap_or(u64::MAX);
        let mut done = None;
        while let Some((_, cursor)) = self.cursors.pop_front_if(|(listing, _)| *listing < open) {
            done = Some(cursor);
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::Network;

    fn id(post: &str) -> TicketId {
        TicketId::of_post(Network::X, post)
    }

    fn read(plan: &mut Plan, now_us: i64) -> Wanted {
        match plan.next(now_us) {
            Task::Read(wanted) => *wanted,
            other => panic!("{other:?}"),
        }
    }

    /// The same, whosever turn it is.
    fn read_next(plan: &mut Plan) -> Wanted {
        plan.turn = Turn::List;
        read(plan, 0)
    }

    fn list(plan: &mut Plan, cases: &[&str], cursor: &str) {
        plan.listed(0, cases.iter().map(|id| ((*id).to_owned(), None)), cursor.to_owned(), false);
    }

    #[test]
    fn hints_what_was_listed_and_what_is_due_have_their_turns() {
        let mut plan = Plan::new(Some(60));
        assert_eq!(plan.next(0), Task::List);
        list(&mut plan, &["1", "2"], "a");
        assert_eq!(plan.next(0), Task::Due);
        plan.hint("3".to_owned());
        plan.hint("3".to_owned());
        assert!(!plan.is_idle(0));
        assert_eq!(read(&mut plan, 0).case_id, "3");
        assert_eq!(read(&mut plan, 0).case_id, "1");
        assert_eq!(plan.next(0), Task::Due);
        assert_eq!(read(&mut plan, 0).case_id, "2");
        assert!(plan.is_idle(0) && !plan.is_idle(60));
        assert_eq!((plan.next(0), plan.next(60)), (Task::Due, Task::List));
        assert_eq!(Plan::new(None).next(0), Task::Due);
    }

    #[test]
    fn a_flood_of_hints_keeps_neither_the_listing_nor_what_is_due() {
        let mut plan = Plan::new(Some(60));
        (0..HINTS_MAX).for_each(|n| plan.hint(n.to_string()));
        let tasks: Vec<Task> = (0..6).map(|_| plan.next(0)).collect();
        assert_eq!(tasks.iter().filter(|task| **task == Task::List).count(), 2, "{tasks:?}");
        assert_eq!(tasks.iter().filter(|task| **task == Task::Due).count(), 2, "{tasks:?}");
    }

    #[test]
    fn a_listing_that_is_refused_is_asked_for_ever_more_seldom_and_begins_anew() {
        let mut plan = Plan::new(Some(60_000_000));
        let mut now_us = 0;
        let mut anew = Vec::new();
        for _ in 0..10 {
            assert_eq!(plan.next(now_us), Task::List);
            anew.push(plan.list_failed(now_us, true, 0));
            // What is due goes on.
            assert_eq!((plan.next(now_us), plan.next(now_us)), (Task::Due, Task::Due));
            now_us += PAUSE_MAX_US;
        }
        assert_eq!(anew.iter().filter(|anew| **anew).count(), 2, "{anew:?}");
        assert!(anew[LIST_REFUSALS_MAX as usize - 1]);
        assert!((0..10).all(|_| !Plan::new(Some(60)).list_failed(0, false, 0)));
    }

    #[test]
    fn listings_are_apart_also_where_there_is_more_and_wait_as_they_are_told() {
        let mut plan = Plan::new(Some(60_000_000)).with_listings_apart(6_000_000);
        let (mut now_us, mut listed_at) = (0, Vec::new());
        while listed_at.len() < 12 {
            match plan.next(now_us) {
                Task::List => {
                    listed_at.push(now_us);
                    plan.listed(now_us, [], now_us.to_string(), true);
                }
                // What is due goes on.
                Task::Due => now_us += 100_000,
                other => panic!("{other:?}"),
            }
        }
        assert!(listed_at.windows(2).all(|pair| pair[1] - pair[0] >= 6_000_000), "{listed_at:?}");
        plan.list_failed(now_us, false, 600_000_000);
        assert_eq!(
            (plan.next(now_us + 599_000_000), plan.next(now_us + 599_000_000)),
            (Task::Due, Task::Due)
        );
        assert_eq!((0..2).filter(|_| plan.next(now_us + 600_000_000) == Task::List).count(), 1);
    }

    #[test]
    fn a_tenth_of_the_calls_is_ours_however_much_there_is_to_do() {
        let mut plan = Plan::new(None);
        let (mut now_us, mut calls) = (0, 0);
        // A call every 600 ms, for an hour.
        while now_us < 3_600_000_000 {
            plan.hint(format!("{now_us}"));
            match plan.next(now_us) {
                Task::Read(_) => {
                    calls += 2;
                    plan.spent(now_us, 2, 600_000);
                }
                Task::Wait(until_us) => now_us = until_us,
                Task::Due => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(calls, 6_000 / 10);
    }

    #[test]
    fn a_flood_of_hints_is_bounded_and_one_is_read_once() {
        let mut plan = Plan::new(None);
        for n in 0..10 * HINTS_MAX {
            plan.hint((n % (2 * HINTS_MAX)).to_string());
        }
        let mut reads = 0;
        while !plan.is_idle(0) {
            reads += u32::from(matches!(plan.next(0), Task::Read(_)));
        }
        assert_eq!(reads as usize, HINTS_MAX);
    }

    #[test]
    fn a_cursor_is_kept_only_once_the_daemon_knows_all_before_it() {
        let mut plan = Plan::new(Some(60));
        list(&mut plan, &[], "a");
        assert_eq!(plan.cursor().as_deref(), Some("a"));
        list(&mut plan, &["1"], "b");
        assert_eq!(plan.cursor(), None);
        let wanted = read_next(&mut plan);
        plan.report(id("1"), TicketStatus::default(), Vec::new(), wanted.listing);
        list(&mut plan, &[], "c");
        assert_eq!(plan.cursor(), None);
        assert!(plan.to_send().is_some() && plan.to_send().is_none());
        plan.sent(5);
        assert_eq!(plan.taken(4 + TAKEN_AFTER_US), None);
        assert_eq!(plan.taken(5 + TAKEN_AFTER_US).unwrap().0, id("1"));
        assert_eq!(plan.cursor().as_deref(), Some("c"));
    }

    #[test]
    fn what_went_over_a_connection_that_was_lost_is_told_again() {
        let mut plan = Plan::new(None);
        plan.report(id("1"), TicketStatus::default(), Vec::new(), None);
        plan.to_send().unwrap();
        plan.sent(0);
        plan.connected(1);
        assert_eq!(plan.taken(TAKEN_AFTER_US), None);
        assert!(plan.to_send().is_some());
        plan.connected(1);
        assert_eq!(plan.to_send(), None);
    }

    #[test]
    fn a_ticket_that_cannot_be_read_keeps_no_other() {
        let mut plan = Plan::new(Some(60));
        list(&mut plan, &["bad", "good"], "a");
        let bad = read_next(&mut plan);
        assert!(plan.failed(bad));
        assert_eq!(read_next(&mut plan).case_id, "good");
        let bad = read_next(&mut plan);
        assert!(plan.failed(bad));
        let bad = read_next(&mut plan);
        assert!(!plan.failed(bad), "three times are enough");
        assert_eq!(plan.cursor().as_deref(), Some("a"));
    }

    #[test]
    fn a_helpdesk_that_is_away_is_asked_ever_more_seldom() {
        let mut plan = Plan::new(None);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            plan.pause(0);
            let Task::Wait(until_us) = plan.next(0) else { panic!("paused") };
            pauses.push(until_us / 1_000_000);
        }
        assert_eq!(pauses[..4], [1, 2, 4, 8]);
        assert_eq!(pauses[11], 300);
        plan.succeeded();
        assert!(plan.pause(0));
    }
}
