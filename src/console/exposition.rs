//! The status as Prometheus reads it.

use super::{AnswersStatus, BridgeStatus, LedgerStatus, Status, SubscriptionStatus};
use crate::telemetry;

/// The status in Prometheus' text format.
pub fn exposition(status: &Status) -> String {
    let mut page = telemetry::Exposition::default();
    page.family("vigie_info", "gauge", "Always 1: which vigie, which model, and what runs it.");
    let Status { version, model, runtime, .. } = status;
    page.sample(&[("version", version), ("model", model), ("runtime", runtime)], 1.0);
    page.family("vigie_frames_total", "counter", "Frames received, by where they ended.");
    for source in &status.sources {
        for (bucket, frames) in &source.buckets {
            page.sample(&[("source", &source.name), ("bucket", bucket)], *frames as f64);
        }
    }
    page.family("vigie_source_connected", "gauge", "1 while the source is connected or reading.");
    for source in &status.sources {
        page.sample(&[("source", &source.name)], f64::from(u8::from(source.connected)));
    }
    page.family("vigie_source_finished", "gauge", "1 once the source has reached its end; only files do.");
    for source in &status.sources {
        page.sample(&[("source", &source.name)], f64::from(u8::from(source.finished)));
    }
    page.family("vigie_source_reconnects_total", "counter", "Connections made again since the start.");
    for source in &status.sources {
        page.sample(&[("source", &source.name)], source.reconnects as f64);
    }
    page.family("vigie_source_gaps_total", "counter", "Holes in the source's stream.");
    for source in &status.sources {
        page.sample(&[("source", &source.name)], source.gaps as f64);
    }
    page.family(
        "vigie_source_gaps_recovered_total",
        "counter",
        "Holes in the stream that were filled afterwards.",
    );
    for source in &status.sources {
        page.sample(&[("source", &source.name)], source.gaps_recovered as f64);
    }
    page.family("vigie_source_gap_seconds", "gauge", "Length of the holes, by whether they were filled.");
    for source in &status.sources {
        for (recovered, seconds) in [("false", source.gap_s), ("true", source.gap_recovered_s)] {
            if let Some(seconds) = seconds {
                page.sample(&[("source", &source.name), ("recovered", recovered)], seconds);
            }
        }
    }
    page.family(
        "vigie_source_usual_rate",
        "gauge",
        "Frames a second as learnt; absent while too little was seen.",
    );
    for (source, rate) in status.sources.iter().filter_map(|source| Some((source, source.usual_per_s?))) {
        page.sample(&[("source", &source.name)], rate);
    }
    page.family(
        "vigie_source_silent_seconds",
        "gauge",
        "Length of a silence that is unnatural at the usual rate, or 0.",
    );
    for source in &status.sources {
        page.sample(&[("source", &source.name)], source.silent_s.unwrap_or(0.0));
    }
    page.family("vigie_source_silences_total", "counter", "Such silences since the start.");
    for source in &status.sources {
        page.sample(&[("source", &source.name)], source.silences as f64);
    }
    page.family("vigie_source_lag_seconds", "gauge", "Age of the last frame received.");
    for (source, lag_ms) in status.sources.iter().filter_map(|source| Some((source, source.lag_ms?))) {
        page.sample(&[("source", &source.name)], lag_ms as f64 / 1000.0);
    }
    page.family("vigie_queue_batches", "gauge", "Frame batches that wait for a lane.");
    page.sample(&[], status.queue_batches as f64);
    page.family("vigie_queue_candidates", "gauge", "Candidates that wait for the model.");
    page.sample(&[], status.queue_candidates as f64);
    page.family("vigie_verdicts_total", "counter", "Verdicts since the start, by the model that gave them.");
    page.sample(&[("pace", "full")], status.verdicts_full as f64);
    page.sample(&[("pace", "quick")], status.verdicts_quick as f64);
    page.family(
        "vigie_tickets_provisional",
        "gauge",
        "Tickets that only the small model has read, to be scored again when the load falls.",
    );
    page.sample(&[], status.tickets_provisional as f64);
    page.family(
        "vigie_connections",
        "gauge",
        "Connections to the ticket socket, by whether they have said hello.",
    );
    let clients = status.connections.saturating_sub(status.strangers);
    page.sample(&[("state", "client")], clients as f64);
    page.sample(&[("state", "stranger")], status.strangers as f64);
    page.family(
        "vigie_connections_refused_total",
        "counter",
        "Connections to the ticket socket that a limit turned away since the start.",
    );
    page.sample(&[], status.connections_refused as f64);
    page.family(
        "vigie_tokens_refused_total",
        "counter",
        "Wrong tokens shown at the ticket socket and the console since the start.",
    );
    page.sample(&[], status.tokens_refused as f64);
    page.family(
        "vigie_subscription_records",
        "gauge",
        "Records of a subscription that are not acknowledged.",
    );
    for subscription in &status.subscriptions {
        let states = [
            ("pending", subscription.pending),
            ("in_flight", subscription.in_flight),
            ("deferred", subscription.deferred),
        ];
        for (state, records) in states {
            page.sample(&[("subscription", &subscription.name), ("state", state)], records as f64);
        }
    }
    ledger(&mut page, &status.ledger);
    page.family(
        "vigie_subscription_acknowledged_total",
        "counter",
        "Records that a subscription has acknowledged since the start.",
    );
    for SubscriptionStatus { name, acknowledged, .. } in &status.subscriptions {
        page.sample(&[("subscription", name)], *acknowledged as f64);
    }
    bridges(&mut page, &status.bridges);
    status.service.expose(&mut page);
    page.into_text()
}

