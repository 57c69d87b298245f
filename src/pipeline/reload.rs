//! What a reload changes, changed as one: everything that can fail is done before, then pointers are swapped.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::access::Access;
use crate::config::{Config, Keys};
use crate::desk;
use crate::prefilter::{self, Prefilter};

/// What the stages decide by, swapped whole.
///
/// A lane takes it for a batch, the desk for what it settles at once: no decision sees half of a reload, and a
/// post that the lane matched before one may be scored after it.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Brands and service words.
    pub prefilter: Arc<Prefilter>,
    /// What it was built from.
    digest: prefilter::Digest,
    /// Priorities, thresholds and expectations.
    pub desk: Arc<desk::Config>,
}

impl Rules {
    /// Compiles them. A million terms take seconds.
    ///
    /// # Errors
    ///
    /// The brands' rules cannot be compiled.
    pub fn build(prefilter: &prefilter::Config, desk: &desk::Config) -> Result<Rules, Refused> {
        let built = Prefilter::build(prefilter).map_err(|mistakes| {
            Refused(mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })?;
        Ok(Rules { prefilter: Arc::new(built), digest: prefilter.digest(), desk: Arc::new(desk.clone()) })
    }
}

/// How reloads went since the start. Written by whoever reloads, read by anyone, relaxed: counts for people.
#[derive(Debug, Default)]
pub struct Reloads {
    applied: AtomicU64,
    refused: AtomicU64,
    /// µs since 1970; 0 before the first.
    applied_at_us: AtomicI64,
    /// 1 where the last was refused.
    last_refused: AtomicU64,
}

impl Reloads {
    /// Applied since the start.
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Relaxed)
    }

    /// Refused since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// When the last one was applied, µs since 1970; `None` before the first.
    pub fn applied_at_us(&self) -> Option<i64> {
        Some(self.applied_at_us.load(Ordering::Relaxed)).filter(|at_us| *at_us != 0)
    }

    /// Whether the last one was refused: the file on disk is not what runs.
    pub fn is_last_refused(&self) -> bool {
        self.last_refused.load(Ordering::Relaxed) != 0
    }
}

/// Reloads a running daemon. Clones share it.
#[derive(Debug, Clone)]
pub struct Reloader {
    rules: Arc<ArcSwap<Rules>>,
    access: Arc<Access>,
    reloads: Arc<Reloads>,
    /// Of the file that the daemon was started with.
    started: Arc<Keys>,
}

/// A config that is ready to run: nothing about it can fail any more.
#[derive(Debug)]
pub struct Prepared {
    rules: Rules,
    access: Arc<Access>,
    log_level: tracing::Level,
    takes_restart: Vec<String>,
    warnings: Vec<String>,
}

/// What became of a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// The least level that is to be logged from now on.
    pub log_level: tracing::Level,
    /// Keys whose value in the file is not what runs: a restart takes them.
    pub takes_restart: Vec<String>,
    /// What works and is not as it should be.
    pub warnings: Vec<String>,
}

/// Why a config cannot be run: nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("brands: {0}")]
pub struct Refused(String);

impl Reloader {
    pub(super) fn new(rules: Rules, access: Arc<Access>, started: Keys) -> Reloader {
        let rules = Arc::new(ArcSwap::from_pointee(rules));
        Reloader { rules, access, reloads: Arc::default(), started: Arc::new(started) }
    }

    pub(super) fn rules(&self) -> &Arc<ArcSwap<Rules>> {
        &self.rules
    }

    pub(super) fn reloads(&self) -> &Arc<Reloads> {
        &self.reloads
    }

    /// Does everything that takes time or can fail, and changes nothing. A million terms take seconds.
    ///
    /// # Errors
    ///
    /// The rules cannot be compiled.
    pub fn prepare(&self, config: &Config) -> Result<Prepared, Refused> {
        let running = self.rules.load();
        let rules = if config.prefilter.digest() == running.digest {
            Rules { desk: Arc::new(config.desk.clone()), ..Rules::clone(&running) }
        } else {
            Rules::build(&config.prefilter, &config.desk)?
        };
        let takes_restart = self.started.taking_a_restart(&config.keys);
        let access = config.access.clone();
        let warnings = config.warnings.clone();
        Ok(Prepared { rules, access, log_level: config.log_level, takes_restart, warnings })
    }

