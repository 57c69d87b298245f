//! The config file as written → each stage's checked config.
//!
//! All mistakes come in one run, each with line, key, value and accepted range. A bad value is never
//! replaced by a default that someone might run with: a file with a mistake gives no config at all.
//! Every default stands beside the config type of its stage; brands and sources have none.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::access::{Access, Door, Roster};
use crate::parse::Format;
use crate::{classify, console, ledger, prefilter, source, wire};

mod access;
mod bridge;
mod conversation;
mod desk;
mod expectation;
mod keys;
mod priority;
mod reader;
mod route;
mod sensitive;
mod when;
#[cfg(any(test, fuzzing))]
pub(crate) mod trial;

pub use access::NAME_BYTES_MAX as TOKEN_NAME_BYTES_MAX;
pub use keys::Keys;
pub use reader::Mistake;
pub(crate) use reader::nearest;
use reader::{Placed, Reader, Section};

/// Everything the daemon is told, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where posts come from.
    pub sources: Vec<SourceConfig>,
    /// Brands and service words.
    pub prefilter: prefilter::Config,
    /// The model and its runtime.
    pub classify: classify::Config,
    /// Priorities and expectations.
    pub desk: crate::desk::Config,
    /// Where tickets are kept.
    pub ledger: ledger::Config,
    /// Who may do what at the ticket socket and the console.
    pub access: Arc<Access>,
    /// The ticket socket.
    pub wire: wire::connection::Config,
    /// The web page, metrics and health.
    pub console: console::Config,
    /// Helpdesks that tickets go to.
    pub bridges: Vec<crate::bridge::config::Config>,
    /// Threads and queues between the stages.
    pub engine: Engine,
    /// The least level that is logged: `error`, `warn`, `info`, `debug`, `trace`.
    pub log_level: tracing::Level,
    /// What works and is not as it should be, for the operator's eyes.
    pub warnings: Vec<String>,
    /// The keys that the file sets, for a reload to compare.
    pub keys: Keys,
}

/// One source.
#[derive(Debug, Clone)]
pub enum SourceConfig {
    /// Bluesky Jetstream.
    Jetstream(source::jetstream::Config),
    /// Recorded posts, or anything that writes a line a post.
    Ndjson(source::ndjson::Config),
    /// The same from a sender that keeps each line until it is durable here.
    Tcp(source::tcp::Config),
}

impl SourceConfig {
    /// The source's name, unique in the file.
    pub fn name(&self) -> &Arc<str> {
        match self {
            SourceConfig::Jetstream(config) => &config.name,
            SourceConfig::Ndjson(config) => &config.name,
            SourceConfig::Tcp(config) => &config.name,
        }
    }

    /// The source's kind, as in config.
    pub fn kind(&self) -> &'static str {
        match self {
            SourceConfig::Jetstream(_) => "jetstream",
            SourceConfig::Ndjson(_) | SourceConfig::Tcp(_) => "ndjson",
        }
    }
}

/// How the stages are joined on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// Threads that parse and prefilter.
    pub lanes: NonZeroUsize,
    /// Frame batches that wait for a lane; a source waits when they are full.
    pub queue_batches: NonZeroUsize,
    /// Candidates that wait for the model; beyond, the least valuable are shed.
    pub queue_candidates: NonZeroUsize,
    /// What reads the candidates that the full model has no time for.
    pub under_load: UnderLoad,
    /// Longest time from the order to stop until everything is drained and committed.
    pub drain_max: Duration,
}

/// What happens when more candidates wait than the full model can read in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnderLoad {
    /// The small model reads them, their tickets say so, and the full one reads those again later.
    Small,
    /// They wait for the full model, and are shed sooner.
    Same,
}

impl Default for Engine {
    fn default() -> Engine {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Engine {
            // One core for the model, one shared by the async edges, the desk and the ledger; eight lanes take
            // more than any network sends.
            lanes: NonZeroUsize::new(cores.saturating_sub(2).min(8)).unwrap_or(NonZeroUsize::MIN),
            queue_batches: QUEUE_BATCHES_DEFAULT,
            queue_candidates: QUEUE_CANDIDATES_DEFAULT,
            under_load: UnderLoad::Small,
            drain_max: Duration::from_secs(10),
        }
    }
}

