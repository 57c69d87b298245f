//! A run as one page of HTML that needs nothing else: no script, no font, no picture from anywhere.

mod plot;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use super::conservation::Balance;
use super::figures::Percentiles;
use super::outcome::{Outcome, RunResult, grouped};
use super::watch::Sample;
use plot::{Plot, Series, Style};

/// Seconds over which latencies are put together; a run has at most so many groups.
const LATENCY_GROUPS: f64 = 120.0;

impl Outcome {
    /// Writes `report.html`, `result.json`, `vigie.log` and `vigie.toml` into a folder, which is made if it is not
    /// there.
    ///
    /// # Errors
    ///
    /// The folder cannot be made or written.
    pub fn write_report(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("report.html"), self.page())?;
        fs::write(folder.join("result.json"), self.json())?;
        fs::write(folder.join("vigie.log"), &self.log)?;
        fs::write(folder.join("vigie.toml"), &self.config)
    }

    /// The result as JSON, indented, with a line's end.
    pub fn json(&self) -> String {
        let json = serde_json::to_string_pretty(&self.result);
        json.expect("numbers, texts and maps with text keys are JSON") + "\n"
    }

    /// The page.
    fn page(&self) -> String {
        let result = &self.result;
        let mut out = String::new();
        let _ = write!(
            out,
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>vigie under load: {scenario}</title><style>{}</style></head><body><main>\
             <header><h1>vigie under load: {scenario}</h1><p>{}</p><p>{}</p></header>",
            include_str!("report/page.css"),
            escaped(self.description),
            escaped(&machine(result)),
            scenario = escaped(&result.scenario),
        );
        self.verdict(&mut out);
        self.tiles(&mut out);
        out.push_str("<h2>Over time</h2>");
        for plot in self.plots() {
            out.push_str(&plot.figure());
        }
        self.buckets(&mut out);
        self.conservation(&mut out);
        let _ = writeln!(
            out,
            "<details><summary>The end of the daemon's log</summary><pre>{}</pre></details>",
            escaped(&self.log_tail().collect::<Vec<_>>().join("\n"))
        );
        let _ = writeln!(
            out,
            "<details><summary>The daemon's configuration</summary><pre>{}</pre></details>\
             <footer>{}</footer></main></body></html>",
            escaped(&self.config),
            escaped(&self.method())
        );
        out
    }

    fn verdict(&self, out: &mut String) {
        let Balance { small_model, shed, .. } = self.result.balance;
        let overload = match small_model + shed {
            0 => String::new(),
            _ => format!(
                ", but for what overload allows and counts: {} shed, {} decided by the small model",
                grouped(shed),
                grouped(small_model)
            ),
        };
        let tickets = match self.result.checked_against {
            "replay" => format!("the tickets are those that a replay of the same posts makes{overload}"),
            _ => "the tickets were counted, not compared with a replay".to_owned(),
        };
        if self.is_sound() {
            let _ = write!(
                out,
                "<p class=\"verdict\"><strong>Everything is conserved.</strong> Every frame is accounted for, and {tickets}.</p>"
            );
            return;
        }
        out.push_str("<div class=\"verdict bad\"><strong>Not everything is conserved.</strong><ul>");
        for violation in &self.result.balance.violations {
            let _ = write!(out, "<li>{}</li>", escaped(violation));
        }
        out.push_str("</ul></div>");
    }

    fn tiles(&self, out: &mut String) {
        let result = &self.result;
        let latency = result.latency_ms;
        let balance = &result.balance;
        let expected = balance
            .tickets_expected
            .map_or("not compared".to_owned(), |n| format!("of {} expected", grouped(n)));
        let mut tiles = vec![
            (
                "Achieved",
                format!("{} <small>posts/s</small>", grouped(result.achieved_posts_per_s as u64)),
                format!(
                    "offered {} posts/s for {} s",
                    grouped(result.offered_posts_per_s as u64),
                    result.duration_s
                ),
            ),
            (
                "Tickets",
                grouped(balance.tickets_received),
                format!("{expected}; {} missing, {} twice", balance.missing, balance.duplicates),
            ),
            (
                "Post to ticket, 99 %",
                format!("{} <small>ms</small>", figure(latency.p99)),
                format!("median {} ms, 99.9 % {} ms", figure(latency.p50), figure(latency.p999)),
            ),
            (
                "CPU",
                format!("{} <small>% of a core</small>", figure(result.cpu_share * 100.0)),
                format!(
                    "{} s for a million posts; generator {} %, others {} %",
                    figure(result.cpu_s_per_million_posts),
                    figure(result.firehose_cpu_share * 100.0),
                    figure((result.others_cpu_share + result.stolen_cpu_share) * 100.0)
                ),
            ),
            (
                "Memory, at most",
                format!("{} <small>MiB</small>", figure(result.rss_max_mib)),
                "resident".to_owned(),
            ),
            (
                "Under overload",
                format!("{} <small>shed</small>", grouped(balance.shed)),
                format!(
                    "{} decided by the small model, {} scored again",
                    grouped(balance.small_model),
                    grouped(result.rescored)
                ),
            ),
        ];
        if let Some(first_ms) = result.first_ticket_ms {
            tiles.push((
                "First ticket",
                format!("{} <small>ms</small>", figure(first_ms)),
                "after the first report of the outage".to_owned(),
            ));
        }
        if let Some(slow) = result.slow_helpdesk {
            tiles.push((
                "The slow helpdesk",
                format!("{} <small>taken</small>", grouped(slow.taken)),
                format!("{} left pending, {} out of turn", grouped(slow.pending), slow.out_of_turn),
            ));
        }
        out.push_str("<dl class=\"tiles\">");
        for (name, value, note) in tiles {
            let _ = write!(out, "<div><dt>{name}</dt><dd>{value}</dd><p>{}</p></div>", escaped(&note));
        }
        out.push_str("</dl>");
    }

    fn plots(&self) -> Vec<Plot> {
        let marked = match self.marks.is_empty() {
            true => "",
            false if self.result.crowd.is_some() => " Dashed: the idle clients came.",
            false => {
                " Dashed: a server left or was cut off; what the daemon then asks for again is accounted for too."
            }
        };
        let base = Plot {
            streamed_s: self.result.duration_s,
            seen_s: self.samples.last().map_or(0.0, |sample| self.at_s(sample)),
            marks: self.marks.clone(),
            ..Plot::default()
        };
        vec![
            Plot {
                title: "Posts a second",
                caption: format!("What fell due, and what the daemon had durably accounted for.{marked}"),
                unit: "posts/s",
                series: vec![
                    Series::new("offered", self.growth(|sample| Some(sample.due as f64))),
                    Series::new("achieved", self.growth(|sample| Some(sample.status.as_ref()?.received as f64))),
                ],
                ..base.clone()
            },
            Plot {
                title: "Tickets a second",
                caption: "What came over the ticket socket.".to_owned(),
                unit: "tickets/s",
                series: vec![Series::new("tickets", self.growth(|sample| Some(sample.tickets as f64)))],
                ..base.clone()
            },
            Plot {
                title: "From post to ticket",
                caption: "From the instant at which a post was due to its ticket at the client; by when it was due."
                    .to_owned(),
                unit: "milliseconds",
                style: Style::Logarithmic,
                series: self.latency_series(),
                ..base.clone()
            },
            Plot {
                title: "Waiting",
                caption: "Batches before the lanes, candidates before the model, records before the helpdesk.".to_owned(),
                unit: "count",
                series: vec![
                    Series::new("batches", self.status_series(|status| status.queue_batches)),
                    Series::new("candidates", self.status_series(|status| status.queue_candidates)),
                    Series::new(
                        "records",
                        self.status_series(|status| {
                            status.subscriptions.iter().map(super::status::Subscription::unacknowledged).max().unwrap_or(0)
                        }),
                    ),
                ],
                ..base.clone()
            },
            Plot {
                title: "CPU by thread",
                caption: "Of the daemon; 100 % is one core.".to_owned(),
                unit: "% of one core",
                style: Style::Stacked,
                series: self.thread_series(),
                ..base.clone()
            },
            Plot {
                title: "Memory",
                caption: "Resident memory of the daemon.".to_owned(),
                unit: "MiB",
                series: vec![Series::new(
                    "resident",
                    self.series(|sample| Some(sample.usage.as_ref()?.rss_bytes as f64 / f64::from(1 << 20))),
                )],
                ..base.clone()
            },
            Plot {
                title: "Descriptors and threads",
                caption: "Of the daemon.".to_owned(),
                unit: "count",
                series: vec![
                    Series::new("descriptors", self.series(|sample| Some(sample.usage.as_ref()?.descriptors as f64))),
                    Series::new("threads", self.series(|sample| Some(sample.usage.as_ref()?.threads as f64))),
                ],
                ..base.clone()
            },
            Plot {
                title: "Write-ahead log",
                caption: "What the ledger has written and not yet moved into its file.".to_owned(),
                unit: "MiB",
                series: vec![Series::new(
                    "log",
                    self.series(|sample| Some(sample.wal_bytes as f64 / f64::from(1 << 20))),
                )],
                ..base
            },
        ]
    }

    fn at_s(&self, sample: &Sample) -> f64 {
        (sample.at_us - self.start_us) as f64 / 1e6
    }

    /// A value of each sample since the stream began.
    fn series(&self, value: impl Fn(&Sample) -> Option<f64>) -> Vec<(f64, f64)> {
        let samples = self.samples.iter().filter_map(|sample| Some((self.at_s(sample), value(sample)?)));
        samples.filter(|(at_s, _)| *at_s >= 0.0).collect()
    }

    fn status_series(&self, value: impl Fn(&super::status::Status) -> u64) -> Vec<(f64, f64)> {
        self.series(|sample| Some(value(sample.status.as_ref()?) as f64))
    }

    /// How fast a count grew: over a second, as commits come a few times a second.
    fn growth(&self, value: impl Fn(&Sample) -> Option<f64>) -> Vec<(f64, f64)> {
        let points: Vec<(f64, f64)> =
            self.samples.iter().filter_map(|sample| Some((self.at_s(sample), value(sample)?))).collect();
        let rate = |late: usize| {
            let (at_s, count) = points[late];
            let early = points[..late].iter().rev().find(|(early_s, _)| at_s - early_s >= 0.95)?;
            Some((at_s, (count - early.1) / (at_s - early.0)))
        };
        (0..points.len()).filter_map(rate).filter(|(at_s, _)| *at_s >= 0.0).collect()
    }

    fn latency_series(&self) -> Vec<Series> {
        let width_us = (self.result.duration_s / LATENCY_GROUPS).max(0.25) * 1e6;
        let group = |due_us: i64| ((due_us - self.start_us) as f64 / width_us) as i64;
        let mut series = ["median", "99 %", "longest"].map(|name| Series::new(name, Vec::new()));
        for chunk in self.latencies.chunk_by(|a, b| group(a.0) == group(b.0)) {
            let Some((due_us, _)) = chunk.first() else { continue };
            let mut latencies: Vec<i64> = chunk.iter().map(|(_, latency_us)| *latency_us).collect();
            let Percentiles { p50, p99, max, .. } = Percentiles::of(&mut latencies);
            let at_s = (group(*due_us) as f64 + 0.5) * width_us / 1e6;
            for (series, value) in series.iter_mut().zip([p50, p99, max]) {
                series.points.push((at_s, value));
            }
        }
        series.into()
    }

    /// The busiest threads, and the others as one.
    fn thread_series(&self) -> Vec<Series> {
        const SHOWN: usize = 7;
        let mut threads: Vec<(&String, &f64)> = self.result.cpu_share_by_thread.iter().collect();
        threads.sort_by(|a, b| b.1.total_cmp(a.1));
        let shown: Vec<&String> = threads.iter().take(SHOWN).map(|(name, _)| *name).collect();
        let names: BTreeSet<&String> = shown.iter().copied().collect();
        let of = |sample: &Sample, wanted: &dyn Fn(&String) -> bool| {
            let threads = &sample.usage.as_ref()?.thread_cpu_s;
            Some(threads.iter().filter(|(name, _)| wanted(name)).map(|(_, cpu_s)| cpu_s * 100.0).sum())
        };
        let mut series: Vec<Series> = shown
            .iter()
            .map(|name| Series::new(*name, self.growth(|sample| of(sample, &|other| other == *name))))
            .collect();
        if threads.len() > SHOWN {
            series
                .push(Series::new("others", self.growth(|sample| of(sample, &|name| !names.contains(name)))));
        }
        series
    }

    fn buckets(&self, out: &mut String) {
        let all = self.result.frames_received.max(1) as f64;
        out.push_str(
            "<h2>Where the posts ended</h2><table><thead><tr><th>bucket</th><th class=\"n\">frames</th>\
             <th class=\"n\">share</th><th></th></tr></thead><tbody>",
        );
        let mut buckets: Vec<(&String, &u64)> = self.result.buckets.iter().collect();
        buckets.sort_by_key(|(_, frames)| std::cmp::Reverse(**frames));
        for (bucket, frames) in buckets {
            let share = *frames as f64 / all * 100.0;
            let _ = write!(
                out,
                "<tr><th>{}</th><td class=\"n\">{}</td><td class=\"n\">{} %</td><td class=\"wide\">",
                escaped(bucket),
                grouped(*frames),
                figure(share)
            );
            if *frames > 0 {
                let _ = write!(out, "<span class=\"bar\" style=\"width:{share:.2}%\"></span>");
            }
            out.push_str("</td></tr>");
        }
        let _ = write!(
            out,
            "<tr><th>received</th><td class=\"n\">{}</td><td class=\"n\">100 %</td><td></td></tr></tbody></table>",
            grouped(self.result.frames_received)
        );
    }

    fn conservation(&self, out: &mut String) {
        let result = &self.result;
        let balance = &result.balance;
        let mut rows = vec![
            ("events that fell due", grouped(result.offered_posts)),
            ("frames that the servers wrote", grouped(result.frames_written)),
            ("frames that the daemon received", grouped(result.frames_received)),
            ("sum of the buckets", grouped(result.buckets.values().sum())),
            ("frames received again, as asked for", grouped(balance.frames_repeated)),
            ("frames lost with a connection, and sent again", grouped(balance.frames_lost_in_transit)),
            ("connections to servers made again", grouped(result.connections_lost)),
            ("tickets expected", balance.tickets_expected.map_or("not compared".to_owned(), grouped)),
            ("tickets received", grouped(balance.tickets_received)),
            ("of these decided by the small model", grouped(balance.small_model)),
            ("of these taken back, as replay does not make them", grouped(balance.withdrawn)),
            ("not scored again by the full model", grouped(result.provisional)),
            ("shed", grouped(balance.shed)),
            ("expected, and absent", grouped(balance.absent)),
            ("missing", grouped(balance.missing)),
            ("unexpected", grouped(balance.unexpected)),
            ("came twice", grouped(balance.duplicates)),
            ("sent again, as not confirmed before", grouped(result.redelivered)),
            ("updates of tickets", grouped(result.updates)),
        ];
        if let Some(replayed) = result.replayed {
            rows.push(("mentions replayed", grouped(replayed.mentions)));
            rows.push((
                "distinct background posts replayed",
                format!(
                    "{}, of which {} match a rule",
                    grouped(replayed.background),
                    replayed.background_candidates
                ),
            ));
        }
        out.push_str("<h2>Conservation</h2><table><tbody>");
        for (name, value) in rows {
            let _ = write!(out, "<tr><th>{name}</th><td class=\"n\">{value}</td></tr>");
        }
        out.push_str("</tbody></table>");
    }

    fn method(&self) -> String {
        format!(
            "firehose {} served the stream over loopback sockets, open loop, on the machine that the daemon ran on, \
             and took CPU and memory of the daemon from /proc. The shaded part of the plots comes after the stream. \
             result.json beside this page has all figures.",
            env!("CARGO_PKG_VERSION")
        )
    }
}

