//! A helpdesk: its operations, each some calls of its preset.
//!
//! Plain about what was done: an operation's error says whether the helpdesk may have done something all the same.
//! What to do about it is its caller's to decide, and when a call may be made is [`Pace`]'s.

mod answers;
mod calls;
mod options;
#[cfg(any(test, fuzzing))]
pub(crate) mod trial;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde_json::Map;

pub use self::answers::{Changes, GONE, Standing};
pub(super) use self::answers::{id_of, seen_by};
pub use self::calls::AGAIN_MAX;
pub(super) use self::options::{common, distinct, options_of_teams, options_with_defaults};
use super::http::{CallError, Http};
use super::pace::Pace;
use super::preset::{Escape, Preset, Probe, Step};

/// What templates see, by name.
pub type Values = Map<String, serde_json::Value>;

/// Options that are others for the tickets of a team, by its name as templates see it.
pub type Teams = BTreeMap<String, Values>;

/// Mergers that are followed from one ticket to the next.
pub const MERGERS_MAX: usize = 5;

/// One helpdesk.
#[derive(Debug)]
pub struct Helpdesk {
    preset: Preset,
    http: Http,
    pace: Arc<Pace>,
    /// What every template sees: `token`, `option`, `options`.
    common: Values,
    /// What is `option` of the tickets of a team.
    options_of_teams: Teams,
    /// The operator's own fields; of no ticket, so that they are empty.
    fields: Values,
    /// What the login captured.
    session: Mutex<Option<serde_json::Value>>,
    answers: AtomicU64,
}

/// Where a ticket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// Where it was.
    There,
    /// The helpdesk has it no more.
    Gone,
    /// It was merged into the one of this id.
    In(String),
}

/// A ticket in the helpdesk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The helpdesk's own id, as it writes it.
    pub id: String,
    /// What the calls that made it captured beside, for later ones; JSON.
    pub captured: Values,
}

impl Helpdesk {
    /// A helpdesk that takes these calls there. `options` are the operator's, those left out the preset's.
    pub fn new(preset: Preset, http: Http, pace: Arc<Pace>, token: &str, options: &Values) -> Helpdesk {
        let base = options_with_defaults(&preset, options);
        let (common, options_of_teams) = common(token, base, &Teams::new());
        let (fields, session, answers) = Default::default();
        Helpdesk { preset, http, pace, common, options_of_teams, fields, session, answers }
    }

    /// The same, where for the tickets of `teams` some options are others, and the operator has fields of these names.
    pub fn with_teams_and_fields(mut self, teams: &Teams, fields: &[String]) -> Helpdesk {
        let of_all = |name: &str| self.common.get(name).cloned().unwrap_or_default();
        let base = of_all("option").as_object().cloned().unwrap_or_default();
        let token = of_all("token");
        (self.common, self.options_of_teams) = common(token.as_str().unwrap_or_default(), base, teams);
        self.fields = fields.iter().map(|name| (name.clone(), "".into())).collect();
        self
    }

    /// The teams for whose tickets some options are others.
    pub fn teams(&self) -> impl Iterator<Item = &str> {
        self.options_of_teams.keys().map(String::as_str)
    }

    /// Its calls.
    pub fn preset(&self) -> &Preset {
        &self.preset
    }

    /// The tickets there that hold this reference, the oldest first as the helpdesk lists them; `None` if it cannot
    /// search.
    ///
    /// # Errors
    ///
    /// The call's.
    pub async fn find(&self, reference: &str) -> Result<Option<Vec<String>>, CallError> {
        let Some(find) = &self.preset.calls.find else { return Ok(None) };
        let mut values = self.values(&Values::new());
        values.insert("ref".to_owned(), reference.into());
        let mut ids = Vec::new();
        let keys = std::iter::once("find.call".to_owned())
            .chain((0..find.further.len()).map(|index| format!("find.further[{index}]")));
        for (key, step) in keys.zip(std::iter::once(&find.call).chain(&find.further)) {
            let is_answered = self.step(&key, step, &mut values).await?.is_some();
            ids = answers::found(&self.preset, find, &mut values, is_answered)?;
            if !ids.is_empty() {
                break;
            }
        }
        Ok(Some(ids))
    }

    /// Makes a ticket of these values: `ref`, `subject`, `body`, `level`, `level_value`, `ticket`, ...
    ///
    /// # Errors
    ///
    /// Of the first call that fails, with the ticket if an earlier one has made it.
    pub async fn create(&self, values: &Values) -> Result<Case, (CallError, Option<Case>)> {
        let mut values = self.of_ticket(values);
        let mut case = None;
        for (index, step) in self.preset.calls.create.iter().enumerate() {
            let key = format!("create[{index}]");
            let done = self.step(&key, step, &mut values).await;
            if let Err(error) = done {
                return Err((error, case));
            }
            if step.capture.contains_key("id") {
                let Some(id) = values.get("id").and_then(|id| id_of(&seen_by(id))) else {
                    let text = format!("{key}: the answer holds no id of the ticket that was made");
                    return Err((CallError::Unclear(text), None));
                };
                case = Some(Case { id, captured: captured(&self.preset.calls.create, &values) });
            } else if let Some(case) = &mut case {
                case.captured = captured(&self.preset.calls.create, &values);
            }
        }
        // Presets are refused that lack the step.
        case.ok_or_else(|| (CallError::Template("create: no step makes the ticket".to_owned()), None))
    }

