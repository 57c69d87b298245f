//! What a further post of a conversation makes of its ticket's priority.
//!
//! A person who writes again waits, and says more: the ticket keeps its own reasons, takes those of the new post where
//! they are worse, whoever wrote it, and gets points for each further post of its author's. It never comes to matter less
//! by one.

use super::config::is_read_alike;
use super::priority::{
    Caps, FOLLOW_UPS, FORGOTTEN, Floors, Group, Levels, Repeated, Score, forgotten, is_floor, posted_again,
    recorded_group,
};
use crate::ticket::proto;

/// The name of the factor, as in config.
pub const FACTOR: &str = FOLLOW_UPS;

/// What a further post may say worse than those before it. The rest is known of the ticket's author and first post.
const SAID: [Group; 3] = [Group::Verdict, Group::Sensitive, Group::Combinations];

/// By what the ledger reckons a ticket's priority anew, within the transaction in which a post joins it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Points for each further post of the ticket's author.
    pub follow_ups: Repeated,
    /// Where the sum is cut.
    pub levels: Levels,
    /// What groups of factors are limited to.
    pub caps: Caps,
    /// The least priorities of posts that touch certain topics.
    pub floors: Floors,
}

/// The ticket's factors, of which `further` posts of its author's are the `follow_ups`, once a post with these factors of
/// its own has joined.
pub fn followed_up(
    ticket: &[proto::Factor],
    post: &[proto::Factor],
    further: u32,
    terms: &Terms,
) -> (Score, proto::Level) {
    // Earlier tickets of the same person have given points already: see `Config::ticket_again`.
    let before = ticket.iter().find(|factor| factor.name == FACTOR);
    let points = terms.follow_ups.times(further);
    let stands = before.filter(|before| {
        further == 0
            || match terms.follow_ups.points >= 0 {
                true => before.points > points,
                false => before.points < points,
            }
    });
    let counted = stands.cloned().unwrap_or_else(|| {
        let (name, evidence) = (FACTOR.to_owned(), posted_again(further));
        proto::Factor { name, points, evidence }
    });
    let mut factors = Vec::with_capacity(ticket.len() + 1);
    // The same combination may hold again that is in it.
    let forgotten = i64::from(forgotten(ticket));
    for group in Group::ALL {
        let before = sum(ticket, group) + if group == Group::Combinations { forgotten } else { 0 };
        let is_worse = SAID.contains(&group) && sum(post, group) > before;
        let said = if is_worse { post } else { ticket };
        factors.extend(of(said, group).filter(|factor| factor.name != FACTOR).cloned());
        if group == Group::Post {
            factors.push(counted.clone());
        }
    }
    factors.extend(ticket.iter().filter(|factor| factor.name == FORGOTTEN).cloned());
    // Who was in danger in one of the posts is in danger.
    factors.extend(ticket.iter().chain(post).filter(|factor| is_floor(&factor.name)).cloned());
    let score = Score::of_recorded(factors, &terms.caps, &terms.floors);
    let level = terms.levels.level(score.priority);
    (score, level)
}

/// What the text of a post says that its author has changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Amended {
    /// What the model says of it.
    pub verdict: proto::Verdict,
    /// What speaks for it by itself, in full.
    pub factors: Vec<proto::Factor>,
    /// By what its ticket's priority is reckoned anew.
    pub terms: Terms,
}

/// By fewer points the model reads the same in other words: nobody is told of them. Of 237 posts with a slip put right or
/// a word added, 111 came to more by the full model, 10 of them by as much.
const RISE_MIN: u32 = 20;

