//! `vigie ticket`: one ticket with why, and all that happened to it; `vigie helpers`: who answers others well.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;
use jiff::{Timestamp, ToSpan};
use serde_json::json;

use super::print::Clock;
use super::{Failure, LedgerFile, print};
use crate::desk;
use crate::ledger::conversations::timeline::{self, Event, Found, PREFIX_MIN, Timeline, What};
use crate::ticket::proto::ticket_status::State;
use crate::ticket::proto::update::Change;
use crate::ticket::{self, TicketId, proto};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The ticket's id in hexadecimal digits, or the first six of them or more
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    ledger: LedgerFile,
    /// As JSON: the ticket, and its timeline
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct HelperArguments {
    #[command(flatten)]
    ledger: LedgerFile,
    /// How often they must have been thanked; as `[helpers] thanked_min` unless given
    #[arg(long, value_name = "TIMES", value_parser = clap::value_parser!(u64).range(1..))]
    thanked_min: Option<u64>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// The ledger's file, and by whose clock its times are shown: the desk's, or the reader's where no config can be read.
fn place(ledger: &LedgerFile) -> Result<(PathBuf, Clock), Failure> {
    match (ledger.load(), &ledger.ledger) {
        (Ok(config), _) => {
            let clock = Clock::of_desk(&config);
            Ok((config.ledger.path, clock))
        }
        (Err(_), Some(path)) => Ok((path.clone(), Clock::of_reader())),
        (Err(failure), None) => Err(failure),
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let id = arguments.id.trim().trim_end_matches('…').to_lowercase();
    if !(PREFIX_MIN..=32).contains(&id.len()) || !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        let text = anyhow!("{:?} is no ticket's id: {PREFIX_MIN} to 32 hexadecimal digits", arguments.id);
        return Err(Failure::Mistake(text));
    }
    let (path, clock) = place(&arguments.ledger)?;
    match timeline::find(&path, &id).map_err(anyhow::Error::new)? {
        Found::Ticket(found) if arguments.json => {
            writeln!(std::io::stdout(), "{}", to_json(&found)).context("stdout")?;
            Ok(())
        }
        Found::Ticket(found) => Ok(show(&found, &clock).context("stdout")?),
        Found::Pruned => Err(Failure::Mistake(anyhow!("ticket {id} was pruned: only its id is kept"))),
        Found::Nothing => Err(Failure::Mistake(anyhow!("no ticket {id} in {}", path.display()))),
        Found::Several(ids) => {
            let ids: Vec<_> = ids.iter().map(TicketId::to_string).collect();
            Err(Failure::Mistake(anyhow!("several tickets begin with {id}: {}", ids.join(", "))))
        }
    }
}

fn show(Timeline { ticket, events, thanked }: &Timeline, clock: &Clock) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    let now = Timestamp::now();
    print::ticket(&mut out, ticket, now, clock, somebody_waits(events))?;
    writeln!(out, "         id {}", ticket::to_json(ticket)["id"].as_str().unwrap_or_default())?;
    if *thanked > 0 {
        writeln!(out, "         author {}", print::helps_others(*thanked))?;
    }
    writeln!(out)?;
    for Event { at_us, what } in events {
        let at = Timestamp::from_microsecond(*at_us).unwrap_or_default();
        write!(out, "{}  ", clock.second(at))?;
        match what {
            What::Contact(contact) => {
                let note = print::printable(&contact.note);
                let colon = if note.is_empty() { "" } else { ": " };
                let ahead = if at > now { " (still to come)" } else { "" };
                writeln!(out, "{}{ahead}{colon}{note}", print::printable(&contact.channel))?;
            }
            What::Post { level, priority } => {
                writeln!(out, "posted; this ticket was made: {} {priority}", level.as_str_name())?;
            }
            What::Status(status) => writeln!(out, "{}", status_line(status))?,
            What::Update(update) => print::update(&mut out, update, clock)?,
        }
    }
    out.flush()
}

/// Whether nobody has answered yet, and nobody has said that none is to.
fn somebody_waits(events: &[Event]) -> bool {
    let is_answer = |what: &What| match what {
        What::Update(update) => {
            matches!(update.change, Some(Change::Answered(_) | Change::Erased(_)))
        }
        What::Status(status) => status.first_answer_at_us > 0,
        What::Contact(_) | What::Post { .. } => false,
    };
    let mut states = events.iter().filter_map(|Event { what, .. }| match what {
        What::Status(status) if status.state() != State::Unspecified => Some(status.state()),
        _ => None,
    });
    !events.iter().any(|event| is_answer(&event.what))
        && states.next_back().is_none_or(|state| matches!(state, State::Open))
}

