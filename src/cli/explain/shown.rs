//! What `vigie explain` shows to people.

use std::io::{self, Write};

use anstyle::Style;

use super::route;
use super::story::{Outcome, Raised, Reading, Story};
use crate::classify::{INTENTS, SENTIMENTS, URGENCIES};
use crate::cli::print::{self, Clock};
use crate::cli::priorities::{Difference, differences};
use crate::config::Config;
use crate::desk::articles::{Match, Question, Sought, Unfit};
use crate::desk::follow_up;
use crate::desk::{Aside, Decision, Explained, Joined};
use crate::parse::Post;
use crate::prefilter::{Explanation, Standing};
use crate::ticket::TicketId;

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const QUIET: Style = Style::new().dimmed();

pub(super) fn story(
    out: &mut impl Write,
    config: &Config,
    post: &Post<'_>,
    story: &Story,
    clock: &Clock,
) -> io::Result<()> {
    rules(out, post, &story.rules)?;
    if let Some(ticket_id) = story.known.filter(|_| story.is_edit) {
        edited(out, ticket_id)?;
        writeln!(out, "What follows is of one that says the same and is new.")?;
    } else if let Some(ticket_id) = story.known {
        writeln!(
            out,
            "\n{BOLD}duplicate{BOLD:#}: this post has its ticket already, {ticket_id}; what follows is of one that says \
             the same and is new"
        )?;
    }
    match &story.outcome {
        Outcome::Own(None) => writeln!(out, "\n{BOLD}own{BOLD:#}: by one of the brand's own accounts"),
        Outcome::Own(Some(ticket_id)) => {
            writeln!(
                out,
                "\n{BOLD}own{BOLD:#}: by one of the brand's own accounts: an answer in ticket {ticket_id}"
            )
        }
        Outcome::Unmatched => writeln!(out, "\n{BOLD}unmatched{BOLD:#}: no rule matches"),
        Outcome::Bystander(ticket_id) => bystander(out, *ticket_id, Aside::Stranger),
        Outcome::Read(reading) => {
            classes(out, reading)?;
            unsupported(out, config, reading)?;
            decision(out, reading, story.remembers, clock)
        }
    }
}

fn edited(out: &mut impl Write, ticket_id: TicketId) -> io::Result<()> {
    writeln!(
        out,
        "\n{BOLD}edited{BOLD:#}: an edit of ticket {ticket_id}: shown, and raises the ticket where it makes it worse"
    )
}

fn bystander(out: &mut impl Write, ticket_id: TicketId, aside: Aside) -> io::Result<()> {
    let why = why_aside(aside);
    writeln!(out, "\n{BOLD}bystander{BOLD:#}: said in the thread of ticket {ticket_id} {why}: no ticket")
}

fn why_aside(aside: Aside) -> &'static str {
    match aside {
        Aside::Helper => {
            "by a helper, who was thanked often enough for answering others ([helpers] thanked_min)"
        }
        Aside::Stranger => "by somebody who has no part in it and does not speak to us",
        Aside::Thanks => "to say thanks",
        Aside::NoMessage => "and no customer message",
    }
}

fn decision(out: &mut impl Write, reading: &Reading, remembers: bool, clock: &Clock) -> io::Result<()> {
    let Reading { tried, .. } = reading;
    match &tried.decision {
        Decision::Unsupported => Ok(()),
        Decision::Bystander(ticket_id) => bystander(out, *ticket_id, tried.aside),
        Decision::Unmatched => {
            writeln!(out, "\n{BOLD}unmatched{BOLD:#}: no rule matches, and no ticket of its thread is open")
        }
        Decision::Duplicate => writeln!(out, "\n{BOLD}duplicate{BOLD:#}"),
        Decision::Edited(ticket_id, _) => edited(out, *ticket_id),
        Decision::Joined(joined) => {
            helps(out, reading)?;
            points(out, &tried.explained, "priority of this post by itself")?;
            joins(out, joined, reading.raised.as_ref())
        }
        Decision::Ticket(ticket) => {
            if remembers {
                let again = ticket.factors.iter().find(|factor| factor.name == follow_up::FACTOR);
                let earlier = again
                    .map_or_else(String::new, |again| format!("; {}", print::printable(&again.evidence)));
                writeln!(out, "\n{BOLD}conversation{BOLD:#}\n  joins no open ticket{earlier}")?;
            }
            helps(out, reading)?;
            points(out, &tried.explained, "priority")?;
            writeln!(out, "{BOLD}due{BOLD:#}\n  {}", tried.due.as_deref().unwrap_or_default())?;
            route::route(out, tried.weighing.as_ref())?;
            if let Some((question, sought)) = &reading.articles {
                articles(out, sought, question)?;
            }
            print::ticket(out, reading.ticket.as_ref().unwrap_or(ticket), reading.now, clock, true)
        }
    }
}

