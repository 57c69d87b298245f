//! What must hold of frames, messages and sessions, whatever a client sends.

use std::time::Instant;

use jiff::Timestamp;
use prost::Message;

use super::bridges::Bridges;
use super::delivery::Envelope;
use super::frame::{self, Decoded, FRAME_BYTES_MAX};
use super::session::Terms;
use super::visitor::Visitor;
use super::{feedback, hello};
use crate::access::Grant;
use crate::ledger::context::Contact;
use crate::ledger::outbox::{ClientId, Taken};
use crate::ledger::{Body, Feedback, Seq, SubscriptionRequest};
use crate::ticket::{self, proto};
use crate::trials::Bytes;
use proto::server_message::Kind;

mod session;

pub(crate) use session::session;

/// A stream is cut into the same frames however it arrives, and what is decoded encodes to what it was.
pub(crate) fn frame(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let limit = usize::from(bytes.u16());
    let cuts = bytes.take(4);
    let stream = bytes.rest();
    let (whole, end) = frames(stream, limit);
    assert!(whole.iter().all(|frame| frame.len() <= limit));

    let (mut buffer, mut pieces) = (Vec::new(), Vec::new());
    let (mut rest, mut cut) = (stream, cuts.iter().cycle());
    let mut ended = None;
    while !rest.is_empty() && ended.is_none() {
        let piece = rest.split_off(..usize::from(*cut.next().unwrap_or(&7)).clamp(1, rest.len()));
        buffer.extend_from_slice(piece.unwrap_or_default());
        let (cut, end) = frames(&buffer, limit);
        let taken: usize = cut.iter().map(|frame| frame.len() + length_of(frame.len())).sum();
        if !matches!(end, Decoded::Incomplete { .. }) {
            ended = Some(described(end));
        }
        pieces.extend(cut.into_iter().map(<[u8]>::to_vec));
        buffer.drain(..taken);
    }
    assert_eq!(pieces, whole, "cut into pieces");
    if let Some(ended) = ended {
        assert_eq!(ended, described(end), "cut into pieces");
    }
    if let Decoded::Incomplete { missing } = end {
        assert!((1..=limit.max(1)).contains(&missing), "{missing} of {limit}");
    }
    for payload in whole {
        let Ok(message) = proto::ClientMessage::decode(payload) else { continue };
        let mut out = Vec::new();
        frame::encode(&message, FRAME_BYTES_MAX, &mut out).expect("no longer than it came");
        let Decoded::Frame { payload, bytes } = frame::decode(&out, FRAME_BYTES_MAX) else {
            panic!("what we encode is a frame")
        };
        assert_eq!((proto::ClientMessage::decode(payload), bytes), (Ok(message), out.len()));
    }
}

fn frames(mut stream: &[u8], limit: usize) -> (Vec<&[u8]>, Decoded<'_>) {
    let mut payloads = Vec::new();
    loop {
        match frame::decode(stream, limit) {
            Decoded::Frame { payload, bytes } => {
                payloads.push(payload);
                stream = stream.get(bytes..).expect("a frame lies within its stream");
            }
            end => return (payloads, end),
        }
    }
}

fn described(end: Decoded<'_>) -> String {
    format!("{end:?}")
}

/// Bytes of the varint of a length.
fn length_of(length: usize) -> usize {
    prost::length_delimiter_len(length)
}