fn status_line(status: &proto::TicketStatus) -> String {
    let state = status.state().as_str_name().trim_start_matches("STATE_").to_lowercase();
    let mut line = format!("helpdesk: {state}");
    if !status.agent.is_empty() {
        line.push_str(&format!(", {}", print::printable(&status.agent)));
    }
    if status.first_answer_at_us > 0 {
        line.push_str(", answered: nobody waits any more");
    }
    if !status.helpdesk_ref.is_empty() {
        line.push_str(&format!(", number {}", print::printable(&status.helpdesk_ref)));
    }
    if status.satisfaction > 0 {
        line.push_str(&format!(", satisfaction {} of 5", status.satisfaction));
    }
    if let Some(given) = status.recommendation {
        line.push_str(&format!(", recommends {given} of 10"));
    }
    line
}

fn to_json(Timeline { ticket, events, thanked }: &Timeline) -> serde_json::Value {
    let time = |at_us: i64| Timestamp::from_microsecond(at_us).ok().map(|at| at.to_string());
    let event = |Event { at_us, what }: &Event| match what {
        What::Contact(contact) => {
            json!({ "at": time(*at_us), "contact": { "channel": contact.channel, "note": contact.note } })
        }
        What::Post { level, priority } => json!({
            "at": time(*at_us), "post": ticket.post.as_ref().map(|post| &post.id),
            "priority": priority, "level": level.as_str_name(),
        }),
        What::Update(update) => {
            json!({ "at": time(*at_us), "update": ticket::update_to_json(update)["update"]["change"] })
        }
        What::Status(status) => json!({ "at": time(*at_us), "status": {
            "state": status.state().as_str_name().trim_start_matches("STATE_").to_lowercase(),
            "agent": status.agent,
            "first_answer_at": Some(status.first_answer_at_us).filter(|at_us| *at_us != 0).and_then(time),
            "satisfaction": Some(status.satisfaction).filter(|given| *given > 0),
            "recommendation": status.recommendation,
            "helpdesk_ref": status.helpdesk_ref,
        } }),
    };
    json!({
        "ticket": ticket::to_json(ticket),
        "author_thanked": thanked,
        "timeline": events.iter().map(event).collect::<Vec<_>>(),
    })
}

pub(super) fn helpers(arguments: &HelperArguments) -> Result<(), Failure> {
    let (path, clock) = place(&arguments.ledger)?;
    let thanked_min = match (arguments.thanked_min, arguments.ledger.file.load()) {
        (Some(least), _) => least,
        (None, Ok(config)) => config.desk.conversation.thanked_min.into(),
        // A ledger by itself: as where the config says nothing.
        (None, Err(_)) if arguments.ledger.ledger.is_some() => {
            desk::conversation::Config::default().thanked_min.into()
        }
        (None, Err(failure)) => return Err(failure),
    };
    let now = Timestamp::now();
    let since = now.checked_sub((90 * 24).hours()).unwrap_or_default();
    let helpers = match thanked_min {
        // Nobody counts as one.
        0 => Vec::new(),
        least => timeline::list_helpers(&path, least, since).map_err(anyhow::Error::new)?,
    };
    let mut out = std::io::stdout().lock();
    let mut print = || {
        if thanked_min == 0 && !arguments.json {
            return writeln!(
                out,
                "[helpers] thanked_min = 0: nobody counts as a helper; ask with --thanked-min"
            );
        }
        if helpers.is_empty() && !arguments.json {
            return writeln!(out, "nobody was thanked {thanked_min} times within 90 days for helping others");
        }
        if !arguments.json {
            let last = format!("last, {}", clock.name(now));
            writeln!(out, "{:>8}  {last:<20}  {:<10}  account", "thanked", "network")?;
        }
        for helper in &helpers {
            if arguments.json {
                let line = json!({
                    "network": helper.network.name(), "account": helper.author_id, "thanked": helper.thanked,
                    "last": helper.last.to_string(),
                });
                writeln!(out, "{line}")?;
                continue;
            }
            let last = clock.minute(helper.last);
            let account = print::printable(&helper.author_id);
            writeln!(out, "{:>8}  {last:<20}  {:<10}  {account}", helper.thanked, helper.network.name())?;
        }
        Ok(())
    };
    Ok(print().context("stdout")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_what_is_answered_halted_or_over() {
        let status = |state: State, first_answer_at_us| {
            What::Status(proto::TicketStatus {
                state: state.into(),
                first_answer_at_us,
                ..Default::default()
            })
        };
        let update =
            |change| What::Update(Box::new(proto::Update { change: Some(change), ..Default::default() }));
        let check = |events: Vec<What>, expected: bool| {
            let events: Vec<_> = events.into_iter().map(|what| Event { at_us: 1, what }).collect();
            assert_eq!(somebody_waits(&events), expected, "{events:?}");
        };
        check(vec![], true);
        check(vec![status(State::Open, 0), update(Change::Rescored(Default::default()))], true);
        check(vec![status(State::Open, 0), status(State::Unspecified, 5)], false);
        check(vec![update(Change::Answered(Default::default()))], false);
        check(vec![update(Change::Erased(Default::default()))], false);
        for state in [State::Pending, State::Solved, State::Closed, State::Deleted] {
            check(vec![status(state, 0), status(State::Unspecified, 0)], false);
            check(vec![status(state, 0), status(State::Open, 0)], true);
        }
    }
}
