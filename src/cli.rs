//! What people type: one file per command in `cli/`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::classify::OpenError;
use crate::config::{Config, ConfigError};
use crate::desk::articles::{Articles, NoArticles};
use crate::desk::{People, Strangers};
use crate::ledger::context::Reader;
use crate::ledger::recall::Memory;
use crate::ledger::{self, LedgerError};
use crate::parse::Format;
use crate::pipeline::PipelineError;
use crate::telemetry::log::complain;

mod backup;
mod bridge;
mod check;
mod classify;
mod demo;
mod evaluate;
mod explain;
mod forget;
mod import;
mod model;
mod print;
mod priorities;
mod replay;
mod report;
mod run;
mod since;
mod status;
mod subscriptions;
mod tail;
mod ticket;
mod token;

/// The lookout: finds the people who are asking your company for help in social streams, and puts them
/// in your helpdesk, worst first.
#[derive(Debug, Parser)]
#[command(name = "vigie", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Start with `vigie demo`: it needs nothing else installed.\n\
    Exit codes: 0 fine, 1 a fault that a restart may cure, 64 a mistake in arguments or config,\n\
    143 or 130 told to end twice, by SIGTERM or Ctrl-C: ended without draining.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show everything working on this machine, with an invented brand and an invented firehose
    Demo(demo::Arguments),
    /// Run the daemon
    Run(ConfigFile),
    /// Check the config file and list every mistake in it
    Check(ConfigFile),
    /// Put recorded posts through the same stages; tickets as NDJSON on stdout, the accounting on stderr
    Replay(replay::Arguments),
    /// Classify one text a line from stdin, as NDJSON in the same order
    Classify(classify::Arguments),
    /// Say how good the model is on posts that people have labelled
    Evaluate(evaluate::Arguments),
    /// Say why one post becomes a ticket, or does not: rule hits, probabilities, every factor's points
    Explain(explain::Arguments),
    /// Try other priorities on the tickets that the ledger holds, before they are armed
    Priorities(priorities::Arguments),
    /// Subscribe to the ticket socket and print tickets, worst first, acknowledging each
    Tail(tail::Arguments),
    /// Ask the running daemon how it is
    Status(status::Arguments),
    /// Sum up the tickets: volumes, response times, service levels, satisfaction, and what foretold them
    Report(report::Arguments),
    /// Copy the ledger while the daemon runs, checked and ready to be used in its place
    Backup(backup::Arguments),
    /// Take over customers, agents, touchpoints or articles from a file, while the daemon runs or without it
    Import(import::Arguments),
    /// Remove a customer, with accounts and touchpoints
    Forget(forget::Arguments),
    /// List who is subscribed and what is pending, or remove a subscription that nobody uses any more
    Subscriptions(subscriptions::Arguments),
    /// Show one ticket with why, and all that happened to it: posts, answers, statuses, changes
    Ticket(ticket::Arguments),
    /// List who was thanked for answering others' questions
    Helpers(ticket::HelperArguments),
    /// Put tickets into a helpdesk: try one, run apart from the daemon, print a preset
    #[command(subcommand)]
    Bridge(bridge::Command),
    /// Make a token for a client of the ticket socket, or for the console
    Token(token::Arguments),
}

/// Where a config is looked for that nobody names.
const CONFIG_DEFAULT: &str = "/etc/vigie/vigie.toml";

#[derive(Debug, Args)]
struct ConfigFile {
    /// The config file
    #[arg(short, long, value_name = "FILE", default_value = CONFIG_DEFAULT)]
    config: PathBuf,
}

impl ConfigFile {
    fn load(&self) -> Result<Config, Failure> {
        Ok(Config::load(&self.config)?)
    }
}

/// The config that was named; else the usual one, if it can be read: it is often for the daemon's eyes alone.
fn config_if_any(named: Option<&Path>) -> Result<Option<Config>, Failure> {
    match named {
        Some(path) => Ok(Some(Config::load(path)?)),
        None => Ok(Config::load(Path::new(CONFIG_DEFAULT)).ok()),
    }
}

