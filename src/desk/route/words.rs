//! The reasons of an assignment, in plain words: what decided, and not what else speaks for an agent.

use std::collections::BTreeMap;

use super::choice::{self, Because, Member, Points, Standing, Want, Weighed, Worth};

/// An agent who may get the ticket.
type Rival<'m> = (&'m Member, Points);

/// Why this agent, and whose turn it would be if they could. `before`: who answered this person before.
pub(super) fn reasons(
    weighed: &Weighed,
    members: &[Member],
    before: Option<&str>,
    want: &Want,
) -> Vec<String> {
    let Some((place, because)) = weighed.chosen else { return Vec::new() };
    let Some(member) = members.get(place) else { return Vec::new() };
    let rivals: Vec<Rival<'_>> = weighed
        .candidates
        .iter()
        .filter_map(|candidate| match candidate.standing {
            Standing::Eligible(points) => Some((members.get(candidate.place)?, points)),
            _ => None,
        })
        .collect();
    let name = &member.name;
    let why = match because {
        Because::Waited(times) => format!("{name}: was passed over {times} times in a row"),
        Because::AnsweredBefore => format!("{name}: answered this person before"),
        Because::BestRated => best_rated(member, &rivals, want),
        Because::Points if rivals.len() == 1 && is_by_language(weighed) => {
            format!("{name}: nobody else who speaks it can take it ({})", traits(member, want))
        }
        Because::Points => format!("{name}: {}", suits(member, &rivals, want)),
    };
    let mut reasons = vec![why];
    reasons.extend(language(weighed, members, member, want));
    let acquainted = weighed.candidates.iter().find(|candidate| before == Some(&*candidate.name));
    if let Some(acquainted) = acquainted.filter(|acquainted| acquainted.place != place) {
        let name = &acquainted.name;
        match acquainted.standing {
            Standing::Eligible(_) => {}
            standing => {
                let why = standing.in_words();
                reasons.push(format!("{name}, who answered this person before, is {why}"));
            }
        }
    }
    reasons
}

/// Whether somebody could take it but for the language.
fn is_by_language(weighed: &Weighed) -> bool {
    weighed.candidates.iter().any(|candidate| candidate.standing == Standing::OtherLanguage)
}

/// The best-rated of those who are not much fuller than the others, and what decided where that is not the rating.
fn best_rated(member: &Member, rivals: &[Rival<'_>], want: &Want) -> String {
    let name = &member.name;
    let worth = match want.worth_it {
        Some(Worth::Negative(probability)) => format!("negative {probability:.2}"),
        Some(Worth::Priority(priority)) => format!("priority {priority}"),
        Some(Worth::Value(value)) => format!("customer value {value}"),
        Some(Worth::Before) => "as before".to_owned(),
        Some(Worth::Rule) | None => "the route asks for it".to_owned(),
    };
    let rating = match member.agent.satisfaction {
        Some(rating) => format!("satisfaction {rating:.1} of 5"),
        None => "satisfaction not known, which counts as 3 of 5".to_owned(),
    };
    let least_load = choice::least_load(rivals.iter().map(|(member, _)| *member));
    let (roomy, fuller): (Vec<Rival<'_>>, Vec<Rival<'_>>) =
        rivals.iter().copied().partition(|(rival, _)| choice::has_room(rival, least_load));
    let (equal, others): (Vec<Rival<'_>>, Vec<Rival<'_>>) =
        roomy.iter().copied().partition(|(rival, _)| rival.satisfaction() == member.satisfaction());
    let mut text = match (equal.len(), others.len()) {
        (0 | 1, 0) if fuller.is_empty() => {
            format!("{name}: the only one who may have it, {rating} ({worth})")
        }
        (0 | 1, 0) => format!("{name}: by far the least busy, {rating} ({worth})"),
        (0 | 1, _) => format!("{name}: best rated of {} with room, {rating} ({worth})", roomy.len()),
        (count, 0) => format!(
            "{name}: {count} with room are rated alike, {rating} ({worth}); {}",
            suits(member, &equal, want)
        ),
        (count, _) => format!(
            "{name}: {count} of {} with room are rated best, {rating} ({worth}); {}",
            roomy.len(),
            suits(member, &equal, want)
        ),
    };
    let better = fuller.iter().filter(|(rival, _)| rival.satisfaction() > member.satisfaction());
    let better: Vec<_> = better
        .map(|(rival, _)| format!("{} ({} of {} open)", rival.name, rival.open, rival.agent.capacity))
        .collect();
    if !better.is_empty() {
        text.push_str(&format!("; better rated and much fuller: {}", better.join(", ")));
    }
    text
}

/// Why this one of those: by what they are ahead of the next, or that it is their turn.
fn suits(member: &Member, rivals: &[Rival<'_>], want: &Want) -> String {
    let traits = traits(member, want);
    let is_it = |rival: &&Rival<'_>| rival.0.name == member.name;
    let own = rivals.iter().find(is_it).map(|(_, points)| *points).unwrap_or_default();
    let others = rivals.iter().filter(|rival| !is_it(rival)).map(|(_, points)| *points);
    let Some(next) = others.clone().max_by_key(Points::sum) else {
        return format!("nobody else can take it ({traits})");
    };
    if next.sum() == own.sum() {
        let alike = 1 + others.filter(|other| other.sum() == own.sum()).count();
        return format!("next in turn of {alike} who suit alike ({traits})");
    }
    format!("suits best of {}, by {} ({traits})", rivals.len(), ahead(own, next))
}

/// In what the one is ahead of the other: the greatest of it, until that makes up for all in which it is behind.
fn ahead(one: Points, other: Points) -> String {
    let parts = [
        ("skill", one.skill, other.skill),
        ("language", one.language, other.language),
        ("room", one.load, other.load),
        ("speed", one.answer, other.answer),
        ("satisfaction", one.satisfaction, other.satisfaction),
    ];
    let behind: u32 = parts.iter().map(|(_, own, theirs)| theirs.saturating_sub(*own)).sum();
    let mut parts = parts.map(|(name, own, theirs)| (own.saturating_sub(theirs), name));
    parts.sort_by_key(|(by, _)| std::cmp::Reverse(*by));
    let mut sum = 0;
    let decided = parts.iter().take_while(|(by, _)| {
        let is_open = sum <= behind && *by > 0;
        sum += by;
        is_open
    });
    decided.map(|(_, name)| *name).collect::<Vec<_>>().join(" and ")
}

/// That the ticket's language is not theirs, where that is known; and whether anybody's of the team.
fn language(weighed: &Weighed, members: &[Member], member: &Member, want: &Want) -> Option<String> {
    if choice::may_speak(member, want) {
        return None;
    }
    // The post's and the customer's, mostly the same.
    let mut tongues: Vec<_> = want.tongues.iter().flatten().map(|tongue| tongue.tag()).collect();
    tongues.dedup();
    let tongues = tongues.join(" or ");
    let speaks = |place: usize| members.get(place).is_some_and(|one| choice::does_speak(one, want).is_some());
    let able = weighed.candidates.iter().filter(|candidate| speaks(candidate.place));
    let able: Vec<_> =
        able.map(|candidate| format!("{} is {}", candidate.name, candidate.standing.in_words())).collect();
    Some(match able.len() {
        0 => format!("nobody of {} speaks {tongues}", weighed.team),
        1..=3 => format!("{} does not speak {tongues}: {}", member.name, able.join(", ")),
        count => format!("{} does not speak {tongues}, and {count} who do cannot take it", member.name),
    })
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
    if weighed.candidates.is_empty() {
        return format!("no agent of {} is known", weighed.team);
    }
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
