//! How many calls a helpdesk takes: its quota, less what its agents need, and what it says itself.
//!
//! Calls go out evenly, never in a burst: so the worst ticket waits for one interval at most, and a helpdesk that counts
//! by the second refuses nothing. Where the operator's figure is greater than what the helpdesk grants, the first
//! refusal shows what that is, and it is kept to for an hour. A refusal while the helpdesk says that calls are left is none
//! of the quota: it is of one ticket or kind of call, and changes nothing here.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::http::{Answer, CallError, calls_left};
use super::preset::{Limits, ResetIs};

/// How long to wait where a helpdesk says "too many" and not how long, as a share of its minute.
const WAIT_UNSAID: f64 = 0.5;
/// Longest wait that a helpdesk's word is taken for, in its minutes.
const WAIT_MINUTES_MAX: u32 = 60;
/// So long a quota that was learnt is kept to, in the helpdesk's minutes.
const LEARNT_MINUTES: u32 = 60;
/// Least headroom below a quota that was learnt, in percent: it was counted here and not where it is granted, and calls
/// do not arrive as evenly as they leave.
const LEARNT_HEADROOM_PERCENT: u32 = 5;
/// After a refusal this part of a minute is waited beyond what the helpdesk says.
const FULL_MINUTE_PART: u32 = 10;
/// Of the operator's quota at least this part is made use of, whatever the helpdesk says.
const LEARNT_PART_MIN: u32 = 10;

/// What a helpdesk grants.
#[derive(Debug, Clone)]
pub struct Quota {
    /// Calls that it takes in a minute, those of its agents and other programs included.
    pub calls_per_minute: u32,
    /// What is left to those, in percent.
    pub headroom_percent: u32,
    /// Calls under way at once at most.
    pub calls_at_once: u32,
    /// What a minute is: shorter in tests.
    pub minute: Duration,
    /// Where its answers say what is left.
    pub limits: Option<Limits>,
}

impl Default for Quota {
    fn default() -> Quota {
        Quota {
            calls_per_minute: 60,
            headroom_percent: 20,
            calls_at_once: 1,
            minute: Duration::from_secs(60),
            limits: None,
        }
    }
}

/// How the pace stands, for `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Calls since the start.
    pub calls: u64,
    /// Of those, refused as too many.
    pub limited: u64,
    /// Calls a minute as they are made now, at most.
    pub calls_per_minute: u32,
    /// How long the helpdesk asks us to wait; `None`: it does not.
    pub paused_for: Option<Duration>,
    /// Calls in the last minute.
    pub calls_last_minute: u32,
    /// From one call to the next, at least.
    pub every: Duration,
}

/// When the next call may be made.
#[derive(Debug)]
pub struct Pace {
    turns: Mutex<Turns>,
    places: Semaphore,
}

/// A call that may be made now; it counts as under way until this is dropped.
#[derive(Debug)]
pub struct Turn<'p> {
    _place: SemaphorePermit<'p>,
}

impl Pace {
    /// So many calls a minute, at least one, one at a time, all of them for us.
    pub fn new(calls_per_minute: u32) -> Pace {
        Pace::of(Quota { calls_per_minute, headroom_percent: 0, ..Quota::default() })
    }

    /// The quota less its headroom, at least one call a minute.
    pub fn of(quota: Quota) -> Pace {
        let places = Semaphore::new(quota.calls_at_once.max(1) as usize);
        Pace { turns: Mutex::new(Turns::new(quota, Instant::now())), places }
    }

    /// Waits for a turn, and takes it.
    pub async fn turn(&self) -> Turn<'_> {
        let place = self.places.acquire().await.expect("the semaphore is never closed");
        loop {
            let at = self.turns.lock().take(Instant::now());
            match at {
                None => return Turn { _place: place },
                Some(at) => tokio::time::sleep_until(at).await,
            }
        }
    }

    /// Waits until a call could be made, and leaves it to others.
    pub async fn ready(&self) {
        loop {
            let next = self.turns.lock().next;
            if next <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(next).await;
        }
    }

    /// Takes note of what the helpdesk said.
    pub fn heard(&self, answer: &Result<Answer, CallError>) {
        let now = Instant::now();
        match answer {
            // A limit of its own, which says nothing of the quota.
            Err(error) if error.is_limit_of_one() => {}
            Err(CallError::Limited { wait, .. }) => self.turns.lock().refused(now, *wait, true),
            // Maintenance: it says nothing of a quota.
            Err(CallError::Trouble { wait: Some(wait), .. }) => {
                self.turns.lock().refused(now, Some(*wait), false);
            }
            Ok(answer) => {
                let mut turns = self.turns.lock();
                let Some(limits) = turns.quota.limits.clone() else { return };
                let header = |name: &str| Some(answer.headers.get(name)?.to_str().ok()?.trim());
                let left = header(&limits.remaining).and_then(calls_left);
                let reset =
                    limits.reset.as_deref().and_then(header).and_then(|at| until(at, limits.reset_is));
                if let Some(left) = left {
                    turns.left(now, left, reset);
                }
            }
            Err(_) => {}
        }
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        self.turns.lock().standing(Instant::now())
    }
}

