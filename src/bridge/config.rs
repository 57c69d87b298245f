//! What an operator says of a helpdesk: one `[[bridge]]`, checked.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use tokio_rustls::TlsConnector;

use super::deliver::WhenUnknown;
use super::helpdesk::{Helpdesk, Teams, Values, distinct, options_of_teams, options_with_defaults};
use super::http::Http;
use super::pace::{Pace, Quota};
use super::preset::Preset;
use super::text::Texts;
use crate::ledger::{SubscriptionRequest, outbox};
use crate::ticket::proto::Filter;
use crate::wire::{Address, Client, ClientError, Introduction, Wanted};

/// Most bridges: each is a thread, a subscription and a file of its own.
pub const BRIDGES_MAX: usize = 16;
/// Longest name: a file and a subscription are called by it.
pub const NAME_BYTES_MAX: usize = 60;
/// Of the quota, what is left to agents and other programs, in percent.
pub const HEADROOM_PERCENT: u32 = 20;
/// Between two looks at what has become of tickets.
pub const POLL_INTERVAL: Duration = Duration::from_secs(60);
/// Longest that a call may take: a slow helpdesk answers within this, one that hangs does not.
pub const CALL_MAX: Duration = Duration::from_secs(30);

/// Where a bridge runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Place {
    /// In the daemon.
    #[default]
    Daemon,
    /// In a process of its own, `vigie bridge run`.
    Apart,
}

/// A secret: it is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// Takes a secret.
    pub fn new(secret: String) -> Hidden {
        Hidden(secret)
    }

    /// The secret itself.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "hidden" })
    }
}

/// One bridge.
#[derive(Clone)]
pub struct Config {
    /// Unique in the file.
    pub name: String,
    /// As in config: which preset.
    pub kind: String,
    /// Where it runs.
    pub place: Place,
    /// The helpdesk's address.
    pub url: String,
    /// The preset's file, which is right.
    pub preset: Arc<str>,
    /// What the helpdesk knows us by.
    pub token: Hidden,
    /// What the preset asks for beside; may hold secrets.
    pub options: Values,
    /// What of it is another for the tickets of some teams.
    pub teams: Teams,
    /// Whose name the daemon keeps for us what is not there yet.
    pub subscription: String,
    /// Only these; empty: all.
    pub brands: Vec<String>,
    /// Only from this priority on.
    pub priority_min: u32,
    /// Whether a new subscription begins with all that the ledger holds.
    pub from_oldest: bool,
    /// Calls that the helpdesk takes in a minute.
    pub quota_per_minute: u32,
    /// What of them is left to others.
    pub headroom_percent: u32,
    /// Between two looks at what has become of tickets.
    pub poll_interval: Duration,
    /// What to do after an unclear end where the helpdesk cannot be searched.
    pub when_unknown: WhenUnknown,
    /// Longest that a call may take.
    pub call_max: Duration,
    /// The company's own authority.
    pub roots: Option<Arc<RootCertStore>>,
    /// What the helpdesk signs its hints with.
    pub webhook_secret: Hidden,
    /// The console's address as the helpdesk reaches it.
    pub webhook_url: Option<String>,
    /// What agents read.
    pub texts: Texts,
    /// Where the case store is.
    pub state_dir: PathBuf,
    /// How long a ticket is known there once it is over; `None`: for ever.
    pub kept: Option<Duration>,
    /// Where the daemon is, for a bridge apart.
    pub socket: Address,
    /// What the daemon knows it by.
    pub socket_token: Hidden,
    /// How to speak TLS with it, if it does.
    pub socket_tls: Option<TlsConnector>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Options may be secrets.
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("place", &self.place)
            .field("url", &self.url)
            .field("subscription", &self.subscription)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// The preset.
    pub fn preset(&self) -> Preset {
        Preset::parse(&self.preset).expect("the preset was read when the config was")
    }

    /// What templates see as `option`: the operator's, and of those left out the preset's own.
    pub fn all_options(&self) -> Values {
        options_with_defaults(&self.preset(), &self.options)
    }

    /// Of each set of options that is another one than the general one, a team for whose tickets it is.
    pub fn teams_apart(&self) -> Vec<String> {
        let base = self.all_options();
        let of_teams = options_of_teams(&base, &self.teams);
        let apart = distinct(&base, &of_teams).into_iter().skip(1);
        let team = |options| of_teams.iter().find(|(_, own)| *own == options).map(|(team, _)| team.clone());
        apart.filter_map(team).collect()
    }

    /// The case store's file.
    pub fn cases_path(&self) -> PathBuf {
        self.state_dir.join(format!("bridge-{}.sqlite", self.name))
    }

    /// What a bridge is made of.
    pub fn parts(&self) -> super::Config {
        let calls = self.preset().calls;
        super::Config {
            name: self.name.clone(),
            url: self.url.clone(),
            token: self.token.secret().to_owned(),
            options: self.options.clone(),
            teams: self.teams.clone(),
            call_max: self.call_max,
            look_after: self.poll_interval,
            roots: self.roots.as_deref().cloned(),
            quota: Quota {
                calls_per_minute: self.quota_per_minute,
                headroom_percent: self.headroom_percent,
                calls_at_once: calls.calls_at_once,
                limits: calls.limits,
                ..Quota::default()
            },
            cases: self.cases_path(),
            subscription: self.subscription.clone(),
            filter: self.filter(),
            when_unknown: self.when_unknown,
            texts: self.texts.clone(),
            retry_min: super::RETRY_MIN,
            retry_max: super::RETRY_MAX,
        }
    }

    fn filter(&self) -> Filter {
        Filter { brands: self.brands.clone(), priority_min: self.priority_min, ..Filter::default() }
    }

    /// The helpdesk, at this pace.
    pub fn helpdesk(&self, pace: Arc<Pace>) -> Helpdesk {
        let roots = self.roots.as_deref().cloned();
        let http = Http::new(&self.url, roots, self.call_max);
        Helpdesk::new(self.preset(), http, pace, self.token.secret(), &self.options)
            .with_teams_and_fields(&self.teams, self.texts.fields().names())
    }

    /// Where the daemon keeps what is not there yet, as [`Config::introduction`] asks for it.
    pub(crate) fn request(&self) -> SubscriptionRequest {
        let priority_min = u16::try_from(self.priority_min).unwrap_or(u16::MAX);
        let filter =
            outbox::Filter { brands: self.brands.clone(), priority_min, ..outbox::Filter::default() };
        SubscriptionRequest { name: self.subscription.clone(), filter, start_next: !self.from_oldest }
    }

    /// What the daemon is told of us.
    pub fn introduction(&self) -> Introduction {
        Introduction {
            client: format!("vigie bridge {} {}", self.name, env!("CARGO_PKG_VERSION")),
            token: self.socket_token.secret().to_owned(),
            subscription: Wanted::Named(self.subscription.clone()),
            filter: Some(self.filter()),
            start_next: !self.from_oldest,
            window: self.preset().calls.calls_at_once,
        }
    }

    /// Connects to the ticket socket, over TLS where that is said.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`] and [`Client::connect_tls`].
    pub async fn connect(&self) -> Result<Client, ClientError> {
        let introduction = self.introduction();
        match (&self.socket, &self.socket_tls) {
            (Address::Tcp(host), Some(connector)) => Client::connect_tls(host, connector, introduction).await,
            (address, _) => Client::connect(address, introduction).await,
        }
    }
}
