//! What both helpdesks came to: for programs as JSON, for people as a summary.

use std::fmt;

use serde::Serialize;

use crate::run::outcome::grouped;

/// A run's result. The names are part of the command's interface.
#[derive(Debug, Clone, Default, Serialize)]
pub struct HelpdeskResult {
    /// `helpdesk`.
    pub scenario: &'static str,
    /// When the run began, RFC 3339.
    pub started_at: String,
    /// Tickets in the ledger.
    pub tickets: u64,
    /// How long it took to fill it, seconds.
    pub filled_s: f64,
    /// Creations of which the bridge could not know whether they were done.
    pub unclear_ends: u64,
    /// Tickets that the helpdesk that fails has not got in the end.
    pub unclear_lost: u64,
    /// Tickets that it has more than once.
    pub unclear_doubled: u64,
    /// Tickets that the bridge found there after an unclear end.
    pub unclear_adopted: u64,
    /// Tickets of which the bridge says that nobody can know.
    pub unclear_unknown: u64,
    /// By how many the tickets that the bridge says it made, found or does not know differ from those in the ledger.
    pub unclear_untold: u64,
    /// How long that took, seconds.
    pub unclear_s: f64,
    /// Tickets that the helpdesk that grants few calls has not got in the end.
    pub paced_lost: u64,
    /// Tickets that it has more than once.
    pub paced_doubled: u64,
    /// Calls that it refused as too many.
    pub paced_refused: u64,
    /// Tickets that it got before one that mattered more.
    pub paced_out_of_turn: u64,
    /// Calls that it took.
    pub paced_calls: u64,
    /// How many of its minutes that took.
    pub paced_minutes: f64,
    /// Processor time of the bridge's thread for each of them, milliseconds.
    pub cpu_ms_per_ticket: f64,
    /// What does not add up, in words.
    pub violations: Vec<String>,
    /// The type of the file system that ledger and case store were on.
    pub state_fs: String,
    /// The processor.
    pub cpu_model: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// The daemon's version.
    pub vigie_version: String,
}

/// A run's result.
#[derive(Debug, Clone, Default)]
pub struct HelpdeskOutcome {
    /// The result.
    pub result: HelpdeskResult,
}

impl HelpdeskOutcome {
    /// Whether everything adds up.
    pub fn is_sound(&self) -> bool {
        self.result.violations.is_empty()
    }
}

/// What does not add up. A helpdesk whose faults or quota never came into play has shown nothing.
pub(super) fn violations(result: &HelpdeskResult) -> Vec<String> {
    let none = [
        (result.unclear_lost, "tickets are not in the helpdesk that fails"),
        (result.paced_lost, "tickets are not in the helpdesk that grants few calls"),
        (result.unclear_doubled, "tickets are twice in the helpdesk that fails"),
        (result.paced_doubled, "tickets are twice in the helpdesk that grants few calls"),
        (result.unclear_unknown, "tickets are unknown where all can be searched"),
        (result.unclear_untold, "tickets more or less are in the bridge's own counts"),
        (result.paced_refused, "calls were refused although the quota is known"),
        (result.paced_out_of_turn, "tickets came before one that mattered more"),
    ];
    let broken = none.iter().filter(|(count, _)| *count > 0);
    let mut violations: Vec<String> = broken.map(|(count, what)| format!("{count} {what}")).collect();
    if result.tickets == 0 {
        violations.push("no tickets".to_owned());
    }
    if result.unclear_ends < result.tickets / 3 || result.unclear_adopted == 0 {
        violations.push(format!("only {} creations ended unclear", result.unclear_ends));
    }
    if result.paced_minutes < result.paced_calls as f64 / f64::from(super::CALLS) {
        violations.push(format!("{} minutes: the quota was not in the way", result.paced_minutes));
    }
    violations
}

impl fmt::Display for HelpdeskOutcome {
    /// The summary for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = &self.result;
        writeln!(f, "helpdesk: tickets for one that fails and one that grants few calls")?;
        writeln!(f, "  tickets     {:>12}     made in {} s", grouped(result.tickets), result.filled_s)?;
        writeln!(
            f,
            "  it fails    {:>12}     creations ended unclear: {} lost, {} doubled, {} found again, {} unknown; {} s",
            grouped(result.unclear_ends),
            result.unclear_lost,
            result.unclear_doubled,
            grouped(result.unclear_adopted),
            result.unclear_unknown,
            result.unclear_s
        )?;
        writeln!(
            f,
            "  few calls   {:>12}     calls in {} minutes of half a second: {} refused; {} tickets lost, {} doubled, \
             {} out of turn",
            grouped(result.paced_calls),
            result.paced_minutes,
            result.paced_refused,
            result.paced_lost,
            result.paced_doubled,
            result.paced_out_of_turn
        )?;
        writeln!(f, "  processor   {:>12} ms  of the bridge a ticket", result.cpu_ms_per_ticket)?;
        if self.is_sound() {
            return writeln!(f, "  conserved   yes");
        }
        writeln!(f, "  conserved   NO:")?;
        result.violations.iter().try_for_each(|violation| writeln!(f, "    - {violation}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> HelpdeskResult {
        HelpdeskResult {
            tickets: 1_000,
            unclear_ends: 660,
            unclear_adopted: 350,
            paced_calls: 2_000,
            paced_minutes: 25.0,
            ..HelpdeskResult::default()
        }
    }

    #[test]
    fn what_is_lost_doubled_refused_or_out_of_turn_is_seen() {
        let check = |change: &dyn Fn(&mut HelpdeskResult), expected: &str| {
            let mut result = sound();
            change(&mut result);
            let said = violations(&result).join("; ");
            assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{said}");
        };
        check(&|_| (), "");
        check(&|result| result.tickets = 0, "no tickets");
        check(&|result| result.unclear_lost = 1, "1 tickets are not in the helpdesk that fails");
        check(&|result| result.paced_lost = 2, "2 tickets are not in the helpdesk that grants few calls");
        check(&|result| result.unclear_doubled = 1, "1 tickets are twice in the helpdesk that fails");
        check(
            &|result| result.paced_doubled = 2,
            "2 tickets are twice in the helpdesk that grants few calls",
        );
        check(&|result| result.unclear_unknown = 1, "1 tickets are unknown");
        check(&|result| result.unclear_untold = 3, "3 tickets more or less");
        check(&|result| result.paced_refused = 1, "1 calls were refused");
        check(&|result| result.paced_out_of_turn = 1, "1 tickets came before one");
        check(&|result| result.unclear_ends = 5, "only 5 creations ended unclear");
        check(&|result| result.unclear_adopted = 0, "only 660 creations ended unclear");
        check(&|result| result.paced_minutes = 19.0, "19 minutes: the quota was not in the way");
    }

    #[test]
    fn a_summary_says_what_is_wrong() {
        let mut outcome = HelpdeskOutcome::default();
        assert!(outcome.to_string().contains("conserved   yes"));
        outcome.result.violations.push("1 tickets are in a helpdesk twice".to_owned());
        assert!(outcome.to_string().contains("NO:\n    - 1 tickets") && !outcome.is_sound());
    }
}
