//! Bridges: what a subscription delivers becomes a ticket in the helpdesk that a company already has, once, worst
//! first; and what becomes of it there comes back.
//!
//! A bridge is a client of the ticket socket like anyone else's. Which calls a helpdesk takes is a file of templates
//! ([`preset`]); how a call may end is [`http`]'s to tell; nothing here knows a vendor by name. [`deliver`] takes
//! deliveries there, [`pace`] says when, and what was made of which ticket is in
//! [`Cases`].

pub mod config;
pub mod deliver;
pub mod forget;
pub mod helpdesk;
pub mod http;
pub mod pace;
pub mod preset;
pub mod questions;
pub mod reconcile;
pub mod rehearsal;
pub mod run;
pub mod text;
pub mod webhook;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use rustls::RootCertStore;

use deliver::{Bridge, Policy, Shared, WhenUnknown};
use helpdesk::{Helpdesk, Teams, Values};
use http::Http;
use pace::{Pace, Quota};
use preset::Preset;
use text::Texts;

use crate::ledger::LedgerError;
use crate::ledger::cases::Cases;
use crate::ticket::proto::Filter;
use crate::wire::{Introduction, Wanted};

/// Longest that a call may take unless the operator says otherwise: a helpdesk in trouble takes that long.
const CALL_MAX: Duration = Duration::from_secs(30);
/// How much longer than we wait for it a call may be under way in the helpdesk.
const SETTLE_MARGIN_MAX: Duration = Duration::from_secs(5);
/// How long after it was made a ticket is looked at, unless the operator says otherwise.
const LOOK_AFTER: Duration = Duration::from_secs(60);
/// First and longest wait after something went wrong.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// One bridge.
#[derive(Debug, Clone)]
pub struct Config {
    /// Unique among the bridges, for the operator.
    pub name: String,
    /// Where the helpdesk is.
    pub url: String,
    /// What it knows us by.
    pub token: String,
    /// What its preset asks beside.
    pub options: Values,
    /// What of that is another for the tickets of some teams.
    pub teams: Teams,
    /// Longest that a call may take.
    pub call_max: Duration,
    /// How long after it was made a ticket is looked at.
    pub look_after: Duration,
    /// A company's own authorities; `None`: the web's.
    pub roots: Option<RootCertStore>,
    /// How many calls it takes.
    pub quota: Quota,
    /// The file with what was made of which ticket.
    pub cases: PathBuf,
    /// The durable subscription's name.
    pub subscription: String,
    /// Which tickets.
    pub filter: Filter,
    /// What to do about a ticket that may have been made where the helpdesk cannot be asked.
    pub when_unknown: WhenUnknown,
    /// What agents read.
    pub texts: Texts,
    /// First wait after something went wrong.
    pub retry_min: Duration,
    /// Longest wait for a helpdesk that takes nothing.
    pub retry_max: Duration,
}

impl Config {
    /// A bridge with what its preset says and nothing else out of the ordinary.
    pub fn new(name: &str, url: &str, token: &str, cases: impl Into<PathBuf>, preset: &Preset) -> Config {
        let calls = &preset.calls;
        Config {
            name: name.to_owned(),
            url: url.to_owned(),
            token: token.to_owned(),
            options: Values::new(),
            teams: Teams::new(),
            call_max: CALL_MAX,
            look_after: LOOK_AFTER,
            roots: None,
            quota: Quota {
                calls_per_minute: calls.quota_per_minute,
                calls_at_once: calls.calls_at_once,
                limits: calls.limits.clone(),
                ..Quota::default()
            },
            cases: cases.into(),
            subscription: format!("bridge-{name}"),
            filter: Filter::default(),
            when_unknown: WhenUnknown::Again,
            texts: Texts::built_in(preset),
            retry_min: RETRY_MIN,
            retry_max: RETRY_MAX,
        }
    }

    /// How it introduces itself to the daemon. No more deliveries at once than calls: what is not asked for yet may
    /// still be overtaken by something worse.
    pub fn introduction(&self) -> Introduction {
        Introduction {
            client: concat!("vigie bridge ", env!("CARGO_PKG_VERSION")).to_owned(),
            subscription: Wanted::Named(self.subscription.clone()),
            filter: Some(self.filter.clone()),
            window: self.quota.calls_at_once.max(1),
            ..Introduction::default()
        }
    }
}

/// Opens a bridge's case store and joins its parts. Nothing is called yet.
///
/// # Errors
///
/// The case store cannot be used: the operator must act.
pub fn open(config: &Config, preset: Preset) -> Result<Bridge<Helpdesk>, LedgerError> {
    let now_us = Timestamp::now().as_microsecond();
    let cases = Cases::open(&config.cases, now_us)?;
    let find = preset.calls.find.as_ref();
    let policy = Policy {
        retry_min: config.retry_min,
        retry_max: config.retry_max,
        when_unknown: config.when_unknown,
        can_find: find.is_some(),
        can_ask: !preset.calls.probe.is_empty(),
        has_fields: !config.texts.fields().names().is_empty(),
        settle: config.call_max + config.call_max.min(SETTLE_MARGIN_MAX),
        look_after: config.look_after,
        find_lag: find.map_or(Duration::ZERO, |find| Duration::from_millis(find.lag_max_ms)),
        takes_text_out: preset.calls.takes_text_out(),
        // Where there are none no text is in one.
        can_erase_notes: !preset.calls.erase_note.is_empty() || preset.calls.note.is_empty(),
        merged_keeps_text: preset.calls.merged_keeps_text,
        cases_know_since_us: cases.knows_since_us(),
        started_at_us: now_us,
    };
    let pace = Arc::new(Pace::of(config.quota.clone()));
    let http = Http::new(&config.url, config.roots.clone(), config.call_max);
    let helpdesk = Helpdesk::new(preset, http, pace.clone(), &config.token, &config.options)
        .with_teams_and_fields(&config.teams, config.texts.fields().names());
    let shared = Shared { cases: Arc::new(Mutex::new(cases)), counts: Arc::default(), pace };
    let clock = Arc::new(|| Timestamp::now().as_microsecond());
    Ok(Bridge::new(&config.name, helpdesk, shared, policy, config.texts.clone(), clock))
}