    /// The steps of creation after the one that makes the ticket, for one that was found and may lack them.
    ///
    /// # Errors
    ///
    /// Of the first call that fails.
    pub async fn complete(&self, case: &Case, values: &Values) -> Result<(), CallError> {
        let makes = self.preset.calls.create.iter().position(|step| step.capture.contains_key("id"));
        let mut values = self.of_case(case, &self.of_ticket(values));
        for (index, step) in self.preset.calls.create.iter().enumerate().skip(makes.map_or(0, |at| at + 1)) {
            self.step(&format!("create[{index}]"), step, &mut values).await?;
        }
        Ok(())
    }

    /// Adds a note for agents, and gives what its calls captured.
    ///
    /// # Errors
    ///
    /// Of the first call that fails.
    pub async fn note(&self, case: &Case, values: &Values) -> Result<Values, CallError> {
        let steps = &self.preset.calls.note;
        let values = self.steps("note", steps, self.of_case(case, values)).await?;
        Ok(captured(steps, &values))
    }

    /// Takes the text out of a note, of which its calls captured `note`.
    ///
    /// # Errors
    ///
    /// Of the first call that fails.
    pub async fn erase_note(&self, case: &Case, note: &Values, values: &Values) -> Result<(), CallError> {
        let mut seen = self.of_case(case, values);
        seen.extend(note.clone());
        self.steps("erase_note", &self.preset.calls.erase_note, seen).await.map(drop)
    }

    /// Gives a ticket another priority.
    ///
    /// # Errors
    ///
    /// Of the first call that fails.
    pub async fn reprioritise(&self, case: &Case, values: &Values) -> Result<(), CallError> {
        self.steps("reprioritise", &self.preset.calls.reprioritise, self.of_case(case, values))
            .await
            .map(drop)
    }

    /// Takes the author's text out of a ticket.
    ///
    /// # Errors
    ///
    /// Of the first call that fails.
    pub async fn erase(&self, case: &Case, values: &Values) -> Result<(), CallError> {
        self.steps("erase", &self.preset.calls.erase, self.of_case(case, values)).await.map(drop)
    }

    /// Removes a ticket.
    ///
    /// # Errors
    ///
    /// Of the first call that fails.
    pub async fn remove(&self, case: &Case) -> Result<(), CallError> {
        self.steps("remove", &self.preset.calls.remove, self.of_case(case, &Values::new())).await.map(drop)
    }

    /// What has become of a ticket; `None` where the helpdesk's API does not say.
    ///
    /// # Errors
    ///
    /// The call's, but for one that says that there is no such ticket: it was deleted, or, where the helpdesk says the
    /// same of what our account may not see, that is the error.
    pub async fn read(&self, case: &Case) -> Result<Option<Standing>, CallError> {
        self.read_counting(case, &mut 0).await
    }

    /// The same; `calls` grows by those that it makes, each page of a list one, however it ends.
    ///
    /// # Errors
    ///
    /// As [`Helpdesk::read`].
    pub async fn read_counting(&self, case: &Case, calls: &mut u32) -> Result<Option<Standing>, CallError> {
        let Some(read) = &self.preset.calls.read else { return Ok(None) };
        let mut values = self.of_case(case, &Values::new());
        match self.step_counting("read.call", &read.call, &mut values, calls).await {
            Err(error) if error.is_absence() && read.hides_as_absent => Err(error.hidden()),
            Err(error) if error.is_absence() => Ok(Some(Standing::gone())),
            Err(error) => Err(error),
            Ok(answer) => {
                values.insert("item".to_owned(), answer.map(|answer| answer.body).unwrap_or_default());
                for (index, step) in read.also.iter().enumerate() {
                    self.step_counting(&format!("read.also[{index}]"), step, &mut values, calls).await?;
                }
                Ok(Some(answers::standing(&self.preset, "read.fields", &read.fields, &values)?))
            }
        }
    }

    /// How many calls it has answered well.
    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Where a ticket is. It is gone where the helpdesk says so when it is asked for it, and answers its preset's first
    /// question rightly; else it is another's, or our account has lost its rights. Where its API reads no tickets they
    /// are all there.
    ///
    /// # Errors
    ///
    /// The calls', and where nobody can tell.
    pub async fn whereabouts(&self, case: &Case) -> Result<Whereabouts, CallError> {
        match self.read(case).await? {
            Some(Standing { merged_into: Some(id), .. }) => return Ok(Whereabouts::In(id)),
            Some(standing) if standing.state_there == GONE => {}
            _ => return Ok(Whereabouts::There),
        }
        match self.is_sound().await? {
            true => Ok(Whereabouts::Gone),
            false => {
                Err(CallError::Unclear(format!("it knows no ticket {}, nor does it answer rightly", case.id)))
            }
        }
    }

