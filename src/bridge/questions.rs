//! The preset's questions, those of `vigie bridge test`, asked every hour while the bridge runs: an administrator may have
//! changed in the helpdesk since what it relies on, and some say nothing of it. Request Tracker takes a ticket whose field
//! it does not know any more, and leaves the field out.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{info, warn};

use super::deliver::Counts;
use super::deliver::errors::{Error, Of};
use super::helpdesk::Helpdesk;
use super::http::CallError;

/// Until the first time: what waits for a bridge that begins goes first.
const FIRST_AFTER: Duration = Duration::from_secs(60);
/// From one time to the next. A question is a call, and there are few.
const EVERY: Duration = Duration::from_secs(60 * 60);

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
                self.ask().await;
                tokio::time::sleep(EVERY).await;
            }
        };
        tokio::select! {
            () = asking => {}
            _ = ended.wait_for(|ended| *ended) => {}
        }
    }

    /// Asks all of them, up to the first whose answer is wrong. One that is not answered says nothing: that the helpdesk is
    /// away is heard of elsewhere.
    pub async fn ask(&self) {
        let Ok(wrong) = self.first_wrong().await else { return };
        let mut told = self.told.lock();
        match &wrong {
            Some(why) if *told != wrong => {
                warn!(bridge = %self.name, %why, "something in the helpdesk is not as it should be");
            }
            None if told.is_some() => info!(bridge = %self.name, "the helpdesk is as it should be again"),
            _ => {}
        }
        told.clone_from(&wrong);
        let errors = &mut self.counts.lock().errors;
        match wrong {
            None => errors.over(Of::Questions),
            Some(said) => {
                let (at_us, in_short) = ((self.clock)(), said.clone());
                errors.failed(Error { of: Of::Questions, at_us, said, ticket_id: None, in_short });
            }
        }
    }

    async fn first_wrong(&self) -> Result<Option<String>, CallError> {
        for team in std::iter::once(None).chain(self.helpdesk.teams().map(Some)) {
            let whose = team.map(|team| format!(", tickets of team {team}")).unwrap_or_default();
            for index in self.helpdesk.questions(team) {
                let advice = match self.helpdesk.probe(index, team).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(advice)) => advice,
                    Err(error @ (CallError::Refused { .. } | CallError::Template(_))) => {
                        format!("{}; {}", error.in_short(), self.helpdesk.advice(index, team))
                    }
                    Err(error) => return Err(error),
                };
                let about = &self.helpdesk.preset().calls.probe[index].about;
                return Ok(Some(format!("{about}{whose}: {advice}")));
            }
        }
        Ok(None)
    }
}
