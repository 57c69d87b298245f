//! `vigie run` as a process of its own, in a folder that goes with it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
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
    extra: String,
    set: Vec<Setting>,
}

impl State {
    /// Makes the folder and writes the config with these sources.
    pub(super) fn new(settings: &Settings, sources: &str) -> anyhow::Result<State> {
        let mut folder = tempfile::Builder::new();
        let folder = folder.prefix("firehose-");
        let folder = match &settings.state {
            Some(parent) => folder.tempdir_in(parent).with_context(|| format!("{}", parent.display()))?,
            None => folder.tempdir().context("no temporary folder")?,
        };
        let state = State {
            folder,
            binary: settings.vigie.clone(),
            extra: settings.config_extra.clone(),
            set: settings.set.clone(),
        };
        state.configure(sources, &[])?;
        Ok(state)
    }

    /// Writes the config anew, with these sources, and with settings that those of the command line replace.
    pub(super) fn configure(&self, sources: &str, own: &[Setting]) -> anyhow::Result<()> {
        let set = [own, &self.set].concat();
        let text = config(self.folder.path(), sources, &self.extra, &set);
        fs::write(self.config(), text).context("cannot write the daemon's config")
    }

    /// Writes a file that the config names.
    pub(super) fn add(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.path().join(name);
        fs::write(&path, text).with_context(|| format!("{}", path.display()))?;
        Ok(path)
    }

    /// Leaves the folder where it is, for whoever wants to look at it.
    pub(super) fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    /// The ledger's size, with its write-ahead log.
    pub(super) fn ledger_bytes(&self) -> u64 {
        let files = [self.folder.path().join("ledger.sqlite"), self.wal()];
        files.iter().filter_map(|file| fs::metadata(file).ok()).map(|file| file.len()).sum()
    }

    /// What lies in the folder.
    pub(super) fn files(&self) -> Vec<String> {
        let files = fs::read_dir(self.folder.path()).into_iter().flatten().flatten();
        files.map(|file| file.file_name().to_string_lossy().into_owned()).collect()
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

    pub(super) fn wal(&self) -> PathBuf {
        self.folder.path().join("ledger.sqlite-wal")
    }

    /// A command of the daemon's binary with this config.
    pub(super) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg(name).arg("-c").arg(self.config());
        command
    }

    /// Starts the daemon and waits until it says that it runs.
    pub(super) async fn start(&self) -> anyhow::Result<Daemon> {
        let mut daemon = self.spawn()?;
        daemon.wait_until_running().await?;
        Ok(daemon)
    }

    /// Starts the daemon. Its log goes behind those of the daemons before it.
    pub(super) fn spawn(&self) -> anyhow::Result<Daemon> {
        let log = File::options().create(true).append(true).open(self.log());
        let log = log.context("cannot write the daemon's log")?;
        let log_start = log.metadata().context("the daemon's log")?.len();
        let child = self
            .command("run")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", self.binary.display()))?;
        let log = Log { path: self.log(), start: log_start };
        Ok(Daemon { child, log, console: SocketAddr::from(([127, 0, 0, 1], 0)) })
    }
}

/// What one daemon has logged, in a file that holds the logs of those before it, too.
#[derive(Debug, Clone)]
pub(super) struct Log {
    path: PathBuf,
    /// Bytes of the others.
    start: u64,
}

impl Log {
    /// All of a file.
    #[cfg(test)]
    pub(super) fn of(path: PathBuf) -> Log {
        Log { path, start: 0 }
    }

    /// Everything until now; empty where the file cannot be read.
    pub(super) fn read(&self) -> String {
        let read = || {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.start))?;
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            // What is being written may end in the middle of a character.
            std::io::Result::Ok(String::from_utf8_lossy(&text).into_owned())
        };
        read().unwrap_or_default()
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
    let (_, rest) = log.split_once("console=")?;
    rest.split_once(char::is_whitespace)?.0.parse().ok()
}

/// A running daemon; killed when dropped.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
    log: Log,
    console: SocketAddr,
}

impl Daemon {
    /// Waits until it says that it runs.
    ///
    /// # Errors
    ///
    /// It ends, or takes too long.
    pub(super) async fn wait_until_running(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_MAX;
        loop {
            let log = self.log.read();
            if let Some(console) = running(&log) {
                self.console = console;
                return Ok(());
            }
            if let Some(status) = self.ended() {
                bail!("the daemon ended before it ran: {status}\n{log}");
            }
            if Instant::now() > deadline {
                bail!("the daemon does not run after {} s\n{log}", START_MAX.as_secs());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// What it logs.
    pub(super) fn log(&self) -> &Log {
        &self.log
    }

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
        self.tell_to_drain()?;
        let deadline = Instant::now() + END_MAX;
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            sleep(LOOK_EVERY).await;
        }
        bail!("the daemon has not drained within {} s", END_MAX.as_secs())
    }

    /// Sends it `SIGTERM`.
    ///
    /// # Errors
    ///
    /// It has ended and was waited for.
    pub(super) fn tell_to_drain(&self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("no process")?;
        kill_process(pid, Signal::TERM).context("cannot send SIGTERM")
    }

    /// Sends it `SIGKILL` and gives how it ended: by itself, if it was faster.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub(super) fn kill(&mut self) -> anyhow::Result<ExitStatus> {
        // Fails only for a process that has ended.
        drop(self.child.kill());
        self.child.wait().context("cannot wait for the daemon")
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
        let built = "INFO built version=\"0.1.0\" console=127.0.0.1:4321\n";
        assert_eq!(running(built), None);
        let running = running(&format!("{built}INFO running\n"));
        assert_eq!(running, Some(SocketAddr::from(([127, 0, 0, 1], 4321))));
    }
}