/// What a ticket, that `further` posts of its author's have joined, becomes by the changed text of one of its posts: as if
/// that had joined it, but that nobody has posted again. `None` if nothing that people or filters go by.
///
/// `ticket` is as it stands now, with the verdict that its priority stands by.
pub fn amended(ticket: &proto::Ticket, further: u32, amended: &Amended) -> Option<proto::update::Rescored> {
    let Amended { verdict, factors, terms } = amended;
    let (score, level) = followed_up(&ticket.factors, factors, further, terms);
    let priority = u32::from(score.priority);
    let said_before = ticket.verdict.clone().unwrap_or_default();
    let is_news = level != ticket.level()
        || priority >= ticket.priority + RISE_MIN
        || is_said_anew(&ticket.factors, &score.factors) && !is_read_alike(&said_before, verdict);
    // By the points of now the whole may come to less than it did.
    (is_news && priority >= ticket.priority).then(|| proto::update::Rescored {
        priority,
        level: level.into(),
        verdict: Some(verdict.clone()),
        factors: score.factors,
        unsupported: false,
        edited: true,
    })
}

/// Whether what one post said has taken the place of what was said before, to judge by a ticket's factors before and after.
pub fn is_said_anew(before: &[proto::Factor], after: &[proto::Factor]) -> bool {
    !of(before, Group::Verdict).eq(of(after, Group::Verdict))
}

fn of(factors: &[proto::Factor], group: Group) -> impl Iterator<Item = &proto::Factor> {
    factors.iter().filter(move |factor| recorded_group(&factor.name) == Some(group))
}

