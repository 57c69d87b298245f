//! A secret in a file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Fewest characters of a token. One made by `vigie token new` has 43, which is 256 bits.
pub const TOKEN_CHARS_MIN: usize = 16;

/// Most bytes read of a file of a secret; a key with its chain has some 10 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a file holds, and what an operator should know about it.
#[derive(Debug)]
pub struct Secret {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// It works, and something about it is not as it should be.
    pub warning: Option<String>,
}

/// Reads a secret.
///
/// A file that everyone on the machine may read is warned of and not refused: in a container, where secrets are
/// mounted so, there is nobody else.
///
/// # Errors
///
/// The file is missing, unreadable, or too long for a secret.
pub fn read(path: &Path) -> io::Result<Secret> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("has more than {FILE_BYTES_MAX} bytes")));
    }
    let warning = (mode & 0o007 != 0).then(|| {
        let path = path.display();
        format!("{path}: everyone on this machine may open it (mode {:o}): chmod o-rwx {path}", mode & 0o777)
    });
    Ok(Secret { bytes, warning })
}

/// The token in a file's bytes, without the white space around it.
///
/// # Errors
///
/// It is too short to be one, too long, or no text.
pub fn token(bytes: Vec<u8>) -> Result<String, String> {
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    let token = text.trim();
    if token.chars().count() < TOKEN_CHARS_MIN {
        return Err(format!("a token needs at least {TOKEN_CHARS_MIN} characters"));
    }
    if token.len() > super::TOKEN_BYTES_MAX {
        return Err(format!("a token has at most {} bytes", super::TOKEN_BYTES_MAX));
    }
    Ok(token.to_owned())
}
