//! `vigie priorities simulate`: what other priorities would have made of the tickets that the ledger holds.

use std::io::Write;
use std::path::Path;

use anstyle::Style;
use anyhow::Context;
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::print::Clock;
use super::{Failure, LedgerFile, print};
use crate::config::Config;
use crate::desk::{self, Recorded};
use crate::ledger::tickets::{self, Kept};
use crate::telemetry::log::remark;
use crate::ticket::hex;
use crate::ticket::proto::{Factor, Level};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Score the tickets of the ledger by a config's priorities, and show which would change and why; writes nothing
    Simulate(Simulate),
}

#[derive(Debug, Args)]
struct Simulate {
    #[command(flatten)]
    ledger: LedgerFile,
    /// How far back: 90m, 12h, 7d or 4w
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = super::since::span)]
    since: SignedDuration,
    /// Newest tickets that are looked at, at most
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    limit: usize,
    /// Greatest changes that are shown with their reasons
    #[arg(long, value_name = "N", default_value_t = 10)]
    show: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const BOLD: Style = Style::new().bold();
const QUIET: Style = Style::new().dimmed();
const LEVELS: [Level; 4] = [Level::P1, Level::P2, Level::P3, Level::P4];

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Command::Simulate(arguments) = &arguments.command;
    let config = arguments.ledger.load()?;
    for warning in &config.warnings {
        remark(&format!("warning: {warning}"));
    }
    simulate(arguments, &config, Timestamp::now())
}

fn simulate(arguments: &Simulate, config: &Config, now: Timestamp) -> Result<(), Failure> {
    let ledger = &config.ledger.path;
    let since = now.saturating_sub(arguments.since).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut simulation = Simulation { shown_max: arguments.show, ..Simulation::default() };
    let visited = tickets::visit(ledger, since, arguments.limit, |kept| simulation.add(&config.desk, &kept));
    visited.map_err(anyhow::Error::new)?;
    simulation.sort();
    let clock = Clock::of_desk(config);
    let mut out = anstream::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", simulation.to_json(since)).context("stdout")?;
    } else if simulation.tickets == 0 {
        none(&mut out, ledger, since, &clock)?;
    } else {
        simulation.print(&mut out, since, &clock).context("stdout")?;
    }
    Ok(())
}

fn none(out: &mut impl Write, ledger: &Path, since: Timestamp, clock: &Clock) -> Result<(), Failure> {
    let newest = tickets::newest(ledger).map_err(anyhow::Error::new)?;
    let newest = newest.map_or_else(
        || "it holds none at all".to_owned(),
        |at| format!("the newest is of {}: ask for more with --since", clock.minute(at)),
    );
    let since = clock.minute_and_name(since);
    writeln!(out, "no ticket since {since} in {}; {newest}", ledger.display()).context("stdout")?;
    Ok(())
}

/// What comes of it.
#[derive(Debug, Default)]
struct Simulation {
    tickets: u64,
    /// From level to level, in the order of [`LEVELS`].
    levels: [[u64; LEVELS.len()]; LEVELS.len()],
    /// Tickets whose text is erased: their sensitive topics are those that they had.
    erased: u64,
    /// Tickets whose author is forgotten: they keep the points for what was known of them.
    forgotten: u64,
    /// Tickets that say what was known of who wrote them.
    persons: u64,
    /// Whose points change, with or without the level.
    moved: u64,
    /// The greatest changes, with or without the level.
    changes: Vec<Change>,
    shown_max: usize,
}

/// A ticket that would have other points.
#[derive(Debug)]
struct Change {
    id: String,
    brand: String,
    network: String,
    url: String,
    before: (u32, Level),
    after: (u32, Level),
    factors: Vec<Difference>,
}

/// A factor that would give other points.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) name: String,
    pub(super) before: i32,
    pub(super) after: i32,
    pub(super) evidence: String,
}

