//! How much a source usually brings, and whether it is silent beyond chance.
//!
//! A fixed time-out is wrong for nearly every source: one that brings 6,000 posts a second is broken after two
//! seconds without any, one that brings a post an hour is well after a day. So the rate is learnt, and a silence
//! is unnatural when chance does not explain it. Pure: both clocks come in as arguments.
//!
//! # How it decides
//!
//! Frames are counted in slots of a second of the *stream's* time, so that a replay at a thousand times the
//! speed teaches the same rate as the hour it repeats did, and a machine that hiccups makes no source look
//! bursty: a batch says which stretch of the stream it brings, however late it comes. Mean and variance of the slots are exponentially
//! weighted with a time constant of `USUAL`: short enough to follow a network through its day (a rate that
//! falls to a third within six hours falls by 5 % in that time), long enough not to follow an incident.
//!
//! If frames came one by one and independently, a silence of `t` at a rate `r` had the probability
//! `exp(-r t)`. They come in bursts, so `r` is first divided by the slots' variance over their mean (1 where
//! chance alone is at work): what is left is the rate at which bursts begin. Of that the lower end of its
//! confidence interval counts, three standard deviations down. A silence is unnatural when its probability is
//! below `exp(-``IMPROBABLE``)`, 2 in 10^9, and it has lasted for `SILENCE_MIN`, which networks and
//! machines need for a hiccup. There are at most `r` silences a second to be judged; from 10 a second on the
//! least length makes each ever less probable. So the worst case is a source of 10 bursts a second,
//! 864,000 silences a day, and one false alarm in about 560 days.
//!
//! Bursts longer than a slot that come farther apart than `USUAL` (a bot that posts for a minute each half
//! hour) are not seen by this. For them a silence that was called unnatural and then ended by itself is remembered:
//! from the second one in a day on, nothing shorter than one and a half times as long is unnatural.
//!
//! # Just after a start
//!
//! Nothing is kept across restarts: nothing is judged before `LEARN_SLOTS` seconds of stream and
//! `LEARN_EVENTS` bursts have been seen. A source that replays its last seconds and goes on at 10 a second is
//! judged after 20 s; one slower than a frame in 90 s never is.

use std::time::Duration;

use tokio::time::Instant;

use super::PaceState;

/// Time constant of the usual rate, in slots of a second: a quarter of an hour.
const USUAL: f64 = 900.0;

/// Time constant of the present rate, in slots.
const RECENT: f64 = 30.0;

/// The logarithm of how improbable a silence must be.
const IMPROBABLE: f64 = 20.0;

/// No silence is unnatural before.
const SILENCE_MIN: Duration = Duration::from_secs(2);

/// See [`Pace::hole_min`].
const HOLE_MIN: Duration = Duration::from_millis(200);

/// Slots and bursts before anything is judged.
const LEARN_SLOTS: u32 = 20;
const LEARN_EVENTS: f64 = 20.0;

/// A slot counts at most this many times the mean, and [`SLOT_SLACK`] frames: a backlog that comes at once says
/// nothing about the rate.
const SLOT_TIMES_MAX: f64 = 4.0;
const SLOT_SLACK: f64 = 20.0;

/// The stream's time may jump: a hole that was booked, a network that was down. Longer steps teach nothing.
const STEP_MAX_US: i64 = 600_000_000;

/// The present rate is a collapse below this part of the usual one, and none any more above twice that. X's
/// streams are known to fall to a tenth.
const COLLAPSE: f64 = 0.125;

/// Bursts that the present rate's time constant must hold, usually, for a collapse to mean anything.
const COLLAPSE_EVENTS: f64 = 100.0;

/// A silence that ended by itself counts half after a day.
const EXCUSE_HALF_LIFE: Duration = Duration::from_secs(86_400);
const EXCUSE_TIMES: f64 = 1.5;

const SLOT_US: i64 = 1_000_000;

/// What can be said of a source now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Judgement {
    /// Too little was seen to know what is usual.
    Unknown,
    /// As it usually is.
    Usual,
    /// Nothing came for so long, and chance does not explain it.
    Silent {
        /// Since the last frame, or the connection.
        lasts: Duration,
    },
    /// Frames come, but far fewer than usual.
    Collapsed {
        /// Frames a second, of late.
        per_s: f64,
    },
}

/// The learnt pace of one source.
#[derive(Debug)]
pub struct Pace {
    usual: Average,
    recent: Average,
    /// Full slots seen, as far as they count.
    slots: u32,
    /// The slot that fills: where it began by the stream's clock, and its frames. `None`: the next frames open one.
    slot: Option<(i64, f64)>,
    /// Up to where the stream was learnt from, by its own clock.
    learnt_us: Option<i64>,
    /// Since when nothing has come, and since when there is a connection on which it could.
    quiet_since: Instant,
    connected_at: Instant,
    is_silent: bool,
    is_collapsed: bool,
    /// The two longest silences that were called unnatural and ended by themselves, longest first.
    excused: [Option<(Duration, Instant)>; 2],
}

