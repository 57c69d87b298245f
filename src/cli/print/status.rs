//! How the daemon stands: where the frames ended, and the status.

use std::io::{self, Write};

use anstyle::Style;
use jiff::Timestamp;

use super::{BAD, BOLD, GOOD, QUIET, grouped, printable};
use crate::console::{AnswersStatus, BridgeStatus, SourceStatus, Status};
use crate::desk::priority::ago;
use crate::telemetry::{Bucket, Buckets};

/// Characters of a source's or subscription's name that are shown.
const NAME_CHARS_MAX: usize = 31;

/// Prints where the frames ended, with the sum.
///
/// # Errors
///
/// `out` cannot be written.
pub(in crate::cli) fn accounting(out: &mut impl Write, buckets: &Buckets) -> io::Result<()> {
    for (bucket, frames) in buckets.iter() {
        let style = match bucket {
            Bucket::Ticketed => BOLD,
            Bucket::Shed if frames > 0 => BAD,
            _ => Style::new(),
        };
        writeln!(
            out,
            "  {style}{bucket:<12}{:>14}{style:#}   {QUIET}{}{QUIET:#}",
            grouped(frames),
            meaning(bucket)
        )?;
    }
    writeln!(out, "  {:─<26}", "")?;
    writeln!(
        out,
        "  {BOLD}{:<12}{:>14}{BOLD:#}   {QUIET}the sum: every frame is above, once{QUIET:#}",
        "received",
        grouped(buckets.received())
    )
}

fn meaning(bucket: Bucket) -> &'static str {
    match bucket {
        Bucket::Control => "no post: deletions, account events, likes, heartbeats",
        Bucket::Malformed => "not JSON, or not what the network sends",
        Bucket::Oversize => "longer than frame_bytes_max",
        Bucket::Own => "by one of the brand's own accounts",
        Bucket::Duplicate => "has its ticket already",
        Bucket::Unmatched => "no rule of any brand matches",
        Bucket::Unsupported => {
            "no customer message: the model says so, or it is a helper's advice to another"
        }
        Bucket::Merged => "joined or changed a ticket that exists",
        Bucket::Ticketed => "made a ticket",
        Bucket::Shed => "given up under overload",
        Bucket::Erased => "deleted by its author, and removed from its ticket",
    }
}

/// Prints the status with rates over the time between two readings.
///
/// # Errors
///
/// Stdout cannot be written.
pub(in crate::cli) fn status(before: &Status, after: &Status) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    let seconds = (after.at_us - before.at_us).max(1) as f64 / 1e6;
    let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
    writeln!(
        out,
        "{BOLD}vigie {}{BOLD:#}  up {} h {:02} min · model {} on {}",
        after.version,
        after.uptime_s / 3600,
        after.uptime_s / 60 % 60,
        after.model,
        after.runtime
    )?;
    for trouble in after.service.troubles() {
        writeln!(out, "{BAD}{}{BAD:#}", printable(&trouble))?;
    }
    let names: Vec<_> = after.sources.iter().map(|source| cut(&source.name)).collect();
    let width = 2 + names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(14);
    writeln!(
        out,
        "\n{BOLD}sources{BOLD:#}\n  {:<width$}{:<14}{:>12}{:>14}{:>10}{:>6}{:>12}",
        "name", "state", "frames/s", "received", "lag", "gaps", "reconnects"
    )?;
    for (source, name) in after.sources.iter().zip(names) {
        let earlier = before.sources.iter().find(|earlier| earlier.name == source.name);
        let (style, state) = match (source.connected, source.finished, source.silent_s) {
            (_, true, _) => (QUIET, "finished"),
            (true, false, Some(_)) => (BAD, "silent"),
            (true, false, None) => (GOOD, "connected"),
            (false, false, _) => (BAD, "not connected"),
        };
        writeln!(
            out,
            "  {name:<width$}{style}{state:<14}{style:#}{:>12.0}{:>14}{:>10}{:>6}{:>12}",
            rate(earlier.map_or(0, |earlier| earlier.received), source.received),
            grouped(source.received),
            source.lag_ms.map_or("–".to_owned(), |lag_ms| format!("{:.1} s", lag_ms as f64 / 1000.0)),
            source.gaps,
            source.reconnects
        )?;
        if !source.trouble.is_empty() {
            writeln!(out, "  {:<width$}{QUIET}{}{QUIET:#}", "", printable(&source.trouble))?;
        }
        if source.gaps > 0 {
            writeln!(out, "  {:<width$}{QUIET}{}{QUIET:#}", "", gaps(source))?;
        }
    }
    writeln!(
        out,
        "\n{BOLD}queues{BOLD:#}\n  {:<44}{:>10}\n  {:<44}{:>10}",
        "frame batches before the lanes",
        after.queue_batches,
        "candidates before the model",
        after.queue_candidates
    )?;
    if after.verdicts_quick + after.tickets_provisional > 0 {
        writeln!(
            out,
            "  {:<44}{:>10}\n  {:<44}{:>10}",
            "read by the small model alone, under load",
            grouped(after.verdicts_quick),
            "of their tickets, still to be read again",
            grouped(after.tickets_provisional)
        )?;
    }
    writeln!(out, "\n{BOLD}subscriptions{BOLD:#} (since the daemon started)")?;
    if after.subscriptions.is_empty() {
        writeln!(out, "  none: nobody has connected since; `vigie subscriptions` lists what waits for whom")?;
    }
    let names: Vec<_> = after.subscriptions.iter().map(|subscription| cut(&subscription.name)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(24);
    for (subscription, name) in after.subscriptions.iter().zip(names) {
        writeln!(
            out,
            "  {name:<width$}{:>10} pending{:>8} in flight{:>8} deferred",
            grouped(subscription.pending as u64),
            subscription.in_flight,
            subscription.deferred
        )?;
    }
    bridges(&mut out, &after.bridges, after.at_us)?;
    let AnswersStatus { open, at_risk, breached } = after.ledger.answers;
    if after.ledger.answers != AnswersStatus::default() {
        let style = if breached > 0 { BAD } else { Style::new() };
        let [open, at_risk, breached] = [open, at_risk, breached].map(grouped);
        writeln!(
            out,
            "\n{BOLD}waiting for an answer{BOLD:#}\n  {open} in time · {at_risk} at risk · {style}{breached} late{style:#}"
        )?;
    }
    writeln!(out, "\n{BOLD}where the frames ended{BOLD:#} (since the ledger was made)")?;
    let mut buckets = Buckets::default();
    for bucket in Bucket::ALL {
        buckets[bucket] = after.buckets.get(bucket.name()).copied().unwrap_or_default();
    }
    accounting(&mut out, &buckets)
}

