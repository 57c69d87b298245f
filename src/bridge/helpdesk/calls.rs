//! The calls of which operations are made: logged in, at the helpdesk's pace, rendered by the preset.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::json;

use super::answers::seen_by;
use super::{Case, Helpdesk, Values, answers};
use crate::access::brands::is_same;
use crate::bridge::http::{Answer, Call, CallError};
use crate::bridge::preset::{Escape, RenderError, Step};

/// So often a step is made again at most: of a list with pages, so many are read.
pub const AGAIN_MAX: usize = 50;

impl Helpdesk {
    pub(super) fn values(&self, values: &Values) -> Values {
        let mut all = self.common.clone();
        all.extend(values.clone());
        all
    }

    /// What calls that make a ticket see: `option` is what is so for its team.
    pub(super) fn of_ticket(&self, values: &Values) -> Values {
        let mut all = self.values(values);
        let team = values.get("team").and_then(serde_json::Value::as_str);
        all.extend(self.option_of(team));
        all
    }

    /// What questions of the preset's see.
    pub(super) fn of_probe(&self, team: Option<&str>) -> Values {
        let mut all = self.values(&Values::new());
        all.extend(self.option_of(team));
        all.insert("fields".to_owned(), self.fields.clone().into());
        all
    }

    fn option_of(&self, team: Option<&str>) -> Option<(String, serde_json::Value)> {
        let team = team?;
        let (_, own) = self.options_of_teams.iter().find(|(name, _)| is_same(name, team))?;
        Some(("option".to_owned(), own.clone().into()))
    }

    pub(super) fn of_case(&self, case: &Case, values: &Values) -> Values {
        let mut all = self.values(&case.captured);
        all.extend(values.clone());
        all.insert("id".to_owned(), case.id.clone().into());
        all
    }

    pub(super) async fn steps(
        &self,
        name: &str,
        steps: &[Step],
        mut values: Values,
    ) -> Result<Values, CallError> {
        for (index, step) in steps.iter().enumerate() {
            self.step(&format!("{name}[{index}]"), step, &mut values).await?;
        }
        Ok(values)
    }

    /// One step, if it is to be made, or as often as its list is long; its captures are put into `values`, and
    /// `response`, `status` and `headers`.
    pub(super) async fn step(
        &self,
        key: &str,
        step: &Step,
        values: &mut Values,
    ) -> Result<Option<Answer>, CallError> {
        self.step_counting(key, step, values, &mut 0).await
    }

    /// The same; `calls` grows by those that are made, however they end: by none where the step is left out, by one for
    /// each page, and by one for a login.
    pub(super) async fn step_counting(
        &self,
        key: &str,
        step: &Step,
        values: &mut Values,
        calls: &mut u32,
    ) -> Result<Option<Answer>, CallError> {
        if let Some(again) = &step.again {
            let key_of_again = format!("{key}.again");
            for _ in 0..AGAIN_MAX {
                let answer = self.once(key, step, values, calls).await?;
                let more = self.preset.evaluate(&key_of_again, again, &seen_by(&*values))?.is_true();
                if answer.is_none() || !more {
                    return Ok(answer);
                }
            }
            return Err(CallError::Template(format!("{key}: there is more after {AGAIN_MAX} calls")));
        }
        let Some(each) = &step.each else { return self.once(key, step, values, calls).await };
        let mut last = None;
        for item in answers::items(&self.preset, &format!("{key}.each"), each, values, false)? {
            values.insert("item".to_owned(), item);
            last = self.once(key, step, values, calls).await?.or(last);
        }
        Ok(last)
    }

    async fn once(
        &self,
        key: &str,
        step: &Step,
        values: &mut Values,
        calls: &mut u32,
    ) -> Result<Option<Answer>, CallError> {
        if let Some(when) = &step.when {
            let seen = seen_by(&*values);
            if !self.preset.evaluate(&format!("{key}.when"), when, &seen)?.is_true() {
                return Ok(None);
            }
        }
        let answer = match self.with_session(key, step, values, false, calls).await {
            Err(CallError::Refused { status: 401, .. }) if self.preset.calls.login.is_some() => {
                self.with_session(key, step, values, true, calls).await?
            }
            other => other?,
        };
        self.take(key, step, &answer, values)?;
        Ok(Some(answer))
    }

    /// Takes from a good answer what the step captures, if it says that the thing was done.
    fn take(&self, key: &str, step: &Step, answer: &Answer, values: &mut Values) -> Result<(), CallError> {
        self.note_answer(values, answer);
        // A call that only asks has done nothing; of another one that has been answered nobody knows what it did.
        let failed = |error: RenderError| match step.method == "GET" {
            true => CallError::from(error),
            false => CallError::Unclear(error.to_string()),
        };
        if let Some(done) = &step.done {
            let is_done = self.preset.evaluate(&format!("{key}.done"), done, &seen_by(&*values));
            if !is_done.map_err(failed)?.is_true() {
                // What was asked for is the thing itself, an author's text with it, and says nothing of why.
                return Err(match step.method == "GET" {
                    true => answer.refusal().without_words(),
                    false => answer.refusal(),
                });
            }
        }
        for (name, expression) in &step.capture {
            let seen = seen_by(&*values);
            let value = self.preset.evaluate(&format!("{key}.capture.{name}"), expression, &seen);
            let value = value.map_err(failed)?;
            if !value.is_undefined() {
                values.insert(name.clone(), serde_json::to_value(&value).unwrap_or_default());
            }
        }
        Ok(())
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
        calls: &mut u32,
    ) -> Result<Answer, CallError> {
        if let Some(login) = &self.preset.calls.login {
            let known = self.session.lock().clone().filter(|_| !again);
            let session = match known {
                Some(session) => session,
                None => {
                    let mut seen = self.common.clone();
                    let answer = self.paced(self.request("login", login, &seen, false)?, calls).await?;
                    // What the answer lacks is in no session: not what has the same name before it.
                    seen.retain(|name, _| !login.capture.contains_key(name));
                    // The call itself has not been made, and no ticket is at fault.
                    let no_session =
                        |error: CallError| CallError::NotSent(format!("login: {}", error.in_short()));
                    self.take("login", login, &answer, &mut seen).map_err(no_session)?;
                    let session = seen.into_iter().filter(|(name, _)| login.capture.contains_key(name));
                    let session: serde_json::Value = session.collect::<Values>().into();
                    *self.session.lock() = Some(session.clone());
                    session
                }
            };
            values.insert("session".to_owned(), session);
        }
        let answer = self.paced(self.request(key, step, values, true)?, calls).await;
        // Some answer with a page where a session has ended: the next call begins another.
        if answer.as_ref().is_err_and(CallError::is_unclear) {
            *self.session.lock() = None;
        }
        answer
    }

    async fn paced(&self, call: Call, calls: &mut u32) -> Result<Answer, CallError> {
        *calls += 1;
        let _turn = self.pace.turn().await;
        let answer = self.http.call(call).await;
        self.pace.heard(&answer);
        self.answers.fetch_add(u64::from(answer.is_ok()), Ordering::Relaxed);
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
        let left_in = self.preset.calls.limits.as_ref().map(|limits| limits.remaining.clone());
        Ok(Call { method, path, headers, body, accept: step.accept.clone(), answer: step.answer, left_in })
    }
}
