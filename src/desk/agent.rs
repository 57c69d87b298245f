//! Who answers: an agent of the company, as imported and as their helpdesk reports them.

use super::week::Week;

/// An agent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Agent {
    /// The company's own name for them, by which helpdesks report.
    pub name: String,
    /// The team they belong to; empty where only a helpdesk has named them.
    pub team: String,
    /// The company's own words in lower case, such as `billing`.
    pub skills: Vec<String>,
    /// Primary subtags of the languages they answer in.
    pub languages: Vec<String>,
    /// Open tickets that they can have at once.
    pub capacity: u32,
    /// When they work, by the clock of `zone`; `None`: whenever they are not `away`.
    pub shifts: Option<Week>,
    /// IANA name of their time zone; `None`: that of the desk.
    pub zone: Option<String>,
    /// Open tickets that they have now, as last reported.
    pub open_tickets: u32,
    /// Average time to their answer, minutes; finite, not negative.
    pub answer_min: Option<f64>,
    /// How content people are with their answers, 1 to 5.
    pub satisfaction: Option<f64>,
    /// Gets no new tickets, whatever their shifts say.
    pub away: bool,
}
