//! What is wrong in a preset's file, by the key at which it stands.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use hyper::header::HeaderName;
use minijinja::ErrorKind;
use minijinja::value::{Object, Value};

use super::render::Escape;
use super::{Fields, Preset, PresetError, Probe, Step};

/// What templates and expressions may ask for, beside what calls capture.
const VALUES: [&str; 30] = [
    "token",
    "option",
    "options",
    "session",
    "ref",
    "subject",
    "body",
    "body_html",
    "level",
    "level_value",
    "priority",
    "team",
    "agent",
    "tags",
    "fields",
    "ticket",
    "note",
    "reason",
    "id",
    "response",
    "status",
    "headers",
    "item",
    "cursor",
    "now",
    "now_s",
    "event",
    "brand",
    "language",
    "range",
];

impl Preset {
    pub(super) fn check(&self) -> Result<(), PresetError> {
        let calls = &self.calls;
        for (name, value) in &calls.headers {
            self.check_header(&format!("headers.{name}"), name, value)?;
        }
        if let Some(limits) = &calls.limits {
            check_name("limits.remaining", &limits.remaining)?;
            limits.reset.iter().try_for_each(|reset| check_name("limits.reset", reset))?;
        }
        for (name, steps) in self.operations() {
            steps
                .iter()
                .enumerate()
                .try_for_each(|(index, step)| self.check_step(&format!("{name}[{index}]"), step))?;
        }
        let makes = calls.create.iter().filter(|step| step.capture.contains_key("id")).count();
        if makes != 1 {
            return Err(mistake("create", "exactly one step must capture id"));
        }
        if let Some(login) = &calls.login {
            self.check_step("login", login)?;
        }
        if let Some(find) = &calls.find {
            self.check_step("find.call", &find.call)?;
            for (index, step) in find.further.iter().enumerate() {
                self.check_step(&format!("find.further[{index}]"), step)?;
            }
            let expressions =
                [("items", Some(&find.items)), ("id", Some(&find.id)), ("matches", find.matches.as_ref())];
            self.check_expressions("find", &expressions)?;
        }
        if let Some(read) = &calls.read {
            self.check_step("read.call", &read.call)?;
            for (index, step) in read.also.iter().enumerate() {
                self.check_step(&format!("read.also[{index}]"), step)?;
            }
            self.check_fields("read.fields", &read.fields)?;
        }
        if let Some(changed) = &calls.changed {
            self.check_step("changed.call", &changed.call)?;
            changed.start.iter().try_for_each(|start| self.check_step("changed.start", start))?;
            for (index, step) in changed.also.iter().enumerate() {
                self.check_step(&format!("changed.also[{index}]"), step)?;
            }
            let expressions = [
                ("items", Some(&changed.items)),
                ("id", Some(&changed.id)),
                ("cursor", Some(&changed.cursor)),
                ("first", Some(&changed.first)),
                ("at", changed.at.as_ref()),
                ("more", changed.more.as_ref()),
            ];
            self.check_expressions("changed", &expressions)?;
            changed.fields.iter().try_for_each(|fields| self.check_fields("changed.fields", fields))?;
        }
        if let Some(webhook) = &calls.webhook {
            self.check_expressions("webhook", &[("id", Some(&webhook.id))])?;
            let headers = [
                ("webhook.signature_header", &webhook.signature_header),
                ("webhook.timestamp_header", &webhook.timestamp_header),
            ];
            for (key, name) in headers {
                name.iter().try_for_each(|name| check_name(key, name))?;
            }
        }
        for (index, probe) in calls.probe.iter().enumerate() {
            let key = format!("probe[{index}]");
            self.check_step(&format!("{key}.call"), &probe.call)?;
            self.check_expressions(&key, &[("right", probe.right.as_ref())])?;
            self.check_template(&format!("{key}.advice"), &probe.advice, Escape::Nothing)?;
        }
        Ok(())
    }