/// Exponentially weighted moments of the slots, corrected for how little has been seen.
#[derive(Debug, Clone, Copy, Default)]
struct Average {
    constant: f64,
    weight: f64,
    sum: f64,
    squares: f64,
}

impl Average {
    fn new(constant: f64) -> Average {
        Average { constant, ..Average::default() }
    }

    /// Adds `slots` slots of this many frames each.
    fn add(&mut self, frames: f64, slots: i64) {
        let keep = (-(slots as f64) / self.constant).exp();
        self.weight = 1.0 - (1.0 - self.weight) * keep;
        self.sum = self.sum * keep + frames * (1.0 - keep);
        self.squares = self.squares * keep + frames * frames * (1.0 - keep);
    }

    fn mean(&self) -> f64 {
        if self.weight > 0.0 { self.sum / self.weight } else { 0.0 }
    }

    /// Variance over mean: 1 for independent frames, and never taken for less.
    fn burst(&self) -> f64 {
        let mean = self.mean();
        if mean <= 0.0 {
            return 1.0;
        }
        ((self.squares / self.weight - mean * mean) / mean).max(1.0)
    }
}

impl Pace {
    /// Of a source of which nothing is known, whose connection is awaited from `now` on.
    pub fn new(now: Instant) -> Pace {
        Pace {
            usual: Average::new(USUAL),
            recent: Average::new(RECENT),
            slots: 0,
            slot: None,
            learnt_us: None,
            quiet_since: now,
            connected_at: now,
            is_silent: false,
            is_collapsed: false,
            excused: [None; 2],
        }
    }

    /// A connection was made. The time without one is nobody's silence; but where the silence itself made us
    /// connect again, it lasts.
    pub fn connected(&mut self, now: Instant) {
        self.connected_at = now;
        // What a rewind skips or repeats is no step of the stream's time.
        self.slot = None;
        if !self.is_silent {
            self.quiet_since = now;
        }
    }

    /// `frames` that had not come before have brought the stream from `from_us` to `at_us` by its own clock, in
    /// microseconds; whether an unnatural silence ended with them.
    pub fn learn(&mut self, frames: usize, from_us: i64, at_us: i64, now: Instant) -> bool {
        if frames == 0 {
            return false;
        }
        let has_resumed = std::mem::take(&mut self.is_silent);
        // Where the new connection brought the frames at once, the old one had held them back.
        let by_itself = self.connected_at <= self.quiet_since
            || now.saturating_duration_since(self.connected_at) > SILENCE_MIN;
        if has_resumed && by_itself {
            self.excuse(now.saturating_duration_since(self.quiet_since), now);
        }
        self.quiet_since = now;
        self.count(frames as f64, from_us, at_us);
        has_resumed
    }

    /// Since when nothing has come on a connection.
    pub fn quiet_since(&self) -> Instant {
        self.quiet_since
    }

    /// Frames a second, usually; `None` while too little was seen.
    pub fn usual_per_s(&self) -> Option<f64> {
        self.is_known().then(|| self.usual.mean())
    }

    /// From which length on a silence is unnatural; `None` while too little was seen.
    pub fn silence_max(&self, now: Instant) -> Option<Duration> {
        let improbable = self.improbable()?;
        let excused = self.excused[1].map_or(Duration::ZERO, |(lasted, at)| {
            let age = now.saturating_duration_since(at).as_secs_f64();
            lasted.mul_f64(EXCUSE_TIMES * (-age / EXCUSE_HALF_LIFE.as_secs_f64()).exp2())
        });
        Some(improbable.max(SILENCE_MIN).max(excused))
    }

    /// From which length on a hole in the stream's own time is beyond chance, where no machine can have hiccupped:
    /// shorter than a silence must be, and at least 0.2 s. `None` while too little was seen.
    pub fn hole_min(&self) -> Option<Duration> {
        self.improbable().map(|improbable| improbable.max(HOLE_MIN))
    }

    fn improbable(&self) -> Option<Duration> {
        if !self.is_known() {
            return None;
        }
        let bursts_per_s = self.usual.mean() / self.usual.burst();
        let bursts = bursts_per_s * self.slots_counted();
        let surely_per_s = bursts_per_s * (1.0 - 3.0 / bursts.sqrt());
        Some(Duration::try_from_secs_f64(IMPROBABLE / surely_per_s).unwrap_or(Duration::MAX))
    }

    /// How it is at `now`.
    pub fn judge(&mut self, now: Instant) -> Judgement {
        let Some(silence_max) = self.silence_max(now) else { return Judgement::Unknown };
        let lasts = now.saturating_duration_since(self.quiet_since);
        if lasts >= silence_max {
            self.is_silent = true;
            return Judgement::Silent { lasts };
        }
        let (usual, recent) = (self.usual.mean(), self.recent.mean());
        let limit = if self.is_collapsed { 2.0 * COLLAPSE } else { COLLAPSE };
        let is_sure = usual / self.usual.burst() * RECENT >= COLLAPSE_EVENTS;
        self.is_collapsed = is_sure && recent < usual * limit;
        if self.is_collapsed { Judgement::Collapsed { per_s: recent } } else { Judgement::Usual }
    }

