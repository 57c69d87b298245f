//! One bridge of the operator's, from its config to its end.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tracing::info;

use super::config::Config;
use super::config::Place;
use super::deliver::{BridgeError, Link, Shared};
use super::forget::forget;
use super::questions::Questions;
use super::reconcile::Reconciler;
use crate::ticket::proto::{BridgeState, client_message::Kind};
use crate::wire::{Client, ClientError};

/// Reports that wait for the connection to the daemon.
const REPORTS_MAX: usize = 256;

/// Between two times that the daemon is told how we stand, if that has changed.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// Longest error that the ticket socket takes, in bytes.
const ERROR_BYTES_MAX: usize = 1_000;

/// Takes deliveries to the helpdesk until `stop`, and tells the daemon what becomes of them; `hints` are ids of the
/// helpdesk's that something is to be heard of. It commits to its case store where it stands: it is to have a thread of
/// its own.
///
/// # Errors
///
/// The case store cannot be opened or is broken, or the daemon refuses us for good.
pub async fn run(
    config: &Config,
    connect: impl AsyncFn() -> Result<Client, ClientError>,
    hints: &mut mpsc::Receiver<String>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), BridgeError> {
    let preset = config.preset();
    let calls = preset.calls.clone();
    let bridge = super::open(&config.parts(), preset)?;
    let shared = bridge.shared().clone();
    let (reports, to_report) = mpsc::channel(REPORTS_MAX);
    info!(bridge = %config.name, helpdesk = %calls.title, url = %config.url, "bridge runs");
    if config.place == Place::Apart && calls.webhook.is_some() {
        info!(bridge = %config.name, "apart from the daemon no webhooks come: the helpdesk is asked");
    }
    let clock: Arc<dyn Fn() -> i64 + Send + Sync> = Arc::new(|| Timestamp::now().as_microsecond());
    let questions = Questions::new(&config.name, bridge.target(), shared.counts.clone(), clock.clone());
    let reconciler =
        Reconciler::new(&config.name, bridge.target(), shared.clone(), config.poll_interval, clock);
    // What ends one of them ends all.
    let (end, ended) = watch::channel(false);
    let deliver = async {
        let delivered = bridge.run(connect, to_report, ended.clone()).await;
        end.send_replace(true);
        delivered
    };
    let heed = async {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = over(ended.clone()) => {}
        }
        end.send_replace(true);
    };
    let look = async {
        let looked = reconciler.run(reports.clone(), bridge.link(), hints, ended.clone()).await;
        end.send_replace(true);
        looked
    };
    let tell = tell(&config.name, &calls.title, &shared, &reports, bridge.link(), ended.clone());
    let forget = async {
        let clock = || Timestamp::now().as_microsecond();
        let is_told_of_ends = calls.read.is_some();
        let kept = config.kept;
        let forgot = forget(&config.name, &shared.cases, kept, is_told_of_ends, clock, ended.clone()).await;
        end.send_replace(true);
        forgot
    };
    let ask = questions.run(ended.clone());
    let (delivered, looked, forgot, (), (), ()) = tokio::join!(deliver, look, forget, tell, ask, heed);
    delivered?;
    looked?;
    Ok(forgot?)
}

async fn over(mut ended: watch::Receiver<bool>) {
    drop(ended.wait_for(|ended| *ended).await);
}

/// Tells the daemon how the bridge stands: at once when it is connected, then whenever that has changed.
async fn tell(
    name: &str,
    kind: &str,
    shared: &Shared,
    reports: &mpsc::Sender<Kind>,
    mut link: watch::Receiver<Link>,
    ended: watch::Receiver<bool>,
) {
    let mut told = None;
    let telling = async {
        loop {
            let now = *link.borrow_and_update();
            let state = state(name, kind, shared, Timestamp::now().as_microsecond());
            let is_news = told.as_ref() != Some(&(now.lost, state.clone()));
            // Where reports wait, what is said of us now will be old by then.
            if now.is_up && is_news && reports.try_send(Kind::BridgeState(state.clone())).is_ok() {
                told = Some((now.lost, state));
            }
            tokio::select! {
                () = tokio::time::sleep(TELL_EVERY) => {}
                changed = link.changed() => if changed.is_err() { std::future::pending::<()>().await },
            }
        }
    };
    tokio::select! {
        () = telling => {}
        () = over(ended) => {}
    }
}

fn state(name: &str, kind: &str, shared: &Shared, now_us: i64) -> BridgeState {
    let counts = shared.counts.lock().clone();
    let pace = shared.pace.standing();
    let (unerased, hidden) = {
        let cases = shared.cases.lock();
        // That the file cannot be read ends the bridge elsewhere.
        (cases.unerased().unwrap_or_default(), cases.hidden().unwrap_or_default())
    };
    let (said, last_error_at_us, last_error_over) = match counts.errors.last() {
        Some((error, is_over)) => (error.said.as_str(), error.at_us, is_over),
        None => ("", 0, false),
    };
    // It is a helpdesk's, and shown to people.
    let mut last_error: String = said.chars().filter(|c| !c.is_control()).collect();
    last_error.truncate(last_error.floor_char_boundary(ERROR_BYTES_MAX));
    // To the second: else it would be news each time.
    let paused_until_us = pace.paused_for.map_or(0, |wait| {
        let until_us = now_us + i64::try_from(wait.as_micros()).unwrap_or(i64::MAX / 2);
        (until_us / 1_000_000 + 1) * 1_000_000
    });
    BridgeState {
        name: name.to_owned(),
        kind: kind.to_owned(),
        made: counts.made,
        adopted: counts.adopted,
        doubled: counts.doubled,
        unknown: counts.unknown,
        refused: counts.refused,
        changed: counts.changed,
        erased: counts.erased,
        unerased,
        hidden,
        misread: counts.misread,
        ended: counts.ended,
        reported: counts.reported,
        calls_per_minute: pace.calls_per_minute,
        calls_last_minute: pace.calls_last_minute,
        calls_limited: pace.limited,
        paused_until_us,
        held: counts.is_held,
        last_error,
        last_error_at_us,
        last_error_over,
    }
}
