//! What people read: a ticket at a glance and its changes; in a file of its own, the status.
//!
//! Colours only where a terminal shows them: `anstream` strips them elsewhere and obeys `NO_COLOR`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use crate::ticket::proto::delivery::Record;
use crate::ticket::proto::update::Change;
use crate::ticket::{hex, proto};

mod clock;
mod person;
mod status;

pub(super) use clock::Clock;
pub(super) use status::{accounting, status};

const BOLD: Style = Style::new().bold();
const QUIET: Style = Style::new().dimmed();
const BAD: Style = AnsiColor::Red.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default();

/// Columns of text before a line is broken.
const TEXT_COLUMNS: usize = 92;
/// Characters of an author's id that are shown.
const ID_CHARS: usize = 18;
/// Characters of a post that are shown; the whole text is in the ticket.
const TEXT_CHARS_MAX: usize = 400;

/// Prints what a delivery holds.
///
/// # Errors
///
/// `out` cannot be written.
pub(super) fn delivery(out: &mut impl Write, delivery: &proto::Delivery, clock: &Clock) -> io::Result<()> {
    let said = match &delivery.record {
        Some(Record::Ticket(record)) => {
            ticket(out, record, Timestamp::now(), clock, true)?;
            Some(record.priority)
        }
        Some(Record::Update(record)) => {
            update(out, record, clock)?;
            match &record.change {
                Some(Change::Rescored(change)) => Some(change.priority),
                Some(Change::FollowedUp(change)) => Some(change.priority),
                _ => None,
            }
        }
        None => None,
    };
    // It comes in the place of what the ticket is by now, and would otherwise look out of order.
    if let (Some(said), Some(now)) = (said, delivery.priority_now)
        && said != now
    {
        writeln!(
            out,
            "         by now {BOLD}{now}{BOLD:#}, and in its place by that; what made it so follows"
        )?;
    }
    out.flush()
}

/// Prints a ticket: who, what, how bad, why, until when.
///
/// # Errors
///
/// `out` cannot be written.
pub(super) fn ticket(
    out: &mut impl Write,
    ticket: &proto::Ticket,
    now: Timestamp,
    clock: &Clock,
    waits: bool,
) -> io::Result<()> {
    let post = ticket.post.clone().unwrap_or_default();
    let verdict = ticket.verdict.clone().unwrap_or_default();
    let style = level_style(ticket.level());
    writeln!(
        out,
        "{style}{} {:>4}{style:#}  {BOLD}{}{BOLD:#}{QUIET} · {} · {}{QUIET:#}  {} · {} · {}  {}",
        ticket.level().as_str_name(),
        ticket.priority,
        who(&post.author.clone().unwrap_or_default()),
        post.network,
        ticket.brand,
        best(&verdict.intent),
        best(&verdict.sentiment),
        best(&verdict.urgency),
        if waits { due(ticket.due_at_us, now, clock) } else { String::new() },
    )?;
    let text = if post.text.is_empty() { "(erased by its author)" } else { &post.text };
    for line in wrapped(text) {
        writeln!(out, "         {line}")?;
    }
    for line in ticket.person.iter().flat_map(|person| person::lines(person, clock)) {
        writeln!(out, "         {line}")?;
    }
    let why: Vec<_> = ticket
        .factors
        .iter()
        // Names and reasons hold words of the company's own.
        .map(|factor| format!("{} {:+} ({})", printable(&factor.name), factor.points, printable(&factor.evidence)))
        .collect();
    writeln!(out, "         {QUIET}why: {}{QUIET:#}", why.join(", "))?;
    if let Some(assignment) = &ticket.assignment {
        let reasons = listed(&assignment.reasons);
        writeln!(out, "         {QUIET}for: {} ({reasons}){QUIET:#}", whom(assignment))?;
    }
    if !ticket.articles.is_empty() {
        let article = |article: &proto::Article| match article.url.as_str() {
            "" => printable(&article.title),
            url => format!("{} ({})", printable(&article.title), printable(url)),
        };
        let articles: Vec<_> = ticket.articles.iter().map(article).collect();
        writeln!(out, "         {QUIET}articles: {}{QUIET:#}", articles.join("; "))?;
    }
    let url = if post.url.is_empty() { String::new() } else { format!(" · {}", printable(&post.url)) };
    writeln!(out, "         {QUIET}ticket {}…{url}{QUIET:#}", short(&ticket.id))
}