/// 64 batches of at most 1 MiB (or a single longer frame): 64 MiB.
const QUEUE_BATCHES_DEFAULT: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");
/// Four seconds of work for the model on one core, so that a drain under overload ends within `drain_max`;
/// at about 2 KiB each, 4 MiB.
const QUEUE_CANDIDATES_DEFAULT: NonZeroUsize = NonZeroUsize::new(2048).expect("not zero");

/// Why there is no config.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// The file has these mistakes.
    Mistakes(PathBuf, Vec<Mistake>),
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unreadable(path, error) => write!(f, "config {}: {error}", path.display()),
            ConfigError::Mistakes(path, mistakes) => {
                let count = mistakes.len();
                let plural = if count == 1 { "" } else { "s" };
                write!(f, "config {} has {count} mistake{plural}:", path.display())?;
                mistakes.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
            }
        }
    }
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    ///
    /// The operator must mend the file; every mistake is listed.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let bytes = std::fs::read(path).map_err(|error| ConfigError::Unreadable(path.to_owned(), error))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let (at, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
            let line = bytes.iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
            let byte = bytes.get(at).copied().unwrap_or_default();
            let text = format!("byte 0x{byte:02X} is not UTF-8: save the file as UTF-8");
            ConfigError::Mistakes(path.to_owned(), vec![Mistake { line, text }])
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Config::parse_in(folder, &text).map_err(|mistakes| ConfigError::Mistakes(path.to_owned(), mistakes))
    }

    /// Checks the text of a file. Files that it names are read; those of names and rules may be relative to
    /// the working directory.
    ///
    /// # Errors
    ///
    /// Every mistake, in the order of the lines.
    pub fn parse(text: &str) -> Result<Config, Vec<Mistake>> {
        Config::parse_in(Path::new(""), text)
    }

    fn parse_in(folder: &Path, text: &str) -> Result<Config, Vec<Mistake>> {
        let reader = Reader::new(text, folder);
        let config = reader.parse().and_then(|table| {
            let keys = Keys::of(table.get_ref());
            read(&reader.root(&table)).map(|config| Config { keys, ..config })
        });
        let mistakes = reader.into_mistakes();
        match config {
            Some(config) if mistakes.is_empty() => Ok(config),
            _ => Err(mistakes),
        }
    }
}

/// Reads all sections; `None` only beside a mistake.
fn read(root: &Section<'_, '_>) -> Option<Config> {
    let sources = sources(root);
    let mut prefilter = brands(root);
    let classify = model(&root.section("model"));
    let names: Vec<_> = prefilter.brands.iter().map(|brand| brand.name.as_str()).collect();
    let mut warnings = Vec::new();
    let (mut desk, ageing_points_per_hour, zone) = desk::desk(root, &names, &mut warnings);
    desk.articles.weightless = crate::desk::articles::weightless(&prefilter.brands);
    if prefilter.builtin_triggers {
        // Who is in danger calls for help, whatever else they say.
        let (factors, _) = desk.priorities("");
        let danger = factors.floors.iter().flat_map(|(topic, _)| desk.sensitive.words_of(topic));
        prefilter.danger = danger.map(str::to_owned).collect();
    }
    let ledger = ledger(&root.section("ledger"), ageing_points_per_hour);
    let wire_section = root.section("wire");
    let mistakes = root.mistakes();
    let roster = access::access(root, &wire_section, &names, &mut warnings);
    // Who may come to a door can only be said of tokens that are right.
    let known = (root.mistakes() == mistakes).then_some(&roster);
    let mut wire = wire(&wire_section, known);
    let console = console(&root.section("http"), known);
    let doors = [("wire.tcp", wire.tcp), ("http.listen", console.listen)];
    let doors: Vec<_> = doors.into_iter().filter_map(|(key, address)| Some((key, address?))).collect();
    access::warn_of_doors(&roster, &doors, &mut warnings);
    access::check_certificates(&root.section("http"), console.listen, &roster);
    let access = Arc::new(Access::new(roster));
    wire.access = access.clone();
    let around = bridge::Surroundings {
        brands: &prefilter.brands,
        teams: &desk.routes.teams,
        zone,
        ledger: &ledger.path,
        retention: ledger.retention,
        wire: &wire,
    };
    let bridges = bridge::bridges(root, &around, &mut warnings);
    let engine = engine(&root.section("engine"));
    let log_level = log(&root.section("log"));
    root.refuse_unknown();
    let keys = Keys::default();
    Some(Config {
        sources: sources?,
        prefilter,
        classify,
        desk,
        ledger,
        access,
        wire,
        console,
        bridges,
        engine,
        log_level,
        warnings,
        keys,
    })
}

