//! A helpdesk: its operations, each some calls of its preset.
//!
//! Plain about what was done: an operation's error says whether the helpdesk may have done something all the same.
//! What to do about it is its caller's to decide, and when a call may be made is [`Pace`]'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use minijinja::value::Value;
use parking_lot::Mutex;
use serde_json::{Map, json};

use super::http::{Answer, Call, CallError, Http};
use super::pace::Pace;
use super::preset::{Escape, Fields, Preset, RenderError, Step};
use crate::ticket::proto::ticket_status::State;

/// What a ticket's state is called where the helpdesk says that it knows no such ticket.
pub const GONE: &str = "gone";

/// What templates see, by name.
pub type Values = Map<String, serde_json::Value>;

/// One helpdesk.
#[derive(Debug)]
pub struct Helpdesk {
    preset: Preset,
    http: Http,
    pace: Arc<Pace>,
    /// What every template sees: `token`, `option`.
    common: Values,
    /// What the login captured.
    session: Mutex<Option<serde_json::Value>>,
}

/// A ticket in the helpdesk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The helpdesk's own id, as it writes it.
    pub id: String,
    /// What the calls that made it captured beside, for later ones; JSON.
    pub captured: Values,
}

/// What has become of a ticket in the helpdesk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// In our words; `None` where the preset does not know the helpdesk's.
    pub state: Option<State>,
    /// In its own.
    pub state_there: String,
    /// Empty: nobody's.
    pub agent: String,
    /// Microseconds since 1970.
    pub first_answer_at_us: Option<i64>,
    /// 1 to 5.
    pub satisfaction: Option<u32>,
    /// The ticket that it was merged into.
    pub merged_into: Option<String>,
}

/// A page of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Which tickets, and what has become of them where the listing says it.
    pub cases: Vec<(String, Option<Standing>)>,
    /// From where to go on.
    pub cursor: String,
    /// Whether there is more already.
    pub more: bool,
}

impl From<RenderError> for CallError {
    fn from(error: RenderError) -> CallError {
        CallError::Template(error.to_string())
    }
}