/// Prints a change of a ticket.
///
/// # Errors
///
/// `out` cannot be written.
pub(super) fn update(out: &mut impl Write, update: &proto::Update, clock: &Clock) -> io::Result<()> {
    let id = short(&update.ticket_id);
    match &update.change {
        Some(Change::Erased(erased)) => {
            writeln!(out, "{QUIET}    –    ticket {id}… erased: {}{QUIET:#}", printable(&erased.reason))
        }
        Some(Change::Edited(edited)) => {
            let what = if edited.post_id.is_empty() { "" } else { ": a post that had joined it was" };
            writeln!(out, "{QUIET}    –    ticket {id}…{what} edited by its author:{QUIET:#}")?;
            let edited = if edited.text.is_empty() { "(erased by its author)" } else { &edited.text };
            wrapped(edited).into_iter().try_for_each(|line| writeln!(out, "         {line}"))
        }
        Some(Change::Rescored(rescored)) => {
            let verdict = rescored.verdict.clone().unwrap_or_default();
            let style = level_style(rescored.level());
            let doubt = if rescored.unsupported { ", no customer message after all" } else { "" };
            let by = if rescored.edited { "as it was edited" } else { "read again by the full model" };
            writeln!(
                out,
                "{style}{} {:>4}{style:#}  {QUIET}ticket {id}… {by}:{QUIET:#}  {} · {} · {}{doubt}",
                rescored.level().as_str_name(),
                rescored.priority,
                best(&verdict.intent),
                best(&verdict.sentiment),
                best(&verdict.urgency),
            )
        }
        Some(Change::FollowedUp(followed)) => {
            let style = level_style(followed.level());
            let post = followed.post.clone().unwrap_or_default();
            writeln!(
                out,
                "{style}{} {:>4}{style:#}  {QUIET}ticket {id}… followed up by{QUIET:#} {BOLD}{}{BOLD:#}:",
                followed.level().as_str_name(),
                followed.priority,
                who(&post.author.unwrap_or_default()),
            )?;
            let text = if post.text.is_empty() { "(erased by its author)" } else { &post.text };
            wrapped(text).into_iter().try_for_each(|line| writeln!(out, "         {line}"))
        }
        Some(Change::Answered(answered)) => {
            let by = printable(&answered.account);
            writeln!(
                out,
                "{QUIET}    –    ticket {id}… answered by {by} on the network: nobody waits any more{QUIET:#}"
            )
        }
        Some(Change::Overdue(overdue)) => {
            let told_at = Timestamp::from_microsecond(update.at_us).unwrap_or_default();
            match overdue.state() {
                proto::update::overdue::State::Breached => {
                    let due_at = Timestamp::from_microsecond(overdue.due_at_us).unwrap_or_default();
                    let due_at = clock.beside(told_at, due_at);
                    writeln!(
                        out,
                        "{BAD}    –    ticket {id}… is late:{BAD:#} no answer, and it was due {due_at}"
                    )
                }
                _ => {
                    let due = due(overdue.due_at_us, told_at, clock);
                    writeln!(out, "{BAD}    –    ticket {id}… is at risk:{BAD:#} no answer yet; {due}")
                }
            }
        }
        Some(Change::Assigned(assigned)) => {
            let told_at = Timestamp::from_microsecond(update.at_us).unwrap_or_default();
            write!(out, "{QUIET}    –    ticket {id}…")?;
            if let Some(assignment) = &assigned.assignment {
                write!(out, " is now for {}", whom(assignment))?;
            }
            if assigned.due_at_us != 0 {
                let mark = if assigned.assignment.is_some() { ";" } else { ": by now" };
                write!(out, "{mark} {}", due(assigned.due_at_us, told_at, clock))?;
            }
            writeln!(out, "{QUIET:#}")?;
            let reasons = assigned.assignment.as_ref().map_or(&[][..], |assignment| &assignment.reasons);
            if !reasons.is_empty() {
                writeln!(out, "         {QUIET}{}{QUIET:#}", listed(reasons))?;
            }
            Ok(())
        }
        Some(Change::PostErased(erased)) => {
            let (post, reason) = (printable(&erased.post_id), printable(&erased.reason));
            writeln!(out, "{QUIET}    –    ticket {id}… post {post} erased: {reason}{QUIET:#}")
        }
        None => Ok(()),
    }
}

/// Enough of a ticket's id for `vigie ticket`.
fn short(id: &[u8]) -> String {
    hex(id.get(..4).unwrap_or(id))
}

fn listed(reasons: &[String]) -> String {
    reasons.iter().map(|reason| printable(reason)).collect::<Vec<_>>().join("; ")
}

/// Team, agent and supplier, as far as there are.
fn whom(assignment: &proto::Assignment) -> String {
    let names = [&assignment.team, &assignment.agent, &assignment.supplier];
    let names: Vec<_> =
        names.into_iter().filter(|name| !name.is_empty()).map(|name| printable(name)).collect();
    names.join(", ")
}

