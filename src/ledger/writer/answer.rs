//! What clients are told after a commit, and the subscriptions that they open.

use std::sync::Arc;

use super::{Request, Writer};
use crate::ledger::outbox::{self, Outbox};
use crate::ledger::{SubscriptionRequest, deliveries, wal};

impl Writer {
    /// Answers what is now durable, and opens subscriptions; returns whether there was one.
    pub(super) fn answer(&mut self, requests: Vec<Request>) -> rusqlite::Result<bool> {
        let mut subscribed = false;
        for request in requests {
            // A dropped receiver is a client that has gone: its answer interests nobody.
            match request {
                Request::Acknowledge { answer, .. }
                | Request::Feedback(_, answer)
                | Request::Rescore(_, answer)
                | Request::Assign(_, answer) => {
                    drop(answer.send(Ok(())));
                }
                Request::Subscribe(request, answer) => {
                    // A client that comes back finds its records in memory: reading a long backlog again
                    // would make everyone else wait for it.
                    let is_open = self.outbox.lock().is_open_with(&request.name, &request.filter);
                    if !is_open && let Err(full) = self.open(&request)? {
                        drop(answer.send(Err(full)));
                        continue;
                    }
                    drop(answer.send(Ok(())));
                    subscribed = true;
                }
                Request::Broken(_) | Request::Stop => {}
            }
        }
        Ok(subscribed)
    }

    /// Opens the subscription with what it has pending; the inner error is why it may not be.
    fn open(&mut self, request: &SubscriptionRequest) -> rusqlite::Result<Result<(), String>> {
        if outbox::is_unnamed(&request.name) {
            return self.fill_unnamed(request).map(Ok);
        }
        let ageing = self.config.ageing_points_per_hour;
        let (start, heads) = match deliveries::subscribe(&mut self.connection, request, ageing)? {
            Ok(opened) => opened,
            Err(full) => return Ok(Err(full)),
        };
        self.pruner.filter_changed(&request.name);
        let heads: Vec<_> = heads.into_iter().map(Arc::new).collect();
        // Nobody but this thread opens subscriptions: one that is new is filled before anybody else can see it.
        let is_new = !self.outbox.lock().is_open(&request.name);
        if is_new {
            let mut filled = Outbox::new();
            filled.start_after(&request.name, start);
            filled.open(&request.name, request.filter.clone(), heads);
            self.outbox.lock().take_over(filled);
        } else {
            let mut outbox = self.outbox.lock();
            outbox.start_after(&request.name, start);
            outbox.open(&request.name, request.filter.clone(), heads);
        }
        Ok(Ok(()))
    }

    /// Fills a subscription that the ledger keeps nothing of, if its client is still there.
    fn fill_unnamed(&self, request: &SubscriptionRequest) -> rusqlite::Result<()> {
        let SubscriptionRequest { name, filter, start_next } = request;
        if !self.outbox.lock().is_expected(name) {
            return Ok(());
        }
        let ageing = self.config.ageing_points_per_hour;
        let tickets_max = deliveries::UNNAMED_TICKETS_MAX;
        let (start, heads) = deliveries::retained(&self.connection, *start_next, tickets_max, ageing)?;
        let mut filled = Outbox::new();
        filled.start_after(name, start);
        filled.open(name, filter.clone(), heads.into_iter().map(Arc::new));
        self.outbox.lock().take_over(filled);
        Ok(())
    }

    pub(crate) fn raise_floors(&mut self) -> rusqlite::Result<()> {
        let transaction = wal::begin(&self.connection)?;
        for name in deliveries::subscriptions(&transaction)? {
            deliveries::raise_floor(&transaction, &name)?;
        }
        transaction.commit()
    }
}