fn sources(root: &Section<'_, '_>) -> Option<Vec<SourceConfig>> {
    let mut sources: Vec<SourceConfig> = Vec::new();
    let sections = root.sections("source");
    if sections.is_empty() {
        root.mistake("no [[source]]: at least one is needed, such as kind = \"jetstream\"");
        return None;
    }
    let mut complete = true;
    for section in sections {
        #[derive(Clone, Copy)]
        enum Kind {
            Jetstream,
            Ndjson,
        }
        let kind = section.choice("kind", &[("jetstream", Kind::Jetstream), ("ndjson", Kind::Ndjson)]);
        let given = section.string("name");
        let name = given.as_ref().map(|name| name.value.clone());
        let source = match kind {
            None => {
                if !section.has("kind") {
                    section.mistake("kind is missing: \"jetstream\" or \"ndjson\"");
                }
                complete = false;
                continue;
            }
            Some(Kind::Jetstream) => jetstream(&section, name.as_deref().unwrap_or("bluesky")),
            Some(Kind::Ndjson) => ndjson(&section, name.as_deref()),
        };
        section.refuse_unknown();
        let Some(source) = source else {
            complete = false;
            continue;
        };
        if sources.iter().any(|other| other.name() == source.name()) {
            let text =
                format!("the name {:?} is taken by another source: give each its own name", source.name());
            match given {
                Some(given) => section.mistake_at(&given, text),
                None => section.mistake(text),
            }
        }
        sources.push(source);
    }
    complete.then_some(sources)
}

fn jetstream(section: &Section<'_, '_>, name: &str) -> Option<SourceConfig> {
    const EXAMPLE: &str = "wss://jetstream2.us-east.bsky.network/subscribe";
    let url = section.string("url");
    if url.is_none() && !section.has("url") {
        section.mistake(format_args!("url is missing: {EXAMPLE} or another server's"));
    }
    let parsed = source::jetstream::Config::new(name, url.as_ref().map_or(EXAMPLE, |url| &url.value));
    let mut config = match parsed {
        Ok(config) => config,
        Err(mistake) => {
            section.mistake(mistake);
            source::jetstream::Config::new(name, EXAMPLE).expect("the example is a right address")
        }
    };
    let collections = section.strings("collections");
    if !collections.is_empty() {
        config.collections = collections;
    }
    config.frame_bytes_max = section.count("frame_bytes_max", 1024..=16 << 20, config.frame_bytes_max).get();
    config.rewind = section.milliseconds("rewind_ms", 1_000..=3_600_000, config.rewind);
    config.silence_max = section.milliseconds("silence_max_ms", 30_000..=3_600_000, config.silence_max);
    config.mistakes().into_iter().for_each(|mistake| section.mistake(mistake));
    url.map(|_| SourceConfig::Jetstream(config))
}

/// Lines from a file or from a sender. Without a name the source is called by its path or address, so that
/// another one begins at its own first line.
fn ndjson(section: &Section<'_, '_>, name: Option<&str>) -> Option<SourceConfig> {
    let formats = Format::ALL.map(|format| (format.name(), format));
    let path = section.path("path");
    let sender = section.string("tcp");
    let format = section.choice("format", &formats).unwrap_or(Format::Plain);
    match (section.has("path"), section.has("tcp")) {
        (true, true) => section.mistake("path and tcp both say where the lines come from: give only one of them"),
        (false, false) => section.mistake(
            "path is missing: a file of one post a line, plain, .gz or .zst, or \"-\" for stdin; or tcp = \"HOST:PORT\"",
        ),
        _ => {}
    }
    if let Some(sender) = sender {
        return lines(section, name, &sender, format);
    }
    let file = path.as_deref().unwrap_or(Path::new("-"));
    let shown = file.display().to_string();
    let mut config = source::ndjson::Config::new(name.unwrap_or(&shown), file, format);
    config.frame_bytes_max = section.count("frame_bytes_max", 1024..=16 << 20, config.frame_bytes_max).get();
    config.mistakes().into_iter().for_each(|mistake| section.mistake(mistake));
    path.map(|_| SourceConfig::Ndjson(config))
}

