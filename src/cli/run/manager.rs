//! What the service manager is told (sd_notify(3)). Without one there is nobody to tell, and that is fine.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

use crate::cli::Failure;

/// Longest status line, in bytes: `systemctl status` shows it in one line of a terminal or two.
const STATUS_BYTES_MAX: usize = 400;

/// systemd, or whatever gave us a `NOTIFY_SOCKET`.
#[derive(Debug, Default)]
pub(super) struct Manager {
    /// That it cannot be reached was said once.
    complained: AtomicBool,
}

impl Manager {
    /// How long it waits for a sign of life before it kills us; `None` if it does not.
    pub(super) fn watchdog() -> Option<Duration> {
        sd_notify::watchdog_enabled().filter(|watchdog| !watchdog.is_zero())
    }

    /// The start takes so much longer at most.
    pub(super) fn starting(&self, more: Duration) {
        let status = status("starting: reading the config, opening model, ledger and sockets");
        self.tell(&[NotifyState::ExtendTimeoutUsec(microseconds(more)), NotifyState::Status(&status)]);
    }

    /// Every stage runs.
    pub(super) fn ready(&self, text: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(&status(text))]);
    }

    /// A reload begins; [`ready`](Manager::ready) ends it, whatever became of it.
    pub(super) fn reloading(&self) {
        let status = NotifyState::Status("reloading: reading the config");
        // `Type=notify-reload` takes a reload for begun only with the time beside it, so that an older message
        // cannot be mistaken for the answer to its signal.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now, status]),
            Err(_) => self.tell(&[NotifyState::Reloading, status]),
        }
    }

    /// The end has begun and takes so long at most.
    pub(super) fn stopping(&self, within: Duration) {
        let status = status(&format!(
            "draining, within {} s: sources are closed, what they sent is being settled",
            within.as_secs()
        ));
        let within = NotifyState::ExtendTimeoutUsec(microseconds(within));
        self.tell(&[NotifyState::Stopping, within, NotifyState::Status(&status)]);
    }

    /// Why it ends by itself: `systemctl status` still shows that afterwards.
    pub(super) fn ended(&self, failure: &Failure) {
        let (Failure::Mistake(error) | Failure::Fault(error) | Failure::Ended(_, error)) = failure;
        self.status(&format!("ended: {error:#}"));
    }

    /// The watchdog's food.
    pub(super) fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    /// How things are, for `systemctl status`.
    pub(super) fn status(&self, text: &str) {
        self.tell(&[NotifyState::Status(&status(text))]);
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states)
            && !self.complained.swap(true, Ordering::Relaxed)
        {
            warn!(%error, "the service manager cannot be told how we are");
        }
    }
}

fn microseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// One line, since the next one would be another message.
fn status(text: &str) -> String {
    let mut status: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    status.truncate(status.floor_char_boundary(STATUS_BYTES_MAX));
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line_whatever_a_mistake_in_the_config_quotes() {
        assert_eq!(status("2 mistakes:\n  READY=1\r\n"), "2 mistakes:   READY=1  ");
        assert_eq!(status(&"é".repeat(300)), "é".repeat(200));
    }
}
