//! Which acknowledgement to write next, and when.
//!
//! Pure: the caller brings the time and does the writing. Holds one line at most: a sender that does not
//! read gets the newest one whenever it reads again, and costs nothing until then.

use std::time::Duration;

use tokio::time::Instant;

use super::greeting;

/// The acknowledgements of one connection.
#[derive(Debug)]
pub(super) struct Acks {
    interval: Duration,
    /// The position that the newest line written, or begun, tells of.
    told: Option<i64>,
    /// The newest position that is durable.
    durable: Option<i64>,
    /// The line being written; empty between lines.
    line: String,
    /// How many of its bytes have been written.
    written: usize,
    /// Not before: the last attempt and the interval.
    next_at: Instant,
}

impl Acks {
    /// Nothing told yet; the first may go at once.
    pub(super) fn new(interval: Duration, now: Instant) -> Acks {
        Acks { interval, told: None, durable: None, line: String::new(), written: 0, next_at: now }
    }

    /// Every line up to `position` is durable.
    pub(super) fn reached(&mut self, position: i64) {
        self.durable = Some(position);
    }

    /// When to write; `None` while there is nothing to tell.
    pub(super) fn due_at(&self) -> Option<Instant> {
        let has_rest = self.written < self.line.len();
        (has_rest || self.durable > self.told).then_some(self.next_at)
    }

    /// What to write now, if it is time to: the rest of a line that did not fit into the socket, or else
    /// the newest position.
    pub(super) fn due(&mut self, now: Instant) -> Option<&[u8]> {
        if self.due_at().is_none_or(|due_at| now < due_at) {
            return None;
        }
        self.next_at = now + self.interval;
        if self.written == self.line.len() {
            self.line = greeting::ack(self.durable?);
            self.written = 0;
            self.told = self.durable;
        }
        self.line.as_bytes().get(self.written..)
    }

    /// The socket took this many bytes of it.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
        assert!(self.written <= self.line.len(), "a socket took more than it was given");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(100);

    fn due(acks: &mut Acks, now: Instant) -> Option<String> {
        acks.due(now).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    #[test]
    fn the_newest_position_is_told_at_most_once_in_an_interval() {
        let start = Instant::now();
        let mut acks = Acks::new(INTERVAL, start);
        assert_eq!((acks.due_at(), due(&mut acks, start)), (None, None));
        acks.reached(3);
        assert_eq!(acks.due_at(), Some(start));
        assert_eq!(due(&mut acks, start), Some("{\"ack\":3}\n".to_owned()));
        acks.wrote(10);
        assert_eq!(acks.due_at(), None);
        acks.reached(4);
        acks.reached(9);
        assert_eq!(acks.due_at(), Some(start + INTERVAL));
        assert_eq!(due(&mut acks, start + INTERVAL / 2), None);
        assert_eq!(due(&mut acks, start + INTERVAL), Some("{\"ack\":9}\n".to_owned()));
        acks.wrote(10);
        acks.reached(9);
        assert_eq!(acks.due_at(), None);
    }

    #[test]
    fn a_line_that_was_begun_is_finished_before_the_newest_is_told() {
        let start = Instant::now();
        let mut acks = Acks::new(INTERVAL, start);
        acks.reached(3);
        assert!(due(&mut acks, start).is_some());
        acks.wrote(4);
        for step in 1..=3 {
            acks.reached(100 + i64::from(step));
            let now = start + INTERVAL * step;
            assert_eq!(due(&mut acks, now), Some("k\":3}\n".to_owned()), "as long as nothing is taken");
            acks.wrote(0);
        }
        assert!(due(&mut acks, start + INTERVAL * 4).is_some());
        acks.wrote(6);
        assert_eq!(due(&mut acks, start + INTERVAL * 5), Some("{\"ack\":103}\n".to_owned()));
    }
}