fn lines(
    section: &Section<'_, '_>,
    name: Option<&str>,
    sender: &Placed<String>,
    format: Format,
) -> Option<SourceConfig> {
    let address = source::tcp::Address::parse(&sender.value);
    let address = address.map_err(|mistake| {
        section.mistake_at(sender, format_args!("{}: {}", mistake.value, mistake.accepted));
    });
    // The other keys are checked all the same.
    let checked = address
        .clone()
        .unwrap_or_else(|()| source::tcp::Address::parse("localhost:1").expect("a host and a port"));
    let mut config = source::tcp::Config::new(name.unwrap_or(&sender.value), checked, format);
    config.frame_bytes_max = section.count("frame_bytes_max", 1024..=16 << 20, config.frame_bytes_max).get();
    config.silence_max = section.milliseconds("silence_max_ms", 1_000..=3_600_000, config.silence_max);
    config.mistakes().into_iter().for_each(|mistake| section.mistake(mistake));
    address.ok().map(|_| SourceConfig::Tcp(config))
}

fn brands(root: &Section<'_, '_>) -> prefilter::Config {
    let sections = root.sections("brand");
    if sections.is_empty() {
        root.mistake("no [[brand]]: at least one is needed, with name, handles and names");
    }
    let mut brands = Vec::new();
    for section in &sections {
        let name = section.string("name");
        let listen = section.string("listen");
        let brand = prefilter::Brand {
            handles: section.strings("handles"),
            hashtags: section.strings("hashtags"),
            names: section.strings("names"),
            names_file: section.lines("names_file"),
            exclude: section.strings("exclude"),
            listen: listen.map_or_else(|| prefilter::LISTEN_DEFAULT.to_owned(), |listen| listen.value),
            rules: section.strings("rules"),
            rules_file: section.lines("rules_file"),
            fold_accents: section.flag("fold_accents", true),
            name: name.map(|name| name.value).unwrap_or_default(),
        };
        if brand.name.trim().is_empty() {
            section.mistake("name is missing: what tickets call the brand");
        }
        section.refuse_unknown();
        brands.push(brand);
    }
    let triggers = root.section("triggers");
    let builtin_triggers = triggers.flag("builtin", true);
    let words = triggers.other_strings();
    let own = words.iter().map(|word| word.value.clone()).collect();
    let config = prefilter::Config { brands, triggers: own, builtin_triggers, danger: Vec::new() };
    if let Err(mistakes) = prefilter::Prefilter::check(&config) {
        // A brand without a name is told of above.
        let is_nameless =
            |brand: &Option<String>| brand.as_ref().is_some_and(|brand| brand.trim().is_empty());
        for mistake in mistakes.iter().filter(|told| !(told.key == "name" && is_nameless(&told.brand))) {
            let mut owners = sections.iter().zip(&config.brands);
            let is_owner = |(_, brand): &(&Section<'_, '_>, &prefilter::Brand)| {
                Some(&brand.name) == mistake.brand.as_ref()
            };
            // Of two brands with one name the later one has it in vain.
            let owner = if mistake.key == "name" { owners.rfind(is_owner) } else { owners.find(is_owner) };
            match owner {
                Some((section, _)) => section.mistake_in(&mistake.key, mistake),
                None => match words.iter().find(|word| word.value == mistake.value) {
                    Some(word) => triggers.mistake_at(word, mistake),
                    None => triggers.mistake(mistake),
                },
            }
        }
    }
    config
}

fn model(section: &Section<'_, '_>) -> classify::Config {
    use classify::{ModelChoice, RuntimeChoice};
    let default = classify::Config::default();
    if section.has("name") && section.has("path") {
        section.mistake("name and path both choose a model: give only one of them");
    }
    let named = section.choice("name", &ModelChoice::EMBEDDED);
    let posts_max = section.count("batch_posts_max", 1..=1024, 1);
    let config = classify::Config {
        runtime: section.choice("runtime", &RuntimeChoice::ALL).unwrap_or(default.runtime),
        library: section.path("library"),
        model: section.path("path").map(ModelChoice::Folder).or(named).unwrap_or(default.model),
        threads: section.count("threads", 1..=256, default.threads.get()),
        batch_posts_max: section.has("batch_posts_max").then_some(posts_max),
        batch_delay_max: section.milliseconds("batch_delay_max_ms", 0..=10_000, default.batch_delay_max),
    };
    section.refuse_unknown();
    config
}