    /// Whether a ticket is made with fields of the operator's own.
    pub fn takes_fields(&self) -> bool {
        let mut bodies = self.calls.create.iter().filter_map(|step| step.body.as_ref());
        bodies.any(|body| self.asked_by_template(body).contains("fields"))
    }

    /// Whether the answer to this question may be another one where these options are others.
    pub(in crate::bridge) fn depends(&self, probe: &Probe, options: &[String]) -> bool {
        let Probe { call, right, .. } = probe;
        let templates =
            [Some(&call.path), call.body.as_ref()].into_iter().flatten().chain(call.headers.values());
        let expressions = [right, &call.when, &call.each].into_iter().flatten();
        let asked = templates.map(|text| self.asked_by_template(text));
        let mut asked = asked.chain(expressions.map(|text| self.asked_by_expression(text))).flatten();
        asked.any(|name| {
            name.strip_prefix("option.").is_some_and(|name| options.iter().any(|option| option == name))
        })
    }

    /// What a template asks for, each with its path: `option.queue`.
    pub(in crate::bridge) fn asked_by_template(&self, text: &str) -> HashSet<String> {
        let template = self.templates.template_from_str(text);
        template.map(|template| template.undeclared_variables(true)).unwrap_or_default()
    }

    fn asked_by_expression(&self, text: &str) -> HashSet<String> {
        let expression = self.expressions.compile_expression(text);
        expression.map(|expression| expression.undeclared_variables(true)).unwrap_or_default()
    }

