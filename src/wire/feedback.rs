//! What a client reports back, checked as far as the protocol goes.

use prost::Message;

use super::hello::bounded;
use crate::access::Grant;
use crate::ledger::Feedback;
use crate::ticket::TicketId;
use crate::ticket::proto::{AgentState, BridgeState, TicketStatus, Touchpoint};

/// Longest name, key or reference, in bytes. Longer than any helpdesk's own limit for them.
const NAME_BYTES_MAX: usize = 200;

/// Longest note of a touchpoint, in bytes: a long letter.
const NOTE_BYTES_MAX: usize = 16 * 1024;

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
    bounded("ticket_status.agent", &status.agent, NAME_BYTES_MAX)?;
    bounded("ticket_status.helpdesk_ref", &status.helpdesk_ref, NAME_BYTES_MAX)?;
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

pub(super) fn touchpoint(touchpoint: &Touchpoint) -> Result<Feedback, String> {
    bounded("touchpoint.customer", &touchpoint.customer, NAME_BYTES_MAX)?;
    bounded("touchpoint.network", &touchpoint.network, NAME_BYTES_MAX)?;
    bounded("touchpoint.account", &touchpoint.account, NAME_BYTES_MAX)?;
    bounded("touchpoint.channel", &touchpoint.channel, NAME_BYTES_MAX)?;
    bounded("touchpoint.note", &touchpoint.note, NOTE_BYTES_MAX)?;
    Ok(Feedback::Touchpoint(touchpoint.encode_to_vec()))
}

pub(super) fn agent_state(state: &AgentState) -> Result<Feedback, String> {
    bounded("agent_state.agent", &state.agent, NAME_BYTES_MAX)?;
    for (field, values) in
        [("agent_state.skills", &state.skills), ("agent_state.languages", &state.languages)]
    {
        if values.len() > SKILLS_MAX {
            return Err(format!("{field} has {} values: must be at most {SKILLS_MAX}", values.len()));
        }
        values.iter().try_for_each(|value| bounded(field, value, NAME_BYTES_MAX))?;
    }
    Ok(Feedback::AgentState(state.encode_to_vec()))
}

/// Checks what a bridge says of itself; nothing of it is stored.
pub(super) fn bridge_state(state: &BridgeState) -> Result<(), String> {
    if state.name.is_empty() {
        return Err("bridge_state.name is empty".to_owned());
    }
    bounded("bridge_state.name", &state.name, NAME_BYTES_MAX)?;
    bounded("bridge_state.kind", &state.kind, NAME_BYTES_MAX)?;
    bounded("bridge_state.last_error", &state.last_error, ERROR_BYTES_MAX)
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
        check(ticket_status(&TicketStatus { helpdesk_ref: "r".repeat(201), ..status }), "helpdesk_ref");
        check(touchpoint(&Touchpoint { note: "n".repeat(16_385), ..Default::default() }), "note has 16385");
        check(touchpoint(&Touchpoint { customer: "c".repeat(201), ..Default::default() }), "customer");
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
    fn feedback_keeps_a_state_that_is_new_to_us() {
        let status = TicketStatus { ticket_id: vec![1; 16], state: 77, ..Default::default() };
        let Feedback::TicketStatus(id, bytes) = ticket_status(&status, &Grant::everything()).unwrap() else {
            panic!()
        };
        assert_eq!(id.as_bytes(), &[1; 16]);
        assert_eq!(TicketStatus::decode(bytes.as_slice()).unwrap(), status);
    }
}