fn ledger(section: &Section<'_, '_>, ageing_points_per_hour: u32) -> ledger::Config {
    let config = ledger::Config {
        path: section.path("path").unwrap_or_else(|| PathBuf::from("/var/lib/vigie/ledger.sqlite")),
        bookkeeping_delay_max: section.milliseconds(
            "bookkeeping_delay_max_ms",
            0..=10_000,
            Duration::from_millis(200),
        ),
        ageing_points_per_hour,
        retention: retention(section),
    };
    section.refuse_unknown();
    config
}

/// 0 stands for no limit of its kind.
fn retention(section: &Section<'_, '_>) -> ledger::Retention {
    const DAY: u64 = 24 * 3600;
    let default = ledger::Retention::default();
    let days = default.age_max.map_or(0, |age| (age.as_secs() / DAY).cast_signed());
    let mib = default.live_bytes_max.map_or(0, |bytes| (bytes >> 20).cast_signed());
    let days = section.integer("retain_days", 0..=36_500, days).unsigned_abs();
    let mib = section.integer("size_max_mb", 0..=16 << 20, mib).unsigned_abs();
    let contacts = default.contacts_age_max.map_or(0, |age| (age.as_secs() / DAY).cast_signed());
    let contacts = section.integer("touchpoints_days", 0..=36_500, contacts).unsigned_abs();
    ledger::Retention {
        age_max: (days > 0).then(|| Duration::from_secs(days * DAY)),
        live_bytes_max: (mib > 0).then_some(mib << 20),
        contacts_age_max: (contacts > 0).then(|| Duration::from_secs(contacts * DAY)),
    }
}

fn wire(section: &Section<'_, '_>, roster: Option<&Roster>) -> wire::connection::Config {
    let default = wire::connection::Config::default();
    let unix = section.path("unix");
    let tcp = address(section, "tcp");
    if let Some(tcp) = &tcp {
        roster.into_iter().for_each(|roster| access::check_door(section, tcp, Door::Socket, roster));
    }
    let config = wire::connection::Config {
        unix: unix.or_else(|| tcp.is_none().then(|| PathBuf::from(wire::connection::UNIX_DEFAULT))),
        tcp: tcp.map(|tcp| tcp.value),
        frame_bytes_max: section.count("frame_bytes_max", 4096..=1 << 20, default.frame_bytes_max).get(),
        window_max: u32::try_from(section.integer("window_max", 1..=65_536, default.window_max.into()))
            .unwrap_or(default.window_max),
        handshake_max: section.milliseconds("handshake_max_ms", 100..=5_000, default.handshake_max),
        heartbeat_interval: section.milliseconds(
            "heartbeat_interval_ms",
            1_000..=600_000,
            default.heartbeat_interval,
        ),
        connections_max: section.count("connections_max", 1..=65_536, default.connections_max).get(),
        connections_per_peer_max: section
            .count("connections_per_peer_max", 1..=65_536, default.connections_per_peer_max)
            .get(),
        strangers_max: section.count("strangers_max", 1..=65_536, default.strangers_max).get(),
        ..default
    };
    section.refuse_unknown();
    config
}

fn address(section: &Section<'_, '_>, key: &'static str) -> Option<Placed<SocketAddr>> {
    let text = section.string(key)?;
    match text.value.parse() {
        Ok(value) => Some(Placed { value, place: text.place, key: text.key }),
        Err(_) => {
            section.mistake_at(
                &text,
                format_args!("{:?}: must be an IP address and a port, as 127.0.0.1:PORT", text.value),
            );
            None
        }
    }
}

