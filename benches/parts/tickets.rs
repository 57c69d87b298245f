//! Settlements with real tickets: generated support posts, through the lane and the desk.

use std::sync::Arc;

use vigie::classify::{Language, Verdict};
use vigie::desk::articles::NoArticles;
use vigie::desk::{self, Desk, Strangers};
use vigie::ledger::{Entry, NewTicket};
use vigie::parse::Format;
use vigie::pipeline::lane::LaneOutput;
use vigie::pipeline::model::Decided;
use vigie::pipeline::settle::{Clock, settle};

use super::posts;

/// What a model says of a post that wants help: the desk makes a ticket of it.
pub(crate) const PROBLEM: Verdict = Verdict {
    sentiment: [0.9, 0.08, 0.02],
    intent: [0.03, 0.8, 0.05, 0.01, 0.04, 0.05, 0.01, 0.01],
    urgency: [0.1, 0.6, 0.3],
    language: Language::UNCLEAR,
};

/// The output as a model hands it on that says [`PROBLEM`] of everything.
pub(crate) fn decided(output: LaneOutput, model: &Arc<str>) -> Decided {
    let verdicts = vec![PROBLEM; output.candidates().count()];
    Decided { output, verdicts, model: model.clone(), provisional: false }
}

/// So many tickets, of different posts.
pub(crate) fn tickets(count: usize) -> Vec<NewTicket> {
    // About one generated post in eight is no new support post.
    let frames = posts::generated(count + count / 4 + 64, 1.0);
    let (mut desk, model) = (Desk::default(), Arc::from("bench 1"));
    let mut config = desk::Config::default();
    // Made of old posts, they would all be late at once, and the ledger would tell so.
    config.expectations.overdue_updates = false;
    let outputs = posts::lane_outputs(Format::Jetstream, &frames).into_iter();
    let entries = outputs.flat_map(|output| {
        let settled = settle(
            &mut desk,
            &config,
            &mut Strangers,
            &mut NoArticles,
            Clock::Arrival,
            decided(output, &model),
            |_| (),
        );
        settled.expect("strangers need no file").entries
    });
    let ticket = |entry| match entry {
        Entry::Ticket(ticket) => Some(*ticket),
        _ => None,
    };
    let tickets: Vec<_> = entries.filter_map(ticket).take(count).collect();
    assert_eq!(tickets.len(), count, "the posts make too few tickets");
    tickets
}
