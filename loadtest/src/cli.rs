//! What can be typed, and what it does.

mod listen;
mod run;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand};
use firehose::client::Address;
use firehose::{JetstreamConfig, Lies, Rate, Scenario, StatusesConfig};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

/// Serves the social networks' streaming protocols at a fixed rate, and counts what vigie makes of them.
#[derive(Debug, Parser)]
#[command(version, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a network's stream
    #[command(subcommand)]
    Serve(Network),
    /// Take tickets from a daemon's socket, acknowledge them, and count
    Listen(Listen),
    /// Put a daemon of its own under load, and check that nothing is lost
    Run(Box<run::Arguments>),
}

#[derive(Debug, Subcommand)]
enum Network {
    /// Bluesky's Jetstream, version 1
    Jetstream(Jetstream),
    /// X v1.1 statuses as lines over TCP with acknowledged positions
    Statuses(Statuses),
}

#[derive(Debug, Args)]
struct Jetstream {
    /// Address to listen on
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:6008")]
    listen: SocketAddr,
    /// Events a second, or max: as fast as the reader reads
    #[arg(long, value_name = "RATE", default_value = "2000")]
    rate: Rate,
    /// Share of the posts that ask Lumio for support, 0 to 1
    #[arg(long, default_value_t = 0.01)]
    share: f64,
    /// Share of the posts that name Lumio and need nothing, 0 to 1
    #[arg(long, default_value_t = 0.005)]
    confusing: f64,
    /// Another seed is another stream
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Serve the posts of recorded Jetstream events (JSON lines) instead of the built-in background
    #[arg(long, value_name = "FILE", num_args = 1..)]
    stream: Vec<PathBuf>,
    /// Serve only so many events from the start, then stay silent
    #[arg(long, value_name = "N")]
    events: Option<u64>,
    /// When the stream starts: RFC 3339, or now
    #[arg(long, value_name = "TIME", default_value = "now", value_parser = start)]
    start: Start,
    /// How much earlier than its turn time_us may be, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 31, value_parser = clap::value_parser!(u32).range(..=3_600_000))]
    jitter_ms: u32,
    /// Readers without a cursor begin at the start, not live; needs --start or --events
    #[arg(long)]
    from_start: bool,
    /// How far back a cursor reaches, in hours
    #[arg(long, value_name = "HOURS", default_value_t = 36, value_parser = clap::value_parser!(u16).range(1..))]
    look_back_hours: u16,
    /// What happens: calm, outage, quiet, burst or burst:QUIET,PEAK,AFTER,RISE,LASTS
    #[arg(long, value_name = "NAME", default_value = "calm")]
    scenario: Scenario,
    /// Misbehave: all, or NAME=AMOUNT,… as the README lists them; counted on stderr at the end
    #[arg(long, value_name = "LIES")]
    lies: Option<Lies>,
}

#[derive(Debug, Args)]
struct Statuses {
    /// Address to listen on
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:6020")]
    listen: SocketAddr,
    /// Lines a second, or max: as fast as the reader reads
    #[arg(long, value_name = "RATE", default_value = "2000")]
    rate: Rate,
    /// Share of the statuses that ask Lumio for support, 0 to 1
    #[arg(long, default_value_t = 0.01)]
    share: f64,
    /// Share of the statuses that name Lumio and need nothing, 0 to 1
    #[arg(long, default_value_t = 0.005)]
    confusing: f64,
    /// Another seed is another stream
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Serve only so many lines, then stay silent
    #[arg(long, value_name = "N")]
    events: Option<u64>,
    /// When line 1 is due: now, or an RFC 3339 time
    #[arg(long, value_name = "TIME", default_value = "now", value_parser = start)]
    start: Start,
    /// What happens: calm, outage, quiet, burst or burst:QUIET,PEAK,AFTER,RISE,LASTS
    #[arg(long, value_name = "NAME", default_value = "calm")]
    scenario: Scenario,
}

