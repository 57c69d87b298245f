//! What a preset asks for, what of that is another for the tickets of a team, and which fields it is to fill.

use std::path::Path;

use super::secrets::secret_in;
use crate::access::brands::is_same;
use crate::bridge::helpdesk::{Teams, Values};
use crate::bridge::preset::Preset;
use crate::bridge::text::{Fields, FourByte, as_seen};
use crate::config::reader::{Placed, Section, nearest};
use crate::config::route::did_you_mean;
use crate::desk::route::Team;

/// Most fields of an operator's own: each is rendered for each ticket, and helpdesks have no more in a form.
const FIELDS_MAX: usize = 100;
/// Options that name a field of which the preset itself takes care.
const FIELDS_OF_PRESETS: [&str; 2] = ["field", "recommendation"];

/// `[bridge.options]`; `NAME_file` instead of `NAME` takes it from a file of its own.
pub(super) fn read_options(
    section: &Section<'_, '_>,
    preset: &Preset,
    warnings: &mut Vec<String>,
) -> Option<Values> {
    let mut options = given(section, preset, warnings);
    for (name, option) in &preset.calls.options {
        if option.default.is_none() && !section.has(name) && !section.has(&format!("{name}_file")) {
            section.mistake(format_args!("{name} is missing: {}", option.about));
            options = None;
        }
    }
    options
}

/// `[bridge.teams.TEAM]`: options of a ticket that are others for those of a team.
pub(super) fn teams(
    section: &Section<'_, '_>,
    preset: Option<&Preset>,
    known: &[Team],
    four_byte: FourByte,
    warnings: &mut Vec<String>,
) -> Option<Teams> {
    let mut teams = Teams::new();
    let mut is_right = true;
    for (name, own) in section.other_sections() {
        let team = known.iter().find(|team| is_same(&team.name, name.trim()));
        if team.is_none() && !known.is_empty() {
            let near = did_you_mean(&name, known);
            own.mistake(format_args!("there is no [[team]] {name:?}{near}"));
            is_right = false;
        }
        let team = as_seen(team.map_or(&name, |team| &team.name), four_byte);
        if teams.keys().any(|other| is_same(other, &team)) {
            own.mistake("is said twice of this team");
            is_right = false;
        }
        let Some(preset) = preset else {
            own.other_scalars();
            continue;
        };
        let by_team: Vec<&str> = preset
            .calls
            .options
            .iter()
            .filter(|(_, option)| option.by_team)
            .map(|(name, _)| name.as_str())
            .collect();
        let of_account = |name: &str| preset.calls.options.contains_key(name) && !by_team.contains(&name);
        let given = given(&own, preset, warnings);
        for name in given.iter().flat_map(Values::keys).filter(|name| of_account(name)) {
            let may = match by_team.is_empty() {
                true => format!("{} has none that is of a ticket", preset.calls.title),
                false => format!("of a ticket there are: {}", by_team.join(", ")),
            };
            own.mistake_in(
                name,
                format_args!("{name} is of the whole helpdesk, for [bridge.options]; {may}"),
            );
            is_right = false;
        }
        match given {
            Some(given) => _ = teams.insert(team, given),
            None => is_right = false,
        }
    }
    is_right.then_some(teams)
}

/// `[bridge.fields]`: the helpdesk's name of a field, and a template of what stands in it.
pub(super) fn fields(
    section: &Section<'_, '_>,
    preset: Option<&Preset>,
    options: Option<&Values>,
    four_byte: FourByte,
) -> Option<Fields> {
    let given = section.other_scalars();
    if given.len() > FIELDS_MAX {
        section.mistake(format_args!("{} fields: at most {FIELDS_MAX}", given.len()));
        return None;
    }
    let mut is_right = true;
    if let Some(preset) = preset
        && !given.is_empty()
        && !preset.takes_fields()
    {
        section.mistake(format_args!("{} takes no fields: its preset puts them nowhere", preset.calls.title));
        is_right = false;
    }
    // Two of a name would be one, and perhaps not the one by which tickets are found.
    let of_preset = |name: &str| {
        FIELDS_OF_PRESETS.into_iter().find(|option| {
            let given = options.and_then(|options| options.get(*option)).map(shown);
            let default =
                preset.and_then(|preset| preset.calls.options.get(*option)?.default.as_ref()?.as_str());
            given.as_deref().or(default).is_some_and(|taken| taken.eq_ignore_ascii_case(name))
        })
    };
    let mut templates = Vec::new();
    for field in &given {
        let named = Placed {
            value: (),
            place: field.place,
            key: format!("{}.{}", section.path_in_file(), field.key),
        };
        let Some(template) = field.value.as_str() else {
            section.mistake_at(&named, "must be a text in quotes, a template: \"{{ network }}\"");
            is_right = false;
            continue;
        };
        if let Some(form) = preset.and_then(|preset| preset.calls.fields_form.as_ref())
            && !form.is_of(&field.key)
        {
            section.mistake_at(&named, format_args!("the name {form}, as the helpdesk's API calls it"));
            is_right = false;
        }
        if let Some(option) = of_preset(&field.key) {
            section.mistake_at(
                &named,
                format_args!("is the field of the option {option}, and filled otherwise"),
            );
            is_right = false;
        }
        templates.push((field.key.clone(), template.to_owned()));
    }
    let fields = Fields::new(templates, four_byte).map_err(|mistakes| {
        for mistake in mistakes {
            let place = given.iter().find(|field| field.key == mistake.name).map_or(0, |field| field.place);
            let key = format!("{}.{}", section.path_in_file(), mistake.name);
            section.mistake_at(&Placed { value: (), place, key }, mistake);
        }
    });
    fields.ok().filter(|_| is_right)
}

/// The preset's options that stand in this section.
fn given(section: &Section<'_, '_>, preset: &Preset, warnings: &mut Vec<String>) -> Option<Values> {
    let known: Vec<&str> = preset.calls.options.keys().map(String::as_str).collect();
    let mistakes = section.mistakes();
    let mut options = Values::new();
    for given in section.other_scalars() {
        let (name, value) = (given.key.clone(), given.value.clone());
        let named = Placed { key: format!("{}.{name}", section.path_in_file()), ..given };
        let from_file = name.strip_suffix("_file").filter(|name| known.contains(name));
        if known.contains(&name.as_str()) {
            let text = shown(&value);
            if let Some(form) = &preset.calls.options[&name].form
                && !text.is_empty()
                && !form.is_of(&text)
            {
                section.mistake_at(
                    &named,
                    format_args!("{text:?}: {form}: {}", preset.calls.options[&name].about),
                );
            }
            options.insert(name, value);
        } else if let Some(name) = from_file {
            let path = Placed {
                value: value.as_str().unwrap_or_default().to_owned(),
                place: named.place,
                key: named.key,
            };
            if let Some(secret) = secret_in(section, &path, Path::new(&path.value), warnings) {
                options.insert(name.to_owned(), secret.into());
            }
        } else {
            let hint = match nearest(&name, &known) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("{} knows: {}", preset.calls.title, known.join(", ")),
            };
            section.mistake_at(&named, format_args!("unknown option; {hint}"));
        }
    }
    (section.mistakes() == mistakes).then_some(options)
}

/// A text without its quotes.
fn shown(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