/// The plain part: given the time, whether a call may be made.
#[derive(Debug)]
struct Turns {
    quota: Quota,
    /// Calls a minute at most, less headroom, as configured or as learnt.
    calls_per_minute: u32,
    learnt_until: Option<Instant>,
    /// When the next may be made.
    next: Instant,
    /// Until when the helpdesk has asked us to wait.
    paused_until: Option<Instant>,
    /// When the calls of the last minute were made: as many as the quota at most.
    recent: VecDeque<Instant>,
    calls: u64,
    limited: u64,
}

impl Turns {
    fn new(quota: Quota, now: Instant) -> Turns {
        let calls_per_minute = less(quota.calls_per_minute, quota.headroom_percent);
        Turns {
            quota,
            calls_per_minute,
            learnt_until: None,
            next: now,
            paused_until: None,
            recent: VecDeque::new(),
            calls: 0,
            limited: 0,
        }
    }

    fn every(&self) -> Duration {
        self.quota.minute / self.calls_per_minute
    }

    /// Takes a turn, or says when there may be one.
    fn take(&mut self, now: Instant) -> Option<Instant> {
        if self.next > now {
            return Some(self.next);
        }
        if self.learnt_until.is_some_and(|until| until <= now) {
            self.learnt_until = None;
            self.calls_per_minute = less(self.quota.calls_per_minute, self.quota.headroom_percent);
        }
        // Who comes a little late may be so much early the next time: else the pace would be below the quota by what a
        // delivery takes to come.
        let every = self.every();
        self.next = now.checked_sub(every).map_or(now, |earliest| self.next.max(earliest)) + every;
        let minute = self.quota.minute;
        while self.recent.front().is_some_and(|at| now.duration_since(*at) >= minute) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        self.calls += 1;
        None
    }

    /// A call was refused as too many. A minute that is full counts from its first call: that is as long ago as the
    /// minute is longer than the wait, whether the helpdesk counts in fixed minutes or in the last one.
    fn refused(&mut self, now: Instant, wait: Option<Duration>, is_quota: bool) {
        self.limited += 1;
        let minute = self.quota.minute;
        let span = minute.saturating_sub(wait.unwrap_or(Duration::ZERO));
        let wait = wait.unwrap_or(minute.mul_f64(WAIT_UNSAID)).min(minute * WAIT_MINUTES_MAX);
        if is_quota {
            let taken = self.recent.iter().filter(|at| now.duration_since(**at) <= span).count();
            // The last of them is the one that was refused.
            let granted = u32::try_from(taken.saturating_sub(1)).unwrap_or(u32::MAX);
            let headroom = self.quota.headroom_percent.max(LEARNT_HEADROOM_PERCENT);
            let least = (self.quota.calls_per_minute / LEARNT_PART_MIN).max(1);
            self.calls_per_minute = less(granted, headroom).clamp(least, self.calls_per_minute.max(least));
            self.learnt_until = Some(now + minute * LEARNT_MINUTES);
        }
        // At the helpdesk a call goes out of the minute then, as seldom as we have made them: without a margin the
        // next ones would come just as it is full again.
        let margin = if is_quota { minute / FULL_MINUTE_PART } else { Duration::ZERO };
        self.next = self.next.max(now + wait + margin);
        self.paused_until = Some(self.next);
    }