#[derive(Debug, Args)]
struct Listen {
    /// The daemon's ticket socket
    #[arg(long, value_name = "PATH|HOST:PORT")]
    socket: Address,
    /// Deliveries unanswered at once, at most
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    window: u32,
    /// Stop after so many deliveries
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Acknowledge each delivery so long after it came, in milliseconds
    #[arg(long, value_name = "D", default_value_t = 0)]
    delay_ms: u64,
    /// Name of the subscription
    #[arg(long, value_name = "NAME", default_value = "firehose")]
    subscription: String,
}

/// `None` is now; clap would take an `Option` for an argument that may be absent.
#[derive(Debug, Clone)]
struct Start(Option<Timestamp>);

fn start(text: &str) -> Result<Start, String> {
    match text {
        "now" => Ok(Start(None)),
        text => text
            .parse()
            .map(|at| Start(Some(at)))
            .map_err(|error| format!("neither now nor RFC 3339: {error}")),
    }
}

impl Arguments {
    /// What was typed, if it makes sense as a whole.
    pub(crate) fn checked() -> Result<Arguments, clap::Error> {
        Arguments::check(Arguments::try_parse()?)
    }

    fn check(self) -> Result<Arguments, clap::Error> {
        if let Command::Run(arguments) = &self.command {
            let wrong = |text| Arguments::command().error(clap::error::ErrorKind::ArgumentConflict, text);
            arguments.check().map_err(wrong)?;
        }
        Ok(self)
    }
}

/// Runs the command to its end.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::Serve(Network::Jetstream(arguments)) => serve_jetstream(arguments).await,
        Command::Serve(Network::Statuses(arguments)) => serve_statuses(arguments).await,
        Command::Listen(arguments) => {
            let shutdown = shutdown_signal()?;
            tokio::select! {
                listened = listen::run(&arguments) => listened,
                () = shutdown => Ok(()),
            }
        }
        Command::Run(arguments) => {
            let shutdown = shutdown_signal()?;
            tokio::select! {
                ran = run::run(*arguments) => ran,
                () = shutdown => anyhow::bail!("interrupted"),
            }
        }
    }
}

async fn serve_jetstream(arguments: Jetstream) -> anyhow::Result<()> {
    let config = JetstreamConfig {
        listen: arguments.listen,
        rate: arguments.rate,
        share: arguments.share,
        confusing: arguments.confusing,
        seed: arguments.seed,
        events: arguments.events,
        start: arguments.start.0,
        from_start: arguments.from_start,
        look_back_us: i64::from(arguments.look_back_hours) * 3_600_000_000,
        jitter_ms: arguments.jitter_ms,
        streams: arguments.stream,
        scenario: arguments.scenario,
        lies: arguments.lies.unwrap_or_default(),
    };
    let lies = config.lies;
    let serving = firehose::serve(config, shutdown_signal()?).await?;
    println!("{}", serving.url());
    let told = serving.finished().await;
    if lies != Lies::default() {
        eprintln!("{told}");
    }
    Ok(())
}

async fn serve_statuses(arguments: Statuses) -> anyhow::Result<()> {
    let Statuses { listen, rate, share, confusing, seed, events, start, scenario } = arguments;
    let config = StatusesConfig { listen, rate, share, confusing, seed, events, start: start.0, scenario };
    let serving = firehose::serve_statuses(config, shutdown_signal()?).await?;
    println!("{}", serving.local_addr());
    serving.finished().await;
    Ok(())
}

