//! What must hold of the pages for operators, whatever names and troubles they show.

use super::{Status, exposition};

/// A status is read as it was written, and its metrics are lines that Prometheus reads: a name from anywhere
/// ends neither its label nor its line.
pub(crate) fn status(data: &[u8]) {
    let Ok(status) = serde_json::from_slice::<Status>(data) else { return };
    let written = serde_json::to_vec(&status).expect("a status has no key that is not a string");
    assert_eq!(serde_json::from_slice::<Status>(&written).ok().as_ref(), Some(&status));
    drop(status.unready());
    let page = exposition(&status);
    let mut contents = Vec::new();
    for line in page.strip_suffix('\n').expect("the page ends with its last line").split('\n') {
        if !line.starts_with('#') {
            sample(line, &mut contents).unwrap_or_else(|| panic!("{line:?} is no sample"));
        }
    }
    for source in &status.sources {
        assert!(contents.contains(&source.name), "{:?} is not found again", source.name);
    }
}

/// Reads `name{label="content",…} number`, adding the contents as they were.
fn sample(line: &str, contents: &mut Vec<String>) -> Option<()> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphabetic()).then_some(())?;
    if let Some(labels) = rest.strip_prefix('{') {
        rest = labels;
        loop {
            let (label, behind) = rest.split_once("=\"")?;
            label.bytes().all(|byte| byte.is_ascii_lowercase()).then_some(())?;
            let mut content = String::new();
            let mut letters = behind.char_indices();
            let end = loop {
                match letters.next()? {
                    (at, '"') => break at,
                    (_, '\\') => content.push(match letters.next()?.1 {
                        'n' => '\n',
                        letter @ ('\\' | '"') => letter,
                        _ => return None,
                    }),
                    (_, letter) => content.push(letter),
                }
            };
            contents.push(content);
            rest = behind.get(end + 1..)?;
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break rest = rest.strip_prefix('}')?,
            }
        }
    }
    rest.strip_prefix(' ')?.parse::<f64>().ok().map(drop)
}
