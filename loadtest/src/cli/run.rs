//! `firehose run`: a scenario against a daemon of its own, with a verdict.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use firehose::Rate;
use firehose::run::{Changes, Scenario, Setting, Settings, crash, helpdesk, restart};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// steady, record, flood, outage, slow-helpdesk, reconnects, crash, restart, helpdesk, crowd or soak
    scenario: Scenario,
    /// Length of the stream in seconds; 60, 30 for flood, 1800 for soak
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    duration: Option<u32>,
    /// Posts a second over all networks instead of the scenario's, or max
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,
    /// Share of the posts that name the brand instead of the scenario's, 0 to 1; an outage takes none
    #[arg(long, value_name = "SHARE", value_parser = share)]
    share: Option<f64>,
    /// Another seed is another stream, and in crash other moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often crash kills the daemon
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    kills: u64,
    /// Tickets that restart finds pending, 100000; posts whose tickets helpdesk takes to helpdesks, 16000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pending: Option<u64>,
    /// Idle clients of crowd
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    connections: u32,
    /// The daemon; the vigie beside this program if not given
    #[arg(long, value_name = "PATH")]
    vigie: Option<PathBuf>,
    /// TOML to add to the daemon's config: brands, triggers, sections that --set does not name
    #[arg(long, value_name = "FILE")]
    config_extra: Option<PathBuf>,
    /// A key of the daemon's config: engine.lanes=2
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<Setting>,
    /// Write a page with plots, the result, the daemon's log and config into this folder
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Write the result into this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Check counts only: do not compare the tickets with those of vigie replay, which reads some 700 mentions a second
    #[arg(long)]
    no_replay: bool,
    /// Seconds from the start of the daemon to the first post; more for a config that takes long to load
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=600))]
    lead: u32,
    /// Make the daemon's folder here; else where the system has temporary files, which may be in memory
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Forget one ticket, to see that the check finds it: the run must fail
    #[arg(long)]
    lose_ticket: bool,
    /// Take one ticket twice after its acknowledgement was confirmed, or find it twice in a helpdesk, to see that the
    /// check finds it
    #[arg(long)]
    repeat_ticket: bool,
    /// Leave the daemon's folder after crash even if nothing is wrong
    #[arg(long)]
    keep_state: bool,
}

impl Arguments {
    /// What no argument alone shows to be wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.rate {
            Some(Rate::Max) if !self.scenario.may_be_unlimited() => {
                let name = self.scenario.name();
                Err(format!("--rate max: {name} needs a schedule, and so a number"))
            }
            _ if self.scenario.restarts() && (self.duration.is_some() || self.report.is_some()) => {
                let name = self.scenario.name();
                Err(format!("--duration, --report: {name} has no set length and no page; see --json"))
            }
            _ if self.keep_state && self.scenario != Scenario::Crash => {
                Err("--keep-state: for crash alone".to_owned())
            }
            _ if self.repeat_ticket && !matches!(self.scenario, Scenario::Crash | Scenario::Helpdesk) => {
                Err("--repeat-ticket: for crash and helpdesk alone".to_owned())
            }
            _ if self.lose_ticket && self.scenario == Scenario::Restart => {
                Err("--lose-ticket: restart compares counts, not tickets".to_owned())
            }
            _ if (self.rate.is_some() || self.share.is_some()) && self.scenario == Scenario::Helpdesk => {
                Err("--rate, --share: helpdesk has its tickets from a stream of its own; see --pending"
                    .to_owned())
            }
            _ if self.share.is_some() && self.scenario == Scenario::Outage => {
                Err("--share: outage takes none, as its reports follow the burst".to_owned())
            }
            _ => Ok(()),
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("{text:?} is not 0 to 1"))
}

/// Runs the scenario; the result goes to stdout, everything for people to stderr.
///
/// That something does not add up is an error here, so that the command fails.
pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let vigie = match arguments.vigie {
        Some(path) => path,
        None => beside().context("no vigie given, and this program cannot find itself")?,
    };
    if !vigie.is_file() {
        bail!("{} is no file: build vigie, or say where it is with --vigie", vigie.display());
    }
    let extra = arguments.config_extra.map(|path| {
        std::fs::read_to_string(&path).with_context(|| format!("--config-extra {}", path.display()))
    });
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let settings = Settings {
        changes: Changes {
            duration: arguments.duration.map(seconds),
            rate: arguments.rate,
            share: arguments.share,
            seed: arguments.seed,
            connections: arguments.connections,
        },
        config_extra: extra.transpose()?.unwrap_or_default(),
        set: arguments.set,
        replay: !arguments.no_replay,
        lead: seconds(arguments.lead),
        state: arguments.state,
        lose_ticket: arguments.lose_ticket,
        repeat_ticket: arguments.repeat_ticket,
        keep_state: arguments.keep_state,
        kills: arguments.kills,
        pending: arguments.pending,
        ..Settings::new(arguments.scenario, vigie)
    };
    let talkative = std::io::stderr().is_terminal();
    let progress = |line: &str| {
        if talkative {
            eprintln!("{line}");
        }
    };
    let (json, is_sound) = match settings.scenario {
        Scenario::Crash => {
            let outcome = crash::run(&settings, &progress).await?;
            eprint!("{outcome}");
            (json(&outcome.result), outcome.is_sound())
        }
        Scenario::Restart => {
            let outcome = restart::run(&settings, &progress).await?;
            eprint!("{outcome}");
            (json(&outcome.result), outcome.is_sound())
        }
        Scenario::Helpdesk => {
            let outcome = helpdesk::run(&settings, &progress).await?;
            eprint!("{outcome}");
            (json(&outcome.result), outcome.is_sound())
        }
        _ => {
            let outcome = firehose::run::run(&settings, &progress).await?;
            eprint!("{outcome}");
            if let Some(folder) = arguments.report {
                outcome.write_report(&folder).with_context(|| format!("--report {}", folder.display()))?;
                eprintln!("  report      {}", folder.join("report.html").display());
            }
            (outcome.json(), outcome.is_sound())
        }
    };
    if let Some(path) = arguments.json {
        std::fs::write(&path, &json).with_context(|| format!("--json {}", path.display()))?;
    }
    std::io::stdout().write_all(json.as_bytes()).context("stdout")?;
    if !is_sound {
        bail!("not everything is conserved");
    }
    Ok(())
}

/// As [`firehose::run::Outcome::json`].
fn json(result: &impl serde::Serialize) -> String {
    let json = serde_json::to_string_pretty(result);
    json.expect("numbers, texts and maps with text keys are JSON") + "\n"
}

/// The vigie in the folder of this program.
fn beside() -> std::io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("vigie"))
}
