//! `vigie run` as a process of its own, in a folder that goes with it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::Settings;

/// Between two looks at the log or at the process.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Longest start: a dictionary of a million terms takes seconds, a machine under other load longer.
const START_MAX: Duration = Duration::from_secs(120);
/// Longest end: the daemon's own limit is 10 s unless the config says otherwise.
const END_MAX: Duration = Duration::from_secs(60);

/// The brand that the generated mentions are about.
const BRAND: &str = r#"
[[brand]]
name = "Lumio"
handles = ["@lumio", "@lumio_help", "@lumio.bsky.social"]
names = ["lumio", "lumiobox", "lumio mobile"]
exclude = ["lumio festival", "lumio lamp", "festival lumio", "lampe lumio"]
"#;

/// `section.key=value` for the daemon's config, value as in TOML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    section: String,
    key: String,
    value: String,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Setting, String> {
        let setting = text.split_once('=').and_then(|(name, value)| {
            let (section, key) = name.trim().rsplit_once('.')?;
            (!section.is_empty() && !key.is_empty() && !value.trim().is_empty()).then(|| Setting {
                section: section.trim().to_owned(),
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
            })
        });
        setting.ok_or_else(|| format!("{text:?} is not section.key=value, as engine.lanes=2"))
    }
}

/// The daemon's config: these sources, our brand, `settings`, and `extra` as it is.
///
/// `extra` may add brands and any section that neither `settings` nor the folder's own (`ledger`, `wire`, `http`)
/// names: TOML has each section once.
fn config(folder: &Path, sources: &str, extra: &str, settings: &[Setting]) -> String {
    let folder = folder.display();
    let mut sections: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    let mut set = |section, key, value| sections.entry(section).or_default().insert(key, value);
    set("ledger", "path", format!("\"{folder}/ledger.sqlite\""));
    set("wire", "unix", format!("\"{folder}/vigie.sock\""));
    set("http", "listen", "\"127.0.0.1:0\"".to_owned());
    for Setting { section, key, value } in settings {
        set(section, key, value.clone());
    }
    let mut text = format!("{sources}{BRAND}{extra}\n");
    for (section, keys) in sections {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "[{section}]");
        for (key, value) in keys {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
    text
}

/// A folder with a config, for the daemon and for `vigie replay`.
#[derive(Debug)]
pub(super) struct State {
    folder: TempDir,
    binary: PathBuf,
}

impl State {
    /// Makes the folder and writes the config.
    pub(super) fn new(settings: &Settings, sources: &str) -> anyhow::Result<State> {
        let mut folder = tempfile::Builder::new();
        let folder = folder.prefix("firehose-");
        let folder = match &settings.state {
            Some(parent) => folder.tempdir_in(parent).with_context(|| format!("{}", parent.display()))?,
            None => folder.tempdir().context("no temporary folder")?,
        };
        let state = State { folder, binary: settings.vigie.clone() };
        let text = config(state.folder.path(), sources, &settings.config_extra, &settings.set);
        fs::write(state.config(), text).context("cannot write the daemon's config")?;
        Ok(state)
    }

    /// The type of the file system that the folder is on; empty where that cannot be told. On `tmpfs` nothing is
    /// durable, and asking for it is free.
    pub(super) fn file_system(&self) -> String {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let folder = self.folder.path().canonicalize().unwrap_or_default();
        file_system(&mounts, &folder).unwrap_or_default().to_owned()
    }

    pub(super) fn config(&self) -> PathBuf {
        self.folder.path().join("vigie.toml")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.path().join("vigie.log")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("vigie.sock")
    }

    /// A command of the daemon's binary with this config.
    pub(super) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg(name).arg("-c").arg(self.config());
        command
    }

    /// Starts the daemon and waits until it says that it runs.
    pub(super) async fn start(&self) -> anyhow::Result<Daemon> {
        let log = File::create(self.log()).context("cannot write the daemon's log")?;
        let child = self
            .command("run")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", self.binary.display()))?;
        let mut daemon = Daemon { child, console: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let deadline = Instant::now() + START_MAX;
        loop {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            if let Some(console) = running(&log) {
                daemon.console = console;
                return Ok(daemon);
            }
            if let Some(status) = daemon.ended() {
                bail!("the daemon ended before it ran: {status}\n{log}");
            }
            if Instant::now() > deadline {
                bail!("the daemon does not run after {} s\n{log}", START_MAX.as_secs());
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// The type of the file system that holds a path, by fstab(5)'s fields: that of the deepest folder, and of several
/// on one folder the last.
fn file_system<'m>(mounts: &'m str, path: &Path) -> Option<&'m str> {
    let fields = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        // A blank in a name is written in octal.
        Some((fields.next()?.replace("\\040", " "), fields.next()?))
    });
    let above = fields.filter(|(folder, _)| path.starts_with(folder));
    above.max_by_key(|(folder, _)| folder.len()).map(|(_, kind)| kind)
}

/// Where the console listens, once the log says that the daemon runs.
fn running(log: &str) -> Option<SocketAddr> {
    log.lines().find(|line| line.ends_with("running"))?;
    let (_, rest) = log.split_once("console=Some(")?;
    rest.split_once(')')?.0.parse().ok()
}

/// A running daemon; killed when dropped.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
    console: SocketAddr,
}