/// Whoever answers them should know whom they speak to; it gives no points.
fn helps(out: &mut impl Write, reading: &Reading) -> io::Result<()> {
    match reading.thanked {
        0 => Ok(()),
        times => writeln!(out, "\n{BOLD}author{BOLD:#}\n  {}", print::helps_others(times as u64)),
    }
}

/// Which ticket the post joins, and what that makes of its priority.
fn joins(out: &mut impl Write, joined: &Joined, raised: Option<&Raised>) -> io::Result<()> {
    let id = joined.ticket_id;
    writeln!(out, "{BOLD}conversation{BOLD:#}")?;
    let Some(Raised { before, after, level }) = raised else {
        return writeln!(out, "  joins ticket {id}");
    };
    writeln!(
        out,
        "  joins the open ticket {id} of {}, {} {}",
        print::printable(&before.brand),
        before.level().as_str_name(),
        before.priority
    )?;
    if !joined.raises {
        writeln!(out, "  says thanks: nobody waits for an answer, and nothing rises")?;
    }
    for Difference { name, before, after, evidence } in differences(&before.factors, &after.factors) {
        let (name, evidence) = (print::printable(&name), print::printable(&evidence));
        writeln!(out, "  {name:<14} {before:+} → {after:+}   {QUIET}{evidence}{QUIET:#}")?;
    }
    let now = format!("{} {}", level.as_str_name(), after.priority);
    writeln!(
        out,
        "  {BOLD}→ {now}{BOLD:#}   {QUIET}its team, agent and due time are decided again by that{QUIET:#}"
    )?;
    if let Some(otherwise) = &joined.otherwise {
        let said = otherwise.assignment.clone().unwrap_or_default();
        let whose: Vec<_> =
            [said.team, said.agent, said.supplier].into_iter().filter(|one| !one.is_empty()).collect();
        let whose = if whose.is_empty() { String::new() } else { format!(", for {}", whose.join(", ")) };
        let own = format!("{} {}", otherwise.level().as_str_name(), otherwise.priority);
        let whose = print::printable(&whose);
        writeln!(
            out,
            "  {QUIET}should that one be gone by then: a ticket of its own, {own}{whose}{QUIET:#}"
        )?;
    }
    Ok(())
}

/// That the model takes it for no customer message, how sure it is, and how sure it must be; and why it is kept.
fn unsupported(out: &mut impl Write, config: &Config, reading: &Reading) -> io::Result<()> {
    let Reading { candidate, verdict, tried, .. } = reading;
    if !config.desk.is_unsupported(candidate.addressed, verdict) {
        return match tried.decision {
            Decision::Unsupported => {
                writeln!(out, "\n{BOLD}unsupported{BOLD:#}: said in a thread {}", why_aside(tried.aside))
            }
            _ => Ok(()),
        };
    }
    let other = verdict.intent[INTENTS.len() - 1];
    let (key, least) = config.desk.unsupported_least(candidate.addressed);
    let by = format!("the model says intent other {other:.2}, and desk.{key} = {least:.2}");
    if tried.decision == Decision::Unsupported {
        let because =
            if candidate.addressed { "a handle of ours is named" } else { "no handle of ours is named" };
        writeln!(out, "\n{BOLD}unsupported{BOLD:#}: no customer message: {by} ({because})")
    } else if config.desk.gives_up(candidate, verdict) {
        writeln!(out, "\n{BOLD}kept{BOLD:#}: {by}, but it belongs to a conversation")
    } else {
        writeln!(out, "\n{BOLD}kept{BOLD:#}: {by}, but what touches a sensitive topic is never given up")
    }
}

/// Every factor of the dictionary: its points, of how many, and why; then what that comes to.
fn points(out: &mut impl Write, explained: &Explained, heading: &str) -> std::io::Result<()> {
    let width = explained.lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0).max(12);
    writeln!(out, "\n{BOLD}{heading}{BOLD:#}")?;
    writeln!(out, "  {QUIET}{:<width$}  points  of at most   why{QUIET:#}", "factor")?;
    for line in &explained.lines {
        let style = if line.points == 0 { QUIET } else { Style::new() };
        let most = line.most.map_or_else(String::new, |most| format!("{most:+}"));
        writeln!(
            out,
            "  {style}{:<width$}  {:>+6}  {most:>10}   {}{style:#}",
            print::printable(&line.name),
            line.points,
            print::printable(&line.evidence),
        )?;
    }
    let Explained { sum, priority, level, levels, .. } = explained;
    let cut = if *sum == i64::from(*priority) { String::new() } else { format!(", cut to {priority}") };
    writeln!(out, "  {:─<1$}", "", width + 8)?;
    writeln!(
        out,
        "  {:<width$}  {sum:>+6}{cut}: {}   {QUIET}P1 from {}, P2 from {}, P3 from {}{QUIET:#}\n",
        "sum",
        level.as_str_name(),
        levels.p1_min,
        levels.p2_min,
        levels.p3_min,
    )
}