impl Helpdesk {
    /// A helpdesk that takes these calls there. `options` are the operator's, those left out the preset's.
    pub fn new(preset: Preset, http: Http, pace: Arc<Pace>, token: &str, options: &Values) -> Helpdesk {
        let defaults = preset.calls.options.iter();
        let mut all: Values = defaults
            .filter_map(|(name, option)| {
                Some((name.clone(), serde_json::to_value(option.default.as_ref()?).ok()?))
            })
            .collect();
        all.extend(options.clone());
        let mut common = Values::new();
        common.insert("token".to_owned(), token.into());
        common.insert("option".to_owned(), all.into());
        Helpdesk { preset, http, pace, common, session: Mutex::default() }
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
            let answer = self.step(&key, step, &mut values).await?;
            for item in self.items("find.items", &find.items, &values, answer.as_ref())? {
                values.insert("item".to_owned(), item);
                let seen = seen_by(&values);
                let is_ours = match &find.matches {
                    Some(matches) => self.preset.evaluate("find.matches", matches, &seen)?.is_true(),
                    None => true,
                };
                if is_ours {
                    ids.extend(id_of(&self.preset.evaluate("find.id", &find.id, &seen)?));
                }
            }
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
        let mut values = self.values(values);
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
        let mut values = self.of_case(case, values);
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
    /// The call's, but for one that says that there is no such ticket: it was deleted.
    pub async fn read(&self, case: &Case) -> Result<Option<Standing>, CallError> {
        let Some(read) = &self.preset.calls.read else { return Ok(None) };
        let mut values = self.of_case(case, &Values::new());
        match self.step("read.call", &read.call, &mut values).await {
            Err(error) if error.is_absence() => Ok(Some(Standing {
                state: Some(State::Deleted),
                state_there: GONE.to_owned(),
                agent: String::new(),
                first_answer_at_us: None,
                satisfaction: None,
                merged_into: None,
            })),
            Err(error) => Err(error),
            Ok(answer) => {
                values.insert("item".to_owned(), answer.map(|answer| answer.body).unwrap_or_default());
                for (index, step) in read.also.iter().enumerate() {
                    self.step(&format!("read.also[{index}]"), step, &mut values).await?;
                }
                Ok(Some(self.standing("read.fields", &read.fields, &values)?))
            }
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
        let Some(changed) = &self.preset.calls.changed else { return Ok(None) };
        let mut values = self.values(&Values::new());
        values.insert("now".to_owned(), now.to_string().into());
        values.insert("now_s".to_owned(), now.as_second().into());
        let cursor = match cursor {
            Some(cursor) => cursor.to_owned(),
            None => {
                if let Some(start) = &changed.start {
                    self.step("changed.start", start, &mut values).await?;
                }
                text_of(&self.preset.evaluate("changed.first", &changed.first, &seen_by(&values))?)
            }
        };
        values.insert("cursor".to_owned(), cursor.clone().into());
        let answer = self.step("changed.call", &changed.call, &mut values).await?;
        let seen = seen_by(&values);
        let next = self.preset.evaluate("changed.cursor", &changed.cursor, &seen)?;
        let more = match &changed.more {
            Some(more) => self.preset.evaluate("changed.more", more, &seen)?.is_true(),
            None => false,
        };
        let mut cases = Vec::new();
        for item in self.items("changed.items", &changed.items, &values, answer.as_ref())? {
            values.insert("item".to_owned(), item);
            let seen = seen_by(&values);
            let Some(id) = id_of(&self.preset.evaluate("changed.id", &changed.id, &seen)?) else { continue };
            let standing = match &changed.fields {
                Some(fields) => Some(self.standing("changed.fields", fields, &values)?),
                None => None,
            };
            cases.push((id, standing));
        }
        let next = if next.is_undefined() || next.is_none() { cursor } else { text_of(&next) };
        Ok(Some(Changes { cases, cursor: next, more }))
    }

    /// Asks one of the preset's questions: whether the answer is right, and the advice if not.
    ///
    /// # Errors
    ///
    /// The call's.
    pub async fn probe(&self, index: usize) -> Result<Result<(), String>, CallError> {
        let probe = &self.preset.calls.probe[index];
        let key = format!("probe[{index}]");
        let mut values = self.values(&Values::new());
        self.step(&format!("{key}.call"), &probe.call, &mut values).await?;
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

    fn values(&self, values: &Values) -> Values {
        let mut all = self.common.clone();
        all.extend(values.clone());
        all
    }

    fn of_case(&self, case: &Case, values: &Values) -> Values {
        let mut all = self.values(&case.captured);
        all.extend(values.clone());
        all.insert("id".to_owned(), case.id.clone().into());
        all
    }

    async fn steps(&self, name: &str, steps: &[Step], mut values: Values) -> Result<Values, CallError> {
        for (index, step) in steps.iter().enumerate() {
            self.step(&format!("{name}[{index}]"), step, &mut values).await?;
        }
        Ok(values)
    }

    /// One step, if it is to be made, or as often as its list is long; its captures are put into `values`, and
    /// `response`, `status` and `headers`.
    async fn step(&self, key: &str, step: &Step, values: &mut Values) -> Result<Option<Answer>, CallError> {
        let Some(each) = &step.each else { return self.once(key, step, values).await };
        let mut last = None;
        for item in self.items(&format!("{key}.each"), each, values, None)? {
            values.insert("item".to_owned(), item);
            last = self.once(key, step, values).await?.or(last);
        }
        Ok(last)
    }

    async fn once(&self, key: &str, step: &Step, values: &mut Values) -> Result<Option<Answer>, CallError> {
        if let Some(when) = &step.when {
            let seen = seen_by(&*values);
            if !self.preset.evaluate(&format!("{key}.when"), when, &seen)?.is_true() {
                return Ok(None);
            }
        }
        let answer = match self.with_session(key, step, values, false).await {
            Err(CallError::Refused { status: 401, .. }) if self.preset.calls.login.is_some() => {
                self.with_session(key, step, values, true).await?
            }
            other => other?,
        };
        self.note_answer(values, &answer);
        if let Some(done) = &step.done
            && !self.preset.evaluate(&format!("{key}.done"), done, &seen_by(&*values))?.is_true()
        {
            return Err(answer.refusal());
        }
        for (name, expression) in &step.capture {
            let seen = seen_by(&*values);
            let value = self.preset.evaluate(&format!("{key}.capture.{name}"), expression, &seen)?;
            if !value.is_undefined() {
                values.insert(name.clone(), serde_json::to_value(&value).unwrap_or_default());
            }
        }
        Ok(Some(answer))
    }

    fn note_answer(&self, values: &mut Values, answer: &Answer) {
        values.insert("response".to_owned(), answer.body.clone());
        values.insert("status".to_owned(), answer.status.into());
        let headers: BTreeMap<&str, &str> = answer
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
            .collect();
        values.insert("headers".to_owned(), json!(headers));
    }

    /// The call itself; logs in first where that is needed and not done, or asked for `again`.
    async fn with_session(
        &self,
        key: &str,
        step: &Step,
        values: &mut Values,
        again: bool,
    ) -> Result<Answer, CallError> {
        if let Some(login) = &self.preset.calls.login {
            let known = self.session.lock().clone().filter(|_| !again);
            let session = match known {
                Some(session) => session,
                None => {
                    let mut seen = self.common.clone();
                    let answer = self.paced(self.request("login", login, &seen, false)?).await?;
                    self.note_answer(&mut seen, &answer);
                    let mut session = Values::new();
                    for (name, expression) in &login.capture {
                        let value = seen_by(&seen);
                        let value =
                            self.preset.evaluate(&format!("login.capture.{name}"), expression, &value)?;
                        session.insert(name.clone(), serde_json::to_value(&value).unwrap_or_default());
                    }
                    let session = serde_json::Value::from(session);
                    *self.session.lock() = Some(session.clone());
                    session
                }
            };
            values.insert("session".to_owned(), session);
        }
        let answer = self.paced(self.request(key, step, values, true)?).await;
        // Some answer with a page where a session has ended: the next call begins another.
        if answer.as_ref().is_err_and(CallError::is_unclear) {
            *self.session.lock() = None;
        }
        answer
    }

    async fn paced(&self, call: Call) -> Result<Answer, CallError> {
        let _turn = self.pace.turn().await;
        let answer = self.http.call(call).await;
        self.pace.heard(&answer);
        answer
    }

    fn request(&self, key: &str, step: &Step, values: &Values, common: bool) -> Result<Call, CallError> {
        let seen = seen_by(values);
        let path = self.preset.render(&format!("{key}.path"), &step.path, Escape::Url, &seen)?;
        let body = match &step.body {
            Some(body) => Some(self.preset.render(&format!("{key}.body"), body, Escape::Json, &seen)?),
            None => None,
        };
        let shared =
            self.preset.calls.headers.iter().filter(|_| common).map(|named| (String::from("headers"), named));
        let own = step.headers.iter().map(|named| (format!("{key}.headers"), named));
        let mut headers = Vec::new();
        for (key, (name, value)) in shared.chain(own) {
            let wrong = |text: String| CallError::Template(format!("{key}.{name}: {text}"));
            let value = self.preset.render(&format!("{key}.{name}"), value, Escape::Nothing, &seen)?;
            if value.is_empty() {
                continue;
            }
            let mut value = HeaderValue::from_str(&value).map_err(|_| {
                wrong("cannot be a header: it holds a line break or control character".to_owned())
            })?;
            value.set_sensitive(true);
            let name: HeaderName = name.parse().map_err(|_| wrong("is no name of a header".to_owned()))?;
            headers.push((name, value));
        }
        let method = Method::from_bytes(step.method.as_bytes()).expect("checked when the preset was read");
        Ok(Call { method, path, headers, body, accept: step.accept.clone(), answer: step.answer })
    }

    fn items(
        &self,
        key: &str,
        expression: &str,
        values: &Values,
        answer: Option<&Answer>,
    ) -> Result<Vec<serde_json::Value>, CallError> {
        let items = self.preset.evaluate(key, expression, &seen_by(values))?;
        match serde_json::to_value(&items) {
            Ok(serde_json::Value::Array(items)) => Ok(items),
            // An answer without the list is not the answer that the helpdesk is known to give.
            _ if answer.is_some() => Err(CallError::Unclear(format!("{key}: the answer holds no such list"))),
            _ => Ok(Vec::new()),
        }
    }

    fn standing(&self, key: &str, fields: &Fields, values: &Values) -> Result<Standing, CallError> {
        let seen = seen_by(values);
        let field = |name: &str, expression: Option<&String>| -> Result<Option<Value>, CallError> {
            let Some(expression) = expression else { return Ok(None) };
            let value = self.preset.evaluate(&format!("{key}.{name}"), expression, &seen)?;
            Ok(Some(value).filter(|value| !value.is_undefined() && !value.is_none()))
        };
        let state_there =
            field("state", Some(&fields.state))?.map(|state| text_of(&state)).unwrap_or_default();
        let first_answer_at = field("first_answer_at", fields.first_answer_at.as_ref())?;
        let satisfaction = field("satisfaction", fields.satisfaction.as_ref())?;
        Ok(Standing {
            state: self.preset.calls.states.get(&state_there).map(|state| State::from(*state)),
            state_there,
            agent: field("agent", fields.agent.as_ref())?.map(|agent| text_of(&agent)).unwrap_or_default(),
            first_answer_at_us: first_answer_at.as_ref().and_then(moment),
            satisfaction: satisfaction.and_then(|value| u32::try_from(i64::try_from(value).ok()?).ok()),
            merged_into: field("merged_into", fields.merged_into.as_ref())?.and_then(|id| id_of(&id)),
        })
    }
}

/// What the steps of creation have captured.
fn captured(steps: &[Step], values: &Values) -> Values {
    let names = steps.iter().flat_map(|step| step.capture.keys());
    names.filter_map(|name| Some((name.clone(), values.get(name)?.clone()))).collect()
}

/// Numbers and texts are ids; nothing else is, and no empty text.
pub(super) fn id_of(value: &Value) -> Option<String> {
    let id = match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.is_number() => value.to_string(),
        None => return None,
    };
    Some(id).filter(|id| !id.is_empty())
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// RFC 3339, or seconds since 1970.
fn moment(value: &Value) -> Option<i64> {
    match value.as_str() {
        Some(text) => text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond),
        None => i64::try_from(value.clone()).ok()?.checked_mul(1_000_000),
    }
    .filter(|at_us| *at_us > 0)
}

/// What a template or expression sees of these values.
pub(super) fn seen_by(values: &impl serde::Serialize) -> Value {
    Value::from(minijinja::value::Serde(values))
}