/// Completes on Ctrl-C and on SIGTERM.
fn shutdown_signal() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_wrong_argument_is_named() {
        let check = |arguments: &[&str], expected: &str| {
            let error =
                Arguments::try_parse_from([&["firehose"], arguments].concat()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(&["serve", "jetstream", "--rate", "0"], "nor max");
        check(&["serve", "jetstream", "--start", "yesterday"], "RFC 3339");
        check(&["serve", "jetstream", "--scenario", "storm"], "calm, outage, quiet");
        check(&["serve", "statuses", "--scenario", "burst:1,2,3"], "QUIET,PEAK");
        check(&["serve", "statuses", "--scenario", "burst:1,2,3,4,-5"], "QUIET,PEAK");
        check(&["serve", "jetstream", "--listen", "here"], "--listen");
        check(&["serve", "jetstream", "--lies", "white=1"], "half-frame");
        check(&["listen"], "--socket");
        check(&["run"], "<SCENARIO>");
        check(&["run", "storm"], "steady, record, flood");
        check(&["run", "steady", "--set", "lanes=2"], "section.key=value");
        check(&["run", "steady", "--share", "1.5"], "0 to 1");
        check(&["listen", "--socket", "x:1", "--window", "0"], "1..=65536");
    }

    #[test]
    fn what_happens_at_set_times_needs_a_schedule() {
        let check = |scenario| {
            let typed = Arguments::try_parse_from(["firehose", "run", scenario, "--rate", "max"]);
            typed.unwrap().check().is_ok()
        };
        assert!(check("flood") && check("steady"));
        assert!(!check("outage") && !check("reconnects"));
    }

    #[test]
    fn what_a_scenario_has_no_use_for_is_refused() {
        let check = |arguments: &[&str], is_right: bool| {
            let typed = Arguments::try_parse_from([&["firehose", "run"], arguments].concat()).unwrap();
            let Command::Run(typed) = typed.command else { panic!("{arguments:?}") };
            assert_eq!(typed.check().is_ok(), is_right, "{arguments:?}");
        };
        check(&["crash", "--kills", "3", "--repeat-ticket", "--keep-state"], true);
        check(&["steady", "--repeat-ticket"], false);
        check(&["steady", "--keep-state"], false);
        for scenario in ["crash", "restart", "helpdesk"] {
            check(&[scenario, "--duration", "5"], false);
            check(&[scenario, "--report", "x"], false);
            check(&[scenario, "--rate", "max"], false);
        }
        check(&["restart", "--lose-ticket"], false);
        check(&["helpdesk", "--pending", "300", "--lose-ticket", "--repeat-ticket"], true);
        check(&["helpdesk", "--rate", "5"], false);
        check(&["helpdesk", "--share", "0.5"], false);
        check(&["soak", "--duration", "5", "--report", "x", "--lose-ticket"], true);
    }

    #[test]
    fn an_outage_takes_no_share() {
        let check = |scenario: &str, is_right: bool| {
            let typed = Arguments::try_parse_from(["firehose", "run", scenario, "--share", "0.5"]).unwrap();
            let Command::Run(arguments) = typed.command else { panic!("{scenario}") };
            assert_eq!(arguments.check().is_ok(), is_right, "{scenario}");
        };
        check("steady", true);
        check("outage", false);
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let arguments = Arguments::try_parse_from(["firehose", "serve", "jetstream"]).unwrap();
        let Command::Serve(Network::Jetstream(ours)) = arguments.command else { panic!() };
        let library = JetstreamConfig::default();
        assert_eq!((ours.listen, ours.rate, ours.seed), (library.listen, library.rate, library.seed));
        assert_eq!((ours.share, ours.confusing), (library.share, library.confusing));
        assert_eq!((ours.jitter_ms, ours.scenario), (library.jitter_ms, library.scenario));
        assert_eq!(i64::from(ours.look_back_hours) * 3_600_000_000, library.look_back_us);
        assert_eq!(ours.from_start, library.from_start);
        assert_eq!(ours.lies.unwrap_or_default(), library.lies);

        let arguments = Arguments::try_parse_from(["firehose", "serve", "statuses"]).unwrap();
        let Command::Serve(Network::Statuses(ours)) = arguments.command else { panic!() };
        let library = StatusesConfig::default();
        assert_eq!((ours.listen, ours.rate, ours.seed), (library.listen, library.rate, library.seed));
        assert_eq!((ours.share, ours.confusing), (library.share, library.confusing));
        assert_eq!((ours.events, ours.scenario), (library.events, library.scenario));
        assert_eq!("burst".parse::<Scenario>(), "burst:0.1,2000,10,10,10".parse());
    }
}
