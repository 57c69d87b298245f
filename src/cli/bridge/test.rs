//! `vigie bridge test`: step by step, in plain words, whether a helpdesk can be worked with.
//!
//! Whatever fails, the test ticket is removed: it is looked for by its reference where nobody knows whether it was made.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, anyhow};
use hyper::{Method, Uri};
use parking_lot::Mutex;

use crate::bridge::config::Config as BridgeConfig;
use crate::bridge::helpdesk::{Case, Helpdesk, Standing, Values};
use crate::bridge::http::{Call, CallError, Http};
use crate::bridge::pace::Pace;
use crate::bridge::preset::Escape;
use crate::bridge::text::{About, sample};
use crate::cli::{Failure, asked_to_end};
use crate::config::Config;
use crate::ticket::proto::ticket_status::State;
use crate::ticket::proto::{self, update::Change};

/// How long a name or a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Between two looks for a ticket where the helpdesk's search is late, and how much longer than it says we look.
const FIND_EVERY: Duration = Duration::from_secs(2);
const FIND_GRACE: Duration = Duration::from_secs(10);

pub(super) fn run(config: &Config, bridges: &[BridgeConfig], leave_ticket: bool) -> Result<(), Failure> {
    config.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("async runtime")?;
    let mut wrong = Vec::new();
    for bridge in bridges {
        let test = Test::new(bridge, leave_ticket);
        println!("bridge {}: {} at {}", bridge.name, test.helpdesk.preset().calls.title, bridge.url);
        let is_right = runtime.block_on(async {
            let told = tokio::select! {
                told = test.steps() => told,
                () = asked_to_end() => Err(Wrong::new("ended", "told to end", "nothing more is tried")),
            };
            let is_right = told.inspect_err(Wrong::tell).is_ok();
            // Also where the step between failed.
            let is_clean = test.clean_up().await.inspect_err(Wrong::tell).is_ok();
            is_right && is_clean
        });
        if is_right {
            println!("bridge {}: right", bridge.name);
        } else {
            wrong.push(bridge.name.clone());
        }
    }
    // A look-up of a name may still hang on a thread of its own.
    runtime.shutdown_background();
    std::io::stdout().flush().context("stdout")?;
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Failure::Fault(anyhow!("not right: {}", wrong.join(", ")))),
    }
}

/// A step that failed, and what to do.
struct Wrong {
    step: String,
    what: String,
    advice: String,
}

impl Wrong {
    fn new(step: impl Into<String>, what: impl ToString, advice: impl Into<String>) -> Wrong {
        Wrong { step: step.into(), what: what.to_string(), advice: advice.into() }
    }

    fn tell(&self) {
        println!("  wrong  {}: {}", self.step, self.what);
        if !self.advice.is_empty() {
            println!("         {}", self.advice);
        }
    }
}

fn ok(step: &str, what: &str) {
    let colon = if what.is_empty() { "" } else { ": " };
    println!("  ok     {step}{colon}{what}");
}

fn note(step: &str, what: &str) {
    println!("  note   {step}: {what}");
}

struct Test<'b> {
    bridge: &'b BridgeConfig,
    helpdesk: Helpdesk,
    leave_ticket: bool,
    ticket: proto::Ticket,
    reference: String,
    made: Mutex<Made>,
}

/// What of the test ticket may be there.
enum Made {
    Nothing,
    /// Nobody knows.
    Perhaps,
    Ticket(Case),
}

