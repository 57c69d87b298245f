//! The test ticket: made, found, changed, read and removed.

use std::time::Duration;

use super::{Made, Test, Wrong, note, ok};
use crate::bridge::helpdesk::{Case, Standing, Values};
use crate::bridge::http::CallError;
use crate::bridge::text::{About, sample};
use crate::ticket::proto::ticket_status::State;
use crate::ticket::proto::update::{Change, Erased};
use crate::ticket::proto::{Level, Update};

/// Between two looks for a ticket where the helpdesk's search is late, and how much longer than it says we look.
const FIND_EVERY: Duration = Duration::from_secs(2);
const FIND_GRACE: Duration = Duration::from_secs(10);

/// What to do where a change is not done.
const MAY_CHANGE: &str =
    "may the account change tickets? A helpdesk may say yes and leave what the account may not";
const MAY_ERASE: &str = "may the account change tickets, and delete or blacken its own notes? Else what authors delete stays in the \
                         helpdesk";

impl Test<'_> {
    pub(super) async fn create(&self, values: &Values) -> Result<Case, Wrong> {
        *self.made.lock() = Made::Perhaps;
        match self.helpdesk.create(values).await {
            Ok(case) => {
                ok(&self.about("test ticket"), &format!("made, it is {}", case.id));
                *self.made.lock() = Made::Ticket(case.clone());
                Ok(case)
            }
            Err((error, case)) => {
                let advice = "the helpdesk knows us and does not take a ticket: may the account create tickets there, \
                    and are the fields that it names right?";
                let wrong = self.failed(&self.about("test ticket"), &error, advice);
                *self.made.lock() = match case {
                    Some(case) => Made::Ticket(case),
                    None if error.is_unclear() => Made::Perhaps,
                    None => Made::Nothing,
                };
                Err(wrong)
            }
        }
    }

    pub(super) async fn find(&self, case: &Case) -> Result<(), Wrong> {
        let step = self.about("search by reference");
        let Some(find) = &self.helpdesk.preset().calls.find else {
            note(
                &step,
                "this helpdesk cannot be searched: after a call whose end nobody knows, when_unknown decides",
            );
            return Ok(());
        };
        let lag = Duration::from_millis(find.lag_max_ms);
        match self.look(lag + FIND_GRACE).await {
            Err(error) => {
                let advice = "may the account search tickets, and does the field for the reference exist?";
                Err(self.failed(&step, &error, advice))
            }
            Ok(ids) if ids.contains(&case.id) => {
                ok(&step, "finds it");
                Ok(())
            }
            Ok(ids) => {
                let what = match ids.is_empty() {
                    true => "does not find it".to_owned(),
                    false => format!("finds {} instead", ids.join(", ")),
                };
                let advice = "without it a ticket could be made twice: does the field for the reference exist, and may \
                    the account see and set it?";
                Err(Wrong::new(step, what, advice))
            }
        }
    }

    /// Looks until something is found, as long as the helpdesk's search may be late.
    async fn look(&self, within: Duration) -> Result<Vec<String>, CallError> {
        let until = tokio::time::Instant::now() + within;
        loop {
            let ids = self.helpdesk.find(&self.reference).await?.unwrap_or_default();
            if !ids.is_empty() || tokio::time::Instant::now() >= until {
                return Ok(ids);
            }
            tokio::time::sleep(FIND_EVERY).await;
        }
    }

    pub(super) async fn annotate(&self, case: &Case) -> Result<(), Wrong> {
        let calls = &self.helpdesk.preset().calls;
        let about = About {
            reference: &self.reference,
            brand: &self.ticket.brand,
            language: None,
            level: Some("P4"),
        };
        let followed_up =
            sample::updates().into_iter().find(|update| matches!(update.change, Some(Change::FollowedUp(_))));
        let values = self.bridge.texts.update(&about, &followed_up.unwrap_or_default());
        if !calls.reprioritise.is_empty() {
            let done = self.helpdesk.reprioritise(case, &values).await;
            done.map_err(|error| self.failed("priority", &error, MAY_CHANGE))?;
            let there = self.read_back("priority", case).await?.and_then(|standing| standing.level_there);
            let asked = values.get("level_value").map(text_of);
            match there {
                Some(there) if asked.as_ref() != Some(&there) => {
                    let what = format!("it is still {there:?}, although the helpdesk has taken the change");
                    return Err(Wrong::new("priority", what, MAY_CHANGE));
                }
                Some(_) => ok("priority", "changed, and read back"),
                None => ok("priority", "changed"),
            }
        }
        if !calls.note.is_empty() {
            let done = self.helpdesk.note(case, &values).await;
            done.map_err(|error| {
                self.failed("note", &error, "may the account add notes that only agents see?")
            })?;
            ok("note", "added");
        }
        Ok(())
    }

    /// Erases the test ticket as if its author had deleted the post, and sees that it has.
    pub(super) async fn erase(&self, case: &Case, values: &Values) -> Result<(), Wrong> {
        let calls = &self.helpdesk.preset().calls;
        if calls.erase.is_empty() {
            note("erasure", "this helpdesk's API cannot: what an author deletes is to be taken out by hand");
            return Ok(());
        }
        let about = About {
            reference: &self.reference,
            brand: &self.ticket.brand,
            language: None,
            level: Some("P4"),
        };
        let erased = Update {
            change: Some(Change::Erased(Erased { reason: "post_deleted".to_owned() })),
            ..Update::default()
        };
        let left = self.bridge.texts.change(&about, &erased, Level::P4);
        let done = self.helpdesk.erase(case, &left).await;
        done.map_err(|error| self.failed("erasure", &error, MAY_ERASE))?;
        let there = self.read_back("erasure", case).await?.and_then(|standing| standing.subject);
        let before = values.get("subject").map(text_of);
        match there {
            Some(there) if before.as_ref() == Some(&there) => {
                let what = "the subject is still the old one, although the helpdesk has taken the change";
                Err(Wrong::new("erasure", what, MAY_ERASE))
            }
            _ if !calls.takes_text_out() => {
                note("erasure", "the subject goes; the text stays there, and agents are told to remove it");
                Ok(())
            }
            there => {
                let seen = match there {
                    Some(_) => "done; the subject is gone when it is read back, of the text nothing is seen",
                    None => "done, as the helpdesk says; nothing of it is read back",
                };
                ok("erasure", seen);
                Ok(())
            }
        }
    }

    async fn read_back(&self, step: &str, case: &Case) -> Result<Option<Standing>, Wrong> {
        let advice = "without it nobody hears that a ticket is solved: may the account see tickets?";
        self.helpdesk.read(case).await.map_err(|error| self.failed(step, &error, advice))
    }

    pub(super) async fn read(&self, case: &Case) -> Result<(), Wrong> {
        let advice = "without it nobody hears that a ticket is solved: may the account see tickets?";
        match self.helpdesk.read(case).await {
            Err(error) => Err(self.failed("state", &error, advice)),
            Ok(None) => Ok(()),
            Ok(Some(Standing { state: Some(_), state_there, .. })) => {
                ok("state", &format!("it is {state_there:?}"));
                Ok(())
            }
            Ok(Some(Standing { state_there, .. })) => Err(Wrong::new(
                "state",
                format!("it is {state_there:?}, and the preset does not say what that is"),
                "copy the preset (`vigie bridge preset`), add it to [states], and use it with kind = \"http\"",
            )),
        }
    }

    /// Removes what was made, whatever became of it since.
    pub(super) async fn clean_up(&self) -> Result<(), Wrong> {
        let made = std::mem::replace(&mut *self.made.lock(), Made::Nothing);
        let calls = &self.helpdesk.preset().calls;
        let cases = match made {
            Made::Nothing => return Ok(()),
            Made::Ticket(case) => vec![case],
            Made::Perhaps => {
                let lag = calls.find.as_ref().map_or(0, |find| find.lag_max_ms);
                let found = self.look(Duration::from_millis(lag)).await.map_err(|error| {
                    let advice = format!("a ticket with {} may be there: remove it by hand", self.reference);
                    Wrong::new(self.about("removal"), error, advice)
                })?;
                found.into_iter().map(|id| Case { id, captured: Values::new() }).collect()
            }
        };
        for case in cases {
            let by_hand = format!("remove ticket {} by hand", case.id);
            if calls.remove.is_empty() {
                note(&self.about("test ticket"), &format!("this helpdesk's API removes nothing: {by_hand}"));
                continue;
            }
            let removed = self.helpdesk.remove(&case).await;
            let advice = format!("may the account delete tickets? And {by_hand}");
            removed.map_err(|error| self.failed(&self.about("removal"), &error, &advice))?;
            match self.helpdesk.read(&case).await {
                Ok(Some(Standing { state: Some(State::Open | State::Pending), state_there, .. })) => {
                    return Err(Wrong::new(
                        self.about("removal"),
                        format!("it is still there, {state_there:?}"),
                        by_hand,
                    ));
                }
                Ok(Some(Standing { state: Some(State::Solved | State::Closed), state_there, .. })) => {
                    note(
                        &self.about("removal"),
                        &format!("the account may not delete: the ticket stays, {state_there:?}"),
                    );
                }
                _ => ok(&self.about("test ticket"), "removed"),
            }
        }
        Ok(())
    }
}

/// As the helpdesk's answers are read: a number and its digits are the same.
fn text_of(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
