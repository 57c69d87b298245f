//! What a report says, once for all its forms: table, CSV, JSON and page read these figures and compute none.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::By;
use super::factors::Factor;
use super::periods::{MOMENT, hour_name};
use super::rank::Correlation;
use super::sums::{Group, Sums};
use crate::ledger::conversations::Helper;

/// Helpers that are named, those who were thanked most often; `vigie helpers` names all.
const HELPERS_MAX: usize = 100;

/// A report; serialised it is what `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// By the clock of `time_zone`, as `2026-11-27 09:00 +01:00`.
    pub(super) since: String,
    pub(super) until: String,
    pub(super) time_zone: String,
    /// How long the stretches of `--by time` are: `hour`, `day`, `week` or `month`.
    pub(super) period: &'static str,
    /// All tickets first, then kind by kind as asked; the stretches of time and the hours of the week in their order.
    pub(super) groups: Vec<Figures>,
    /// Those that foretold something first, the strongest before the others; the rest by name.
    pub(super) factors: Vec<FactorFigures>,
    /// Most often thanked first.
    pub(super) helpers: Vec<HelperFigures>,
    /// Helpers that are not named here.
    pub(super) helpers_beyond: usize,
}

/// Tickets that have something in common. A share is 0 to 1; what nothing is known of is absent.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Figures {
    /// `all`, or as [`By::name`].
    pub(super) by: &'static str,
    pub(super) value: String,
    pub(super) tickets: u64,
    pub(super) answered: u64,
    pub(super) p50_s: Option<u64>,
    pub(super) p90_s: Option<u64>,
    pub(super) p99_s: Option<u64>,
    pub(super) in_time: Option<f64>,
    pub(super) rated: u64,
    pub(super) csat: Option<f64>,
    pub(super) satisfaction: Option<f64>,
    pub(super) recommended: u64,
    pub(super) nps: Option<f64>,
    pub(super) solved: u64,
    /// Of those, from the ticket on.
    pub(super) solve_p50_s: Option<u64>,
}

/// What the points of a priority factor went with.
#[derive(Debug, Serialize)]
pub(super) struct FactorFigures {
    pub(super) name: String,
    pub(super) tickets: u64,
    pub(super) late_with: Option<f64>,
    pub(super) late_without: Option<f64>,
    pub(super) satisfaction_with: Option<f64>,
    pub(super) satisfaction_without: Option<f64>,
    /// Of its points with the time to the first answer, as part of the time there was.
    pub(super) time: Option<Correlation>,
    /// Of its points with the rating.
    pub(super) satisfaction: Option<Correlation>,
    /// `slow` or `quick`, `bad` or `good`, where that is no chance.
    pub(super) foretells: Vec<&'static str>,
}

/// Somebody who answers others well.
#[derive(Debug, Serialize)]
pub(super) struct HelperFigures {
    pub(super) network: &'static str,
    pub(super) account: String,
    pub(super) thanked: u64,
    /// By the clock of the report.
    pub(super) last: String,
}

impl Report {
    pub(super) fn new(
        sums: &Sums,
        by: &[By],
        (since, until): (Timestamp, Timestamp),
        zone: &TimeZone,
        helpers: &[Helper],
    ) -> Report {
        let show = |at: Timestamp, format| at.to_zoned(zone.clone()).strftime(format).to_string();
        let helper = |helper: &Helper| HelperFigures {
            network: helper.network.name(),
            account: helper.author_id.clone(),
            thanked: helper.thanked,
            last: show(helper.last, "%Y-%m-%d %H:%M"),
        };
        let mut factors: Vec<_> =
            sums.factors.iter().map(|(name, factor)| FactorFigures::new(name, factor, sums)).collect();
        // A stable sort: those that foretell nothing stay in the order of their names.
        factors.sort_by(|one, other| other.strength().total_cmp(&one.strength()));
        Report {
            since: show(since, MOMENT),
            until: show(until, MOMENT),
            time_zone: zone.iana_name().unwrap_or("UTC").to_owned(),
            period: sums.periods.unit(),
            groups: groups(sums, by),
            factors,
            helpers: helpers.iter().take(HELPERS_MAX).map(helper).collect(),
            helpers_beyond: helpers.len().saturating_sub(HELPERS_MAX),
        }
    }
}

fn groups(sums: &Sums, by: &[By]) -> Vec<Figures> {
    let mut groups = vec![Figures::new("all", "all".to_owned(), &sums.all)];
    for by in by {
        let figures = |(value, group)| Figures::new(by.name(), value, group);
        match by {
            By::Time => groups.extend(sums.periods.names().zip(&sums.over_time).map(figures)),
            By::Hour => {
                let hours = sums.hours.iter().enumerate().filter(|(_, group)| group.tickets > 0);
                groups.extend(hours.map(|(hour, group)| figures((hour_name(hour), group))));
            }
            _ => {
                let kind = sums.by.iter().find(|(kind, _)| kind == by);
                let named = kind.into_iter().flat_map(|(_, groups)| groups);
                groups.extend(named.map(|(name, group)| figures((name.clone(), group))));
            }
        }
    }
    groups
}

impl Figures {
    fn new(by: &'static str, value: String, group: &Group) -> Figures {
        Figures {
            by,
            value,
            tickets: group.tickets,
            answered: group.answered,
            p50_s: group.seconds(0.5),
            p90_s: group.seconds(0.9),
            p99_s: group.seconds(0.99),
            in_time: group.in_time(),
            rated: group.rated,
            csat: group.csat(),
            satisfaction: group.satisfaction(),
            recommended: group.recommended,
            nps: group.nps(),
            solved: group.solved,
            solve_p50_s: group.solving_seconds(0.5),
        }
    }
}

impl FactorFigures {
    fn new(name: &str, factor: &Factor, sums: &Sums) -> FactorFigures {
        let (late_with, late_without) = factor.late(&sums.supported);
        let (satisfaction_with, satisfaction_without) = factor.ratings(&sums.supported);
        let (time, satisfaction) = (factor.time(&sums.times), factor.rating(&sums.ratings));
        let word = |found: Option<Correlation>, above: &'static str, below: &'static str| {
            found.filter(|found| found.is_telling()).map(|found| if found.rho > 0.0 { above } else { below })
        };
        let foretells =
            word(time, "slow", "quick").into_iter().chain(word(satisfaction, "good", "bad")).collect();
        FactorFigures {
            name: name.to_owned(),
            tickets: factor.tickets,
            late_with,
            late_without,
            satisfaction_with,
            satisfaction_without,
            time,
            satisfaction,
            foretells,
        }
    }

    /// The greater of its telling coefficients, without their signs.
    fn strength(&self) -> f64 {
        let telling = [self.time, self.satisfaction].into_iter().flatten().filter(|found| found.is_telling());
        telling.map(|found| found.rho.abs()).fold(0.0, f64::max)
    }
}
