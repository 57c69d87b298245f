//! The preset's questions, those of `vigie bridge test`, asked every hour while the bridge runs: an administrator may have
//! changed in the helpdesk since what it relies on, and some say nothing of it. Request Tracker takes a ticket whose field
//! it does not know any more, and leaves the field out.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::deliver::Counts;
use super::deliver::errors::{Error, Of};
use super::helpdesk::Helpdesk;
use super::http::CallError;

/// Until the first time: what waits for a bridge that begins goes first.
const FIRST_AFTER: Duration = Duration::from_secs(60);
/// From one time to the next. A question is a call, and there are few.
const EVERY: Duration = Duration::from_secs(60 * 60);
/// The same while something is wrong: who has mended it wants to see that.
const EVERY_WHILE_WRONG: Duration = Duration::from_secs(5 * 60);

/// Asks them.
pub struct Questions<'b> {
    name: &'b str,
    helpdesk: &'b Helpdesk,
    counts: Arc<Mutex<Counts>>,
    clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// What the log has said of them.
    told: Mutex<Option<String>>,
}

impl<'b> Questions<'b> {
    /// For the bridge of this name, in whose `counts` stands what is wrong; `clock` gives microseconds since 1970.
    pub fn new(
        name: &'b str,
        helpdesk: &'b Helpdesk,
        counts: Arc<Mutex<Counts>>,
        clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    ) -> Questions<'b> {
        Questions { name, helpdesk, counts, clock, told: Mutex::default() }
    }

    /// Asks until `ended`.
    pub async fn run(&self, mut ended: watch::Receiver<bool>) {
        let asking = async {
            tokio::time::sleep(FIRST_AFTER).await;
            loop {
                tokio::time::sleep(self.ask().await).await;
            }
        };
        tokio::select! {
            () = asking => {}
            _ = ended.wait_for(|ended| *ended) => {}
        }
    }

    /// Asks all of them, up to the first whose answer is wrong, and gives how long until the next time. One that is not
    /// answered says nothing: that the helpdesk is away is heard of elsewhere.
    pub async fn ask(&self) -> Duration {
        let (wrong, unanswered) = self.asked().await;
        if !unanswered.is_empty() {
            debug!(bridge = %self.name, ?unanswered, "not every question was answered");
        }
        let mut told = self.told.lock();
        match &wrong {
            // What was wrong may be so still.
            None if !unanswered.is_empty() => {}
            None => {
                if told.take().is_some() {
                    info!(bridge = %self.name, "the helpdesk is as it should be again");
                }
                self.counts.lock().errors.over(Of::Questions);
            }
            Some(said) => {
                if *told != wrong {
                    warn!(bridge = %self.name, why = %said, "something in the helpdesk is not as it should be");
                    told.clone_from(&wrong);
                }
                let (at_us, said, in_short) = ((self.clock)(), said.clone(), said.clone());
                let error = Error { of: Of::Questions, at_us, said, ticket_id: None, in_short };
                self.counts.lock().errors.failed(error);
            }
        }
        if told.is_some() { EVERY_WHILE_WRONG } else { EVERY }
    }

    /// The first that is wrong, and those that were not answered.
    async fn asked(&self) -> (Option<String>, Vec<String>) {
        let (mut unanswered, mut refused, mut is_sound) = (Vec::new(), None, false);
        for team in std::iter::once(None).chain(self.helpdesk.teams().map(Some)) {
            let whose = team.map(|team| format!(", tickets of team {team}")).unwrap_or_default();
            for index in self.helpdesk.questions(team) {
                let about = &self.helpdesk.preset().calls.probe[index].about;
                let wrong = |advice: String| format!("{about}{whose}: {advice}");
                let error = match self.helpdesk.probe(index, team).await {
                    Ok(Ok(())) => {
                        is_sound = true;
                        continue;
                    }
                    Ok(Err(advice)) => return (Some(wrong(advice)), unanswered),
                    Err(error) => error,
                };
                let in_short = error.in_short();
                let with_advice = || wrong(format!("{in_short}; {}", self.helpdesk.advice(index, team)));
                match &error {
                    CallError::Template(_) => return (Some(with_advice()), unanswered),
                    // That nobody knows us is said by the helpdesk itself.
                    error if error.is_stranger() => return (Some(with_advice()), unanswered),
                    // A proxy may say so while the helpdesk is away: then it says so of all.
                    CallError::Refused { .. } => refused = refused.or_else(|| Some(with_advice())),
                    _ => {}
                }
                unanswered.push(wrong(in_short));
            }
        }
        (refused.filter(|_| is_sound), unanswered)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use firehose::helpdesk::{self, Fault, Faults, Options, Plain};

    use super::*;
    use crate::bridge::helpdesk::Values;
    use crate::bridge::http::Http;
    use crate::bridge::pace::Pace;
    use crate::bridge::preset::Preset;

    #[tokio::test]
    async fn what_does_not_answer_says_nothing_and_keeps_nothing_from_being_seen() {
        let statuses = Arc::new(Mutex::new(BTreeMap::<&str, u16>::new()));
        let set = Arc::clone(&statuses);
        let faults = Faults::choose(move |request| {
            let status = set.lock().get(request.query("ref")?).copied();
            status.map(|status| Fault::Status { status, done: false })
        });
        let options = Options { faults, ..Options::default() };
        let fake = helpdesk::serve(Plain::default(), options).await.unwrap();
        let probe = |name: &str| {
            format!(
                "[[probe]]\nabout = \"{name}\"\ncall = {{ method = \"GET\", path = \"/tickets?ref={name}\" }}\nadvice = \"give it\"\n"
            )
        };
        let preset = format!("{}\n{}{}{}", Plain::PRESET, probe("one"), probe("two"), probe("three"));
        let http = Http::new(&fake.url(), None, Duration::from_secs(5));
        let pace = Arc::new(Pace::new(60_000));
        let vigie = Helpdesk::new(Preset::parse(&preset).unwrap(), http, pace, "", &Values::new());
        let counts = Arc::new(Mutex::new(Counts::default()));
        let questions = Questions::new("desk", &vigie, Arc::clone(&counts), Arc::new(|| 7));
        // The statuses; what is shown then, and whether it is over; whether it is asked again soon.
        let check = async |given: &[(&'static str, u16)], shown: Option<(&str, bool)>, is_soon: bool| {
            *statuses.lock() = given.iter().copied().collect();
            let next = questions.ask().await;
            let counts = counts.lock();
            let last = counts.errors.last().map(|(error, is_over)| (error.said.as_str(), is_over));
            assert_eq!((last, next < EVERY), (shown, is_soon), "{given:?}");
        };
        let all = |status: u16| [("one", status), ("two", status), ("three", status)];
        // A proxy, while the helpdesk is away.
        check(&all(403), None, false).await;
        check(&all(404), None, false).await;
        let two = "two: the helpdesk refuses: status 403; give it";
        check(&[("two", 403)], Some((two, false)), true).await;
        check(&all(503), Some((two, false)), true).await;
        check(&all(404), Some((two, false)), true).await;
        // What was wrong may be so still.
        check(&[("two", 500)], Some((two, false)), true).await;
        check(&[], Some((two, true)), false).await;
        let three = "three: the helpdesk refuses: status 404; give it";
        check(&[("one", 500), ("three", 404)], Some((three, false)), true).await;
        check(&[], Some((three, true)), false).await;
        // A token that is nobody's.
        check(&all(401), Some(("one: the helpdesk refuses: status 401; give it", false)), true).await;
    }
}
