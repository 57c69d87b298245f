//! `vigie token new`: a secret for a client, from the system's own randomness.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};

use super::Failure;
use crate::config::TOKEN_NAME_BYTES_MAX as NAME_BYTES_MAX;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token of 256 random bits, and show the lines of config for it
    New(New),
}

#[derive(Debug, Args)]
struct New {
    /// Write it to this new file, with mode 0640, instead of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Random bytes of a token: no one guesses 256 bits, at whatever rate.
const SECRET_BYTES: usize = 32;

/// The daemon's group may read it, others may not.
const FILE_MODE: u32 = 0o640;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Action::New(new) = &arguments.action;
    let token = token()?;
    match &new.out {
        Some(path) => {
            write(path, &token)?;
            let (advice, path) = (advice(path), path.display());
            let text =
                format!("{advice}\n\nLet the daemon read it, and nobody else:\n\n    chgrp vigie {path}\n");
            std::io::stdout().write_all(text.as_bytes()).context("stdout")?;
        }
        None => {
            // The token alone on stdout, so that it may be piped into where secrets are kept.
            writeln!(std::io::stdout(), "{token}").context("stdout")?;
            let advice = advice(Path::new("/etc/vigie/helpdesk.token"));
            // Whoever closed stderr does not want to read it.
            _ = writeln!(
                std::io::stderr(),
                "\n{advice}\n\nIt is shown only now. `--out FILE` writes it with the right mode."
            );
        }
    }
    Ok(())
}

fn token() -> Result<String, Failure> {
    let mut secret = [0; SECRET_BYTES];
    getrandom::fill(&mut secret)
        .map_err(|error| anyhow::anyhow!("the system gives no randomness: {error}"))?;
    Ok(text(&secret))
}

/// Digits that a shell, a URL and TOML leave alone (RFC 4648, section 5), without padding.
fn text(secret: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in secret.chunks(3) {
        let bits =
            (0..3).fold(0_usize, |bits, place| bits << 8 | usize::from(*group.get(place).unwrap_or(&0)));
        let digits = [18, 12, 6, 0].map(|shift| DIGITS.get(bits >> shift & 63).copied().unwrap_or(b'A'));
        text.extend(digits.map(char::from).iter().take(group.len() + 1));
    }
    text
}

fn write(path: &Path, token: &str) -> Result<(), Failure> {
    let made = File::options().write(true).create_new(true).mode(FILE_MODE).open(path);
    let made = made.with_context(|| format!("{}: a token is only written to a new file", path.display()));
    let mut file = made.map_err(Failure::Mistake)?;
    let written = writeln!(file, "{token}").and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half a token would look like one.
        drop(std::fs::remove_file(path));
        return Err(anyhow::Error::from(error).context(path.display().to_string()).into());
    }
    Ok(())
}

/// What to paste into the config.
fn advice(path: &Path) -> String {
    let name = name_of(path);
    let file = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    format!(
        "For vigie.toml, then `systemctl reload vigie`:\n\n    \
         [[token]]\n    name   = \"{name}\"\n    file   = {}\n    \
         # brands = [\"Lumio\"]                # default: all\n    \
         # rights = [\"read\", \"feedback\"]     # the default; \"operate\" is the console",
        quoted(&file.display().to_string())
    )
}

/// A name that the config takes, like that of the file.
fn name_of(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let name: String = stem.chars().map(|letter| if allowed(letter) { letter } else { '-' }).collect();
    let name = name.trim_matches('-');
    let name = name.get(..NAME_BYTES_MAX).unwrap_or(name);
    if name.is_empty() { "helpdesk".to_owned() } else { name.to_owned() }
}

/// A basic string of TOML: what JSON escapes, it escapes in the same way, and DEL besides.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_43_characters_that_need_no_quoting_and_is_never_the_same() {
        let (one, other) = (token().unwrap(), token().unwrap());
        assert_ne!(one, other);
        for token in [&one, &other] {
            assert_eq!(token.len(), 43);
            assert!(
                token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
                "{token}"
            );
        }
    }

    #[test]
    fn the_advice_can_be_pasted_into_the_config_whatever_the_file_is_called() {
        for (path, name) in [
            ("/etc/vigie/helpdesk.token", "helpdesk"),
            ("/tmp/my help desk.token", "my-help-desk"),
            ("/tmp/a \"quoted\" \\ \u{1}\u{7f}\u{200b}é.token", "a--quoted"),
            ("/tmp/ .token", "helpdesk"),
            (&format!("/tmp/{}.token", "n".repeat(150)), &"n".repeat(100)),
        ] {
            let advice = advice(Path::new(path));
            let (_, lines) = advice.split_once("\n\n").unwrap();
            let table: toml::Table = toml::from_str(lines).unwrap_or_else(|error| panic!("{error}: {lines}"));
            let token = &table["token"][0];
            assert_eq!(token["name"].as_str(), Some(name));
            assert_eq!(token["file"].as_str(), Some(path));
        }
    }

    #[test]
    fn the_digits_are_those_of_rfc_4648() {
        for (secret, expected) in
            [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(text(secret.as_bytes()), expected);
        }
        assert_eq!(text(&[0xff, 0xef]), "_-8");
    }
}