fn sum(factors: &[proto::Factor], group: Group) -> i64 {
    of(factors, group).map(|factor| i64::from(factor.points)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: Levels = Levels { p1_min: 600, p2_min: 430, p3_min: 250 };

    fn terms() -> Terms {
        Terms {
            follow_ups: Repeated { points: 40, cap: 100 },
            levels: LEVELS,
            caps: Caps::default(),
            floors: Floors::default(),
        }
    }

    fn factors(factors: &[(&str, i32)]) -> Vec<proto::Factor> {
        let factor = |(name, points): &(&str, i32)| proto::Factor {
            name: (*name).to_owned(),
            points: *points,
            evidence: String::new(),
        };
        factors.iter().map(factor).collect()
    }

    #[test]
    fn a_further_post_adds_points_and_a_worse_verdict_takes_the_place_of_the_first() {
        let ticket = factors(&[("urgency", 100), ("sentiment", 100), ("addressed", 80)]);
        let check = |verdict: &[(&str, i32)], further: u32, expected: &[(&str, i32)], priority: u16| {
            let (score, _) = followed_up(&ticket, &factors(verdict), further, &terms());
            let found: Vec<_> = score.factors.iter().map(|f| (f.name.as_str(), f.points)).collect();
            assert_eq!((found.as_slice(), score.priority), (expected, priority), "{verdict:?}");
        };
        let calm = [("urgency", 50), ("sentiment", 50)];
        let own = [("urgency", 100), ("sentiment", 100), ("addressed", 80)];
        check(&calm, 1, &[own[0], own[1], own[2], ("follow_ups", 40)], 320);
        check(&calm, 2, &[own[0], own[1], own[2], ("follow_ups", 80)], 360);
        check(&calm, 9, &[own[0], own[1], own[2], ("follow_ups", 100)], 380);
        let angry = [("urgency", 300), ("sentiment", 150)];
        check(&angry, 1, &[angry[0], angry[1], own[2], ("follow_ups", 40)], 570);
        // Thanks raise nothing.
        check(&calm, 0, &own, 280);
    }

    #[test]
    fn points_are_not_counted_twice_and_an_earlier_tickets_are_kept() {
        let ticket = factors(&[("addressed", 80), (FACTOR, 40)]);
        let priority = |further| followed_up(&ticket, &[], further, &terms()).0.priority;
        assert_eq!((priority(0), priority(1), priority(2)), (120, 120, 160));
    }

    #[test]
    fn an_edit_is_told_where_it_makes_a_ticket_worse_for_people_or_filters() {
        let verdict = |urgency: &str| proto::Verdict {
            urgency: [(urgency.to_owned(), 1.0)].into(),
            ..proto::Verdict::default()
        };
        let mut ticket = proto::Ticket {
            priority: 280,
            factors: factors(&[("urgency", 200), ("addressed", 80)]),
            verdict: Some(verdict("normal")),
            ..proto::Ticket::default()
        };
        ticket.set_level(proto::Level::P3);
        let mut terms = terms();
        let told = |ticket: &proto::Ticket, terms: &Terms, urgency: &str, said: &[(&str, i32)]| {
            let (verdict, factors) = (verdict(urgency), factors(said));
            let amended = Amended { verdict, factors, terms: terms.clone() };
            super::amended(ticket, 0, &amended).map(|rescored| rescored.priority)
        };
        let check = |urgency: &str, said: &[(&str, i32)], expected: Option<u32>| {
            assert_eq!(told(&ticket, &terms, urgency, said), expected, "{urgency} {said:?}");
        };
        check("high", &[("urgency", 100)], None);
        check("normal", &[("urgency", 210)], None);
        check("high", &[("urgency", 210)], Some(290));
        check("normal", &[("urgency", 220)], Some(300));
        check("normal", &[("urgency", 100), ("sensitive", 160)], Some(440));
        check("normal", &[("floor of safety", 0)], Some(920));
        // What another of the author's posts has given is not given once more.
        check("normal", &[("follow_ups", 40)], None);
        // The points may be others than those that the ticket was made by.
        terms.caps.set(Group::Verdict, 100);
        let check = |said: &[(&str, i32)], expected: Option<u32>| {
            assert_eq!(told(&ticket, &terms, "high", said), expected, "{said:?}");
        };
        check(&[("urgency", 300)], None);
        check(&[("urgency", 300), ("sensitive", 160)], Some(340));
    }

    #[test]
    fn levels_follow() {
        let (score, level) = followed_up(&factors(&[("addressed", 240)]), &[], 1, &terms());
        assert_eq!((score.priority, level), (280, proto::Level::P3));
    }

    #[test]
    fn sensitive_words_of_a_further_post_count_and_those_of_the_first_stay() {
        let check = |ticket: &[(&str, i32)], post: &[(&str, i32)], expected: &[(&str, i32)]| {
            let (score, _) = followed_up(&factors(ticket), &factors(post), 1, &terms());
            let found: Vec<_> = score.factors.iter().map(|f| (f.name.as_str(), f.points)).collect();
            assert_eq!(found, expected, "{post:?}");
        };
        let (again, fire) = ((FACTOR, 40), ("sensitive", 300));
        check(&[("urgency", 100)], &[fire, ("tier", 90)], &[("urgency", 100), again, fire]);
        check(&[fire], &[("sensitive", 100)], &[again, fire]);
        check(&[fire], &[], &[again, fire]);
        // A combination of the operator's own.
        check(&[("angry", 50)], &[("angry and dear", 80)], &[again, ("angry and dear", 80)]);
    }

    #[test]
    fn what_is_forgotten_keeps_its_points_and_no_combination_counts_twice() {
        let mut terms = terms();
        terms.caps.set(Group::Combinations, 10);
        terms.caps.set(Group::Customer, 10);
        let ticket = factors(&[("forgotten", 300), ("addressed", 80)]);
        let check = |post: &[(&str, i32)], expected: u16| {
            let (score, _) = followed_up(&ticket, &factors(post), 1, &terms);
            assert_eq!(score.priority, expected, "{post:?}: {:?}", score.factors);
            assert!(score.factors.iter().any(|factor| factor.name == "forgotten" && factor.points == 300));
        };
        check(&[], 300 + 80 + 40);
        check(&[("angry", 200)], 300 + 80 + 40);
        check(&[("angry and loud", 400)], 300 + 80 + 40 + 10);
    }

    #[test]
    fn the_limit_of_a_group_is_reckoned_anew() {
        let mut terms = terms();
        terms.caps.set(Group::Verdict, 200);
        let ticket = factors(&[("urgency", 300), ("cap of verdict", -100), ("addressed", 80)]);
        let (score, _) = followed_up(&ticket, &factors(&[("urgency", 250), ("sentiment", 150)]), 1, &terms);
        assert_eq!(score.priority, 200 + 80 + 40);
        let cap = score.factors.last().unwrap();
        assert_eq!((cap.name.as_str(), cap.points), ("cap of verdict", -200));
    }
}