    /// The helpdesk grants `left` calls more until `reset`: they are spread over that time.
    fn left(&mut self, now: Instant, left: f64, reset: Option<Duration>) {
        let minute = self.quota.minute;
        let reset = reset.unwrap_or(minute).min(minute * WAIT_MINUTES_MAX);
        let kept = f64::from(self.quota.calls_per_minute) * f64::from(self.quota.headroom_percent) / 100.0;
        let ours = left - kept;
        if ours < 1.0 {
            self.next = self.next.max(now + reset);
            self.paused_until = Some(self.next);
        } else {
            self.next = self.next.max(now + reset.div_f64(ours));
        }
    }

    fn standing(&self, now: Instant) -> Standing {
        let paused_until = self.paused_until.filter(|until| *until > now);
        let minute = self.quota.minute;
        let recent = self.recent.iter().filter(|at| now.duration_since(**at) < minute).count();
        Standing {
            calls: self.calls,
            limited: self.limited,
            calls_per_minute: self.calls_per_minute,
            paused_for: paused_until.map(|until| until.duration_since(now)),
            calls_last_minute: u32::try_from(recent).unwrap_or(u32::MAX),
            every: self.every(),
        }
    }
}

/// How long until a reset that is written like that; nothing if it has been.
fn until(at: &str, written: ResetIs) -> Option<Duration> {
    let now_ms = jiff::Timestamp::now().as_millisecond() as f64;
    let seconds: f64 = match written {
        ResetIs::Seconds => at.parse().ok()?,
        ResetIs::Epoch => at.parse::<f64>().ok()? - now_ms / 1e3,
        ResetIs::Time => {
            let at: jiff::Timestamp = at.parse().ok()?;
            (at.as_millisecond() as f64 - now_ms) / 1e3
        }
    };
    Duration::try_from_secs_f64(seconds.max(0.0)).ok()
}

