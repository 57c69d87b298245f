//! The envelope of a stored record: `ServerMessage { delivery }` around bytes that are not decoded.
//!
//! Protocol Buffers writes an embedded message exactly like a byte string, so declaring fields 3 and 4 of
//! `Delivery` as bytes sends the ledger's bytes unchanged, with fields that this version does not know.

use crate::ledger::Body;
use crate::ledger::outbox::Taken;

/// A `ServerMessage` whose kind is a `Delivery`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Envelope {
    #[prost(message, required, tag = "3")]
    delivery: Sealed,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sealed {
    #[prost(uint64, tag = "1")]
    seq: u64,
    #[prost(uint32, tag = "2")]
    attempt: u32,
    #[prost(bytes = "vec", optional, tag = "3")]
    ticket: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    update: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "5")]
    priority_now: Option<u32>,
}

impl Envelope {
    /// The message that delivers `body`.
    pub(super) fn seal(taken: Taken, body: Body) -> Envelope {
        let (ticket, update) = match body {
            Body::Ticket(bytes) => (Some(bytes), None),
            Body::Update(bytes) => (None, Some(bytes)),
        };
        let Taken { seq, attempt, priority_now } = taken;
        let priority_now = priority_now.map(u32::from);
        Envelope { delivery: Sealed { seq: seq.get(), attempt, ticket, update, priority_now } }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::ledger::Seq;
    use crate::ticket::proto::{
        Delivery, Post, ServerMessage, Ticket, Update, delivery::Record, server_message::Kind,
    };

    fn check(body: Body, expected: Option<Record>) {
        for priority_now in [None, Some(0), Some(720)] {
            let taken = Taken { seq: Seq::new(300).unwrap(), attempt: 2, priority_now };
            let bytes = Envelope::seal(taken, body.clone()).encode_to_vec();
            let message = ServerMessage::decode(bytes.as_slice()).unwrap();
            let priority_now = priority_now.map(u32::from);
            let delivery = Delivery { seq: 300, attempt: 2, record: expected.clone(), priority_now };
            assert_eq!(message.kind, Some(Kind::Delivery(delivery.clone())));
            assert_eq!(ServerMessage { kind: Some(Kind::Delivery(delivery)) }.encode_to_vec(), bytes);
        }
    }

    #[test]
    fn a_sealed_record_is_the_delivery_that_the_contract_describes() {
        let post = Post { text: "toujours pas de réseau".into(), ..Post::default() };
        let ticket = Ticket { id: vec![7; 16], post: Some(post), priority: 640, ..Ticket::default() };
        check(Body::Ticket(ticket.encode_to_vec()), Some(Record::Ticket(ticket)));
        let update = Update { ticket_id: vec![7; 16], at_us: 5, change: None };
        check(Body::Update(update.encode_to_vec()), Some(Record::Update(update)));
    }

    #[test]
    fn an_empty_body_is_still_a_ticket() {
        check(Body::Ticket(Vec::new()), Some(Record::Ticket(Ticket::default())));
    }
}