/// What is accepted keeps every limit, and passes on what it was; what we send is what a client reads.
pub(crate) fn messages(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let kind = bytes.byte() % 8;
    let data = bytes.rest();
    match kind {
        0 => {
            if let Ok(hello) = proto::Hello::decode(data) {
                a_hello(hello);
            }
        }
        1 => {
            let Ok(status) = proto::TicketStatus::decode(data) else { return };
            let Ok(accepted) = feedback::ticket_status(&status, &Grant::everything()) else { return };
            let Feedback::TicketStatus(id, bytes) = accepted else { panic!("{accepted:?}") };
            assert_eq!(id.as_bytes().as_slice(), status.ticket_id);
            assert!(status.satisfaction <= 5 && status.recommendation.is_none_or(|given| given <= 10));
            assert!(status.agent.len() <= 200 && status.helpdesk_ref.len() <= 200);
            assert_eq!(proto::TicketStatus::decode(bytes.as_slice()), Ok(status));
        }
        2 => {
            let Ok(touchpoint) = proto::Touchpoint::decode(data) else { return };
            let Ok(accepted) = feedback::touchpoint(&touchpoint) else { return };
            let Feedback::Touchpoint(bytes) = accepted else { panic!("{accepted:?}") };
            assert!(bytes.len() <= 16 * 1024 + 512 + 3 * 200 + 40, "{}", bytes.len());
            assert!(Contact::read(touchpoint.clone(), Timestamp::UNIX_EPOCH).is_ok(), "the ledger drops it");
            assert_eq!(proto::Touchpoint::decode(bytes.as_slice()), Ok(touchpoint));
        }
        3 => {
            let Ok(state) = proto::AgentState::decode(data) else { return };
            let Ok(accepted) = feedback::agent_state(&state) else { return };
            let Feedback::AgentState(bytes) = accepted else { panic!("{accepted:?}") };
            assert!(bytes.len() <= 201 * 203 + 20, "{}", bytes.len());
            assert_eq!(proto::AgentState::decode(bytes.as_slice()), Ok(state));
        }
        4 => a_record(Body::Ticket(data.to_vec())),
        5 => a_record(Body::Update(data.to_vec())),
        7 => {
            let Ok(state) = proto::BridgeState::decode(data) else { return };
            if feedback::bridge_state(&state).is_ok() {
                assert!((1..=200).contains(&state.name.len()) && state.kind.len() <= 200);
                assert!(state.last_error.len() <= 1_000);
                Bridges::default().say("desk", ClientId(1), state, Instant::now());
            }
        }
        _ => {
            // Bytes are compared: a probability that is no number is not equal to itself.
            let Ok(message) = proto::ServerMessage::decode(data) else { return };
            let encoded = message.encode_to_vec();
            let again = proto::ServerMessage::decode(encoded.as_slice()).expect("what we encode can be read");
            assert_eq!(again.encode_to_vec(), encoded);
        }
    }
}

fn a_hello(hello: proto::Hello) {
    let asked = hello.window;
    let visitor = Visitor::anyone(Instant::now());
    let Ok(accepted) = hello::check(hello, &Terms::default(), &visitor) else { return };
    let SubscriptionRequest { name, filter, .. } = accepted.request.expect("anyone may read");
    assert!(
        name.len() <= 100 && name.chars().all(|letter| letter.is_ascii_graphic() && letter != '~'),
        "{name:?}"
    );
    assert!(accepted.window >= 1 && accepted.window <= if asked == 0 { 100 } else { asked });
    assert!(accepted.client.len() <= 200);
    assert!(filter.priority_min <= 1000 && filter.networks.len() <= 256);
    for list in [&filter.brands, &filter.languages, &filter.intents] {
        assert!(list.len() <= 256 && list.iter().all(|value| value.len() <= 200));
    }
}

/// A stored record is sent unchanged, and can be shown, whatever it holds.
fn a_record(body: Body) {
    let taken = Taken { seq: Seq::new(1).expect("not 0"), attempt: 1, priority_now: Some(7) };
    let (bytes, is_ticket) = match &body {
        Body::Ticket(bytes) => (bytes.clone(), true),
        Body::Update(bytes) => (bytes.clone(), false),
    };
    let envelope = Envelope::seal(taken, body).encode_to_vec();
    let read = proto::ServerMessage::decode(envelope.as_slice());
    let record = |message: proto::ServerMessage| match message.kind {
        Some(Kind::Delivery(delivery)) => delivery.record,
        other => panic!("{other:?}"),
    };
    if is_ticket {
        let ticket = proto::Ticket::decode(bytes.as_slice());
        // The envelope nests it three deep, which may be too deep for what alone is not.
        if let (Ok(ticket), Ok(read)) = (ticket, read) {
            let Some(proto::delivery::Record::Ticket(read)) = record(read) else {
                panic!("a ticket was sent")
            };
            assert_eq!(read.encode_to_vec(), ticket.encode_to_vec());
            assert!(ticket::to_json(&ticket).is_object());
        }
    } else {
        let update = proto::Update::decode(bytes.as_slice());
        if let (Ok(update), Ok(read)) = (update, read) {
            let Some(proto::delivery::Record::Update(read)) = record(read) else {
                panic!("an update was sent")
            };
            assert_eq!(read.encode_to_vec(), update.encode_to_vec());
            assert!(ticket::update_to_json(&update).is_object());
        }
    }
}
