//! The reasons of an assignment, in plain words.

use std::collections::BTreeMap;

use super::choice::{self, Because, Member, Standing, Want, Weighed, Worth};

/// Why this agent.
pub(super) fn reason(weighed: &Weighed, member: &Member, because: Because, want: &Want) -> String {
    let name = &member.name;
    let eligible =
        weighed.candidates.iter().filter(|candidate| matches!(candidate.standing, Standing::Eligible(_)));
    let eligible = eligible.count();
    match because {
        Because::Waited(times) => format!("{name}: was passed over {times} times in a row"),
        Because::AnsweredBefore => format!("{name}: answered this person before"),
        Because::BestRated => {
            let why = match want.worth_it {
                Some(Worth::Negative(probability)) => format!("negative {probability:.2}"),
                Some(Worth::Priority(priority)) => format!("priority {priority}"),
                Some(Worth::Value(value)) => format!("customer value {value}"),
                Some(Worth::Before) => "as before".to_owned(),
                Some(Worth::Rule) | None => "the route asks for it".to_owned(),
            };
            let rating = member.agent.satisfaction;
            let rating = rating.map_or(String::new(), |rating| format!(", satisfaction {rating:.1} of 5"));
            format!("{name}: best rated of {eligible} with room{rating} ({why})")
        }
        Because::Points => format!("{name}: suits best of {eligible} ({})", traits(member, want)),
    }
}

/// What the points are for.
fn traits(member: &Member, want: &Want) -> String {
    let mut traits = Vec::new();
    traits.extend(choice::skill_for(member, want).map(|skill| format!("knows {skill}")));
    traits.extend(choice::does_speak(member, want).map(|tongue| format!("speaks {}", tongue.tag())));
    traits.push(format!("{} of {} open", member.open, member.agent.capacity));
    traits.extend(member.agent.answer_min.map(|minutes| format!("answers in {minutes:.0} min")));
    traits.extend(member.agent.satisfaction.map(|rating| format!("satisfaction {rating:.1}")));
    traits.join(", ")
}

/// Why nobody.
pub(super) fn nobody(weighed: &Weighed) -> String {
    let mut counts = BTreeMap::<&str, u32>::new();
    for candidate in &weighed.candidates {
        *counts.entry(candidate.standing.in_words()).or_default() += 1;
    }
    let counts: Vec<_> = counts.into_iter().map(|(standing, count)| format!("{count} {standing}")).collect();
    format!("nobody of {} can take it: {}", weighed.team, counts.join(", "))
}

impl Standing {
    /// As people say it.
    pub fn in_words(&self) -> &'static str {
        match self {
            Standing::Away => "away",
            Standing::OffShift => "not at work",
            Standing::Full => "full",
            Standing::LacksSkill => "without the skill",
            Standing::OtherLanguage => "of another language",
            Standing::Eligible(_) => "eligible",
        }
    }
}
