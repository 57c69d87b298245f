//! Which team a ticket is for: the operator's rules in their order.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::access::brands::is_same;
use crate::desk::when::{Facts, When};

/// The operator's rules and teams.
#[derive(Debug, Clone, PartialEq)]
pub struct Routes {
    /// The first that holds decides.
    pub rules: Vec<Rule>,
    /// All teams that rules may name.
    pub teams: Vec<Team>,
    /// The teams of sensitive topics, which come before every rule.
    pub sensitive_teams: BTreeMap<String, String>,
    /// Whose is what no rule speaks of; `None`: the helpdesk decides.
    pub default_team: Option<String>,
    /// Which tickets go to the best-rated agent.
    pub best_rated: BestRated,
    /// By which wall clock the shifts are meant of agents who have none of their own.
    pub zone: TimeZone,
}

impl Default for Routes {
    fn default() -> Routes {
        Routes {
            rules: Vec::new(),
            teams: Vec::new(),
            sensitive_teams: BTreeMap::new(),
            default_team: None,
            best_rated: BestRated::default(),
            zone: TimeZone::UTC,
        }
    }
}

/// Tickets that are worth the best-rated agent's time: one of these is enough.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BestRated {
    /// Least probability of `negative`, `0.0..=1.0`.
    pub negative_min: f32,
    /// Least priority, `0..=1000`: where P1 begins.
    pub priority_min: u16,
    /// Least value of the customer, in the company's unit.
    pub value_min: Option<f64>,
}

impl Default for BestRated {
    fn default() -> BestRated {
        let priority_min = crate::desk::Levels::default().p1_min;
        BestRated { negative_min: 0.8, priority_min, value_min: None }
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rule {
    /// Of which tickets it speaks.
    pub when: When,
    /// Whose they are; may be empty where a supplier has them.
    pub team: Arc<str>,
    /// What the agent must know, in lower case; all of it. `None`: nothing in particular.
    pub skills: Option<Arc<[String]>>,
    /// Whom they are handed over to instead of an agent.
    pub supplier: Option<String>,
    /// How the agent is chosen.
    pub agent: AgentChoice,
}

/// How a rule's agent is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AgentChoice {
    /// Whoever suits best at the moment; what is [worth it](BestRated) goes to the best-rated.
    #[default]
    Any,
    /// The best-rated, always.
    Best,
    /// Nobody: the team decides.
    None,
}

impl AgentChoice {
    /// With their names in the config.
    pub const ALL: [(&str, AgentChoice); 3] =
        [("any", AgentChoice::Any), ("best", AgentChoice::Best), ("none", AgentChoice::None)];

    /// As in config.
    pub fn name(self) -> &'static str {
        match self {
            AgentChoice::Any => "any",
            AgentChoice::Best => "best",
            AgentChoice::None => "none",
        }
    }

    /// `None`: there is none of this name.
    pub fn from_name(name: &str) -> Option<AgentChoice> {
        AgentChoice::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, choice)| choice)
    }
}

/// A team.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Team {
    /// As tickets show it.
    pub name: String,
    /// Who takes over when no agent of the team can, or none is known.
    pub fallback: Option<String>,
}

/// Where a ticket goes, before an agent is looked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target<'r> {
    pub(super) team: Arc<str>,
    pub(super) supplier: Option<&'r str>,
    pub(super) skills: Option<Arc<[String]>>,
    pub(super) agent: AgentChoice,
    /// Whether it presses: see [`When::presses`].
    pub(super) presses: bool,
    /// In words.
    pub(super) why: String,
}

impl Routes {
    /// Where this ticket goes.
    pub(super) fn target(&self, facts: &Facts<'_>) -> Option<Target<'_>> {
        let of_team = |team: &str, presses, why: String| Target {
            team: Arc::from(team),
            supplier: None,
            skills: None,
            agent: AgentChoice::Any,
            presses,
            why,
        };
        if let Some((topic, team)) = self.sensitive_team(facts) {
            return Some(of_team(team, true, format!("sensitive: {topic}")));
        }
        let rule = self.rule(facts);
        if let Some((index, rule)) = rule {
            return Some(Target {
                team: rule.team.clone(),
                supplier: rule.supplier.as_deref(),
                skills: rule.skills.clone(),
                agent: rule.agent,
                presses: rule.when.presses(),
                why: format!("route {}: {}", index + 1, rule.when),
            });
        }
        let team = self.default_team.as_deref()?;
        Some(of_team(team, false, "no route speaks of it: the default team".to_owned()))
    }

    /// Whether what says where this ticket goes is what is said in it: a sensitive topic, or a rule that asks for one.
    pub fn is_by_text(&self, facts: &Facts<'_>) -> bool {
        self.sensitive_team(facts).is_some()
            || self.rule(facts).is_some_and(|(_, rule)| rule.when.is_by_text())
    }

    fn sensitive_team(&self, facts: &Facts<'_>) -> Option<(&String, &String)> {
        facts.sensitive.iter().find_map(|topic| self.sensitive_teams.get_key_value(topic))
    }

    fn rule(&self, facts: &Facts<'_>) -> Option<(usize, &Rule)> {
        self.rules.iter().enumerate().find(|(_, rule)| rule.when.holds(facts))
    }

    fn team(&self, name: &str) -> Option<&Team> {
        self.teams.iter().find(|team| is_same(&team.name, name))
    }

    /// Who takes over from this team.
    pub fn fallback(&self, team: &str) -> Option<&str> {
        self.team(team)?.fallback.as_deref()
    }

    /// This team, and who takes over from it in turn.
    pub(super) fn chain<'r>(&'r self, team: &'r str) -> impl Iterator<Item = &'r str> + Clone {
        // The config refuses circles of fallbacks; a circle of hand-made ones ends here.
        std::iter::successors(Some(team), |team| self.fallback(team)).take(self.teams.len() + 1)
    }

    /// The circles among the fallbacks, each from the first of its teams back to that one.
    pub fn circles(&self) -> Vec<Vec<&str>> {
        let place = |name: &str| self.teams.iter().position(|team| is_same(&team.name, name));
        let next: Vec<_> = self.teams.iter().map(|team| place(team.fallback.as_deref()?)).collect();
        let circle = |first: usize| {
            let mut way = vec![first];
            while way.len() <= next.len() {
                let after = next.get(*way.last()?).copied()??;
                way.push(after);
                if after == first {
                    return Some(way);
                }
            }
            None
        };
        let circles = (0..next.len()).filter_map(circle);
        let circles = circles.filter(|way| way.iter().min() == way.first());
        let names = |way: Vec<usize>| {
            way.iter().filter_map(|place| self.teams.get(*place)).map(|team| &*team.name).collect()
        };
        circles.map(names).collect()
    }

    /// Teams that get tickets and of which none of these agents is.
    pub fn teams_without_agents<'r>(&'r self, agents: &[crate::desk::agent::Agent]) -> Vec<&'r str> {
        let has_agents = |team: &str| agents.iter().any(|agent| is_same(&agent.team, team));
        self.teams.iter().map(|team| team.name.as_str()).filter(|team| !has_agents(team)).collect()
    }
}