fn machine(result: &RunResult) -> String {
    format!(
        "{}, {} cores · vigie {} · {} on {} · {} UTC",
        result.cpu_model,
        result.cores,
        result.vigie_version,
        result.model,
        result.runtime,
        // To the second is enough for people.
        result.started_at.split('.').next().unwrap_or_default().replace('T', " ")
    )
}

/// Three digits that matter.
fn figure(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Text as HTML, for elements and attributes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::status::Status;
    use crate::run::usage::Usage;

    fn outcome() -> Outcome {
        let sample = |n: i64| Sample {
            wal_bytes: 1 << 20,
            acked_early: 0,
            at_us: n * 250_000,
            due: n as u64 * 100,
            tickets: 1,
            status: Some(Status { received: n as u64 * 90, ..Status::default() }),
            firehose_cpu_s: 0.0,
            machine: crate::run::usage::Machine::default(),
            usage: Some(Usage {
                descriptors: 30,
                threads: 9,
                cpu_s: n as f64,
                thread_cpu_s: [("vigie-lane-0".to_owned(), n as f64 * 0.1)].into(),
                rss_bytes: 100 << 20,
                rss_bytes_max: 100 << 20,
            }),
        };
        let mut outcome = Outcome {
            samples: (0..40).map(sample).collect(),
            latencies: (0..100).map(|n| (n * 100_000, 5_000 + n)).collect(),
            ..Outcome::default()
        };
        outcome.result.scenario = "steady".to_owned();
        outcome.result.duration_s = 10.0;
        outcome.result.cpu_share_by_thread = [("vigie-lane-0".to_owned(), 0.4)].into();
        outcome.result.buckets = [("unmatched".to_owned(), 90), ("ticketed".to_owned(), 10)].into();
        outcome
    }

    #[test]
    fn a_page_needs_nothing_from_elsewhere_and_every_plot_is_drawn() {
        let page = outcome().page();
        for outside in ["http://", "https://", "<script", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("<svg").count(), 8);
        assert!(!page.contains("NaN") && !page.contains("inf "), "{page}");
        assert!(page.contains("Everything is conserved."));
        assert!(page.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn a_violation_is_at_the_head_of_the_page() {
        let mut outcome = outcome();
        outcome.result.balance.violations.push("3 tickets <missing>".to_owned());
        let page = outcome.page();
        assert!(page.contains("Not everything is conserved.") && page.contains("3 tickets &lt;missing&gt;"));
    }

    #[test]
    fn a_rate_is_that_of_the_last_second() {
        let rates = outcome().growth(|sample| Some(sample.due as f64));
        assert!(!rates.is_empty());
        assert!(rates.iter().all(|(_, rate)| (rate - 400.0).abs() < 1e-6), "{rates:?}");
    }

    #[test]
    fn figures_have_three_digits() {
        let check = |value, expected: &str| assert_eq!(figure(value), expected);
        check(1234.5, "1234");
        check(12.34, "12.3");
        check(1.0, "1");
        check(0.1234, "0.123");
        check(100.0, "100");
    }

    #[test]
    fn a_report_is_written_with_its_result_log_and_config() {
        let folder = tempfile::tempdir().unwrap();
        outcome().write_report(&folder.path().join("deep/er")).unwrap();
        for file in ["report.html", "result.json", "vigie.log", "vigie.toml"] {
            assert!(folder.path().join("deep/er").join(file).is_file(), "{file}");
        }
    }
}
