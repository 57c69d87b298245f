//! What the helpdesk says of a ticket → what the daemon is told of it, and when to look again. Plain code.

use crate::bridge::helpdesk::Standing;
use crate::ticket::TicketId;
use crate::ticket::proto::TicketStatus;
use crate::ticket::proto::ticket_status::State;

/// After so long a ticket that has ended is looked at once more: a rating comes late, and some open it again.
pub const ONCE_MORE_US: i64 = 24 * 60 * 60 * 1_000_000;
/// And so much later for the last time.
const LAST_MORE_US: i64 = 6 * ONCE_MORE_US;
/// Longest name or reference that the ticket socket takes, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// Most that the ticket socket takes.
const RECOMMENDATION_MAX: u32 = 10;

/// What the daemon is to be told of a ticket of which this is known. `before`: what it was told last.
///
/// What the helpdesk says no more of stays as it was said: a ticket that is deleted was answered all the same. A state
/// that the preset does not know is no news; of a ticket of which nothing was told it says that nobody has ended it.
pub fn status(
    ticket_id: TicketId,
    case_id: &str,
    standing: &Standing,
    before: Option<&TicketStatus>,
) -> TicketStatus {
    let known = before.cloned().unwrap_or_default();
    let is_gone = standing.state == Some(State::Deleted);
    let state = match standing.state {
        Some(state) => state,
        None if known.state() == State::Unspecified => State::Open,
        None => known.state(),
    };
    let agent = if is_gone && standing.agent.is_empty() { &known.agent } else { &standing.agent };
    TicketStatus {
        recommendation: standing
            .recommendation
            .filter(|given| *given <= RECOMMENDATION_MAX)
            .or(known.recommendation),
        ticket_id: ticket_id.as_bytes().to_vec(),
        state: state as i32,
        agent: cut(agent),
        // A listing may know of the latest answers alone.
        first_answer_at_us: match (standing.first_answer_at_us, known.first_answer_at_us) {
            (Some(at_us), known_us) if known_us > 0 => at_us.min(known_us),
            (at_us, known_us) => at_us.unwrap_or(known_us),
        },
        satisfaction: standing
            .satisfaction
            .filter(|given| (1..=5).contains(given))
            .unwrap_or(known.satisfaction),
        helpdesk_ref: cut(case_id),
    }
}

/// What of `standing` is of our ticket, which agents have merged into this one: that one was another conversation's until
/// then. `made_at_us`: when ours was made; `stood_there`: what that one was when we read it first.
///
/// An answer from before ours was made is none to it; one in between may have been for both. A rating that was there
/// already is another's, also if the same one is given again, for nobody can tell the two apart.
pub fn of_merged(standing: Standing, made_at_us: Option<i64>, stood_there: &TicketStatus) -> Standing {
    let is_later = |at_us: &i64| made_at_us.is_none_or(|made_at_us| *at_us >= made_at_us);
    Standing {
        first_answer_at_us: standing.first_answer_at_us.filter(is_later),
        satisfaction: standing.satisfaction.filter(|given| *given != stood_there.satisfaction),
        recommendation: standing.recommendation.filter(|given| Some(*given) != stood_there.recommendation),
        ..standing
    }
}

/// When a ticket is looked at again after `status` was read at `now_us`; `None`: not unless something is heard of it.
/// `before`: what the daemon was told last; `planned_us`: when it was to be looked at; `touched_at_us`: when something
/// was last written of it, such as that plan.
pub fn again_at_us(
    now_us: i64,
    every_us: i64,
    status: &TicketStatus,
    before: Option<&TicketStatus>,
    planned_us: Option<i64>,
    touched_at_us: i64,
) -> Option<i64> {
    if status.state() == State::Deleted {
        return None;
    }
    if !has_ended(status) {
        return Some(now_us + every_us);
    }
    // Some survey only what is closed, days after it was solved.
    if before.is_none_or(|before| before.state != status.state) {
        return Some(now_us + ONCE_MORE_US);
    }
    // Heard of before its time: that look is still to come. What had rested for no longer than a day until this one is
    // looked at for the last time after the week.
    planned_us.and_then(|planned_us| match planned_us > now_us {
        true => Some(planned_us),
        false => (planned_us - touched_at_us <= ONCE_MORE_US).then_some(now_us + LAST_MORE_US),
    })
}

/// Whether nothing is expected of it any more.
pub fn has_ended(status: &TicketStatus) -> bool {
    matches!(status.state(), State::Solved | State::Closed | State::Deleted)
}