    /// What operators see of it at `now`; `at_us` is the same moment, µs since 1970.
    pub fn state(&mut self, now: Instant, at_us: i64, silences: u64) -> PaceState {
        let judgement = self.judge(now);
        PaceState {
            usual_per_s: self.usual_per_s(),
            silent_since_us: match judgement {
                Judgement::Silent { lasts } => {
                    Some(at_us.saturating_sub(i64::try_from(lasts.as_micros()).unwrap_or(i64::MAX)))
                }
                _ => None,
            },
            collapsed_to_per_s: match judgement {
                Judgement::Collapsed { per_s } => Some(per_s),
                _ => None,
            },
            silences,
        }
    }

    fn is_known(&self) -> bool {
        self.slots >= LEARN_SLOTS
            && self.usual.mean() / self.usual.burst() * self.slots_counted() >= LEARN_EVENTS
    }

    /// As many as the weights amount to.
    fn slots_counted(&self) -> f64 {
        f64::from(self.slots).min(2.0 * USUAL)
    }

    fn count(&mut self, frames: f64, from_us: i64, at_us: i64) {
        let is_step =
            |before_us: i64| (-STEP_MAX_US..=STEP_MAX_US).contains(&at_us.saturating_sub(before_us));
        let Some((slot_us, in_slot)) = self.slot else {
            match self.learnt_us.filter(|learnt_us| is_step(*learnt_us)) {
                // A hole that is filled late: beside it nothing is new, and that is no silence.
                Some(learnt_us) if at_us <= learnt_us => {}
                Some(learnt_us) if from_us <= learnt_us => self.begin(at_us),
                _ => {
                    self.begin(from_us.min(at_us));
                    self.count(frames, from_us, at_us);
                }
            }
            return;
        };
        if !is_step(slot_us) {
            self.begin(at_us);
            return;
        }
        self.learnt_us = self.learnt_us.max(Some(at_us));
        // Time that runs backwards stays in the slot.
        let at_us = at_us.max(slot_us);
        let from_us = from_us.clamp(slot_us, at_us);
        let first_us = slot_us + (from_us - slot_us) / SLOT_US * SLOT_US;
        let last_us = slot_us + (at_us - slot_us) / SLOT_US * SLOT_US;
        if first_us > slot_us {
            self.close(in_slot, 1);
            self.close(0.0, (first_us - slot_us) / SLOT_US - 1);
        }
        let in_first = if first_us > slot_us { 0.0 } else { in_slot };
        if last_us == first_us {
            self.slot = Some((first_us, in_first + frames));
            return;
        }
        // They lie all along the stretch.
        let per_us = frames / (at_us - from_us) as f64;
        self.close(in_first + per_us * (first_us + SLOT_US - from_us) as f64, 1);
        self.close(per_us * SLOT_US as f64, (last_us - first_us) / SLOT_US - 1);
        self.slot = Some((last_us, per_us * (at_us - last_us) as f64));
    }

    fn begin(&mut self, at_us: i64) {
        self.slot = Some((at_us, 0.0));
        self.learnt_us = Some(at_us);
    }

    fn close(&mut self, frames: f64, slots: i64) {
        if slots <= 0 {
            return;
        }
        let is_settled = self.slots >= LEARN_SLOTS;
        let most = if is_settled { SLOT_TIMES_MAX * self.usual.mean() + SLOT_SLACK } else { f64::MAX };
        let frames = frames.min(most);
        self.usual.add(frames, slots);
        self.recent.add(frames, slots);
        self.slots = self.slots.saturating_add(u32::try_from(slots).unwrap_or(u32::MAX));
    }

    fn excuse(&mut self, lasted: Duration, now: Instant) {
        let mut all = [self.excused[0], self.excused[1], Some((lasted, now))];
        let is_recent = |at: Instant| now.saturating_duration_since(at) < EXCUSE_HALF_LIFE * 2;
        all.sort_by_key(|excuse| {
            let lasted = excuse.filter(|(_, at)| is_recent(*at)).map_or(Duration::ZERO, |(lasted, _)| lasted);
            std::cmp::Reverse(lasted)
        });
        self.excused = [all[0], all[1]].map(|excuse| excuse.filter(|(_, at)| is_recent(*at)));
    }
}

/// A rate as people read it: `6000`, `2.5`, `0.02`.
pub fn shown(per_s: f64) -> String {
    match per_s {
        fast if fast >= 10.0 => format!("{fast:.0}"),
        slow if slow >= 0.1 => format!("{slow:.1}"),
        rare => format!("{rare:.3}"),
    }
}

#[cfg(test)]
mod tests;