impl Simulation {
    fn add(&mut self, desk: &desk::Config, kept: &Kept) {
        let ticket = &kept.ticket;
        let mut recorded =
            Recorded { follow_ups: kept.is_again.into(), ..Recorded::of(ticket, &desk.topic_words) };
        recorded.read(&desk.sensitive);
        let (score, level) = desk.score_again(&recorded, &kept.later);
        self.tickets += 1;
        self.erased += u64::from(recorded.candidate.post.text.is_empty());
        self.forgotten += u64::from(!recorded.erased.is_empty());
        self.persons += u64::from(ticket.person.is_some());
        self.moved += u64::from(u32::from(score.priority) != ticket.priority);
        let (from, to) = (place(ticket.level()), place(level));
        if let Some(count) = self.levels.get_mut(from).and_then(|row| row.get_mut(to)) {
            *count += 1;
        }
        if u32::from(score.priority) == ticket.priority && from == to {
            return;
        }
        let post = ticket.post.clone().unwrap_or_default();
        self.changes.push(Change {
            id: hex(&ticket.id),
            brand: ticket.brand.clone(),
            network: post.network,
            url: post.url,
            before: (ticket.priority, ticket.level()),
            after: (score.priority.into(), level),
            factors: differences(&ticket.factors, &score.factors),
        });
        // Twice as many as are shown, so that sorting is rare and memory bounded.
        if self.changes.len() > 2 * self.shown_max + 1 {
            self.sort();
        }
    }

    /// The greatest changes first, of equal ones those of level; then by their tickets, so that the same ledger gives
    /// the same answer.
    fn sort(&mut self) {
        let weight =
            |change: &Change| (change.before.0.abs_diff(change.after.0), change.before.1 != change.after.1);
        self.changes
            .sort_by(|one, other| weight(other).cmp(&weight(one)).then_with(|| one.id.cmp(&other.id)));
        self.changes.truncate(self.shown_max);
    }

    fn changed(&self) -> u64 {
        let stay: u64 = (0..LEVELS.len()).filter_map(|level| self.levels.get(level)?.get(level)).sum();
        self.tickets - stay
    }

    fn print(&self, out: &mut impl Write, since: Timestamp, clock: &Clock) -> std::io::Result<()> {
        let (tickets, changed) =
            (print::counted(self.tickets, "ticket", "tickets"), print::grouped(self.changed()));
        let since = clock.minute_and_name(since);
        writeln!(out, "{BOLD}{tickets} since {since}: {changed} would change level{BOLD:#}")?;
        writeln!(
            out,
            "{QUIET}{} would change points; nothing is written{QUIET:#}\n",
            print::grouped(self.moved)
        )?;
        write!(out, "  {QUIET}{:<8}{QUIET:#}", "from, to")?;
        for level in LEVELS {
            write!(out, "{:>10}", level.as_str_name())?;
        }
        writeln!(out)?;
        for (level, row) in LEVELS.into_iter().zip(&self.levels) {
            write!(out, "  {:<8}", level.as_str_name())?;
            for (to, count) in LEVELS.into_iter().zip(row) {
                let style = if level == to { QUIET } else { BOLD };
                write!(out, "{style}{:>10}{style:#}", print::grouped(*count))?;
            }
            writeln!(out)?;
        }
        if self.persons < self.tickets {
            let strangers = print::grouped(self.tickets - self.persons);
            writeln!(
                out,
                "\n{QUIET}{strangers} came while nothing was known of their author: factors of customers count nothing \
                 there, though more may be known by now.{QUIET:#}"
            )?;
        }
        if self.erased > 0 {
            let erased = print::counted(self.erased, "text is", "texts are");
            writeln!(out, "\n{QUIET}{erased} erased: the sensitive topics that they had stay.{QUIET:#}")?;
        }
        if self.forgotten > 0 {
            let forgotten = print::grouped(self.forgotten);
            writeln!(
                out,
                "\n{QUIET}{forgotten} say no more who wrote them: they keep the points that they had for it.{QUIET:#}"
            )?;
        }
        if !self.changes.is_empty() {
            writeln!(out, "\n{BOLD}greatest changes{BOLD:#}")?;
        }
        for change in &self.changes {
            let ((before, from), (after, to)) = (change.before, change.after);
            let ticket = if change.url.is_empty() { &change.id } else { &change.url };
            writeln!(
                out,
                "  {} {before} → {} {after}   {QUIET}{} · {} · {}{QUIET:#}",
                from.as_str_name(),
                to.as_str_name(),
                change.network,
                print::printable(&change.brand),
                print::printable(ticket),
            )?;
            for Difference { name, before, after, evidence } in &change.factors {
                let (name, evidence) = (print::printable(name), print::printable(evidence));
                writeln!(out, "      {name:<14} {before:+} → {after:+}   {QUIET}{evidence}{QUIET:#}")?;
            }
        }
        Ok(())
    }

