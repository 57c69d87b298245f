//! An agent: somebody who answers, as the company describes them.

use super::week::Week;

/// Who answers, what they can do, and what they have to do already.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Agent {
    /// As the helpdesk calls them; unique.
    pub name: String,
    /// The team that they answer for, as in the config's `[[team]]`; case is ignored.
    pub team: String,
    /// The company's own words in lower case, such as `billing`.
    pub skills: Vec<String>,
    /// Primary subtags, such as `fr`; empty: not said.
    pub languages: Vec<String>,
    /// Tickets that they may have open at once; 0: none.
    pub capacity: u32,
    /// When they work; `None`: always.
    pub shifts: Option<Week>,
    /// By whose wall clock the shifts are meant, such as `Europe/Paris`; `None`: the desk's.
    pub zone: Option<String>,
    /// Tickets that they have open, as last reported.
    pub open_tickets: u32,
    /// Minutes to their first answer on average; finite, not negative.
    pub answer_min: Option<f64>,
    /// Of those whom they answered, on average, 1.0 to 5.0.
    pub satisfaction: Option<f64>,
    /// On leave, ill: takes nothing until they are back.
    pub away: bool,
}