/// What to say where nobody is found by the defaults: that this config, which nobody named, is there and tells nothing.
/// Empty where it is not there, or tells.
fn why_untold(config: &Path) -> String {
    let why = match Config::load(config) {
        Ok(_) => return String::new(),
        Err(ConfigError::Unreadable(_, error)) if error.kind() == ErrorKind::NotFound => {
            return String::new();
        }
        Err(error @ ConfigError::Unreadable(..)) => format!("{error}: run this as somebody who may read it"),
        Err(ConfigError::Mistakes(path, _)) => {
            format!("config {0} has mistakes: `vigie check -c {0}` lists them", path.display())
        }
    };
    format!(" (the default; {why})")
}

/// Which ledger a command reads or writes, while a daemon has it or not.
#[derive(Debug, Args)]
struct LedgerFile {
    #[command(flatten)]
    file: ConfigFile,
    /// The ledger's file, in the place of the config's
    #[arg(long, value_name = "PATH")]
    ledger: Option<PathBuf>,
}

impl LedgerFile {
    /// The ledger's file alone: no config is needed where it is named.
    fn path(&self) -> Result<PathBuf, Failure> {
        match &self.ledger {
            Some(path) => Ok(path.clone()),
            None => Ok(self.file.load()?.ledger.path),
        }
    }

    /// The config, with this ledger in it.
    fn load(&self) -> Result<Config, Failure> {
        let mut config = self.file.load()?;
        if let Some(path) = &self.ledger {
            config.ledger.path.clone_from(path);
        }
        Ok(config)
    }
}

/// Whether a command that decides as the daemon would knows what the company has told it.
#[derive(Debug, Args)]
struct Acquaintances {
    /// Go without what the ledger knows, customers, contacts, agents, articles and open tickets: every poster is a stranger
    #[arg(long)]
    no_context: bool,
}

impl Acquaintances {
    /// Reads customers from the config's ledger, if that is there. It is never made or changed.
    fn people(&self, config: &Config) -> Result<Box<dyn People>, Failure> {
        let path = &config.ledger.path;
        if self.no_context || !path.exists() {
            return Ok(Box::new(Strangers));
        }
        match Reader::open(path) {
            Ok(reader) => Ok(Box::new(reader)),
            // Made before there were customers.
            Err(LedgerError::Older { .. }) => Ok(Box::new(Strangers)),
            Err(error) => Err(Failure::Fault(
                anyhow::Error::new(error).context("customers cannot be read; --no-context goes without them"),
            )),
        }
    }
}

impl Acquaintances {
    /// The config's ledger as it is now, if it is there; `None` without what it knows.
    fn memory(&self, config: &Config) -> Result<Option<Memory>, Failure> {
        let path = &config.ledger.path;
        if self.no_context || !path.exists() {
            return Ok(None);
        }
        match Memory::open(path) {
            Ok(memory) => Ok(Some(memory)),
            // Made before there were conversations.
            Err(LedgerError::Older { .. }) => Ok(None),
            Err(error) => Err(Failure::Fault(
                anyhow::Error::new(error).context("tickets cannot be read; --no-context goes without them"),
            )),
        }
    }
}

/// Why a command ended badly.
#[derive(Debug)]
pub enum Failure {
    /// A mistake in arguments or config, which no restart cures: exit code 64.
    Mistake(anyhow::Error),
    /// A fault that a restart may cure: exit code 1.
    Fault(anyhow::Error),
    /// Told to end at once: this exit code.
    Ended(u8, anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Fault(error)
    }
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Failure {
        match error {
            // A model, a library or a socket that is not what the config says stays so until somebody mends it.
            PipelineError::Model(_) | PipelineError::Rules(_) | PipelineError::Inherited(_) => {
                Failure::Mistake(error.into())
            }
            _ => Failure::Fault(error.into()),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        Failure::Mistake(error.into())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::Mistake(error.into())
    }
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    ///
    /// Shown to the person who asked; see [`Failure`] for the exit code.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Demo(arguments) => demo::run(&arguments),
            Command::Run(file) => run::run(&file),
            Command::Check(file) => check::run(&file),
            Command::Replay(arguments) => replay::run(&arguments),
            Command::Classify(arguments) => classify::run(&arguments),
            Command::Evaluate(arguments) => evaluate::run(&arguments),
            Command::Explain(arguments) => explain::run(&arguments),
            Command::Priorities(arguments) => priorities::run(&arguments),
            Command::Tail(arguments) => tail::run(&arguments),
            Command::Status(arguments) => status::run(&arguments),
            Command::Report(arguments) => report::run(&arguments),
            Command::Backup(arguments) => backup::run(&arguments),
            Command::Import(arguments) => import::run(&arguments),
            Command::Forget(arguments) => forget::run(&arguments),
            Command::Subscriptions(arguments) => subscriptions::run(&arguments),
            Command::Ticket(arguments) => ticket::run(&arguments),
            Command::Helpers(arguments) => ticket::helpers(&arguments),
            Command::Bridge(command) => bridge::run(&command),
            Command::Token(arguments) => token::run(&arguments),
        }
    }
}