    fn to_json(&self, since: Timestamp) -> Value {
        let row = |counts: &[u64; LEVELS.len()]| -> Map<String, Value> {
            let counts = LEVELS.into_iter().zip(counts);
            counts.map(|(level, count)| (level.as_str_name().to_owned(), json!(count))).collect()
        };
        let levels = LEVELS.into_iter().zip(&self.levels);
        let levels: Map<_, _> =
            levels.map(|(level, counts)| (level.as_str_name().to_owned(), row(counts).into())).collect();
        json!({
            "since": since.to_string(),
            "tickets": self.tickets,
            "change_level": self.changed(),
            "change_points": self.moved,
            "erased": self.erased,
            "forgotten": self.forgotten,
            "persons": self.persons,
            "levels": levels,
            "changes": self.changes.iter().map(Change::to_json).collect::<Vec<_>>(),
        })
    }
}

impl Change {
    fn to_json(&self) -> Value {
        let state =
            |(priority, level): (u32, Level)| json!({ "priority": priority, "level": level.as_str_name() });
        let factor = |difference: &Difference| {
            json!({
                "name": difference.name, "before": difference.before, "after": difference.after,
                "evidence": difference.evidence,
            })
        };
        json!({
            "id": self.id,
            "brand": self.brand,
            "network": self.network,
            "url": self.url,
            "before": state(self.before),
            "after": state(self.after),
            "factors": self.factors.iter().map(factor).collect::<Vec<_>>(),
        })
    }
}

/// In [`LEVELS`]; a level that an older vigie did not know counts as the last.
fn place(level: Level) -> usize {
    LEVELS.iter().position(|known| *known == level).unwrap_or(LEVELS.len() - 1)
}

