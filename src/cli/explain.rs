//! `vigie explain`: one post through the daemon's own code, with nothing left out.

use std::io::{Read, Write};

use anyhow::{Context, anyhow};
use clap::Args;
use serde::de::IgnoredAny;

mod json;
mod route;
mod shown;
mod story;

use super::print::Clock;
use super::{ConfigFile, Failure};
use crate::parse::{Format, Frame, Parser};
use crate::prefilter::Prefilter;
use story::Teller;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    acquaintances: super::Acquaintances,
    /// What stdin holds: jetstream, mastodon, x-v2, x-v1 or plain; a text that is no JSON object is taken as it is
    #[arg(long, value_name = "FORMAT", default_value = "plain", value_parser = super::format)]
    format: Format,
    /// Print one JSON object: what becomes of the post, every factor, and the ticket
    #[arg(long)]
    json: bool,
}

/// As a source's `frame_bytes_max`.
const POST_BYTES_MAX: u64 = 1 << 20;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let mut input = Vec::new();
    std::io::stdin().take(POST_BYTES_MAX + 1).read_to_end(&mut input).context("stdin")?;
    if input.len() as u64 > POST_BYTES_MAX {
        return Err(Failure::Mistake(anyhow!("stdin: more than {POST_BYTES_MAX} bytes: that is no post")));
    }
    let trimmed = input.trim_ascii();
    if trimmed.is_empty() {
        return Err(Failure::Mistake(anyhow!("stdin is empty: one post is expected there")));
    }
    let mut frame = match arguments.format {
        Format::Plain if !is_json(trimmed) => {
            serde_json::json!({ "text": String::from_utf8_lossy(trimmed) }).to_string().into_bytes()
        }
        _ => trimmed.to_vec(),
    };
    let mut parser = Parser::new(arguments.format);
    let read = frame.clone();
    let parsed = parser.parse(&mut frame).map_err(|malformed| {
        Failure::Mistake(anyhow!("stdin: no post of the format {}: {malformed}", arguments.format.name()))
    })?;
    let Frame::Post(post) = parsed.frame else {
        let said = if arguments.json {
            json::outcome("control").to_string()
        } else {
            "control: this frame is no post: a deletion removes its post's text, anything else is counted"
                .to_owned()
        };
        return Ok(writeln!(std::io::stdout(), "{said}").context("stdout")?);
    };
    let prefilter =
        Prefilter::build(&config.prefilter).map_err(|mistakes| Failure::Mistake(anyhow!("{mistakes:?}")))?;
    let mut teller = Teller {
        config: &config,
        prefilter: &prefilter,
        people: arguments.acquaintances.people(&config)?,
        knowledge_base: super::knowledge_base(&config, &arguments.acquaintances),
        memory: arguments.acquaintances.memory(&config)?,
    };
    let story = teller.tell(&post, arguments.format, &read)?;
    let mut out = anstream::stdout().lock();
    if arguments.json {
        return Ok(writeln!(out, "{}", json::story(&config, &story)).context("stdout")?);
    }
    shown::story(&mut out, &config, &post, &story, &Clock::of_desk(&config)).context("stdout")?;
    Ok(())
}

/// Whether this is meant as an object of JSON: it is one, or begins as one does. `{sigh} my box is down` is a text.
fn is_json(input: &[u8]) -> bool {
    let Some(inside) = input.strip_prefix(b"{") else { return false };
    inside.trim_ascii_start().starts_with(b"\"") || serde_json::from_slice::<IgnoredAny>(input).is_ok()
}
