//! What templates see of the operator's options, those of a team among them.

use serde_json::json;

use super::{Teams, Values};
use crate::bridge::preset::Preset;

/// These options, and of those left out the preset's own.
pub(in crate::bridge) fn options_with_defaults(preset: &Preset, options: &Values) -> Values {
    let defaults = preset.calls.options.iter().filter_map(|(name, option)| {
        let default = serde_json::to_value(option.default.as_ref()?).ok()?;
        Some((name.clone(), default))
    });
    let mut all: Values = defaults.collect();
    all.extend(options.clone());
    all
}

/// What every template sees, `token`, `option` and `options`; and what is `option` of the tickets of each team.
pub(in crate::bridge) fn common(token: &str, base: Values, teams: &Teams) -> (Values, Teams) {
    let of_teams = options_of_teams(&base, teams);
    let mut common = Values::new();
    common.insert("token".to_owned(), token.into());
    common.insert("options".to_owned(), json!(distinct(&base, &of_teams)));
    common.insert("option".to_owned(), base.into());
    (common, of_teams)
}

/// What templates see as `option` of the tickets of each team.
pub(in crate::bridge) fn options_of_teams(base: &Values, teams: &Teams) -> Teams {
    let of_team = |own: &Values| base.clone().into_iter().chain(own.clone()).collect();
    teams.iter().map(|(team, own)| (team.clone(), of_team(own))).collect()
}

/// Every set of options that a ticket may have been made with, each once; `base` is the first.
pub(in crate::bridge) fn distinct<'o>(base: &'o Values, of_teams: &'o Teams) -> Vec<&'o Values> {
    let mut all = vec![base];
    for own in of_teams.values() {
        if !all.contains(&own) {
            all.push(own);
        }
    }
    all
}
