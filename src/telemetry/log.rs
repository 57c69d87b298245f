//! The daemon's logs: to stderr, in the form that suits whoever reads it there.
//!
//! A terminal gets colours and times. journald stamps each line itself; it is told each line's priority by a
//! prefix `<N>` (sd-daemon(3)), so that `journalctl -p err` shows errors and nothing else. Anything else gets plain
//! lines. The level can be changed while the daemon runs.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, format};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

/// Sends the daemon's logs to stderr from now on.
pub fn install(level: Level) -> LogLevel {
    let (filter, handle) = reload::Layer::new(LevelFilter::from_level(level));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if is_journal() {
        registry
            .with(layer.with_ansi(false).event_format(Journal(format().without_time().with_level(true))))
            .init();
    } else if std::io::stderr().is_terminal() {
        registry.with(layer.with_ansi(true)).init();
    } else {
        registry.with(layer.with_ansi(false).without_time()).init();
    }
    LogLevel(handle)
}

/// Changes the least level that is logged.
#[derive(Debug, Clone)]
pub struct LogLevel(reload::Handle<LevelFilter, Registry>);

impl LogLevel {
    /// From now on, this one.
    pub fn set(&self, level: Level) {
        // Fails only once the process is ending and its subscriber is gone.
        drop(self.0.reload(LevelFilter::from_level(level)));
    }
}

/// A time as people read it in a line of the log: `250 ms`, `10 s`, `1.5 s`.
pub fn seconds(of: Duration) -> String {
    match (of.as_secs(), of.subsec_millis()) {
        (0, ms) => format!("{ms} ms"),
        (seconds, 0) => format!("{seconds} s"),
        _ => format!("{:.1} s", of.as_secs_f64()),
    }
}

/// Says on stderr why the program ends, outside the logs: it may end before there are any, or without them.
pub fn complain(text: &str) {
    say(Level::ERROR, text);
}

/// Says on stderr what is worth knowing and ends nothing, where there are no logs.
pub fn remark(text: &str) {
    say(Level::WARN, text);
}

fn say(level: Level, text: &str) {
    let lines = if is_journal() { prefixed(level, text) } else { format!("{text}\n") };
    // Whoever has closed stderr wants to read none of it, and the work goes on.
    drop(std::io::stderr().write_all(lines.as_bytes()));
}

/// Whether stderr is connected to journald: systemd names the device and inode of the stream that it made
/// (systemd.exec(5), "$JOURNAL_STREAM"), and stderr may have been redirected since.
fn is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().map(std::fs::File::from);
    let Ok(stderr) = stderr.and_then(|stderr| stderr.metadata()) else { return false };
    named == format!("{}:{}", stderr.dev(), stderr.ino())
}

/// syslog(3)'s numbers.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// Each line with its priority: journald takes every line for an entry of its own.
fn prefixed(level: Level, text: &str) -> String {
    let priority = priority(level);
    text.lines().map(|line| format!("<{priority}>{line}\n")).collect()
}

/// Puts journald's prefix before each line of an event.
struct Journal<F>(F);

impl<S, N, F> FormatEvent<S, N> for Journal<F>
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        self.0.format_event(context, Writer::new(&mut text), event)?;
        writer.write_str(&prefixed(*event.metadata().level(), &text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        let said = [0, 250, 1_000, 1_500, 90_000].map(|ms| seconds(Duration::from_millis(ms)));
        assert_eq!(said, ["0 ms", "250 ms", "1 s", "1.5 s", "90 s"]);
    }

    #[test]
    fn every_line_of_a_text_carries_its_priority() {
        let text = "config has 2 mistakes:\n  line 1\n  line 2\n";
        let expected = "<3>config has 2 mistakes:\n<3>  line 1\n<3>  line 2\n";
        assert_eq!(prefixed(Level::ERROR, text), expected);
        assert_eq!(prefixed(Level::TRACE, "one"), "<7>one\n");
    }
}
