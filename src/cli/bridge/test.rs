//! `vigie bridge test`: step by step, in plain words, whether a helpdesk can be worked with.
//!
//! Whatever fails, the test ticket is removed: it is looked for by its reference where nobody knows whether it was made.

mod reach;
mod ticket;
mod webhook;

use std::cell::Cell;
use std::io::Write;

use anyhow::{Context, anyhow};
use parking_lot::Mutex;

use crate::bridge::config::Config as BridgeConfig;
use crate::bridge::helpdesk::{Case, Helpdesk};
use crate::bridge::http::CallError;
use crate::bridge::pace::Pace;
use crate::bridge::text::sample;
use crate::cli::{Failure, asked_to_end};
use crate::config::Config;
use crate::telemetry::log::remark;
use crate::ticket::proto;

pub(super) fn run(config: &Config, bridges: &[BridgeConfig], leave_ticket: bool) -> Result<(), Failure> {
    config.warnings.iter().for_each(|warning| remark(&format!("warning: {warning}")));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("async runtime")?;
    let mut wrong = Vec::new();
    for bridge in bridges {
        let mut tests = vec![Test::new(config, bridge, leave_ticket, None)];
        let of_teams = bridge.teams_apart();
        tests.extend(of_teams.iter().map(|team| Test::new(config, bridge, leave_ticket, Some(team))));
        let test = &tests[0];
        say(&format!("bridge {}: {} at {}", bridge.name, test.helpdesk.preset().calls.title, bridge.url));
        let is_right = runtime.block_on(async {
            let told = tokio::select! {
                told = steps(&tests) => told,
                () = asked_to_end() => Err(Wrong::new("ended", "told to end", "nothing more is tried")),
            };
            let mut is_right = told.inspect_err(Wrong::tell).unwrap_or(false);
            // Also where the step between failed.
            for test in &tests {
                is_right &= test.clean_up().await.inspect_err(Wrong::tell).is_ok();
            }
            is_right
        });
        if is_right && !test.is_tried.get() {
            say(&format!(
                "bridge {}: it is reached, and nothing else was tried: neither the key nor what it may do",
                bridge.name
            ));
        } else if is_right {
            say(&format!("bridge {}: right", bridge.name));
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

/// Gives whether all is right; what of it is not is told already, but for what keeps the rest from being tried.
async fn steps(tests: &[Test<'_>]) -> Result<bool, Wrong> {
    let Some((test, of_teams)) = tests.split_first() else { return Ok(true) };
    let mut is_right = test.steps().await?;
    for test in of_teams.iter().filter(|test| test.makes_tickets()) {
        is_right &= test.steps_of_team().await.inspect_err(Wrong::tell).is_ok();
    }
    Ok(is_right)
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
        say(&format!("  wrong  {}: {}", self.step, self.what));
        if !self.advice.is_empty() {
            say(&format!("         {}", self.advice));
        }
    }
}

/// A line for whoever waits; if nobody reads any more, the test ticket is to be removed all the same.
fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

fn ok(step: &str, what: &str) {
    let colon = if what.is_empty() { "" } else { ": " };
    say(&format!("  ok     {step}{colon}{what}"));
}

fn note(step: &str, what: &str) {
    say(&format!("  note   {step}: {what}"));
}

struct Test<'b> {
    /// The daemon that takes its webhooks.
    config: &'b Config,
    bridge: &'b BridgeConfig,
    helpdesk: Helpdesk,
    leave_ticket: bool,
    /// Said after a step's name: whose ticket it is.
    whose: String,
    ticket: proto::Ticket,
    reference: String,
    made: Mutex<Made>,
    /// Whether any call of the helpdesk's API was made.
    is_tried: Cell<bool>,
}

/// What of the test ticket may be there.
enum Made {
    Nothing,
    /// Nobody knows.
    Perhaps,
    Ticket(Case),
}

impl<'b> Test<'b> {
    fn new(config: &'b Config, bridge: &'b BridgeConfig, leave_ticket: bool, team: Option<&str>) -> Test<'b> {
        // Each test's reference is its own, so that two never remove each other's ticket.
        let mut id = [0; 16];
        id.fill_with(|| fastrand::u8(..));
        let mut ticket = sample::tickets("").remove(0);
        ticket.id = id.to_vec();
        ticket.brand = bridge.brands.first().cloned().unwrap_or_default();
        ticket.level = proto::Level::P4 as i32;
        ticket.priority = 0;
        ticket.factors.clear();
        ticket.route.clear();
        ticket.assignment =
            team.map(|team| proto::Assignment { team: team.to_owned(), ..proto::Assignment::default() });
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
        let (made, is_tried) = (Mutex::new(Made::Nothing), Cell::new(true));
        let whose = team.map_or_else(String::new, |team| format!(", tickets of team {team}"));
        Test { config, bridge, helpdesk, leave_ticket, whose, ticket, reference, made, is_tried }
    }

    /// A step's name, and whose ticket it is about.
    fn about(&self, step: &str) -> String {
        format!("{step}{}", self.whose)
    }

    /// Whether those that it makes can be removed, or may stay.
    fn makes_tickets(&self) -> bool {
        !self.helpdesk.preset().calls.remove.is_empty() || self.leave_ticket
    }

    /// What may be another thing for the tickets of a team: whether they are made where it says, and found there.
    async fn steps_of_team(&self) -> Result<(), Wrong> {
        let case = self.create(&self.bridge.texts.ticket(&self.ticket)).await?;
        self.find(&case).await
    }

    /// Gives whether the webhook is right, too, which is told already and keeps nothing else from being tried.
    async fn steps(&self) -> Result<bool, Wrong> {
        self.reach().await?;
        self.probe().await?;
        let webhook = self.webhook().await.inspect_err(Wrong::tell);
        let calls = &self.helpdesk.preset().calls;
        if !self.makes_tickets() {
            note(
                "test ticket",
                "not made, since this helpdesk's API cannot remove it; --leave-ticket makes one that you close by hand",
            );
            self.is_tried.set(!calls.probe.is_empty());
            return Ok(webhook.is_ok());
        }
        let values = self.bridge.texts.ticket(&self.ticket);
        let case = self.create(&values).await?;
        self.find(&case).await?;
        self.annotate(&case).await?;
        self.read(&case).await?;
        match calls.remove.is_empty() {
            // What stays is to be seen as agents would read it.
            true => note("erasure", "not tried, since the ticket stays for you to look at"),
            false => self.erase(&case, &values).await?,
        }
        Ok(webhook.is_ok())
    }

    async fn probe(&self) -> Result<(), Wrong> {
        let teams = self.bridge.teams.keys().map(|team| Some(team.as_str()));
        for team in std::iter::once(None).chain(teams) {
            for index in self.helpdesk.questions(team) {
                let about = &self.helpdesk.preset().calls.probe[index].about;
                let about = match team {
                    Some(team) => format!("{about}, tickets of team {team}"),
                    None => about.clone(),
                };
                match self.helpdesk.probe(index, team).await {
                    Ok(Ok(())) => ok(&about, ""),
                    Ok(Err(advice)) => return Err(Wrong::new(about, "not as it should be", advice)),
                    Err(error) => {
                        return Err(self.failed(&about, &error, &self.helpdesk.advice(index, team)));
                    }
                }
            }
        }
        Ok(())
    }

    /// What a call's failure means, with the advice of the step where there is no better one.
    fn failed(&self, step: &str, error: &CallError, advice: &str) -> Wrong {
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
            CallError::Trouble { status: 200..=299, .. } => {
                format!("a page came instead of data: the url is not that of the API, or a login page is before it. {advice}")
            }
            CallError::Unclear(_) | CallError::Trouble { .. } => format!("the helpdesk is in trouble or too slow; its own log says more. {advice}"),
            CallError::Limited { .. } => "wait and try again; a quota_per_minute that fits keeps us below".to_owned(),
            _ => advice.to_owned(),
        };
        Wrong::new(step, error, advice)
    }
}
