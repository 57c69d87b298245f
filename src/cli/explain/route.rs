//! The route of `vigie explain`: which rule, who was weighed, who was chosen and why.

use std::io::{self, Write};

use super::shown::{BOLD, QUIET};
use crate::cli::print::printable;
use crate::desk::route::{Standing, Weighed, Weighing};

/// Agents of one team that are shown; the rest is counted.
const AGENTS_SHOWN: usize = 50;

pub(super) fn route(out: &mut impl Write, weighing: Option<&Weighing>) -> io::Result<()> {
    writeln!(out, "\n{BOLD}route{BOLD:#}")?;
    let Some(weighing) = weighing else {
        return writeln!(out, "  none speaks of it, and there is no default team: the helpdesk decides\n");
    };
    for weighed in &weighing.teams {
        team(out, weighed)?;
    }
    if weighing.teams.iter().any(|weighed| !weighed.candidates.is_empty()) {
        let whose =
            "open: as the ledger has it; how often somebody was passed over, a running daemon alone knows";
        writeln!(out, "  {QUIET}{whose}{QUIET:#}")?;
    }
    for reason in &weighing.assignment.reasons {
        writeln!(out, "  {}", printable(reason))?;
    }
    let assignment = &weighing.assignment;
    let names = [&assignment.team, &assignment.agent, &assignment.supplier];
    let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).map(String::as_str).collect();
    writeln!(out, "  {BOLD}→ {}{BOLD:#}\n", printable(&names.join(", ")))
}

fn team(out: &mut impl Write, weighed: &Weighed) -> io::Result<()> {
    if weighed.candidates.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "  {QUIET}{:<24}{:>6}{:>6}{:>6}{:>6}{:>7}{:>7}  {:>7}{:>8}{QUIET:#}",
        printable(&weighed.team),
        "skill",
        "lang",
        "load",
        "speed",
        "rating",
        "points",
        "open",
        "passed"
    )?;
    let tenths = |points: u32| format!("{:.1}", f64::from(points) / 10.0);
    for candidate in weighed.candidates.iter().take(AGENTS_SHOWN) {
        write!(out, "  {:<24}", printable(&candidate.name))?;
        match &candidate.standing {
            Standing::Eligible(points) => {
                let parts = [points.skill, points.language, points.load, points.answer].map(tenths);
                let [skill, language, load, answer] = parts;
                write!(out, "{skill:>6}{language:>6}{load:>6}{answer:>6}")?;
                write!(out, "{:>7}{:>7}", tenths(points.satisfaction), tenths(points.sum()))?;
            }
            standing => write!(out, "{:>38}", standing.in_words())?,
        }
        let (open, capacity) = candidate.load;
        writeln!(out, "  {:>7}{:>8}", format!("{open}/{capacity}"), candidate.passed)?;
    }
    if let Some(more) = weighed.candidates.len().checked_sub(AGENTS_SHOWN).filter(|more| *more > 0) {
        writeln!(out, "  {QUIET}and {more} more{QUIET:#}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::agent::Agent;
    use crate::desk::case::Case;
    use crate::desk::route::{Router, Routes};

    #[test]
    fn every_agent_is_shown_with_points_or_with_why_not() {
        let agent = |name: &str| Agent {
            name: name.to_owned(),
            team: "support".to_owned(),
            capacity: 4,
            open_tickets: 1,
            ..Agent::default()
        };
        let mut router = Router::default();
        router.set_agents(&[
            Agent { skills: vec!["lumio".to_owned()], satisfaction: Some(5.0), ..agent("lena") },
            agent("max"),
            Agent { away: true, ..agent("tom") },
        ]);
        let routes = Routes { default_team: Some("support".to_owned()), ..Routes::default() };
        let case = Case::new("ana");
        let mut out = Vec::new();
        route(&mut anstream::StripStream::new(&mut out), router.weigh(&routes, &case.facts()).as_ref())
            .unwrap();
        let expected = "
route
  support                  skill  lang  load speed rating points     open  passed
  lena                      20.0   0.0  30.0   5.0   15.0   70.0      1/4       0
  max                        0.0   0.0  30.0   5.0    7.5   42.5      1/4       0
  tom                                                       away      1/4       0
  open: as the ledger has it; how often somebody was passed over, a running daemon alone knows
  no route speaks of it: the default team
  lena: suits best of 2, by skill (knows lumio, 1 of 4 open, satisfaction 5.0)
  → support, lena

";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
