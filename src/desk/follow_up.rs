//! What a further post of a conversation makes of its ticket's priority.
//!
//! A person who writes again waits, and says more: the ticket keeps its own reasons, takes those of the new post's
//! verdict where that is worse, and gets points for each further post. It never comes to matter less by one.

use super::priority::{FollowUps, Levels, Score, is_of_verdict};
use crate::ticket::proto;

/// The name of the factor, as in config.
pub const FACTOR: &str = "follow_ups";

/// By what the ledger reckons a ticket's priority anew, within the transaction in which a post joins it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Points for each further post.
    pub follow_ups: FollowUps,
    /// Where the sum is cut.
    pub levels: Levels,
}

/// The ticket's factors, of which `further` posts of this conversation are the `follow_ups`, once a post with these
/// factors of its verdict has joined.
pub fn followed_up(
    ticket: &[proto::Factor],
    verdict: &[proto::Factor],
    further: u32,
    terms: &Terms,
) -> (Score, proto::Level) {
    let sum =
        |factors: &mut dyn Iterator<Item = &proto::Factor>| factors.map(|factor| factor.points).sum::<i32>();
    let is_worse = sum(&mut verdict.iter()) > sum(&mut ticket.iter().filter(|factor| is_of_verdict(factor)));
    let own = ticket.iter().filter(|factor| !is_worse || !is_of_verdict(factor));
    let kept = own.filter(|factor| factor.name != FACTOR).cloned();
    // Earlier tickets of the same person have given points already: see `Desk`.
    let before = ticket.iter().find(|factor| factor.name == FACTOR).map_or(0, |factor| factor.points);
    let points = terms.follow_ups.points(further);
    let points = if terms.follow_ups.points >= 0 { points.max(before) } else { points.min(before) };
    let counted =
        (points != 0).then(|| proto::Factor { name: FACTOR.to_owned(), points, evidence: evidence(further) });
    let worse = verdict.iter().filter(|_| is_worse).cloned();
    let score = Score::of(worse.chain(kept).chain(counted).collect());
    let level = terms.levels.level(score.priority);
    (score, level)
}

fn evidence(further: u32) -> String {
    match further {
        1 => "has posted again".to_owned(),
        more => format!("has posted again {more} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        follow_ups: FollowUps { points: 40, points_max: 100 },
        levels: Levels { p1_min: 600, p2_min: 430, p3_min: 250 },
    };

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
            let (score, _) = followed_up(&ticket, &factors(verdict), further, &TERMS);
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
        let priority = |further| followed_up(&ticket, &[], further, &TERMS).0.priority;
        assert_eq!((priority(0), priority(1), priority(2)), (120, 120, 160));
    }

    #[test]
    fn levels_follow() {
        let (score, level) = followed_up(&factors(&[("addressed", 240)]), &[], 1, &TERMS);
        assert_eq!((score.priority, level), (280, proto::Level::P3));
    }
}
