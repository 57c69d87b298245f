//! The ledger and outbox of one process, and the files that they leave behind.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam::channel::{Sender, bounded};
use jiff::Timestamp;
use parking_lot::Mutex;
use prost::Message;
use tempfile::TempDir;

use super::step::{BRANDS, Event, INTENTS};
use super::twin::{self, AGEING};
use crate::ledger::outbox::Outbox;
use crate::ledger::{
    self, Entry, Handle, Ledger, NewFollowUp, NewTicket, Otherwise, Settlement, Traits, Writer,
};
use crate::parse::Network;
use crate::telemetry::Bucket;
use crate::ticket::proto;

/// A ledger with its outbox, as one process has them.
pub(super) struct Daemon {
    pub(super) settlements: Sender<Settlement>,
    pub(super) writer: Writer,
    pub(super) handle: Handle,
    pub(super) outbox: Arc<Mutex<Outbox>>,
}

impl Daemon {
    pub(super) fn start(folder: &TempDir) -> Daemon {
        let config = ledger::Config {
            path: path(folder),
            bookkeeping_delay_max: Duration::ZERO,
            ageing_points_per_hour: AGEING,
            // It prunes when a step says so.
            retention: ledger::Retention { age_max: None, live_bytes_max: None, contacts_age_max: None },
        };
        let (settlements, receiver) = bounded(128);
        let outbox = Arc::new(Mutex::new(Outbox::new()));
        let (mut writer, handle) = Ledger::open(config).unwrap().split(receiver, outbox.clone()).unwrap();
        writer.put_off_pruning();
        Daemon { settlements, writer, handle, outbox }
    }
}

pub(super) fn entry(event: &Event) -> Entry {
    let at = Timestamp::UNIX_EPOCH;
    match *event {
        Event::Ticket { post, author, brand, intent, priority, hour, provisional } => {
            let id = twin::ticket_id(post);
            let text = format!("text of {post}");
            let message = proto::Ticket {
                id: id.as_bytes().to_vec(),
                post: Some(proto::Post { id: post.to_string(), text, ..Default::default() }),
                factors: vec![twin::base(priority)],
                ..Default::default()
            };
            Entry::Ticket(Box::new(NewTicket {
                id,
                author_id: twin::author_id(author),
                traits: Traits {
                    brand: BRANDS[brand].into(),
                    network: Network::Bluesky,
                    language: "fr".into(),
                    intent: INTENTS[intent].into(),
                    priority,
                    rescored: None,
                },
                created_at: Timestamp::from_microsecond(twin::created_at_us(hour)).unwrap(),
                posted_at: Timestamp::from_microsecond(twin::created_at_us(hour)).unwrap(),
                due_at_us: twin::due(post).into(),
                at_risk_at_us: None,
                text_hash: post.into(),
                watch: post.into(),
                thread: None,
                provisional,
                assignee: None,
                body: message.encode_to_vec(),
            }))
        }
        Event::Join { post, to, author, urgency } => {
            let text = format!("text of {post}");
            Entry::FollowUp(Box::new(NewFollowUp {
                post_id: twin::ticket_id(post),
                ticket_id: twin::ticket_id(to),
                network: Network::Bluesky,
                author_id: twin::author_id(author),
                text_hash: post.into(),
                at,
                posted_at: at,
                post: proto::Post { id: post.to_string(), text, ..Default::default() },
                verdict: proto::Verdict::default(),
                factors: vec![proto::Factor {
                    name: "urgency".into(),
                    points: urgency.into(),
                    ..Default::default()
                }],
                raises: true,
                thanks: None,
                terms: super::without_floors(),
                join_us: 3_600_000_000,
                otherwise: Otherwise::Bucket(Bucket::Unmatched),
            }))
        }
        Event::Edit { post, second } => Entry::Edit {
            ticket_id: twin::ticket_id(post),
            text: format!("edited at {second}"),
            at: Timestamp::from_second(second.into()).unwrap(),
            otherwise: Bucket::Unmatched,
            amended: None,
        },
        Event::Erase { post } => Entry::Erase { ticket_id: twin::ticket_id(post), at },
        Event::EraseAuthor { author } => {
            Entry::EraseAuthor { network: Network::Bluesky, author_id: twin::author_id(author), at }
        }
    }
}

/// A folder in memory where there is one.
pub(super) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

pub(super) fn path(folder: &TempDir) -> PathBuf {
    folder.path().join("ledger.sqlite")
}

pub(super) fn log_path(folder: &TempDir) -> PathBuf {
    folder.path().join("ledger.sqlite-wal")
}

/// The ledger's file and its write-ahead log.
pub(super) fn files(folder: &TempDir) -> (Vec<u8>, Vec<u8>) {
    (std::fs::read(path(folder)).unwrap(), std::fs::read(log_path(folder)).unwrap_or_default())
}

/// The file of a ledger that was opened and closed, made once.
pub(super) fn empty_ledger() -> &'static [u8] {
    static EMPTY: OnceLock<Vec<u8>> = OnceLock::new();
    EMPTY.get_or_init(|| {
        let folder = folder();
        drop(Daemon::start(&folder));
        std::fs::read(path(&folder)).unwrap()
    })
}