/// A name as a column shows it: whole, or as much of it as leaves room for the others.
fn cut(name: &str) -> String {
    let name = printable(name);
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}

/// Prints how bridges stand, two lines each and one more for trouble; nothing where there are none.
fn bridges(out: &mut impl Write, bridges: &[BridgeStatus], now_us: i64) -> io::Result<()> {
    if bridges.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{BOLD}bridges{BOLD:#} (since each began)")?;
    for bridge in bridges {
        let trouble = bridge.trouble(now_us);
        let (style, state) = if trouble.is_empty() { (GOOD, "works") } else { (BAD, trouble.as_str()) };
        writeln!(
            out,
            "  {:<16}{} · {} waiting · {} of {} calls in the last minute · {style}{}{style:#}",
            printable(&bridge.name),
            printable(&bridge.kind),
            grouped(bridge.waiting as u64),
            bridge.calls_last_minute,
            bridge.calls_per_minute,
            printable(state),
        )?;
        let counts = [
            (bridge.made, "made", true),
            (bridge.adopted, "found again", false),
            (bridge.changed, "changed", true),
            (bridge.erased, "erased", false),
            (bridge.unerased, "NOT ERASED", false),
            (bridge.hidden, "no longer visible", false),
            (bridge.misread, "not understood", false),
            (bridge.ended, "closed there", true),
            (bridge.reported, "reported back", true),
            (bridge.refused, "refused", false),
            (bridge.doubled, "doubled", false),
            (bridge.unknown, "unknown", false),
        ];
        let counts = counts.iter().filter(|(count, _, always)| *always || *count > 0);
        let counts: Vec<_> = counts.map(|(count, what, _)| format!("{} {what}", grouped(*count))).collect();
        writeln!(out, "  {:<16}{}", "", counts.join(" · "))?;
        if !bridge.held && !bridge.last_error.is_empty() {
            let style = if bridge.last_error_over { QUIET } else { BAD };
            writeln!(out, "  {:<16}{style}{}{style:#}", "", printable(&last_error(bridge, now_us)))?;
        }
    }
    Ok(())
}

/// What went wrong, when, and whether it is over.
fn last_error(bridge: &BridgeStatus, now_us: i64) -> String {
    let what = if bridge.last_error_over { "past error" } else { "last error" };
    let moment = |at_us| Timestamp::from_microsecond(at_us).unwrap_or_default();
    let when = bridge.last_error_at_us.map(|at_us| format!(" {}", ago(moment(now_us), moment(at_us))));
    format!("{what}{}: {}", when.unwrap_or_default(), bridge.last_error)
}

/// What is missing of the stream, and what was missing once.
fn gaps(source: &SourceStatus) -> String {
    let seconds = |seconds: Option<f64>| seconds.map_or(String::new(), |seconds| format!(", {seconds:.1} s"));
    let open = source.gaps.saturating_sub(source.gaps_recovered);
    let open = format!("gaps: {open} not filled{}", seconds(source.gap_s));
    match source.gaps_recovered {
        0 => open,
        filled => format!("{open}; {filled} filled{}", seconds(source.gap_recovered_s)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_bridge_says_when_it_was_and_whether_it_is_over() {
        let failing = BridgeStatus {
            name: "desk".into(),
            connected: true,
            last_error: "status 422: no".into(),
            last_error_at_us: Some(1_790_000_000_000_000),
            ..BridgeStatus::default()
        };
        let shown = |bridge: BridgeStatus, after_s: i64| {
            let mut out = anstream::StripStream::new(Vec::new());
            bridges(&mut out, &[bridge], (1_790_000_000 + after_s) * 1_000_000).unwrap();
            let text = String::from_utf8(out.into_inner()).unwrap();
            text.lines().last().unwrap().trim().to_owned()
        };
        assert_eq!(shown(failing.clone(), 190), "last error 3 min ago: status 422: no");
        let over = BridgeStatus { last_error_over: true, ..failing.clone() };
        assert_eq!(shown(over, 26 * 3600), "past error 26 h ago: status 422: no");
        // One that runs apart and is older than the daemon.
        let older = BridgeStatus { last_error_at_us: None, ..failing };
        assert_eq!(shown(older, 190), "last error: status 422: no");
    }

    #[test]
    fn a_name_that_is_too_long_for_its_column_is_cut() {
        assert_eq!(cut("bluesky"), "bluesky");
        assert_eq!(cut(&"é".repeat(40)), "é".repeat(NAME_CHARS_MAX) + "…");
    }
}