    /// Whether the helpdesk answers its preset's first question rightly: it is the one that it should be, and takes
    /// calls of ours. Where the preset asks none it is.
    ///
    /// # Errors
    ///
    /// The call's.
    pub async fn is_sound(&self) -> Result<bool, CallError> {
        match self.preset.calls.probe.is_empty() {
            true => Ok(true),
            false => Ok(self.probe(0, None).await?.is_ok()),
        }
    }

    /// Which tickets have changed; without a cursor from now on. `None` where the helpdesk's API does not list that.
    ///
    /// # Errors
    ///
    /// The call's.
    pub async fn changed(
        &self,
        cursor: Option<&str>,
        now: jiff::Timestamp,
    ) -> Result<Option<Changes>, CallError> {
        self.changed_counting(cursor, now, &mut 0).await
    }

    /// The same; `calls` grows by those that it makes, however it ends.
    ///
    /// # Errors
    ///
    /// The call's.
    pub async fn changed_counting(
        &self,
        cursor: Option<&str>,
        now: jiff::Timestamp,
        calls: &mut u32,
    ) -> Result<Option<Changes>, CallError> {
        let Some(changed) = &self.preset.calls.changed else { return Ok(None) };
        let mut values = self.values(&Values::new());
        values.insert("now".to_owned(), now.to_string().into());
        values.insert("now_s".to_owned(), now.as_second().into());
        let cursor = match cursor {
            Some(cursor) => cursor.to_owned(),
            None => {
                if let Some(start) = &changed.start {
                    self.step_counting("changed.start", start, &mut values, calls).await?;
                }
                answers::text_of(&self.preset.evaluate("changed.first", &changed.first, &seen_by(&values))?)
            }
        };
        values.insert("cursor".to_owned(), cursor.clone().into());
        let answer = self.step_counting("changed.call", &changed.call, &mut values, calls).await?;
        for (index, step) in changed.also.iter().enumerate() {
            self.step_counting(&format!("changed.also[{index}]"), step, &mut values, calls).await?;
        }
        Ok(Some(answers::changes(&self.preset, changed, values, cursor, answer.is_some())?))
    }

    /// Which of the preset's questions are to be asked: all that there is something to ask of; for the tickets of a
    /// team those whose answer may be another one.
    pub fn questions(&self, team: Option<&str>) -> Vec<usize> {
        let values = self.of_probe(team);
        let base = self.common.get("option");
        let own = values.get("option").and_then(serde_json::Value::as_object).cloned().unwrap_or_default();
        let own = own.into_iter().filter(|(name, value)| base.is_none_or(|base| base[name] != *value));
        let own: Vec<String> = own.map(|(name, _)| name).collect();
        let seen = seen_by(&values);
        let is_asked = |(index, probe): &(usize, &Probe)| {
            let when = probe.call.when.as_ref();
            let key = format!("probe[{index}].call.when");
            let is_out = when.is_some_and(|when| {
                self.preset.evaluate(&key, when, &seen).is_ok_and(|when| !when.is_true())
            });
            !is_out && (team.is_none() || self.preset.depends(probe, &own))
        };
        self.preset.calls.probe.iter().enumerate().filter(is_asked).map(|(index, _)| index).collect()
    }

    /// The advice where the answer to one of the preset's questions is not right, or there is none.
    pub fn advice(&self, index: usize, team: Option<&str>) -> String {
        let advice = &self.preset.calls.probe[index].advice;
        let seen = seen_by(&self.of_probe(team));
        let rendered = self.preset.render(&format!("probe[{index}].advice"), advice, Escape::Nothing, &seen);
        rendered.unwrap_or_else(|_| advice.clone())
    }

    /// Asks one of the preset's questions, of a team's tickets if it is named: whether the answer is right, and the advice
    /// if not.
    ///
    /// # Errors
    ///
    /// The call's.
    pub async fn probe(&self, index: usize, team: Option<&str>) -> Result<Result<(), String>, CallError> {
        let probe = &self.preset.calls.probe[index];
        let key = format!("probe[{index}]");
        let mut values = self.of_probe(team);
        // One that is left out is no wrong answer.
        if self.step(&format!("{key}.call"), &probe.call, &mut values).await?.is_none() {
            return Ok(Ok(()));
        }
        let seen = seen_by(&values);
        let is_right = match &probe.right {
            Some(right) => self.preset.evaluate(&format!("{key}.right"), right, &seen)?.is_true(),
            None => true,
        };
        match is_right {
            true => Ok(Ok(())),
            false => Ok(Err(self.preset.render(
                &format!("{key}.advice"),
                &probe.advice,
                Escape::Nothing,
                &seen,
            )?)),
        }
    }
}

/// What the steps of creation have captured.
fn captured(steps: &[Step], values: &Values) -> Values {
    let names = steps.iter().flat_map(|step| step.capture.keys());
    names.filter_map(|name| Some((name.clone(), values.get(name)?.clone()))).collect()
}