/// The articles in the config's ledger, as far as they can be read: what a command shows does not hang on them.
fn knowledge_base(config: &Config, acquaintances: &Acquaintances) -> Box<dyn Articles> {
    let path = &config.ledger.path;
    if acquaintances.no_context || !config.desk.articles.enabled || !path.exists() {
        return Box::new(NoArticles);
    }
    match ledger::articles::Reader::open(path) {
        Ok(reader) => Box::new(reader),
        // Before version 4 there were none.
        Err(LedgerError::Older { .. }) => Box::new(NoArticles),
        Err(error) => {
            complain(&format!("vigie: articles are left out: {error}"));
            Box::new(NoArticles)
        }
    }
}

/// The token in a file, without the white space around it; empty without a file.
fn token_of(file: Option<&Path>) -> Result<String, Failure> {
    let Some(path) = file else { return Ok(String::new()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("token file {}", path.display()));
    Ok(text.map_err(Failure::Mistake)?.trim().to_owned())
}

/// Waits for Ctrl-C or SIGTERM.
async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => drop(terminate.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

fn format(name: &str) -> Result<Format, String> {
    Format::from_name(name).ok_or_else(|| {
        let names: Vec<_> = Format::ALL.iter().map(|format| format.name()).collect();
        format!("must be one of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_ledger_is_said_alike_everywhere() {
        for command in [
            "import customers f.csv",
            "import agents f.csv",
            "import touchpoints f.csv",
            "import articles f.csv",
            "forget C1",
            "ticket 0123ab",
            "helpers",
            "priorities simulate",
            "report",
        ] {
            for ledger in ["", "--ledger l.sqlite", "-c v.toml --ledger l.sqlite"] {
                let words = ["vigie", command, ledger].join(" ");
                let parsed = Cli::try_parse_from(words.split_whitespace());
                assert!(parsed.is_ok(), "{words}: {parsed:?}");
            }
        }
    }

    #[test]
    fn a_config_that_nobody_named_and_that_tells_nothing_is_spoken_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vigie.toml");
        assert_eq!(why_untold(&path), "");
        std::fs::write(&path, "[http]\nlisten = 5\n").unwrap();
        let said = format!(
            " (the default; config {0} has mistakes: `vigie check -c {0}` lists them)",
            path.display()
        );
        assert_eq!(why_untold(&path), said);
        // Nobody can read a folder as a file.
        let said = why_untold(folder.path());
        let unread = format!(" (the default; config {}: ", folder.path().display());
        assert!(
            said.starts_with(&unread) && said.ends_with(": run this as somebody who may read it)"),
            "{said}"
        );
        let text =
            "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n[[brand]]\nname = \"L\"\nnames = [\"lumio\"]\n";
        std::fs::write(&path, text).unwrap();
        assert_eq!(why_untold(&path), "");
    }

    #[test]
    fn a_named_ledger_takes_the_place_of_the_configs() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("vigie.toml");
        let text = "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n[[brand]]\nname = \"L\"\nnames = [\"lumio\"]\n\
            [ledger]\npath = \"/var/of-config\"\n";
        std::fs::write(&config, text).unwrap();
        let file = |name: &str, ledger: Option<&str>| LedgerFile {
            file: ConfigFile { config: folder.path().join(name) },
            ledger: ledger.map(PathBuf::from),
        };
        let of_config = file("vigie.toml", None);
        assert_eq!(of_config.path().unwrap(), Path::new("/var/of-config"));
        assert_eq!(of_config.load().unwrap().ledger.path, Path::new("/var/of-config"));
        let named = file("vigie.toml", Some("/var/named"));
        assert_eq!(named.load().unwrap().ledger.path, Path::new("/var/named"));
        assert_eq!(file("none", Some("/var/named")).path().unwrap(), Path::new("/var/named"));
        assert!(file("none", None).path().is_err() && file("none", Some("/var/named")).load().is_err());
    }
}