fn bridges(page: &mut telemetry::Exposition, bridges: &[BridgeStatus]) {
    let mut each =
        |name: &'static str, kind: &'static str, help: &'static str, value: &dyn Fn(&BridgeStatus) -> f64| {
            page.family(name, kind, help);
            for bridge in bridges {
                let labels = [("bridge", bridge.name.as_str()), ("subscription", &bridge.subscription)];
                page.sample(&labels, value(bridge));
            }
        };
    let flag = |flag: bool| f64::from(u8::from(flag));
    each("vigie_bridge_connected", "gauge", "1 while the bridge is connected.", &|bridge| {
        flag(bridge.connected)
    });
    each("vigie_bridge_held", "gauge", "1 while the helpdesk takes nothing.", &|bridge| flag(bridge.held));
    each("vigie_bridge_paused", "gauge", "1 while the helpdesk asks the bridge to wait.", &|bridge| {
        flag(bridge.paused_until_us.is_some())
    });
    each(
        "vigie_bridge_calls_per_minute",
        "gauge",
        "Calls that the bridge made in the last minute.",
        &|bridge| f64::from(bridge.calls_last_minute),
    );
    each(
        "vigie_bridge_calls_per_minute_limit",
        "gauge",
        "Calls a minute that the bridge makes at most.",
        &|bridge| f64::from(bridge.calls_per_minute),
    );
    each(
        "vigie_bridge_calls_limited_total",
        "counter",
        "Calls that the helpdesk refused as too many since the bridge began.",
        &|bridge| bridge.calls_limited as f64,
    );
    each(
        "vigie_bridge_reports_total",
        "counter",
        "News of tickets that the bridge has told since it began.",
        &|bridge| bridge.reported as f64,
    );
    each(
        "vigie_bridge_unerased_tickets",
        "gauge",
        "Tickets with a text that its author has taken back and that is still in the helpdesk.",
        &|bridge| bridge.unerased as f64,
    );
    page.family(
        "vigie_bridge_tickets_total",
        "counter",
        "Tickets since the bridge began, by what has become of them in the helpdesk.",
    );
    for bridge in bridges {
        let outcomes = [
            ("made", bridge.made),
            ("adopted", bridge.adopted),
            ("doubled", bridge.doubled),
            ("unknown", bridge.unknown),
            ("refused", bridge.refused),
            ("changed", bridge.changed),
            ("erased", bridge.erased),
            ("ended", bridge.ended),
            ("hidden", bridge.hidden),
            ("misread", bridge.misread),
        ];
        for (outcome, tickets) in outcomes {
            let labels = [
                ("bridge", bridge.name.as_str()),
                ("subscription", &bridge.subscription),
                ("outcome", outcome),
            ];
            page.sample(&labels, tickets as f64);
        }
    }
}

fn ledger(page: &mut telemetry::Exposition, ledger: &LedgerStatus) {
    page.family(
        "vigie_ledger_bytes",
        "gauge",
        "Size of the ledger's file: what holds tickets, what holds customers and contacts, and what is free.",
    );
    page.sample(&[("state", "live")], ledger.live_bytes as f64);
    page.sample(&[("state", "context")], ledger.context_bytes as f64);
    page.sample(&[("state", "free")], ledger.free_bytes as f64);
    page.family("vigie_ledger_live_bytes_max", "gauge", "The limit of what is live, if there is one.");
    if let Some(max) = ledger.live_bytes_max {
        page.sample(&[], max as f64);
    }
    page.family(
        "vigie_ledger_blocked",
        "gauge",
        "1 while the ledger is above its limit because its tickets are not acknowledged.",
    );
    page.sample(&[], f64::from(u8::from(ledger.blocked)));
    page.family("vigie_tickets_pruned_total", "counter", "Tickets pruned since the ledger was made.");
    page.sample(&[], ledger.tickets_pruned as f64);
    page.family("vigie_tickets_waiting", "gauge", "Tickets that wait for an answer, by how late it is.");
    let AnswersStatus { open, at_risk, breached } = ledger.answers;
    for (state, tickets) in [("open", open), ("at_risk", at_risk), ("breached", breached)] {
        page.sample(&[("state", state)], tickets as f64);
    }
}