impl Daemon {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn console(&self) -> SocketAddr {
        self.console
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to drain and waits until it has ended.
    ///
    /// # Errors
    ///
    /// It does not end in time; it is killed then.
    pub(super) async fn terminate(mut self) -> anyhow::Result<ExitStatus> {
        let pid = self.pid().to_string();
        let told =
            tokio::task::spawn_blocking(move || Command::new("kill").args(["-s", "TERM", &pid]).status());
        told.await?.context("cannot run kill")?;
        let deadline = Instant::now() + END_MAX;
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            sleep(LOOK_EVERY).await;
        }
        bail!("the daemon has not drained within {} s", END_MAX.as_secs())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only for a process that has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_names_section_key_and_value() {
        let setting: Setting = "engine.lanes = 2".parse().unwrap();
        let Setting { section, key, value } = &setting;
        assert_eq!((&section[..], &key[..], &value[..]), ("engine", "lanes", "2"));
        for wrong in ["", "lanes=2", "engine.lanes", "engine.=2", ".lanes=2", "engine.lanes="] {
            assert!(wrong.parse::<Setting>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_join_our_own_sections_and_may_replace_their_keys() {
        let settings =
            ["http.listen=\"127.0.0.1:6011\"", "wire.window_max=7"].map(|text| text.parse().unwrap());
        let text = config(Path::new("/state"), "[[source]]\n", "[triggers]\nfr = [\"aide\"]\n", &settings);
        assert_eq!(text.matches("[http]").count(), 1);
        assert!(text.contains("listen = \"127.0.0.1:6011\"") && !text.contains("127.0.0.1:0"));
        assert!(text.contains("[wire]\nunix = \"/state/vigie.sock\"\nwindow_max = 7\n"), "{text}");
        assert!(text.contains("[triggers]\nfr"));
    }

    #[test]
    fn a_file_system_is_that_of_the_deepest_folder() {
        let mounts = "tmpfs /dev/shm tmpfs rw 0 0\n/dev/vda / ext4 rw 0 0\n/dev/vdb /a\\040b xfs rw 0 0\n";
        let check = |path: &str, expected| assert_eq!(file_system(mounts, Path::new(path)), expected);
        check("/tmp/x", Some("ext4"));
        check("/dev/shm/x", Some("tmpfs"));
        check("/dev/shmem", Some("ext4"));
        check("/a b/c", Some("xfs"));
        assert_eq!(file_system("", Path::new("/")), None);
    }

    #[test]
    fn the_console_is_known_once_the_daemon_runs() {
        let built = "INFO built version=\"0.1.0\" console=Some(127.0.0.1:4321)\n";
        assert_eq!(running(built), None);
        let running = running(&format!("{built}INFO running\n"));
        assert_eq!(running, Some(SocketAddr::from(([127, 0, 0, 1], 4321))));
    }
}