fn less(calls: u32, headroom_percent: u32) -> u32 {
    let ours = u64::from(calls) * u64::from(100 - headroom_percent.min(100)) / 100;
    u32::try_from(ours).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn turns(calls_per_minute: u32, headroom_percent: u32) -> (Turns, Instant) {
        let now = Instant::now();
        (Turns::new(Quota { calls_per_minute, headroom_percent, ..Quota::default() }, now), now)
    }

    /// Takes turns as soon as there are any, for so long; gives when, since the start.
    fn taken(turns: &mut Turns, from: Instant, lasts: Duration) -> Vec<Duration> {
        let (mut now, mut at) = (from, Vec::new());
        while now < from + lasts {
            match turns.take(now) {
                None => at.push(now.duration_since(from)),
                Some(next) => now = next,
            }
        }
        at
    }

    #[test]
    fn the_quota_less_headroom_goes_out_evenly() {
        let (mut turns, now) = turns(100, 20);
        let at = taken(&mut turns, now, MINUTE);
        assert_eq!(at.len(), 80);
        assert!(at.windows(2).all(|pair| pair[1] - pair[0] == MINUTE / 80), "{at:?}");
    }

    #[test]
    fn who_was_idle_may_not_make_up_for_it() {
        let (mut turns, now) = turns(60, 0);
        let at = taken(&mut turns, now + MINUTE * 5, MINUTE);
        assert!(at.len() <= 61 && at[2] - at[1] == MINUTE / 60, "{at:?}");
    }

    #[test]
    fn a_refusal_is_waited_out_and_shows_the_quota() {
        // The operator says 200, the helpdesk grants 100 in any minute.
        let (mut turns, start) = turns(200, 0);
        let (mut now, mut granted, mut refused) = (start, VecDeque::<Instant>::new(), Vec::new());
        while now < start + MINUTE * 20 {
            if let Some(next) = turns.take(now) {
                now = next;
                continue;
            }
            while granted.front().is_some_and(|at| now.duration_since(*at) >= MINUTE) {
                granted.pop_front();
            }
            if granted.len() < 100 {
                granted.push_back(now);
            } else {
                refused.push(now);
                let wait = granted[0] + MINUTE - now;
                turns.refused(now, Some(wait), true);
                assert!(turns.take(now + wait / 2).is_some(), "it waits as it is told");
            }
        }
        assert_eq!(refused.len(), 1, "refused after the first refusal");
        assert!((90..=100).contains(&turns.calls_per_minute), "{}", turns.calls_per_minute);
    }

    #[test]
    fn what_was_learnt_is_tried_again_after_an_hour() {
        let (mut turns, now) = turns(100, 0);
        assert_eq!(turns.take(now), None);
        turns.refused(now, Some(Duration::from_secs(1)), true);
        assert_eq!(turns.calls_per_minute, 10, "a tenth at least");
        assert!(turns.standing(now).paused_for.is_some());
        assert_eq!(turns.take(now + MINUTE * 61), None);
        assert_eq!(turns.calls_per_minute, 100);
    }

    #[test]
    fn a_header_that_says_no_number_of_calls_says_nothing() {
        let limits = Limits { remaining: "left".to_owned(), reset: None, reset_is: ResetIs::Seconds };
        let pace = Pace::of(Quota { limits: Some(limits), ..Quota::default() });
        for said in ["NaN", "inf", "-inf", "-1", "many", "1e999", ""] {
            assert_eq!(calls_left(said), None, "{said}");
            let headers = [(HeaderName::from_static("left"), HeaderValue::from_str(said).unwrap())];
            let answer =
                Answer { status: 200, headers: headers.into_iter().collect(), body: serde_json::Value::Null };
            pace.heard(&Ok(answer));
            assert_eq!(pace.standing().paused_for, None, "{said}");
        }
        assert_eq!(calls_left("12"), Some(12.0));
    }

    #[test]
    fn the_limit_of_one_ticket_says_nothing_of_the_quota() {
        let pace = Pace::of(Quota { calls_per_minute: 100, headroom_percent: 20, ..Quota::default() });
        let before = pace.standing();
        let limited = |left| Err(CallError::Limited { status: 429, wait: Some(MINUTE * 10), left });
        pace.heard(&limited(Some(1)));
        assert_eq!(pace.standing(), before);
        // A real one stops all, whether the helpdesk says what is left or not.
        for left in [Some(0), None] {
            let pace = Pace::of(Quota::default());
            pace.heard(&limited(left));
            assert!(pace.standing().paused_for > Some(MINUTE * 9), "{left:?}");
        }
    }

    #[test]
    fn a_helpdesk_in_maintenance_says_nothing_of_its_quota() {
        let (mut turns, now) = turns(100, 0);
        turns.refused(now, Some(MINUTE * 2), false);
        assert_eq!(turns.calls_per_minute, 100);
        assert_eq!(turns.take(now), Some(now + MINUTE * 2));
    }

    #[test]
    fn what_is_left_is_spread_over_the_time_until_there_is_more() {
        let (mut turns, now) = turns(100, 20);
        turns.left(now, 30.0, Some(Duration::from_secs(20)));
        // 20 of the 30 are the agents'.
        assert_eq!(turns.take(now), Some(now + Duration::from_secs(2)));
        turns.left(now, 20.0, Some(Duration::from_secs(20)));
        assert_eq!(turns.take(now), Some(now + Duration::from_secs(20)));
    }

    #[test]
    fn resets_are_read_as_they_are_written() {
        let seconds = |at: &str, written| until(at, written).map(|wait| wait.as_secs());
        assert_eq!(seconds("61.5", ResetIs::Seconds), Some(61));
        assert_eq!(seconds("-1", ResetIs::Seconds), Some(0));
        let now = jiff::Timestamp::now();
        let later = now + Duration::from_secs(500);
        let near = |wait: Option<u64>| wait.is_some_and(|wait| (380..=500).contains(&wait));
        assert!(near(seconds(&later.as_second().to_string(), ResetIs::Epoch)));
        assert!(near(seconds(&later.to_string(), ResetIs::Time)));
        // Atlassian leaves the seconds out.
        assert!(near(seconds(&later.strftime("%Y-%m-%dT%H:%MZ").to_string(), ResetIs::Time)));
        for (odd, written) in [("soon", ResetIs::Seconds), ("1e400", ResetIs::Epoch), ("1", ResetIs::Time)] {
            assert_eq!(until(odd, written), None, "{odd}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_calls_are_under_way_than_the_helpdesk_takes() {
        let pace = Pace::of(Quota { calls_per_minute: 60_000, calls_at_once: 2, ..Quota::default() });
        let first = pace.turn().await;
        let _second = pace.turn().await;
        let third = tokio::time::timeout(MINUTE, pace.turn());
        assert!(third.await.is_err(), "two are under way");
        drop(first);
        drop(pace.turn().await);
        assert_eq!(pace.standing().calls, 3);
    }
}
