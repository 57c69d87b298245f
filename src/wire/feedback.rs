//! What a client reports back, checked as far as the protocol goes.

use jiff::Timestamp;
use prost::Message;

use super::hello::bounded;
use crate::access::Grant;
use crate::ledger::Feedback;
use crate::ledger::context::{ACCOUNT_BYTES_MAX, Contact, NOTE_BYTES_MAX};
use crate::ticket::TicketId;
use crate::ticket::proto::{AgentState, BridgeState, TicketStatus, Touchpoint};

/// Longest name, key or reference, in bytes. Longer than any helpdesk's own limit for them.
const NAME_BYTES_MAX: usize = 200;

/// Most skills or languages of one agent.
const SKILLS_MAX: usize = 100;

const SATISFACTION_MAX: u32 = 5;
const RECOMMENDATION_MAX: u32 = 10;

/// Longest error of a bridge, in bytes: a helpdesk's answer of some lines.
const ERROR_BYTES_MAX: usize = 1_000;

/// Checks a status. A state this version does not know is passed on: a newer client may know more.
///
/// Whether its ticket is of a brand of the grant only the ledger knows.
pub(super) fn ticket_status(status: &TicketStatus, grant: &Grant) -> Result<Feedback, String> {
    let id = TicketId::from_bytes(&status.ticket_id)
        .ok_or_else(|| format!("ticket_status.ticket_id has {} bytes: must be 16", status.ticket_id.len()))?;
    named("ticket_status.agent", &status.agent)?;
    named("ticket_status.helpdesk_ref", &status.helpdesk_ref)?;
    if status.satisfaction > SATISFACTION_MAX {
        let given = status.satisfaction;
        return Err(format!("ticket_status.satisfaction = {given}: must be 0 to {SATISFACTION_MAX}"));
    }
    if let Some(given) = status.recommendation.filter(|given| *given > RECOMMENDATION_MAX) {
        return Err(format!("ticket_status.recommendation = {given}: must be 0 to {RECOMMENDATION_MAX}"));
    }
    let body = status.encode_to_vec();
    Ok(match &grant.brands {
        None => Feedback::TicketStatus(id, body),
        Some(brands) => Feedback::TicketStatusWithin { ticket_id: id, body, brands: brands.clone() },
    })
}

/// Checks a touchpoint as one in a file is: the ledger will find it a contact of somebody.
pub(super) fn touchpoint(touchpoint: &Touchpoint) -> Result<Feedback, String> {
    bounded("touchpoint.customer", &touchpoint.customer, NAME_BYTES_MAX)?;
    bounded("touchpoint.network", &touchpoint.network, NAME_BYTES_MAX)?;
    bounded("touchpoint.account", &touchpoint.account, ACCOUNT_BYTES_MAX)?;
    bounded("touchpoint.channel", &touchpoint.channel, NAME_BYTES_MAX)?;
    bounded("touchpoint.note", &touchpoint.note, NOTE_BYTES_MAX)?;
    // Any moment does for one that says none: the ledger takes its own.
    Contact::read(touchpoint.clone(), Timestamp::UNIX_EPOCH)
        .map_err(|reason| format!("touchpoint: {reason}"))?;
    Ok(Feedback::Touchpoint(touchpoint.encode_to_vec()))
}

pub(super) fn agent_state(state: &AgentState) -> Result<Feedback, String> {
    named("agent_state.agent", &state.agent)?;
    for (field, values) in
        [("agent_state.skills", &state.skills), ("agent_state.languages", &state.languages)]
    {
        if values.len() > SKILLS_MAX {
            return Err(format!("{field} has {} values: must be at most {SKILLS_MAX}", values.len()));
        }
        values.iter().try_for_each(|value| named(field, value))?;
    }
    Ok(Feedback::AgentState(state.encode_to_vec()))
}

/// Checks what a bridge says of itself; nothing of it is stored.
pub(super) fn bridge_state(state: &BridgeState) -> Result<(), String> {
    if state.name.is_empty() {
        return Err("bridge_state.name is empty".to_owned());
    }
    named("bridge_state.name", &state.name)?;
    named("bridge_state.kind", &state.kind)?;
    bounded("bridge_state.last_error", &state.last_error, ERROR_BYTES_MAX)
}