impl<'b> Test<'b> {
    fn new(bridge: &'b BridgeConfig, leave_ticket: bool) -> Test<'b> {
        // Each test's reference is its own, so that two never remove each other's ticket.
        let mut id = [0; 16];
        id.fill_with(|| fastrand::u8(..));
        let mut ticket = sample::tickets("").remove(0);
        ticket.id = id.to_vec();
        ticket.brand = bridge.brands.first().cloned().unwrap_or_default();
        ticket.level = proto::Level::P4 as i32;
        ticket.priority = 0;
        ticket.factors.clear();
        ticket.assignment = None;
        if let Some(post) = &mut ticket.post {
            post.text = "This is a test by `vigie bridge test`: nobody asks for anything, and it is removed at once.\n\
                Emoji 😡, accents éàç, and <b>no bold</b>."
                .to_owned();
            post.url.clear();
        }
        // Not at the bridge's own pace: a few calls, while somebody waits.
        let pace = std::sync::Arc::new(Pace::new(bridge.quota_per_minute));
        let helpdesk = bridge.helpdesk(pace);
        let reference = ticket.id.iter().map(|byte| format!("{byte:02x}")).collect();
        Test { bridge, helpdesk, leave_ticket, ticket, reference, made: Mutex::new(Made::Nothing) }
    }

    async fn steps(&self) -> Result<(), Wrong> {
        self.reach().await?;
        self.probe().await?;
        self.webhook();
        let calls = &self.helpdesk.preset().calls;
        if calls.remove.is_empty() && !self.leave_ticket {
            note(
                "test ticket",
                "not made, since this helpdesk's API cannot remove it; --leave-ticket makes one that you close by hand",
            );
            return Ok(());
        }
        let values = self.bridge.texts.ticket(&self.ticket);
        let case = self.create(&values).await?;
        self.find(&case).await?;
        self.annotate(&case).await?;
        self.read(&case).await
    }

    /// Name, connection, certificate.
    async fn reach(&self) -> Result<(), Wrong> {
        let uri: Uri = self.bridge.url.parse().map_err(|error| Wrong::new("address", error, ""))?;
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let advice =
            format!("is {host:?} written as your browser shows it, and does this machine's DNS know it?");
        let looked_up =
            tokio::time::timeout(CONNECT_MAX, tokio::net::lookup_host((host.as_str(), port))).await;
        let addresses: Vec<_> = match looked_up {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(error)) => return Err(Wrong::new("address", error, advice)),
            Err(_) => return Err(Wrong::new("address", "the name server does not answer", advice)),
        };
        let Some(first) = addresses.first() else {
            return Err(Wrong::new("address", "the name has no address", advice));
        };
        ok("address", &format!("{host} is {}", first.ip()));
        let advice = format!(
            "does the helpdesk run, is {port} its port, and may this machine reach it through firewalls and proxies?"
        );
        let tcp = tokio::time::timeout(CONNECT_MAX, tokio::net::TcpStream::connect(&*addresses)).await;
        match tcp {
            Ok(Ok(_)) => ok("connection", &format!("port {port} answers")),
            Ok(Err(error)) => return Err(Wrong::new("connection", error, advice)),
            Err(_) => {
                let what = format!("no answer within {} s", CONNECT_MAX.as_secs());
                return Err(Wrong::new("connection", what, advice));
            }
        }
        let roots = self.bridge.roots.as_deref().cloned();
        let http = Http::new(&self.bridge.url, roots, self.bridge.call_max);
        let call = Call { method: Method::GET, path: "/".into(), ..Call::default() };
        match http.call(call).await {
            Err(CallError::NotSent(what)) if is_tls => Err(Wrong::new(
                "certificate",
                what,
                "a certificate of your company's own authority needs ca_file; one that has run out needs a new one",
            )),
            Err(CallError::NotSent(what)) => Err(Wrong::new("connection", what, advice)),
            _ if is_tls => {
                ok("certificate", "");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn probe(&self) -> Result<(), Wrong> {
        for (index, probe) in self.helpdesk.preset().calls.probe.iter().enumerate() {
            match self.helpdesk.probe(index).await {
                Ok(Ok(())) => ok(&probe.about, ""),
                Ok(Err(advice)) => return Err(Wrong::new(&probe.about, "not as it should be", advice)),
                Err(error) => return Err(self.failed(&probe.about, &error, &probe.advice)),
            }
        }
        Ok(())
    }

    fn webhook(&self) {
        let seconds = self.bridge.poll_interval.as_secs();
        let asked = format!("what becomes of tickets is asked every {seconds} s");
        let calls = &self.helpdesk.preset().calls;
        match (&calls.webhook, self.bridge.webhook_secret.secret()) {
            (None, _) if calls.read.is_none() => {
                note("webhooks", "none, and this helpdesk's API does not say what becomes of tickets");
            }
            (None, _) => note("webhooks", &format!("this helpdesk sends none; {asked}")),
            (Some(_), "") => note("webhooks", &format!("no webhook_secret_file; {asked}")),
            (Some(webhook), _) => {
                let how = match &webhook.signature_header {
                    Some(header) => format!("signed in {header}"),
                    None => "with the secret in the address".to_owned(),
                };
                let name = &self.bridge.name;
                ok(
                    "webhook secret",
                    &format!("hints come to POST /v1/bridge/{name}, {how}; besides, {asked}"),
                );
            }
        }
    }

    async fn create(&self, values: &Values) -> Result<Case, Wrong> {
        *self.made.lock() = Made::Perhaps;
        match self.helpdesk.create(values).await {
            Ok(case) => {
                ok("test ticket", &format!("made, it is {}", case.id));
                *self.made.lock() = Made::Ticket(case.clone());
                Ok(case)
            }
            Err((error, case)) => {
                let advice = "the helpdesk knows us and does not take a ticket: may the account create tickets there, \
                    and are the fields that it names right?";
                let wrong = self.failed("test ticket", &error, advice);
                *self.made.lock() = match case {
                    Some(case) => Made::Ticket(case),
                    None if error.is_unclear() => Made::Perhaps,
                    None => Made::Nothing,
                };
                Err(wrong)
            }
        }
    }

    async fn find(&self, case: &Case) -> Result<(), Wrong> {
        let Some(find) = &self.helpdesk.preset().calls.find else {
            note(
                "search by reference",
                "this helpdesk cannot be searched: after a call whose end nobody knows, when_unknown decides",
            );
            return Ok(());
        };
        let lag = Duration::from_millis(find.lag_max_ms);
        match self.look(lag + FIND_GRACE).await {
            Err(error) => Err(self.failed("search by reference", &error, "may the account search tickets?")),
            Ok(ids) if ids.contains(&case.id) => {
                ok("search by reference", "finds it");
                Ok(())
            }
            Ok(ids) => {
                let what = match ids.is_empty() {
                    true => "does not find it".to_owned(),
                    false => format!("finds {} instead", ids.join(", ")),
                };
                let advice = "without it a ticket could be made twice: does the field for the reference exist, and may \
                    the account see and set it?";
                Err(Wrong::new("search by reference", what, advice))
            }
        }
    }

    /// Looks until something is found, as long as the helpdesk's search may be late.
    async fn look(&self, within: Duration) -> Result<Vec<String>, CallError> {
        let until = tokio::time::Instant::now() + within;
        loop {
            let ids = self.helpdesk.find(&self.reference).await?.unwrap_or_default();
            if !ids.is_empty() || tokio::time::Instant::now() >= until {
                return Ok(ids);
            }
            tokio::time::sleep(FIND_EVERY).await;
        }
    }

    async fn annotate(&self, case: &Case) -> Result<(), Wrong> {
        let calls = &self.helpdesk.preset().calls;
        let about = About {
            reference: &self.reference,
            brand: &self.ticket.brand,
            language: None,
            level: Some("P4"),
        };
        let followed_up =
            sample::updates().into_iter().find(|update| matches!(update.change, Some(Change::FollowedUp(_))));
        let values = self.bridge.texts.update(&about, &followed_up.unwrap_or_default());
        if !calls.reprioritise.is_empty() {
            let done = self.helpdesk.reprioritise(case, &values).await;
            done.map_err(|error| self.failed("priority", &error, "may the account change tickets?"))?;
            ok("priority", "changed");
        }
        if !calls.note.is_empty() {
            let done = self.helpdesk.note(case, &values).await;
            done.map_err(|error| {
                self.failed("note", &error, "may the account add notes that only agents see?")
            })?;
            ok("note", "added");
        }
        Ok(())
    }

    async fn read(&self, case: &Case) -> Result<(), Wrong> {
        let advice = "without it nobody hears that a ticket is solved: may the account see tickets?";
        match self.helpdesk.read(case).await {
            Err(error) => Err(self.failed("state", &error, advice)),
            Ok(None) => Ok(()),
            Ok(Some(Standing { state: Some(_), state_there, .. })) => {
                ok("state", &format!("it is {state_there:?}"));
                Ok(())
            }
            Ok(Some(Standing { state_there, .. })) => Err(Wrong::new(
                "state",
                format!("it is {state_there:?}, and the preset does not say what that is"),
                "copy the preset (`vigie bridge preset`), add it to [states], and use it with kind = \"http\"",
            )),
        }
    }

    /// Removes what was made, whatever became of it since.
    async fn clean_up(&self) -> Result<(), Wrong> {
        let made = std::mem::replace(&mut *self.made.lock(), Made::Nothing);
        let calls = &self.helpdesk.preset().calls;
        let cases = match made {
            Made::Nothing => return Ok(()),
            Made::Ticket(case) => vec![case],
            Made::Perhaps => {
                let lag = calls.find.as_ref().map_or(0, |find| find.lag_max_ms);
                let found = self.look(Duration::from_millis(lag)).await.map_err(|error| {
                    let advice = format!("a ticket with {} may be there: remove it by hand", self.reference);
                    Wrong::new("removal", error, advice)
                })?;
                found.into_iter().map(|id| Case { id, captured: Values::new() }).collect()
            }
        };
        for case in cases {
            let by_hand = format!("remove ticket {} by hand", case.id);
            if calls.remove.is_empty() {
                note("test ticket", &format!("this helpdesk's API removes nothing: {by_hand}"));
                continue;
            }
            let removed = self.helpdesk.remove(&case).await;
            let advice = format!("may the account delete tickets? And {by_hand}");
            removed.map_err(|error| self.failed("removal", &error, &advice))?;
            match self.helpdesk.read(&case).await {
                Ok(Some(Standing { state: Some(State::Open | State::Pending), state_there, .. })) => {
                    return Err(Wrong::new(
                        "removal",
                        format!("it is still there, {state_there:?}"),
                        by_hand,
                    ));
                }
                Ok(Some(Standing { state: Some(State::Solved | State::Closed), state_there, .. })) => {
                    note(
                        "removal",
                        &format!("the account may not delete: the ticket stays, {state_there:?}"),
                    );
                }
                _ => ok("test ticket", "removed"),
            }
        }
        Ok(())
    }

    /// What a call's failure means, with the advice of the step where there is no better one.
    fn failed(&self, step: &str, error: &CallError, advice: &str) -> Wrong {
        let option = serde_json::json!({ "option": self.bridge.all_options() });
        let option = minijinja::value::Value::from(minijinja::value::Serde(&option));
        let rendered = self.helpdesk.preset().render("advice", advice, Escape::Nothing, &option);
        let advice = rendered.unwrap_or_else(|_| advice.to_owned());
        let advice = match error {
            CallError::Refused { status: 401, .. } => {
                "it does not know us: is what token_file holds the whole token, of this helpdesk, and still valid?"
                    .to_owned()
            }
            CallError::Refused { status: 403, .. } => {
                format!("it knows us, and the account may not do this. {advice}")
            }
            CallError::Refused { status: 300..=399, .. } => {
                "give the address that it sends us to as url, without the last part of the path".to_owned()
            }
            CallError::Unclear(what) if what.contains("no answer of its API") => {
                format!("a page came instead of data: the url is not that of the API, or a login page is before it. {advice}")
            }
            CallError::Unclear(_) => format!("the helpdesk is in trouble or too slow; its own log says more. {advice}"),
            CallError::Limited { .. } => "wait and try again; a quota_per_minute that fits keeps us below".to_owned(),
            _ => advice,
        };
        Wrong::new(step, error, advice)
    }
}