fn level_style(level: proto::Level) -> Style {
    match level {
        proto::Level::P1 => AnsiColor::White.on(AnsiColor::Red).bold(),
        proto::Level::P2 => AnsiColor::Yellow.on_default().bold(),
        proto::Level::P3 => AnsiColor::Cyan.on_default(),
        proto::Level::P4 | proto::Level::Unspecified => QUIET,
    }
}

fn who(author: &proto::Author) -> String {
    let mut who = if !author.handle.is_empty() {
        format!("@{}", printable(&author.handle))
    } else if !author.name.is_empty() {
        printable(&author.name)
    } else {
        // A Bluesky stream names authors by DID only: enough of it to tell two apart, the link has the rest.
        let id = printable(&author.id);
        match id.char_indices().nth(ID_CHARS) {
            Some((cut, _)) => format!("{}…", &id[..cut]),
            None if id.is_empty() => "unknown author".to_owned(),
            None => id,
        }
    };
    if author.followers_known {
        who.push_str(&format!(" ({} followers)", grouped(author.followers)));
    }
    who
}

fn best(probabilities: &BTreeMap<String, f32>) -> &str {
    probabilities.iter().max_by(|a, b| a.1.total_cmp(b.1)).map_or("?", |(label, _)| label)
}

/// `answer by 14:32 CET (in 1 h 58)`, or `Mon 14:32 CET` on another day.
fn due(due_at_us: i64, now: Timestamp, clock: &Clock) -> String {
    let Ok(due_at) = Timestamp::from_microsecond(due_at_us) else { return String::new() };
    let clock = clock.beside(now, due_at);
    let minutes = (due_at.as_second() - now.as_second()) / 60;
    let span = |minutes: i64| match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) if hours < 48 => format!("{hours} h {minutes:02}"),
        (hours, _) => format!("{} days", hours / 24),
    };
    if minutes >= 0 {
        format!("answer by {clock} (in {})", span(minutes))
    } else {
        format!("{BAD}answer was due {clock} ({} ago){BAD:#}", span(-minutes))
    }
}

/// Of somebody who asks and was thanked so often for answers of their own.
pub(super) fn helps_others(times: u64) -> String {
    let times = if times == 1 { "once".to_owned() } else { format!("{times} times") };
    format!("helps others: thanked {times} within 90 days")
}

/// The text without control and bidi characters, which could rewrite the reader's terminal.
pub(super) fn printable(text: &str) -> String {
    let keep = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| keep(*c)).collect()
}

