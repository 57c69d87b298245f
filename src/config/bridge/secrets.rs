//! What only the helpdesk and we know.

use std::path::Path;

use crate::bridge::config::Hidden;
use crate::config::access::{credential_path, read_secret};
use crate::config::reader::{Placed, Section};

/// Longest secret, in bytes: a JSON Web Token has some thousand.
const SECRET_BYTES_MAX: usize = 8 * 1024;

/// A secret from a file or from systemd; `None` where neither is given, or beside a mistake.
pub(super) fn hidden(
    section: &Section<'_, '_>,
    file: &'static str,
    credential: &'static str,
    warnings: &mut Vec<String>,
) -> Option<Hidden> {
    let (path, named) = (section.string(file), section.string(credential));
    let secret = match (path, named) {
        (None, None) => return None,
        (Some(path), None) => secret_in(section, &path, Path::new(&path.value), warnings),
        (None, Some(named)) => {
            credential_path(section, &named).and_then(|path| secret_in(section, &named, &path, warnings))
        }
        (Some(_), Some(_)) => {
            section.mistake(format_args!("{file} and {credential} both give it: leave one out"));
            None
        }
    };
    secret.map(Hidden::new)
}

/// What helpdesks give out is theirs to make: it may be short. It goes into a header, so that it is one line.
pub(super) fn secret_in(
    section: &Section<'_, '_>,
    given: &Placed<String>,
    path: &Path,
    warnings: &mut Vec<String>,
) -> Option<String> {
    read_secret(section, given, path, warnings, |bytes| {
        let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
        let text = text.trim();
        match text.len() {
            0 => Err("is empty".to_owned()),
            bytes if bytes > SECRET_BYTES_MAX => Err(format!("has more than {SECRET_BYTES_MAX} bytes")),
            _ if text.chars().any(char::is_control) => Err("has more than one line".to_owned()),
            _ => Ok(text.to_owned()),
        }
    })
}