    fn operations(&self) -> [(&'static str, &Vec<Step>); 6] {
        let calls = &self.calls;
        [
            ("create", &calls.create),
            ("note", &calls.note),
            ("reprioritise", &calls.reprioritise),
            ("erase", &calls.erase),
            ("erase_note", &calls.erase_note),
            ("remove", &calls.remove),
        ]
    }

    fn check_step(&self, key: &str, step: &Step) -> Result<(), PresetError> {
        if !["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&step.method.as_str()) {
            return Err(mistake(&format!("{key}.method"), "must be GET, POST, PUT, PATCH or DELETE"));
        }
        if !step.path.starts_with('/') {
            return Err(mistake(
                &format!("{key}.path"),
                "must begin with a slash: it goes below the address",
            ));
        }
        if step.each.is_some() && !step.capture.is_empty() {
            return Err(mistake(&format!("{key}.capture"), "a step with each captures nothing"));
        }
        self.check_template(&format!("{key}.path"), &step.path, Escape::Url)?;
        for (name, value) in &step.headers {
            self.check_header(&format!("{key}.headers.{name}"), name, value)?;
        }
        if let Some(body) = &step.body {
            self.check_template(&format!("{key}.body"), body, Escape::Json)?;
        }
        if step.each.is_some() && step.again.is_some() {
            return Err(mistake(&format!("{key}.again"), "a step with each is not made again"));
        }
        let expressions = [
            ("when", step.when.as_ref()),
            ("each", step.each.as_ref()),
            ("done", step.done.as_ref()),
            ("again", step.again.as_ref()),
        ];
        self.check_expressions(key, &expressions)?;
        for (name, expression) in &step.capture {
            self.check_expressions(&format!("{key}.capture"), &[(name, Some(expression))])?;
        }
        Ok(())
    }

    fn check_fields(&self, key: &str, fields: &Fields) -> Result<(), PresetError> {
        let Fields { state, agent, first_answer_at, satisfaction, recommendation, .. } = fields;
        let Fields { merged_into, level, subject, .. } = fields;
        let expressions = [
            ("state", Some(state)),
            ("agent", agent.as_ref()),
            ("first_answer_at", first_answer_at.as_ref()),
            ("satisfaction", satisfaction.as_ref()),
            ("recommendation", recommendation.as_ref()),
            ("merged_into", merged_into.as_ref()),
            ("level", level.as_ref()),
            ("subject", subject.as_ref()),
        ];
        self.check_expressions(key, &expressions)
    }

    fn check_header(&self, key: &str, name: &str, value: &str) -> Result<(), PresetError> {
        check_name(key, name)?;
        self.check_template(key, value, Escape::Nothing)
    }

    fn check_template(&self, key: &str, text: &str, escape: Escape) -> Result<(), PresetError> {
        let name = format!("{key}.{}", escape.extension());
        let compiled = self.templates.template_from_named_str(&name, text);
        let compiled = compiled.map_err(|source| PresetError::Template { key: key.to_owned(), source })?;
        self.check_values(key, compiled.undeclared_variables(true).into_iter().collect())?;
        check_names(key, compiled.render(Value::from_object(Anything)).err())
    }

    fn check_expressions(
        &self,
        key: &str,
        expressions: &[(&str, Option<&String>)],
    ) -> Result<(), PresetError> {
        for (name, text) in expressions {
            let Some(text) = text else { continue };
            let key = format!("{key}.{name}");
            let compiled = self.expressions.compile_expression(text);
            let compiled = compiled.map_err(|source| PresetError::Template { key: key.clone(), source })?;
            self.check_values(&key, compiled.undeclared_variables(true).into_iter().collect())?;
            check_names(&key, compiled.eval(Value::from_object(Anything)).err())?;
        }
        Ok(())
    }

    /// A value that nothing gives is a mistake in writing.
    fn check_values(&self, key: &str, asked: BTreeSet<String>) -> Result<(), PresetError> {
        for value in asked {
            let (name, rest) = value.split_once('.').unwrap_or((&value, ""));
            if !VALUES.contains(&name) && !self.is_captured(name) {
                let text = format!("asks for {name}, which nothing gives");
                return Err(PresetError::Mistake { key: key.to_owned(), text });
            }
            let option = rest.split('.').next().unwrap_or_default();
            if name == "option" && !option.is_empty() && !self.calls.options.contains_key(option) {
                let text = format!("asks for option.{option}, which is not among the options");
                return Err(PresetError::Mistake { key: key.to_owned(), text });
            }
        }
        Ok(())
    }

    fn is_captured(&self, name: &str) -> bool {
        let calls = &self.calls;
        let read = calls.read.iter().flat_map(|read| std::iter::once(&read.call).chain(&read.also));
        let find = calls.find.iter().flat_map(|find| std::iter::once(&find.call).chain(&find.further));
        let changed = calls.changed.iter().flat_map(|list| std::iter::once(&list.call).chain(&list.also));
        let steps = self.operations().into_iter().flat_map(|(_, steps)| steps);
        steps.chain(read).chain(find).chain(changed).any(|step| step.capture.contains_key(name))
    }
}

/// Filters are looked for only when they are needed: a try with values of no kind meets those that there are not.
fn check_names(key: &str, error: Option<minijinja::Error>) -> Result<(), PresetError> {
    let unknown = [
        ErrorKind::UnknownFilter,
        ErrorKind::UnknownTest,
        ErrorKind::UnknownFunction,
        ErrorKind::UnknownMethod,
    ];
    match error {
        Some(source) if unknown.contains(&source.kind()) => {
            Err(PresetError::Template { key: key.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Has whatever it is asked for.
#[derive(Debug)]
struct Anything;

impl Object for Anything {
    fn get_value(self: &Arc<Self>, _: &Value) -> Option<Value> {
        Some(Value::from_dyn_object(self.clone()))
    }
}

fn mistake(key: &str, text: &str) -> PresetError {
    PresetError::Mistake { key: key.to_owned(), text: text.to_owned() }
}

fn check_name(key: &str, name: &str) -> Result<(), PresetError> {
    match name.parse::<HeaderName>() {
        Ok(_) => Ok(()),
        Err(_) => Err(mistake(key, &format!("{name:?} is no name of a header"))),
    }
}
