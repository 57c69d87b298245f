//! The case store forgets what is over, so that it does not grow for ever.
//!
//! A ticket is known as long as the daemon's ledger keeps it, and a little longer: then nothing can come any more that is
//! to be done about it, an erasure least of all. If something comes after all, the ticket is looked for in the helpdesk
//! like one that an older case store has made.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::info;

use crate::ledger::LedgerError;
use crate::ledger::cases::Cases;

/// So much longer than the ledger keeps a ticket it is known here: what the ledger told last may still be on its way.
pub const LONGER: Duration = Duration::from_secs(10 * 24 * 60 * 60);
/// Between two looks for what is over.
const EVERY: Duration = Duration::from_secs(60 * 60);
/// Most tickets that are forgotten at once: some milliseconds, in which no delivery is worked off.
const STEP_TICKETS_MAX: usize = 128;
/// Between two steps.
const STEP_REST: Duration = Duration::from_secs(1);

/// Forgets at the start and every hour, until `ended`, what is over and of which nothing was heard for `kept`; nothing
/// where that is `None`, as the ledger keeps everything, too. `is_told_of_ends`: whether the helpdesk says what becomes of
/// tickets. `clock` gives microseconds since 1970.
///
/// # Errors
///
/// The case store is broken: the process is to end.
pub async fn forget(
    name: &str,
    cases: &Mutex<Cases>,
    kept: Option<Duration>,
    is_told_of_ends: bool,
    clock: impl Fn() -> i64,
    mut ended: watch::Receiver<bool>,
) -> Result<(), LedgerError> {
    let Some(kept) = kept else {
        drop(ended.wait_for(|ended| *ended).await);
        return Ok(());
    };
    let kept_us = i64::try_from(kept.as_micros()).unwrap_or(i64::MAX);
    let mut forgotten = 0;
    loop {
        let before_us = clock().saturating_sub(kept_us);
        let count = cases.lock().prune(before_us, is_told_of_ends, STEP_TICKETS_MAX)?;
        forgotten += count;
        let rest = if count < STEP_TICKETS_MAX { EVERY } else { STEP_REST };
        if rest == EVERY && forgotten > 0 {
            info!(bridge = %name, tickets = forgotten, "forgot tickets that are over");
            forgotten = 0;
        }
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            _ = ended.wait_for(|ended| *ended) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::ledger::cases::{Change, Origin, Place};
    use crate::parse::Network;
    use crate::ticket::TicketId;

    fn id(number: usize) -> TicketId {
        TicketId::of_post(Network::X, &number.to_string())
    }

    /// So many tickets that were made and ended at the time 1, and one that is open.
    fn cases(folder: &std::path::Path, ended: usize) -> Mutex<Cases> {
        let mut cases = Cases::open(&folder.join("c"), 1).unwrap();
        for number in 0..=ended {
            let place = Place {
                id: number.to_string(),
                captured: "{}".to_owned(),
                origin: Origin::Made,
                is_complete: true,
                is_gone: false,
            };
            let placed =
                Change::Placed { brand: String::new(), level: 1, language: String::new(), place, others: 0 };
            let again_at_us = (number == ended).then_some(1);
            cases.apply(id(number), &[placed, Change::Read { again_at_us }], 1).unwrap();
        }
        Mutex::new(cases)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_forgotten_in_steps_once_its_time_has_come() {
        let folder = tempfile::tempdir().unwrap();
        let ended = 2 * STEP_TICKETS_MAX + 5;
        let cases = cases(folder.path(), ended);
        let left = || (0..=ended).filter(|number| cases.lock().get(id(*number)).unwrap().is_some()).count();
        let kept = Duration::from_secs(90 * 24 * 60 * 60);
        let kept_us = i64::try_from(kept.as_micros()).unwrap();
        let now_us = Arc::new(AtomicI64::new(kept_us));
        let (end, stop) = watch::channel(false);
        let clock = now_us.clone();
        let watching = async {
            tokio::time::sleep(EVERY / 2).await;
            assert_eq!(left(), ended + 1, "not before its time");
            now_us.store(kept_us + 2, Ordering::Relaxed);
            tokio::time::sleep(EVERY / 2).await;
            let mut seen = vec![left()];
            while *seen.last().unwrap() > 1 {
                tokio::time::sleep(STEP_REST / 4).await;
                seen.push(left());
            }
            let steps: Vec<usize> = seen.windows(2).map(|pair| pair[0] - pair[1]).collect();
            assert!(steps.iter().all(|step| *step <= STEP_TICKETS_MAX), "{seen:?}");
            assert!(steps.iter().filter(|step| **step > 0).count() >= 2, "{seen:?}");
            end.send_replace(true);
        };
        let (done, ()) = tokio::join!(
            forget("desk", &cases, Some(kept), true, move || clock.load(Ordering::Relaxed), stop),
            watching
        );
        done.unwrap();
        assert!(cases.lock().get(id(ended)).unwrap().is_some(), "it is open");
        assert_eq!(cases.lock().knows_since_us(), 2, "of what is older something was forgotten");
    }
}
