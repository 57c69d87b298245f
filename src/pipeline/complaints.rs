//! What the log hears of malformed frames: of each source one line a minute at most, and no text.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use super::lane::LaneOutput;
use crate::telemetry::Bucket;

/// Between two lines about one source.
const PAUSE: Duration = Duration::from_secs(60);

/// By source; there are as many as the config names.
#[derive(Debug, Default)]
pub(super) struct Complaints(Vec<Complaint>);

#[derive(Debug)]
struct Complaint {
    source: Arc<str>,
    told_at: Option<Instant>,
    /// Since it was told last.
    frames: u64,
}

impl Complaints {
    /// Tells of the first malformed frame of this output, unless this source has had its line.
    pub(super) fn hear(&mut self, output: &LaneOutput, now: Instant) {
        if let Some(frames) = self.due(output, now)
            && let Some(first) = output.malformed.first()
        {
            // A source that does not count lines has none to name.
            let line = first.line;
            warn!(source = %output.source, frames, line, reason = %first.why, "malformed frames");
        }
    }

    /// How many malformed frames the log should hear of now.
    fn due(&mut self, output: &LaneOutput, now: Instant) -> Option<u64> {
        let malformed = output.buckets[Bucket::Malformed];
        if malformed == 0 {
            return None;
        }
        let place = match self.0.iter().position(|known| known.source == output.source) {
            Some(place) => place,
            None => {
                self.0.push(Complaint { source: output.source.clone(), told_at: None, frames: 0 });
                self.0.len() - 1
            }
        };
        let complaint = self.0.get_mut(place)?;
        complaint.frames += malformed;
        let is_due = complaint.told_at.is_none_or(|told_at| now.duration_since(told_at) >= PAUSE);
        if !is_due || output.malformed.is_empty() {
            return None;
        }
        complaint.told_at = Some(now);
        Some(std::mem::take(&mut complaint.frames))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Format, Malformed};
    use crate::pipeline::lane::{Lane, MalformedFrame};
    use crate::prefilter::{self, Prefilter};
    use crate::source::FrameBatch;

    fn output(source: &str, lines: &[&str]) -> LaneOutput {
        let mut batch = FrameBatch::empty(Arc::from(source), Format::Plain, 0);
        lines.iter().for_each(|line| batch.push(line.as_bytes()));
        batch.position = Some(40 + lines.len() as i64);
        let brand =
            prefilter::Brand { name: "Lumio".into(), names: vec!["lumio".into()], ..Default::default() };
        let config = prefilter::Config { brands: vec![brand], ..Default::default() };
        Lane::default().process(&Prefilter::build(&config).unwrap(), batch)
    }

    #[test]
    fn a_malformed_line_is_named_and_a_source_has_one_line_a_minute() {
        let bad = output("posts", &[r#"{"text":"a"}"#, r#"{"id":1}"#, "{"]);
        let told = |frame, line, why| MalformedFrame { frame, line: Some(line), why };
        let expected = [told(1, 42, Malformed::Shape("text")), told(2, 43, Malformed::NotJson)];
        assert_eq!(bad.malformed, expected);
        let good = output("posts", &[r#"{"text":"a"}"#]);
        let (mut complaints, now) = (Complaints::default(), Instant::now());
        let at = |second| now + Duration::from_secs(second);
        assert_eq!(complaints.due(&good, at(0)), None);
        assert_eq!(complaints.due(&bad, at(0)), Some(2));
        assert_eq!(complaints.due(&bad, at(59)), None);
        assert_eq!(complaints.due(&output("others", &["{"]), at(59)), Some(1));
        assert_eq!(complaints.due(&bad, at(60)), Some(4));
    }
}
