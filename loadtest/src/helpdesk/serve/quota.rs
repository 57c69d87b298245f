//! How many calls a helpdesk takes.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::helpdesk::Reply;

/// Calls that a helpdesk takes in any span of a minute. One more is answered with 429 and `Retry-After`.
#[derive(Debug, Clone)]
pub struct Quota {
    /// So many.
    pub calls: u32,
    /// A minute, or less of it so that a test need not take as long; `Retry-After` then has decimals.
    pub minute: Duration,
    /// The header of each answer that says how many calls are left.
    pub remaining_header: Option<&'static str>,
    /// The header of each answer that says when there are more.
    pub reset_header: Option<&'static str>,
    /// How that header says it, of how long it is until then.
    pub reset_as: fn(Duration) -> String,
    /// The first minute does not end before a call was refused, however long that takes: so that one is, on a slow
    /// machine too.
    pub first_refusal_is_sure: bool,
}

impl Quota {
    /// So many calls a minute of this length, and no headers but `Retry-After`.
    pub fn new(calls: u32, minute: Duration) -> Quota {
        Quota {
            calls,
            minute,
            remaining_header: None,
            reset_header: None,
            reset_as: |wait| wait.as_secs_f64().to_string(),
            first_refusal_is_sure: false,
        }
    }
}

/// A quota and what is used of it.
#[derive(Debug)]
pub(super) struct Grant {
    quota: Option<Quota>,
    /// When the calls of the last minute came.
    taken: VecDeque<Instant>,
}

impl Grant {
    pub(super) fn new(quota: Option<Quota>) -> Grant {
        Grant { quota, taken: VecDeque::new() }
    }

    /// Counts the call, or says that it is one too many; `is_first`: none was refused so far.
    pub(super) fn over(&mut self, is_first: bool) -> Option<Reply> {
        let quota = self.quota.as_ref()?;
        let now = Instant::now();
        let stands_still = quota.first_refusal_is_sure && is_first;
        while !stands_still && self.taken.front().is_some_and(|at| now.duration_since(*at) >= quota.minute) {
            self.taken.pop_front();
        }
        if self.taken.len() < quota.calls as usize {
            self.taken.push_back(now);
            return None;
        }
        let age = self.taken.front().map_or(Duration::ZERO, |at| now.duration_since(*at));
        // A minute that was held open is over by now, or will be.
        let wait = quota.minute.saturating_sub(age);
        let reply = Reply::json(429, &serde_json::json!({ "error": "rate limit exceeded" }));
        Some(reply.with_header("retry-after", wait.as_secs_f64().to_string()))
    }

    /// The answer with the headers that tell what is left.
    pub(super) fn told(&self, mut reply: Reply) -> Reply {
        let Some(quota) = &self.quota else { return reply };
        if let Some(name) = quota.remaining_header {
            let remaining = (quota.calls as usize).saturating_sub(self.taken.len());
            reply = reply.with_header(name, remaining.to_string());
        }
        if let Some(name) = quota.reset_header {
            let since = self.taken.front().map_or(Duration::ZERO, Instant::elapsed);
            let reset = quota.minute.saturating_sub(since);
            reply = reply.with_header(name, (quota.reset_as)(reset));
        }
        reply
    }
}