fn console(section: &Section<'_, '_>, roster: Option<&Roster>) -> console::Config {
    let default = console::Config::default();
    let listen = address(section, "listen");
    if let Some(listen) = &listen {
        roster.into_iter().for_each(|roster| access::check_door(section, listen, Door::Http, roster));
    }
    let config = console::Config {
        listen: listen
            .map_or(default.listen, |listen| Some(listen.value))
            .filter(|_| section.flag("enabled", true)),
    };
    section.refuse_unknown();
    config
}

fn engine(section: &Section<'_, '_>) -> Engine {
    let default = Engine::default();
    section.choice("kind", &[("local", ())]);
    let engine = Engine {
        lanes: section.count("lanes", 1..=256, default.lanes.get()),
        queue_batches: section.count("queue_batches", 1..=4096, default.queue_batches.get()),
        queue_candidates: section.count("queue_candidates", 1..=1_000_000, default.queue_candidates.get()),
        under_load: section
            .choice("under_load", &[("small", UnderLoad::Small), ("same", UnderLoad::Same)])
            .unwrap_or(default.under_load),
        drain_max: section.milliseconds("drain_max_ms", 100..=300_000, default.drain_max),
    };
    section.refuse_unknown();
    engine
}

fn log(section: &Section<'_, '_>) -> tracing::Level {
    use tracing::Level;
    let choices = [
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ];
    let level = section.choice("level", &choices).unwrap_or(Level::INFO);
    section.refuse_unknown();
    level
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_rules_may_lie_in_files_beside_the_config() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("vigie.toml");
        let write = |file: &str, text: &[u8]| std::fs::write(folder.path().join(file), text).unwrap();
        let source = "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n";
        let brand = "[[brand]]\nname = \"Lumio\"\nnames_file = \"names.txt\"\nrules_file = \"rules.txt\"\n";
        write("vigie.toml", format!("{source}{brand}").as_bytes());
        let mistakes = |expected: &[&str]| {
            let told = Config::load(&config).err().map_or_else(String::new, |error| error.to_string());
            assert_eq!(
                told.lines().count(),
                if expected.is_empty() { 0 } else { expected.len() + 1 },
                "{told}"
            );
            expected.iter().for_each(|expected| assert!(told.contains(expected), "{told}"));
        };
        mistakes(&["line 6: brand[1].names_file: ", "line 7: brand[1].rules_file: "]);
        write("names.txt", b"# ours\nlumio\nlumio box\n");
        write("rules.txt", b"lumio lang:fr\n(lumio\n");
        mistakes(&["rules.txt:2 = \"(lumio\": at character 1: `(` is never closed"]);
        write("rules.txt", b"lumio lang:fr\n\xFF\n");
        mistakes(&["line 2 is not UTF-8"]);
        write("rules.txt", b"lumio lang:fr\n");
        mistakes(&[]);
        let read = Config::load(&config).unwrap().prefilter;
        assert_eq!(read.digest(), Config::load(&config).unwrap().prefilter.digest());
        write("names.txt", b"lumio\n");
        assert_ne!(read.digest(), Config::load(&config).unwrap().prefilter.digest());
    }

    #[test]
    fn a_mistake_of_a_brand_is_told_with_its_own_line() {
        let text = "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n[[brand]]\nname = \"Lumio\"\nnames = [\n  \"lumio\",\n  \"\",\n]\n\
            rules = [\"(lumio\"]\n[[brand]]\nname = \"Lumio\"\nnames = [\"other\"]\n[triggers]\nfr = [\"aide\",\n  \"!!\"]\n";
        let lines: Vec<_> = Config::parse(text).unwrap_err().iter().map(|mistake| mistake.line).collect();
        assert_eq!(lines, [8, 10, 12, 16], "an empty name, an open rule, a name that is taken, no word");
    }

    #[test]
    fn each_known_key_is_named_once() {
        let told = Config::parse("somewhere_else = 1\n").unwrap_err();
        let known = told.iter().find_map(|mistake| mistake.text.split_once("known here: ")).unwrap().1;
        let mut names: Vec<&str> = known.split(", ").collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "{known}");
    }

    #[test]
    fn a_file_that_is_not_utf_8_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vigie.toml");
        std::fs::write(&path, b"[[brand]]\nname = \"Caf\xE9\"\n").unwrap();
        let told = Config::load(&path).unwrap_err().to_string();
        assert!(told.ends_with("line 2: byte 0xE9 is not UTF-8: save the file as UTF-8"), "{told}");
    }
}
