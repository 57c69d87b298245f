//! `vigie explain`: one post through the daemon's own code, with nothing left out.

use std::io::{Read, Write};

use anstyle::Style;
use anyhow::{Context, anyhow};
use clap::Args;
use jiff::Timestamp;
use serde::de::IgnoredAny;

mod route;

use super::print::Clock;
use super::{ConfigFile, Failure, print};
use crate::classify::{Classifier, INTENTS, SENTIMENTS, URGENCIES, Verdict};
use crate::config::Config;
use crate::desk::articles::{Articles, Match, Question, Sought, Unfit};
use crate::desk::priority::Line;
use crate::desk::{Explained, People, Router};
use crate::parse::{Format, Frame, Parser, Post};
use crate::prefilter::{Candidate, Explanation, Prefilter, Scan, Scratch, Standing};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    acquaintances: super::Acquaintances,
    /// What stdin holds: jetstream, mastodon, x-v2, x-v1 or plain; a text that is no JSON object is taken as it is
    #[arg(long, value_name = "FORMAT", default_value = "plain", value_parser = super::format)]
    format: Format,
    /// Print one JSON object: what becomes of the post, every factor, and the ticket
    #[arg(long)]
    json: bool,
}

const BOLD: Style = Style::new().bold();
const QUIET: Style = Style::new().dimmed();
/// As a source's `frame_bytes_max`.
const POST_BYTES_MAX: u64 = 1 << 20;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let mut input = Vec::new();
    std::io::stdin().take(POST_BYTES_MAX + 1).read_to_end(&mut input).context("stdin")?;
    if input.len() as u64 > POST_BYTES_MAX {
        return Err(Failure::Mistake(anyhow!("stdin: more than {POST_BYTES_MAX} bytes: that is no post")));
    }
    let trimmed = input.trim_ascii();
    if trimmed.is_empty() {
        return Err(Failure::Mistake(anyhow!("stdin is empty: one post is expected there")));
    }
    let mut frame = match arguments.format {
        Format::Plain if !is_json(trimmed) => {
            serde_json::json!({ "text": String::from_utf8_lossy(trimmed) }).to_string().into_bytes()
        }
        _ => trimmed.to_vec(),
    };
    let mut parser = Parser::new(arguments.format);
    let parsed = parser.parse(&mut frame).map_err(|malformed| {
        Failure::Mistake(anyhow!("stdin: no post of the format {}: {malformed}", arguments.format.name()))
    })?;
    let Frame::Post(post) = parsed.frame else {
        let said = if arguments.json {
            outcome("control").to_string()
        } else {
            "control: this frame is no post: a deletion removes its post's text, anything else is counted"
                .to_owned()
        };
        return Ok(writeln!(std::io::stdout(), "{said}").context("stdout")?);
    };
    let prefilter =
        Prefilter::build(&config.prefilter).map_err(|mistakes| Failure::Mistake(anyhow!("{mistakes:?}")))?;
    let mut people = arguments.acquaintances.people(&config)?;
    let mut out = anstream::stdout().lock();
    let mut knowledge_base = super::knowledge_base(&config, &arguments.acquaintances);
    if arguments.json {
        let said = as_json(&config, &prefilter, people.as_mut(), &mut *knowledge_base, &post)?;
        return Ok(writeln!(out, "{said}").context("stdout")?);
    }
    explain(&mut out, &config, &prefilter, people.as_mut(), &mut *knowledge_base, &post)
}

/// Whether this is meant as an object of JSON: it is one, or begins as one does. `{sigh} my box is down` is a text.
fn is_json(input: &[u8]) -> bool {
    let Some(inside) = input.strip_prefix(b"{") else { return false };
    inside.trim_ascii_start().starts_with(b"\"") || serde_json::from_slice::<IgnoredAny>(input).is_ok()
}

fn outcome(outcome: &str) -> serde_json::Value {
    serde_json::json!({ "outcome": outcome })
}

/// What becomes of the post, for machines.
fn as_json(
    config: &Config,
    prefilter: &Prefilter,
    people: &mut dyn People,
    knowledge_base: &mut dyn Articles,
    post: &Post<'_>,
) -> Result<serde_json::Value, Failure> {
    let candidate = match prefilter.scan(post, &mut Scratch::default()) {
        Scan::Own => return Ok(outcome("own")),
        Scan::Unmatched => return Ok(outcome("unmatched")),
        Scan::Candidate(candidate) => candidate,
    };
    let mut classifier = Classifier::open(&config.classify)?;
    let verdict = read(&mut classifier, &candidate)?;
    if config.desk.gives_up(&candidate, &verdict) {
        let (key, least) = config.desk.unsupported_least(candidate.addressed);
        return Ok(serde_json::json!({
            "outcome": "unsupported", "other": verdict.intent[INTENTS.len() - 1], "at_least": least, "key": key,
        }));
    }
    let now = moment(&candidate);
    let person = people.author_of(post, config.desk.contacts_window, now).map_err(anyhow::Error::from)?;
    let draft = config.desk.draft(&candidate, &verdict, &person, classifier.model(), now);
    let facts = config.desk.facts_of(&draft, &candidate, &verdict, &person, now);
    let mut ticket = draft.ticket.clone();
    let mut router = Router::default();
    router.set_agents(&people.new_agents().map_err(anyhow::Error::from)?.unwrap_or_default());
    ticket.assignment = router.weigh(&config.desk.routes, &facts).map(|weighing| weighing.assignment);
    let question = Question::of(&candidate, verdict.language.code(), &config.desk.articles);
    ticket.articles = knowledge_base.find(&question).into_iter().map(|found| found.article).collect();
    let explained = config.desk.explain_post(&candidate, &verdict, &person, now);
    let line = |line: &Line| {
        serde_json::json!({
            "name": line.name, "points": line.points, "at_most": line.most, "evidence": line.evidence,
        })
    };
    Ok(serde_json::json!({
        "outcome": "ticketed",
        "priority": {
            "factors": explained.lines.iter().map(line).collect::<Vec<_>>(),
            "sum": explained.sum,
            "priority": explained.priority,
            "level": explained.level.as_str_name(),
            "p1_min": explained.levels.p1_min,
            "p2_min": explained.levels.p2_min,
            "p3_min": explained.levels.p3_min,
        },
        "ticket": crate::ticket::to_json(&ticket),
    }))
}

