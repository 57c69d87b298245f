//! `firehose listen`: the simplest helpdesk there is.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use anyhow::Context;
use firehose::client::proto::{Delivery, delivery::Record};
use firehose::client::{Client, ClientError};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::Listen;

/// How often the counts are printed, if they have changed.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Takes deliveries until `--count` of them are acknowledged, or the server ends it.
pub(super) async fn run(arguments: &Listen) -> anyhow::Result<()> {
    let mut client = Client::connect(&arguments.socket, &arguments.subscription, arguments.window)
        .await
        .with_context(|| format!("socket {}", arguments.socket))?;
    let welcome = client.welcome();
    println!("{}: window {}, {} pending", welcome.server, welcome.window, welcome.pending);
    let mut counts = Counts::default();
    let outcome = take(&mut client, arguments, &mut counts).await;
    println!("{counts}, {} confirmed", client.acks_confirmed());
    outcome.with_context(|| format!("socket {}", arguments.socket))
}

async fn take(client: &mut Client, arguments: &Listen, counts: &mut Counts) -> Result<(), ClientError> {
    let delay = Duration::from_millis(arguments.delay_ms);
    // Each with the instant of its acknowledgement: at most a window of them.
    let mut unanswered: VecDeque<(Instant, u64)> = VecDeque::new();
    let mut reports = interval(REPORT_EVERY);
    reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reported = 0;
    loop {
        let wanted = arguments.count.is_none_or(|count| counts.deliveries < count);
        if !wanted && unanswered.is_empty() {
            return client.settle().await;
        }
        let due = unanswered.front().map(|(at, _)| *at);
        tokio::select! {
            delivery = client.next(), if wanted => {
                let delivery = delivery?;
                counts.add(&delivery);
                // Only their number is shown.
                drop(client.take_confirmed());
                unanswered.push_back((Instant::now() + delay, delivery.seq));
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let now = Instant::now();
                let answered = unanswered.iter().take_while(|(at, _)| *at <= now).count();
                client.ack(unanswered.drain(..answered).map(|(_, seq)| seq).collect()).await?;
            }
            _ = reports.tick() => if counts.deliveries > reported {
                reported = counts.deliveries;
                println!("{counts}");
            }
        }
    }
}

/// What came.
#[derive(Debug, Default)]
struct Counts {
    deliveries: u64,
    again: u64,
    tickets: u64,
    updates: u64,
    unknown: u64,
    /// By level: unspecified, P1 to P4.
    levels: [u64; 5],
}

impl Counts {
    fn add(&mut self, delivery: &Delivery) {
        self.deliveries += 1;
        self.again += u64::from(delivery.attempt > 1);
        match &delivery.record {
            Some(Record::Ticket(ticket)) => {
                self.tickets += 1;
                if let Some(level) = self.levels.get_mut(ticket.level as usize) {
                    *level += 1;
                }
            }
            Some(Record::Update(_)) => self.updates += 1,
            None => self.unknown += 1,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { deliveries, again, tickets, updates, unknown, levels: [_, p1, p2, p3, p4] } = self;
        write!(
            f,
            "{deliveries} deliveries ({again} again): {tickets} tickets, P1 {p1}, P2 {p2}, P3 {p3}, P4 {p4}"
        )?;
        write!(f, "; {updates} updates, {unknown} unknown")
    }
}

#[cfg(test)]
mod tests {
    use firehose::client::proto::{Level, Ticket, Update};

    use super::*;

    #[test]
    fn counts_tell_tickets_from_updates_and_levels_apart() {
        let mut counts = Counts::default();
        let ticket = |level: i32| Some(Record::Ticket(Ticket { level, ..Default::default() }));
        for (attempt, record) in [
            (1, ticket(Level::P1.into())),
            (2, ticket(Level::P4.into())),
            (1, ticket(99)),
            (1, Some(Record::Update(Update::default()))),
            (1, None),
        ] {
            counts.add(&Delivery { seq: 1, attempt, record, ..Delivery::default() });
        }
        assert_eq!(
            counts.to_string(),
            "5 deliveries (1 again): 3 tickets, P1 1, P2 0, P3 0, P4 1; 1 updates, 1 unknown"
        );
    }
}