/// As the socket takes it: one line without control characters, and no longer than that.
fn cut(text: &str) -> String {
    let mut text: String = text.chars().filter(|c| !c.is_control()).collect();
    text.truncate(text.floor_char_boundary(NAME_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::Network;

    const MINUTE: i64 = 60_000_000;

    fn standing(state: Option<State>, agent: &str) -> Standing {
        Standing {
            state,
            state_there: String::new(),
            agent: agent.to_owned(),
            first_answer_at_us: None,
            satisfaction: None,
            recommendation: None,
            merged_into: None,
            level_there: None,
            subject: None,
            misread: Vec::new(),
        }
    }

    fn told(standing: &Standing, before: Option<&TicketStatus>) -> TicketStatus {
        status(TicketId::of_post(Network::X, "1"), "17", standing, before)
    }

    #[test]
    fn what_a_helpdesk_says_no_more_of_stays_as_it_was_said() {
        let rated = Standing {
            first_answer_at_us: Some(5),
            satisfaction: Some(4),
            recommendation: Some(0),
            ..standing(Some(State::Solved), "Ada")
        };
        let before = told(&rated, None);
        assert_eq!(before.recommendation, Some(0), "the worst answer is one");
        assert_eq!((before.first_answer_at_us, before.satisfaction, before.agent.as_str()), (5, 4, "Ada"));
        assert_eq!((before.state(), before.helpdesk_ref.as_str()), (State::Solved, "17"));
        let deleted = told(&standing(Some(State::Deleted), ""), Some(&before));
        assert_eq!(deleted, TicketStatus { state: State::Deleted as i32, ..before.clone() });
        let handed_back = told(&standing(Some(State::Open), ""), Some(&before));
        assert_eq!(handed_back.agent, "", "nobody has it now");
    }

    #[test]
    fn what_a_merger_finds_in_the_other_ticket_is_not_ours() {
        let rated = |at_us, satisfaction, recommendation| Standing {
            first_answer_at_us: Some(at_us),
            satisfaction,
            recommendation,
            ..standing(Some(State::Solved), "Ada")
        };
        let stood_there = told(&rated(9, Some(1), Some(0)), None);
        let of_ours = |standing, made_at_us| {
            let ours = told(&of_merged(standing, made_at_us, &stood_there), None);
            (ours.first_answer_at_us, ours.satisfaction, ours.recommendation)
        };
        assert_eq!(of_ours(rated(9, Some(1), Some(0)), Some(10)), (0, 0, None));
        assert_eq!(of_ours(rated(10, Some(5), Some(9)), Some(10)), (10, 5, Some(9)));
        assert_eq!(of_ours(rated(9, None, None), None), (9, 0, None), "nobody knows how old ours is");
    }

    #[test]
    fn a_state_that_nobody_knows_is_no_news() {
        let unknown = standing(None, "Ada");
        assert_eq!(told(&unknown, None).state(), State::Open);
        let before = told(&standing(Some(State::Pending), "Ada"), None);
        assert_eq!(told(&unknown, Some(&before)), before);
    }

    #[test]
    fn nothing_is_told_that_the_socket_would_refuse() {
        let long = Standing {
            satisfaction: Some(77),
            recommendation: Some(11),
            ..standing(Some(State::Open), &"é".repeat(150))
        };
        let told = told(&long, None);
        assert_eq!((told.agent.len(), told.satisfaction, told.recommendation), (200, 0, None));
        let odd = cut(&format!("x{}", "é".repeat(150)));
        assert_eq!(odd.len(), 199, "no letter is cut in two");
        assert_eq!(cut("Ada\nAgent\u{1b}[2J\u{9b}"), "AdaAgent[2J");
    }

    #[test]
    fn what_is_open_is_looked_at_again_and_what_has_ended_after_a_day_and_after_a_week() {
        let of = |state| told(&standing(Some(state), ""), None);
        let [open, solved, closed, deleted] =
            [State::Open, State::Solved, State::Closed, State::Deleted].map(of);
        let check_touched =
            |touched, now, status: &TicketStatus, before: Option<&TicketStatus>, planned, expected| {
                assert_eq!(again_at_us(now, MINUTE, status, before, planned, touched), expected);
            };
        let check = |now, status: &TicketStatus, before: Option<&TicketStatus>, planned, expected| {
            check_touched(10, now, status, before, planned, expected);
        };
        check(10, &open, None, Some(0), Some(10 + MINUTE));
        check(10, &solved, Some(&open), Some(0), Some(10 + ONCE_MORE_US));
        check(10, &solved, None, Some(0), Some(10 + ONCE_MORE_US));
        // An agent is named an hour later: the look after a day is still to come.
        check(60 * MINUTE, &solved, Some(&solved), Some(10 + ONCE_MORE_US), Some(10 + ONCE_MORE_US));
        let (day, week) = (10 + ONCE_MORE_US, 10 + ONCE_MORE_US + LAST_MORE_US);
        check(day, &solved, Some(&solved), Some(day), Some(week));
        check_touched(day, day + MINUTE, &solved, Some(&solved), Some(week), Some(week));
        check_touched(day, week, &solved, Some(&solved), Some(week), None);
        // However late the bridge is for it.
        check(3 * day, &solved, Some(&solved), Some(day), Some(3 * day + LAST_MORE_US));
        check_touched(day, 3 * week, &solved, Some(&solved), Some(week), None);
        // Closed for good meanwhile, after its last look: what is surveyed then is asked for.
        check_touched(week, 2 * week, &closed, Some(&solved), None, Some(2 * week + ONCE_MORE_US));
        check(10, &closed, Some(&closed), None, None);
        check(10, &open, Some(&solved), None, Some(10 + MINUTE));
        check(10, &deleted, Some(&open), Some(0), None);
    }
}