/// What is shown again to people and compared with lists: a line of text at most, as an import takes it.
fn named(field: &str, name: &str) -> Result<(), String> {
    bounded(field, name, NAME_BYTES_MAX)?;
    match name.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("{field} has the control character U+{:04X}", u32::from(c))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(feedback: Result<Feedback, String>, reason: &str) {
        let given = feedback.unwrap_err();
        assert!(given.contains(reason), "{given:?} lacks {reason:?}");
    }

    #[test]
    fn feedback_over_a_limit_is_refused_with_the_limit() {
        let status = TicketStatus { ticket_id: vec![1; 16], ..Default::default() };
        let ticket_status = |status: &TicketStatus| ticket_status(status, &Grant::everything());
        check(ticket_status(&TicketStatus::default()), "has 0 bytes: must be 16");
        check(ticket_status(&TicketStatus { ticket_id: vec![1; 17], ..Default::default() }), "17 bytes");
        check(ticket_status(&TicketStatus { satisfaction: 6, ..status.clone() }), "satisfaction = 6");
        let recommendation = |given| TicketStatus { recommendation: Some(given), ..status.clone() };
        check(ticket_status(&recommendation(11)), "recommendation = 11: must be 0 to 10");
        assert!([0, 10].iter().all(|given| ticket_status(&recommendation(*given)).is_ok()));
        check(ticket_status(&TicketStatus { agent: "a".repeat(201), ..status.clone() }), "agent has 201");
        check(
            ticket_status(&TicketStatus { helpdesk_ref: "r".repeat(201), ..status.clone() }),
            "helpdesk_ref",
        );
        let coloured = || "Ana\u{1b}[2J".to_owned();
        check(
            ticket_status(&TicketStatus { agent: coloured(), ..status }),
            "agent has the control character U+001B",
        );
        check(agent_state(&AgentState { agent: coloured(), ..Default::default() }), "U+001B");
        check(
            agent_state(&AgentState { skills: vec![coloured()], ..Default::default() }),
            "skills has the control",
        );
        let right = Touchpoint { customer: "c1".into(), channel: "phone".into(), ..Default::default() };
        check(touchpoint(&Touchpoint { note: "n".repeat(16_385), ..right.clone() }), "note has 16385");
        check(touchpoint(&Touchpoint { customer: "c".repeat(201), ..right }), "customer has 201 bytes");
        check(agent_state(&AgentState { skills: vec!["s".into(); 101], ..Default::default() }), "101 values");
        check(
            agent_state(&AgentState { languages: vec!["l".repeat(201)], ..Default::default() }),
            "languages",
        );
        let bridge = BridgeState { name: "desk".into(), ..Default::default() };
        let refused = |state: BridgeState| bridge_state(&state).unwrap_err();
        assert_eq!(bridge_state(&bridge), Ok(()));
        assert_eq!(refused(BridgeState::default()), "bridge_state.name is empty");
        assert!(refused(BridgeState { name: "n".repeat(201), ..bridge.clone() }).contains("name has 201"));
        assert!(refused(BridgeState { kind: "k".repeat(201), ..bridge.clone() }).contains("kind has 201"));
        let long = BridgeState { last_error: "e".repeat(1_001), ..bridge };
        assert!(refused(long).contains("last_error has 1001 bytes: must be at most 1000"));
    }

    #[test]
    fn a_touchpoint_that_could_never_count_is_refused_with_the_reason() {
        let right = Touchpoint { customer: "c1".into(), channel: "phone".into(), ..Default::default() };
        let Ok(Feedback::Touchpoint(bytes)) = touchpoint(&right) else { panic!() };
        assert_eq!(Touchpoint::decode(bytes.as_slice()).unwrap(), right);
        let of = |network: &str, account: &str| Touchpoint {
            network: network.into(),
            account: account.into(),
            channel: "phone".into(),
            ..Default::default()
        };
        assert!(touchpoint(&of("Bluesky", "@ana.example")).is_ok());
        assert!(touchpoint(&of("mastodon", &format!("https://m.example/{}", "a".repeat(400)))).is_ok());
        check(touchpoint(&of("", "")), "touchpoint: names nobody");
        check(touchpoint(&of("x", "")), "belong together");
        check(touchpoint(&of("myspace", "ana")), "must be bluesky, mastodon, x, facebook or plain");
        check(touchpoint(&of("mastodon", "ana")), "must be user@server");
        check(touchpoint(&of("plain", &"a".repeat(513))), "account has 513 bytes");
        check(touchpoint(&Touchpoint { channel: String::new(), ..right.clone() }), "channel is missing");
        check(touchpoint(&Touchpoint { channel: "by phone".into(), ..right.clone() }), "must be one word");
        check(touchpoint(&Touchpoint { channel: "p".repeat(65), ..right.clone() }), "channel has 65 bytes");
        check(touchpoint(&Touchpoint { customer: "c\n1".into(), ..right.clone() }), "control character");
        check(touchpoint(&Touchpoint { at_us: -1_000_000, ..right.clone() }), "the year 1969");
        check(touchpoint(&Touchpoint { at_us: i64::MAX, ..right }), "no time that a calendar has");
    }

    #[test]
    fn feedback_keeps_a_state_that_is_new_to_us() {
        let status = TicketStatus { ticket_id: vec![1; 16], state: 77, ..Default::default() };
        let Feedback::TicketStatus(id, bytes) = ticket_status(&status, &Grant::everything()).unwrap() else {
            panic!()
        };
        assert_eq!(id.as_bytes(), &[1; 16]);
        assert_eq!(TicketStatus::decode(bytes.as_slice()).unwrap(), status);
    }
}