/// What is found, by which words, and the best of the others with why not. Nothing where there is no article at all: few
/// companies import any.
fn articles(out: &mut impl Write, sought: &Sought, question: &Question) -> std::io::Result<()> {
    if sought.articles == 0 {
        return Ok(());
    }
    writeln!(out, "{BOLD}articles{BOLD:#}")?;
    let one = |out: &mut dyn Write, Match { article, words }: &Match, why: &str| {
        let (title, words) = (print::printable(&article.title), words.join(", "));
        writeln!(out, "  {title:<48} {:>5.2}   {QUIET}{words}{why}{QUIET:#}", article.score)
    };
    for found in &sought.found {
        one(out, found, "")?;
    }
    match &sought.next {
        Some((next, unfit)) => {
            let why = match unfit {
                Unfit::OneWord => "one word in common is chance".to_owned(),
                Unfit::Weak => format!("under articles.score_min = {}", question.score_min),
                Unfit::Behind(least) => format!("too far behind the best one: under {least:.2}"),
            };
            if sought.found.is_empty() {
                writeln!(out, "  none fits; the best of {}:", print::grouped(sought.articles as u64))?;
            }
            one(out, next, &format!(": left out, {why}"))?;
        }
        None if sought.found.is_empty() && question.terms.is_empty() => {
            writeln!(out, "  none: the post says no word that counts")?;
        }
        None if sought.found.is_empty() => {
            let articles = print::grouped(sought.articles as u64);
            writeln!(out, "  none of {articles} has a word of this post")?;
        }
        None => {}
    }
    writeln!(out)
}

fn rules(out: &mut impl Write, post: &Post<'_>, explanation: &Explanation) -> std::io::Result<()> {
    writeln!(out, "{BOLD}terms found{BOLD:#}")?;
    if explanation.hits.is_empty() {
        writeln!(out, "  none")?;
    }
    for hit in &explanation.hits {
        let why = match hit.standing {
            Standing::Counts => "",
            Standing::Excluded => "   does not count: inside an excluded phrase",
            Standing::OtherAccents => "   does not count: other accents",
            Standing::Quoted => "   does not count: only the quoted author says it",
        };
        let brand = hit.brand.as_deref().unwrap_or("any brand");
        let kind = format!("{:?}", hit.kind).to_lowercase();
        writeln!(
            out,
            "  {:<24}{QUIET}{kind} of {brand}, at byte {}{why}{QUIET:#}",
            hit.term, hit.span.start
        )?;
    }
    writeln!(
        out,
        "\n{BOLD}rules{BOLD:#}   {QUIET}language {}{QUIET:#}",
        post.language.as_deref().unwrap_or("unknown")
    )?;
    for brand in &explanation.brands {
        for rule in &brand.rules {
            let verdict = if rule.matched { "matches" } else { "no" };
            writeln!(
                out,
                "  {:<10}{:<12}{:<10}{QUIET}{}{QUIET:#}",
                brand.brand, rule.key, verdict, rule.text
            )?;
        }
    }
    Ok(())
}

fn classes(out: &mut impl Write, reading: &Reading) -> std::io::Result<()> {
    let verdict = &reading.verdict;
    writeln!(
        out,
        "\n{BOLD}classes{BOLD:#}   {QUIET}{} on {}, language {}{QUIET:#}",
        reading.model,
        reading.runtime,
        verdict.language.code()
    )?;
    let heads: [(&str, &[&str], &[f32]); 3] = [
        ("sentiment", &SENTIMENTS, &verdict.sentiment),
        ("intent", &INTENTS, &verdict.intent),
        ("urgency", &URGENCIES, &verdict.urgency),
    ];
    for (head, labels, probabilities) in heads {
        let mut classes: Vec<_> = labels.iter().zip(probabilities).collect();
        classes.sort_by(|a, b| b.1.total_cmp(a.1));
        let shown: Vec<_> = classes.iter().take(4).map(|(label, p)| format!("{label} {p:.2}")).collect();
        writeln!(out, "  {head:<12}{}", shown.join(" · "))?;
    }
    Ok(())
}