fn wrapped(text: &str) -> Vec<String> {
    let mut text = printable(text);
    if let Some((cut, _)) = text.char_indices().nth(TEXT_CHARS_MAX) {
        text.truncate(cut);
        text.push('…');
    }
    let mut lines = vec![String::new()];
    let mut columns = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let width = word.chars().count();
        if columns > 0 && columns + 1 + width > TEXT_COLUMNS {
            lines.push(String::new());
            columns = 0;
        }
        if let Some(line) = lines.last_mut() {
            if columns > 0 {
                line.push(' ');
            }
            line.push_str(word);
        }
        columns += width + usize::from(columns > 0);
    }
    lines
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 row`, `1,234 rows`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), expected);
        }
    }

    #[test]
    fn an_answer_that_is_late_or_soon_late_is_one_plain_line() {
        use proto::update::{Change, Overdue, overdue::State};
        let at = Timestamp::from_second(1_790_000_000).unwrap();
        let line = |state: State, due_in_s: i64| {
            let due_at_us = at.as_microsecond() + due_in_s * 1_000_000;
            let overdue = Overdue { state: state.into(), due_at_us };
            let (ticket_id, change) = (vec![0xAB; 16], Some(Change::Overdue(overdue)));
            let update = proto::Update { ticket_id, at_us: at.as_microsecond(), change };
            let mut out = anstream::StripStream::new(Vec::new());
            super::update(&mut out, &update, &Clock::in_zone("Europe/Paris")).unwrap();
            String::from_utf8(out.into_inner()).unwrap()
        };
        let soon = line(State::AtRisk, 1_800);
        assert!(soon.ends_with("is at risk: no answer yet; answer by 16:43 CEST (in 30 min)\n"), "{soon}");
        let late = line(State::Breached, 0);
        assert!(late.ends_with("is late: no answer, and it was due 16:13 CEST\n"), "{late}");
    }

    fn line_of(change: Change) -> String {
        let update = proto::Update { ticket_id: vec![0xAB; 16], at_us: 0, change: Some(change) };
        let mut out = anstream::StripStream::new(Vec::new());
        super::update(&mut out, &update, &Clock::in_zone("Europe/Paris")).unwrap();
        String::from_utf8(out.into_inner()).unwrap()
    }

    /// What a tail shows is all that somebody without a helpdesk has: which ticket, who, and why.
    #[test]
    fn a_ticket_says_its_id_a_further_post_its_author_and_an_assignment_its_reasons() {
        use proto::update::{Assigned, FollowedUp};
        let author = proto::Author { handle: "bob".into(), ..proto::Author::default() };
        let post = proto::Post { text: "same here".into(), author: Some(author), ..proto::Post::default() };
        let ticket =
            proto::Ticket { id: vec![0xAB; 16], post: Some(post.clone()), ..proto::Ticket::default() };
        let mut out = anstream::StripStream::new(Vec::new());
        super::ticket(&mut out, &ticket, Timestamp::UNIX_EPOCH, &Clock::in_zone("UTC"), true).unwrap();
        let shown = String::from_utf8(out.into_inner()).unwrap();
        assert!(shown.ends_with("\n         ticket abababab…\n"), "{shown}");
        let followed = FollowedUp { post: Some(post), priority: 500, level: 2, ..FollowedUp::default() };
        let shown = line_of(Change::FollowedUp(followed));
        assert_eq!(shown, "P2  500  ticket abababab… followed up by @bob:\n         same here\n");
        let reasons = vec!["Vera is no longer there".into(), "Vico: suits best of 1".into()];
        let assignment = proto::Assignment { team: "vip".into(), reasons, ..proto::Assignment::default() };
        let shown =
            line_of(Change::Assigned(Assigned { assignment: Some(assignment), ..Assigned::default() }));
        let why = "         Vera is no longer there; Vico: suits best of 1\n";
        assert_eq!(shown, format!("    –    ticket abababab… is now for vip\n{why}"));
    }

    /// A tail shows each record where its ticket belongs by now.
    #[test]
    fn a_record_that_is_out_of_date_says_what_its_ticket_has_come_to() {
        let shown = |record: Record, priority_now: Option<u32>| {
            let delivery =
                proto::Delivery { record: Some(record), priority_now, ..proto::Delivery::default() };
            let mut out = anstream::StripStream::new(Vec::new());
            super::delivery(&mut out, &delivery, &Clock::in_zone("UTC")).unwrap();
            String::from_utf8(out.into_inner()).unwrap()
        };
        let ticket = Record::Ticket(proto::Ticket { priority: 210, level: 4, ..proto::Ticket::default() });
        let line = "         by now 720, and in its place by that; what made it so follows\n";
        let told = shown(ticket.clone(), Some(720));
        assert!(told.starts_with("P4  210") && told.ends_with(line), "{told}");
        assert!(!shown(ticket.clone(), None).contains("by now"));
        assert!(!shown(ticket, Some(210)).contains("by now"));
        let followed = |priority: u32| {
            let change = proto::update::FollowedUp { priority, level: 2, ..Default::default() };
            let change = Some(Change::FollowedUp(change));
            Record::Update(proto::Update { change, ..proto::Update::default() })
        };
        assert!(shown(followed(480), Some(720)).ends_with(line));
        assert!(!shown(followed(720), Some(720)).contains("by now"));
        let assigned = Some(Change::Assigned(proto::update::Assigned::default()));
        let assigned = Record::Update(proto::Update { change: assigned, ..proto::Update::default() });
        assert!(!shown(assigned, Some(720)).contains("by now"));
    }

    #[test]
    fn an_author_is_named_by_what_there_is() {
        let author = |id: &str, handle: &str| {
            who(&proto::Author { id: id.into(), handle: handle.into(), ..proto::Author::default() })
        };
        assert_eq!(author("7", "ana"), "@ana");
        assert_eq!(author("did:plc:mfppivrfjg6sbuhwdujww6mb", ""), "did:plc:mfppivrfjg…");
        assert_eq!(author("", ""), "unknown author");
    }

    #[test]
    fn a_post_cannot_steer_the_terminal() {
        assert_eq!(wrapped("a\u{1b}[2Jb\u{202e}c\nd"), ["a[2Jbc d"]);
    }

    #[test]
    fn long_texts_are_broken_between_words_and_cut() {
        let lines = wrapped(&"word ".repeat(200));
        assert!(lines.iter().all(|line| line.chars().count() <= TEXT_COLUMNS));
        assert!(lines.last().is_some_and(|line| line.ends_with('…')));
    }
}