/// Factors of either that give other points in the other, the greatest difference first.
pub(super) fn differences(before: &[Factor], after: &[Factor]) -> Vec<Difference> {
    let of = |factors: &[Factor], name: &str| {
        factors.iter().filter(|factor| factor.name == name).map(|factor| factor.points).sum::<i32>()
    };
    let mut differences: Vec<Difference> = Vec::new();
    for factor in after.iter().chain(before) {
        let (was, is) = (of(before, &factor.name), of(after, &factor.name));
        if was != is && !differences.iter().any(|known| known.name == factor.name) {
            let Factor { name, evidence, .. } = factor.clone();
            differences.push(Difference { name, before: was, after: is, evidence });
        }
    }
    differences.sort_by_key(|difference| std::cmp::Reverse(difference.before.abs_diff(difference.after)));
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::case::Case;
    use crate::desk::recorded::Reading;

    #[test]
    fn the_factors_that_differ_are_the_reasons() {
        let factor =
            |(name, points): (&str, i32)| Factor { name: name.into(), points, evidence: "why".into() };
        let before: Vec<_> = [("age", 10), ("reach", 50), ("tier", 5)].map(factor).to_vec();
        let after: Vec<_> = [("age", 10), ("tier", 100), ("contacts", 60)].map(factor).to_vec();
        let told: Vec<_> = differences(&before, &after);
        let told: Vec<_> = told.iter().map(|told| (told.name.as_str(), told.before, told.after)).collect();
        assert_eq!(told, [("tier", 5, 100), ("contacts", 0, 60), ("reach", 50, 0)]);
    }

    /// A ticket as a post makes it, and what a further post of its author then makes of it.
    fn kept(desk: &desk::Config, text: &str, further: &str) -> Kept {
        let case = Case::new("ana");
        let candidate = |text: &str| {
            let mut candidate = case.candidate.clone();
            candidate.post.text = text.to_owned().into();
            candidate
        };
        let verdict = &case.verdict;
        let (nobody, now) = (desk::Person::default(), Timestamp::UNIX_EPOCH);
        let mut ticket = desk.ticket(&candidate(text), verdict, &nobody, "model 1", now);
        let joins = candidate(further);
        let (own, _) = desk.score_follow_up(&joins, verdict, &nobody, 1, now);
        let (score, level) =
            desk::follow_up::followed_up(&ticket.factors, &own.factors, 1, &desk.terms("Lumio"));
        (ticket.priority, ticket.factors) = (score.priority.into(), score.factors.clone());
        ticket.set_level(level);
        let post = Some(crate::ticket::proto::Post {
            network: "x".into(),
            author: ticket.post.clone().unwrap().author,
            text: further.into(),
            ..Default::default()
        });
        let verdict = ticket.verdict.clone().unwrap();
        let later = vec![Reading { post, is_edit: false, verdict, at_us: 0, factors: score.factors }];
        let (edits, verdict, floors) = Default::default();
        Kept { ticket, is_again: false, later, edits, verdict, floors }
    }

    /// The same of one that its author has changed into that.
    fn changed(desk: &desk::Config, text: &str, further: &str) -> Kept {
        let mut kept = kept(desk, text, further);
        let Kept { ticket, later, .. } = &mut kept;
        ticket.factors.retain(|factor| factor.name != desk::follow_up::FACTOR);
        ticket.priority -= desk.factors.follow_ups.points.unsigned_abs();
        ticket.set_level(desk.levels.level(ticket.priority as u16));
        later[0].is_edit = true;
        later[0].factors.clone_from(&ticket.factors);
        later[0].post.as_mut().unwrap().id.clone_from(&ticket.post.as_ref().unwrap().id);
        kept
    }

    fn simulated(desk: &desk::Config, kept: &Kept) -> Simulation {
        let mut simulation = Simulation { shown_max: 10, ..Simulation::default() };
        simulation.add(desk, kept);
        simulation.sort();
        simulation
    }

    fn config(sensitive: &str) -> desk::Config {
        let text = format!(
            "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n[[brand]]\nname = \"Lumio\"\nnames = [\"lumio\"]\n{sensitive}"
        );
        Config::parse(&text).unwrap().desk
    }

    #[test]
    fn sensitive_words_of_posts_that_joined_count_and_the_same_config_changes_nothing() {
        let before = config("[sensitive.heat]\nwords = [\"brûlant\"]\npoints = 300");
        let mut kept = kept(&before, "ma lumio est en panne", "elle est brûlant");
        assert_eq!(simulated(&before, &kept).moved, 0);
        let after = config("[sensitive.heat]\nwords = [\"brûlant\"]\npoints = 10");
        let told = simulated(&after, &kept);
        let [change] = &told.changes[..] else { panic!("{told:?}") };
        let [Difference { name, before: 300, after: 10, .. }] = &change.factors[..] else {
            panic!("{change:?}")
        };
        assert_eq!(name, "sensitive");
        // What is erased keeps what it had.
        if let Some(post) = &mut kept.later[0].post {
            post.text.clear();
        }
        assert_eq!(simulated(&before, &kept).moved, 0);
    }

    #[test]
    fn an_edit_counts_for_what_it_says_and_as_no_further_post() {
        let before = config("[sensitive.heat]\nwords = [\"brûlant\"]\npoints = 300");
        let kept = changed(&before, "ma lumio est en panne", "ma lumio est brûlante, brûlant");
        assert_eq!(simulated(&before, &kept).moved, 0);
        let after = config("[sensitive.heat]\nwords = [\"brûlant\"]\npoints = 10");
        assert_eq!(simulated(&after, &kept).moved, 1);
    }

    /// As `vigie forget` leaves it.
    #[test]
    fn who_is_forgotten_keeps_the_points_that_nobody_can_give_again() {
        let priorities = |gold: i32, both: i32, more: &str| {
            config(&format!(
                "[priority]\ntier = {{ gold = {gold} }}\n[[priority.combination]]\nname = \"angry gold\"\n\
                 when = {{ tier = \"gold\" }}\npoints = {both}\n{more}"
            ))
        };
        let before = priorities(100, 60, "");
        let case = Case::new("ana");
        let gold = desk::person::Customer { tier: "gold".to_owned(), ..Default::default() };
        let person = desk::Person { customer: Some(std::sync::Arc::new(gold)), touchpoints: Vec::new() };
        let mut ticket = before.ticket(&case.candidate, &case.verdict, &person, "model 1", case.now);
        ticket.person = None;
        let kept = |ticket| Kept {
            ticket,
            is_again: false,
            later: Vec::new(),
            edits: Vec::new(),
            verdict: Default::default(),
            floors: Vec::new(),
        };
        let difference = |config: &desk::Config, kept: &Kept| {
            let told = simulated(config, kept);
            let of = |change: &Change| i64::from(change.after.0) - i64::from(change.before.0);
            told.changes.iter().map(of).sum::<i64>()
        };
        let capped = priorities(100, 60, "[priority.caps]\ncustomer = 70\n");
        let without = config("[priority]\ntier = { gold = 100 }\n");

        let mut forgotten = ticket.clone();
        desk::priority::forget(&mut forgotten.factors);
        let names: Vec<_> = forgotten.factors.iter().map(|factor| factor.name.as_str()).collect();
        assert!(names.contains(&"forgotten") && !names.contains(&"tier"), "{names:?}");
        assert!(!names.contains(&"angry gold"), "{names:?}");
        let forgotten = kept(forgotten);
        let told = simulated(&before, &forgotten);
        assert_eq!((told.moved, told.forgotten), (0, 1), "{told:?}");
        for other in [&priorities(200, 90, ""), &capped, &without] {
            assert_eq!(difference(other, &forgotten), 0, "of what nobody knows any more");
        }

        // As an older vigie left it: what is still known counts, a limit too, and a combination that is gone.
        for factor in &mut ticket.factors {
            if ["tier", "angry gold"].contains(&factor.name.as_str()) {
                desk::priority::ERASED.clone_into(&mut factor.evidence);
            }
        }
        let erased = kept(ticket);
        let told = simulated(&before, &erased);
        assert_eq!((told.moved, told.forgotten), (0, 1), "{told:?}");
        assert_eq!(difference(&priorities(200, 90, ""), &erased), 0);
        assert_eq!(difference(&capped, &erased), -30);
        assert_eq!(difference(&without, &erased), -60);
    }

    #[test]
    fn a_change_within_a_level_is_among_the_greatest_changes() {
        let before = config("[sensitive.heat]\nwords = [\"brûlant\"]\npoints = 20");
        let kept = kept(&before, "ma lumio est en panne", "elle est brûlant");
        let told = simulated(&config("[sensitive.heat]\nwords = [\"brûlant\"]\npoints = 30"), &kept);
        assert_eq!((told.changed(), told.moved, told.changes.len()), (0, 1, 1));
        let [Change { before, after, .. }] = &told.changes[..] else { panic!("{told:?}") };
        assert_eq!((before.0 + 10, before.1), *after);
    }
}
