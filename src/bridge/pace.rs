//! How many calls a helpdesk takes: its quota, less what its agents need, and what it says itself.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::http::{Answer, CallError};

/// How long to wait where a helpdesk says "too many" and not how long.
const WAIT_UNSAID: Duration = Duration::from_secs(30);
/// Longest wait that a helpdesk's word is taken for.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// When the next call may be made.
#[derive(Debug)]
pub struct Pace {
    state: Mutex<Turns>,
}

#[derive(Debug)]
struct Turns {
    /// Between two calls.
    every: Duration,
    /// When the next may be made.
    next: Instant,
    /// Since the start, for `status`.
    calls: u64,
    limited: u64,
}

impl Pace {
    /// So many calls a minute, at least one, evenly.
    pub fn new(calls_per_minute: u32) -> Pace {
        let every = Duration::from_secs(60) / calls_per_minute.max(1);
        Pace { state: Mutex::new(Turns { every, next: Instant::now(), calls: 0, limited: 0 }) }
    }

    /// Waits for a turn, and takes it.
    pub async fn turn(&self) {
        loop {
            let at = {
                let mut state = self.state.lock();
                let now = Instant::now();
                if state.next <= now {
                    state.next = now + state.every;
                    state.calls += 1;
                    return;
                }
                state.next
            };
            tokio::time::sleep_until(at).await;
        }
    }

    /// Takes note of what the helpdesk said.
    pub fn heard(&self, answer: &Result<Answer, CallError>) {
        if let Err(CallError::Limited { wait, .. }) = answer {
            let mut state = self.state.lock();
            state.limited += 1;
            let wait = wait.unwrap_or(WAIT_UNSAID).min(WAIT_MAX);
            state.next = state.next.max(Instant::now() + wait);
        }
    }
}
