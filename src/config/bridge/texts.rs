//! What agents are to read, by brand.

use super::FILE_BYTES_MAX;
use crate::access::brands;
use crate::bridge::text::{self, Language, Part, Shape, Texts};
use crate::config::reader::{Placed, Section, nearest};
use crate::prefilter;

/// A template of an operator's, with the place at which it is named.
pub(super) struct Named {
    part: Part,
    brand: String,
    key: Placed<String>,
}

pub(super) struct Wordings {
    brands: Vec<text::Brand>,
    named: Vec<Named>,
}

/// `[bridge.text.BRAND]`, and of every brand its accounts.
pub(super) fn wordings(section: &Section<'_, '_>, known: &[prefilter::Brand]) -> Wordings {
    let brand = |brand: &prefilter::Brand| text::Brand {
        name: brand.name.clone(),
        handles: brand.handles.clone(),
        ..text::Brand::default()
    };
    let mut all: Vec<text::Brand> = known.iter().map(brand).collect();
    let mut named = Vec::new();
    for (name, own) in section.other_sections() {
        let language = own.choice("language", &[("fr", Language::Fr), ("en", Language::En)]);
        let files = [("subject_file", Part::Subject), ("body_file", Part::Body), ("note_file", Part::Note)];
        let files: Vec<_> = files
            .into_iter()
            .filter_map(|(key, part)| own.text_file(key, FILE_BYTES_MAX).map(|(key, text)| (key, part, text)))
            .collect();
        own.refuse_unknown();
        let Some(brand) = all.iter_mut().find(|brand| brands::is_same(&brand.name, &name)) else {
            own.mistake(format_args!("there is no [[brand]] {name:?}"));
            continue;
        };
        brand.language = language;
        for (key, part, text) in files {
            brand.templates.push((part, text));
            named.push(Named { part, brand: brand.name.clone(), key });
        }
    }
    Wordings { brands: all, named }
}

pub(super) fn texts(section: &Section<'_, '_>, shape: Shape, wordings: Wordings) -> Option<Texts> {
    let Wordings { brands, named } = wordings;
    let noted = |mistakes: Vec<text::TextError>| {
        for mistake in mistakes {
            let owner = named.iter().find(|named| named.part == mistake.part && named.brand == mistake.brand);
            match owner {
                Some(named) => {
                    let near = did_you_mean(&mistake);
                    section.mistake_at(&named.key, format_args!("{}: {mistake}{near}", named.key.value));
                }
                None => section.mistake(&mistake),
            }
        }
    };
    Texts::new(shape, brands).map_err(noted).ok()
}

fn did_you_mean(mistake: &text::TextError) -> String {
    let Some((name, there)) = &mistake.asked else { return String::new() };
    let there: Vec<&str> = there.iter().map(String::as_str).collect();
    nearest(name, &there).map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}