    /// Runs it from now on: all of it, and none of it can fail. Tokens and certificates a moment after the rest: no
    /// decision looks at both.
    pub fn commit(&self, prepared: Prepared) -> Reloaded {
        let Prepared { rules, access, log_level, takes_restart, warnings } = prepared;
        self.rules.store(Arc::new(rules));
        self.access.replace(&access);
        self.reloads.applied.fetch_add(1, Ordering::Relaxed);
        self.reloads.applied_at_us.store(Timestamp::now().as_microsecond(), Ordering::Relaxed);
        self.reloads.last_refused.store(0, Ordering::Relaxed);
        Reloaded { log_level, takes_restart, warnings }
    }

    /// Counts a reload that came to nothing.
    pub fn refuse(&self) {
        self.reloads.refused.fetch_add(1, Ordering::Relaxed);
        self.reloads.last_refused.store(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(names: &str, rest: &str) -> Config {
        let text = format!(
            "[[source]]\nkind = \"ndjson\"\npath = \"-\"\n[[brand]]\nname = \"Lumio\"\nnames = {names}\n{rest}"
        );
        Config::parse(&text).unwrap()
    }

    fn reloader(config: &Config) -> Reloader {
        let rules = Rules::build(&config.prefilter, &config.desk).unwrap();
        Reloader::new(rules, config.access.clone(), config.keys.clone())
    }

    #[test]
    fn nothing_changes_before_everything_is_ready_and_then_all_of_it_does() {
        let (before, after) =
            (config("[\"lumio\"]", ""), config("[\"other\"]", "[priority]\naddressed = 7\n"));
        let reloader = reloader(&before);
        let running = reloader.rules().load_full();
        let prepared = reloader.prepare(&after).unwrap();
        assert!(Arc::ptr_eq(&running, &reloader.rules().load_full()), "prepared is not applied");
        reloader.commit(prepared);
        let rules = reloader.rules().load_full();
        assert!(!Arc::ptr_eq(&rules.prefilter, &running.prefilter));
        assert_eq!(rules.desk.factors.addressed, 7);
        assert_eq!((reloader.reloads().applied(), reloader.reloads().refused()), (1, 0));
    }

    #[test]
    fn rules_that_cannot_be_compiled_leave_priorities_alone_too() {
        let before = config("[\"lumio\"]", "");
        let reloader = reloader(&before);
        let running = reloader.rules().load_full();
        // No file can say this: the config's own check refuses it before.
        let mut after = config("[\"lumio\"]", "[priority]\naddressed = 7\n");
        after.prefilter.brands[0].listen = "handle OR (".to_owned();
        let refused = reloader.prepare(&after).unwrap_err();
        assert!(refused.to_string().contains("brands: "), "{refused}");
        assert!(Arc::ptr_eq(&running, &reloader.rules().load_full()));
    }

    #[test]
    fn rules_that_did_not_change_are_not_compiled_again() {
        let before = config("[\"lumio\"]", "");
        let reloader = reloader(&before);
        let running = reloader.rules().load_full();
        for points in [7, 8] {
            let after = config("[\"lumio\"]", &format!("[priority]\naddressed = {points}\n"));
            reloader.commit(reloader.prepare(&after).unwrap());
            let rules = reloader.rules().load_full();
            assert!(Arc::ptr_eq(&rules.prefilter, &running.prefilter));
            assert_eq!(rules.desk.factors.addressed, points);
        }
        // What runs is compared, and not what ran at the start.
        let other = config("[\"other\"]", "");
        reloader.commit(reloader.prepare(&other).unwrap());
        reloader.commit(reloader.prepare(&before).unwrap());
        assert!(!Arc::ptr_eq(&reloader.rules().load_full().prefilter, &running.prefilter));
    }

    #[test]
    fn a_reload_says_what_it_could_not_take_and_at_which_level_to_log() {
        let before = config("[\"lumio\"]", "[engine]\nlanes = 1\n");
        let reloader = reloader(&before);
        let after = config("[\"lumio\"]", "[engine]\nlanes = 2\n[log]\nlevel = \"debug\"\n");
        for _ in 0..2 {
            // The second time too: it still is not what runs.
            let reloaded = reloader.commit(reloader.prepare(&after).unwrap());
            assert_eq!(reloaded.takes_restart, ["engine.lanes"]);
            assert_eq!(reloaded.log_level, tracing::Level::DEBUG);
        }
        let back = reloader.commit(reloader.prepare(&before).unwrap());
        assert_eq!(back.takes_restart, Vec::<String>::new());
    }
}