fn read(classifier: &mut Classifier, candidate: &Candidate) -> Result<Verdict, Failure> {
    let mut verdicts = Vec::new();
    classifier.classify(&[&candidate.post.text], &mut verdicts).map_err(anyhow::Error::from)?;
    Ok(verdicts.pop().ok_or_else(|| anyhow!("the model gave no verdict"))?)
}

/// When the post would have been decided about.
fn moment(candidate: &Candidate) -> Timestamp {
    candidate.post.seen_at.or(candidate.post.written_at).unwrap_or_else(Timestamp::now)
}

fn explain(
    out: &mut impl Write,
    config: &Config,
    prefilter: &Prefilter,
    people: &mut dyn People,
    knowledge_base: &mut dyn Articles,
    post: &Post<'_>,
) -> Result<(), Failure> {
    rules(out, post, &prefilter.explain(post)).context("stdout")?;
    let candidate = match prefilter.scan(post, &mut Scratch::default()) {
        Scan::Own => {
            return Ok(
                writeln!(out, "\n{BOLD}own{BOLD:#}: by one of the brand's own accounts").context("stdout")?
            );
        }
        Scan::Unmatched => {
            return Ok(writeln!(out, "\n{BOLD}unmatched{BOLD:#}: no rule matches").context("stdout")?);
        }
        Scan::Candidate(candidate) => candidate,
    };

    let mut classifier = Classifier::open(&config.classify)?;
    let verdict = read(&mut classifier, &candidate)?;
    classes(out, &verdict, &classifier).context("stdout")?;

    if config.desk.is_unsupported(candidate.addressed, &verdict) {
        let is_given_up = config.desk.gives_up(&candidate, &verdict);
        unsupported(out, config, &candidate, &verdict, is_given_up).context("stdout")?;
        if is_given_up {
            return Ok(());
        }
    }
    let now = moment(&candidate);
    let person = people.author_of(&candidate.post, config.desk.contacts_window, now);
    let person = person.map_err(anyhow::Error::from)?;
    let draft = config.desk.draft(&candidate, &verdict, &person, classifier.model(), now);
    let explained = config.desk.explain_post(&candidate, &verdict, &person, now);
    points(out, &explained).context("stdout")?;
    let facts = config.desk.facts_of(&draft, &candidate, &verdict, &person, now);
    let mut ticket = draft.ticket.clone();
    let mut router = Router::default();
    if let Some(agents) = people.new_agents().map_err(anyhow::Error::from)? {
        router.set_agents(&agents);
    }
    let weighing = router.weigh(&config.desk.routes, &facts);
    writeln!(out, "{BOLD}due{BOLD:#}\n  {}", config.desk.expectations.of(&facts)).context("stdout")?;
    route::route(out, weighing.as_ref()).context("stdout")?;
    ticket.assignment = weighing.map(|weighing| weighing.assignment);
    let question = Question::of(&candidate, verdict.language.code(), &config.desk.articles);
    let sought = knowledge_base.seek(&question, true);
    articles(out, &sought, &question).context("stdout")?;
    ticket.articles = sought.found.into_iter().map(|found| found.article).collect();
    print::ticket(out, &ticket, now, &Clock::of_desk(config)).context("stdout")?;
    Ok(())
}

/// That the model takes it for no customer message, how sure it is, and how sure it must be.
fn unsupported(
    out: &mut impl Write,
    config: &Config,
    candidate: &Candidate,
    verdict: &Verdict,
    is_given_up: bool,
) -> std::io::Result<()> {
    let other = verdict.intent[INTENTS.len() - 1];
    let (key, least) = config.desk.unsupported_least(candidate.addressed);
    let by = format!("the model says intent other {other:.2}, and desk.{key} = {least:.2}");
    if is_given_up {
        let because =
            if candidate.addressed { "a handle of ours is named" } else { "no handle of ours is named" };
        writeln!(out, "\n{BOLD}unsupported{BOLD:#}: no customer message: {by} ({because})")
    } else {
        writeln!(out, "\n{BOLD}kept{BOLD:#}: {by}, but what touches a sensitive topic is never given up")
    }
}

/// Every factor of the dictionary: its points, of how many, and why; then what that comes to.
fn points(out: &mut impl Write, explained: &Explained) -> std::io::Result<()> {
    let width = explained.lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0).max(12);
    writeln!(out, "\n{BOLD}priority{BOLD:#}")?;
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

fn classes(out: &mut impl Write, verdict: &Verdict, classifier: &Classifier) -> std::io::Result<()> {
    writeln!(
        out,
        "\n{BOLD}classes{BOLD:#}   {QUIET}{} on {}, language {}{QUIET:#}",
        classifier.model(),
        classifier.runtime(),
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
