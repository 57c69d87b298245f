//! `vigie import`: what the company knows of its customers, their contacts and its agents, from a file.

use std::fs::{File, Metadata};
use std::io::{BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::print::{counted as counted_rows, grouped};
use super::{Failure, LedgerFile};
use crate::desk::calendar;
use crate::ledger::LedgerError;
use crate::ledger::context::import::{
    CHUNK_BYTES, CHUNK_ROWS, CustomerChunk, CustomerRow, FIRST_CHUNK_ROWS, Importer, Numbered, Rejected,
};
use crate::ledger::context::{Contact, Reader};
use crate::telemetry::log::remark;

mod articles;
mod csv;
mod fields;
mod lines;
mod table;

use fields::Fields;
use table::{Cells, Options, Table};

/// Rejected rows that are printed; the others are counted.
const PRINTED_MAX: u64 = 20;

#[derive(Debug, Args)]
#[command(
    after_help = "`vigie import customers --help` lists the columns of a file, and so on. As the daemon's user, so \
    that the files stay its own: sudo -u vigie vigie import customers FILE"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Customers with their accounts on each network
    #[command(after_help = CUSTOMERS_HELP)]
    Customers(FileArguments),
    /// Who answers
    #[command(after_help = AGENTS_HELP)]
    Agents(FileArguments),
    /// Earlier contacts on any channel: calls, mails, chats, visits
    #[command(after_help = TOUCHPOINTS_HELP)]
    Touchpoints(FileArguments),
    /// Replace the knowledge base: support articles whose links tickets then carry
    Articles(articles::Arguments),
}

/// The columns of a kind of file, with what all kinds have in common.
macro_rules! help {
    ($columns:literal $(,)?) => {
        concat!(
            $columns,
            "\n\n\
A CSV file has a header; its separator may be a comma, a semicolon, a tab or a bar. In NDJSON the
columns are keys. Rows are merged by key: a column that the file lacks stays as it is, an empty
field empties. Rows that are right are taken over even if others are rejected; then the exit code
is 1. A rejected row changes nothing.
Times: 2026-11-02, 2026-11-02T10:00 (by the clock of --time-zone) or 2026-11-02T10:00:00Z."
        )
    };
}

const CUSTOMERS_HELP: &str = help!(
    "\
Columns, * needed:
  key*        the company's own; at most 200 bytes
  name        for the agents' eyes
  tier        one word, such as gold
  value       a number, in whatever unit the company counts
  language    fr, en, fr-CA, ...
  flags       words, such as press vulnerable
  purchases   DATE AMOUNT WHAT, several separated by |; AMOUNT may be -, or as 1290.5; 1 290,50 €
              and $1,290.50 are read, too. In NDJSON a list of {at, amount, what}
  bluesky, mastodon, x, facebook, plain
              ids or handles, with or without @, several separated by spaces: a DID or handle, user@server, a
              number or screen name. An account that another customer has is rejected: the first keeps it
A purchase in the future is taken over and counts once its day has come; the summary counts such
rows.",
);

const AGENTS_HELP: &str = help!(
    "\
Columns, * needed:
  name*         as the helpdesk reports them
  team          the team they belong to
  skills        words, such as billing fibre
  languages     such as fr en
  capacity      open tickets that they can have at once; 10 if nobody says so
  shifts        such as \"mon-fri 08:00-18:00, sat 09:00-13:00\"; empty: always
  zone          time zone of the shifts, such as Europe/Paris
  open_tickets  how many they have now
  answer_min    average time to their answer, minutes
  satisfaction  1 to 5
  away          yes or no",
);

const TOUCHPOINTS_HELP: &str = help!(
    "\
Columns, * needed:
  customer    the company's own key, or instead (beside it, it counts alone):
  network, account   bluesky, mastodon, x, facebook or plain, and the account there
  at*         when
  channel*    phone, mail, chat, shop, visit, or a word of the company's own
  note        for the agents' eyes; 1000 characters are kept
Who, when and on which channel are the key: a contact that comes again is the same.
One in the future is taken over and counts once its time has come. One of a customer or account
that is not known is kept, and is theirs whom a later file names. The summary counts both.",
);

#[derive(Debug, Args)]
struct FileArguments {
    #[command(flatten)]
    ledger: LedgerFile,
    /// The file, CSV or NDJSON; - is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What the file is; else its name says so, or its first character
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// How its texts are encoded
    #[arg(long, value_enum, default_value = "utf-8")]
    encoding: Encoding,
    /// The file is the whole truth: what is not in it goes, if no row of it is rejected
    #[arg(long)]
    replace: bool,
    /// Pass over columns that vigie does not know
    #[arg(long)]
    ignore_unknown: bool,
    /// Where times without an offset are meant, such as Europe/Paris; else as [desk] time_zone says
    #[arg(long, value_name = "ZONE", value_parser = calendar::zone)]
    time_zone: Option<TimeZone>,
    /// Write every rejected row's line and reason into this file
    #[arg(long, value_name = "FILE")]
    rejected: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FileFormat {
    Csv,
    Ndjson,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Encoding {
    #[value(name = "utf-8")]
    Utf8,
    /// As Windows writes it (windows-1252)
    Latin1,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.what {
        What::Customers(file) => import(
            file,
            &fields::CUSTOMERS,
            fields::customer,
            |row: &CustomerRow, now| row.purchases.iter().flatten().any(|purchase| purchase.at > now),
            CustomerChunk::new,
            Importer::customers,
            Importer::remove_other_customers,
        ),
        What::Agents(file) => {
            let imported = import(
                file,
                &fields::AGENTS,
                fields::agent,
                |_, _| false,
                std::convert::identity,
                |importer, chunk, reject| importer.agents(&chunk, reject),
                Importer::remove_other_agents,
            );
            if !matches!(imported, Err(Failure::Mistake(_))) {
                warn_of_teams(&file.ledger);
            }
            imported
        }
        What::Touchpoints(file) => import(
            file,
            &fields::TOUCHPOINTS,
            fields::touchpoint,
            |contact: &Contact, now| contact.touchpoint.at > now,
            std::convert::identity,
            |importer, chunk, _| importer.touchpoints(&chunk),
            Importer::remove_other_touchpoints,
        ),
        What::Articles(arguments) => articles::run(arguments),
    }
}

/// Rows that were read and checked, and those that were wrong in themselves, in the file's order.
struct Chunk<T> {
    rows: Vec<Numbered<T>>,
    rejected: Vec<Rejected>,
}

/// Reads the whole file, and gives chunk after chunk until `give` wants no more.
fn read_all<T>(
    table: &mut Table,
    columns: &'static table::Columns,
    zone: &TimeZone,
    read: impl Fn(&Fields<'_>) -> Result<T, String>,
    mut give: impl FnMut(Chunk<T>) -> bool,
) -> anyhow::Result<()> {
    let (mut cells, mut bytes, mut rows_max) = (Cells::default(), 0, FIRST_CHUNK_ROWS);
    let mut chunk = Chunk { rows: Vec::new(), rejected: Vec::new() };
    loop {
        let more = table.next(&mut cells)?;
        let count = chunk.rows.len() + chunk.rejected.len();
        let is_full = count >= rows_max || bytes >= CHUNK_BYTES;
        if (more.is_none() || is_full) && count > 0 {
            let next = Chunk { rows: Vec::new(), rejected: Vec::new() };
            bytes = 0;
            rows_max = CHUNK_ROWS.min(2 * rows_max);
            if !give(std::mem::replace(&mut chunk, next)) {
                return Ok(());
            }
        }
        let Some(taken) = more else { return Ok(()) };
        bytes += cells.bytes();
        let fields = Fields::new(columns, &cells, zone);
        match taken.and_then(|()| read(&fields)) {
            Ok(row) => chunk.rows.push(Numbered { line: cells.line(), row }),
            Err(reason) => chunk.rejected.push(Rejected { line: cells.line(), reason }),
        }
    }
}

/// Rows as they are handed over to be written.
struct Ready<C> {
    chunk: C,
    rows: usize,
    /// Those with a time that has not come yet.
    ahead: usize,
    /// Those that were wrong in themselves, in the file's order.
    rejected: Vec<Rejected>,
}

fn import<T: Send, C: Send>(
    arguments: &FileArguments,
    columns: &'static table::Columns,
    read: impl Fn(&Fields<'_>) -> Result<T, String> + Send,
    is_ahead: impl Fn(&T, Timestamp) -> bool + Send,
    prepare: impl Fn(Vec<Numbered<T>>) -> C + Send,
    mut take: impl FnMut(&mut Importer, C, &mut dyn FnMut(Rejected)) -> Result<(), LedgerError>,
    remove_others: impl Fn(&mut Importer) -> Result<(), LedgerError>,
) -> Result<(), Failure> {
    let options = Options {
        format: arguments.format,
        encoding: arguments.encoding,
        ignore_unknown: arguments.ignore_unknown,
    };
    let mut table = Table::open(&arguments.file, columns, options).map_err(Failure::Mistake)?;
    let now = Timestamp::now();
    let (path, zone) = place(arguments)?;
    refuse_overwriting(arguments, &path)?;
    let mut importer = Importer::open(&path, arguments.replace).map_err(anyhow::Error::new)?;
    let mut report = Report::open(arguments)?;
    // One chunk is read, checked and put in order while the one before it is written; a third is never there.
    std::thread::scope(|scope| -> Result<(), Failure> {
        let (sender, chunks) = crossbeam::channel::bounded(0);
        let (table, zone) = (&mut table, &zone);
        let reading = scope.spawn(move || {
            read_all(table, columns, zone, read, |Chunk { rows, rejected }| {
                let ahead = rows.iter().filter(|numbered| is_ahead(&numbered.row, now)).count();
                let ready = Ready { rows: rows.len(), ahead, rejected, chunk: prepare(rows) };
                sender.send(ready).is_ok()
            })
        });
        let taken = chunks.iter().try_for_each(|Ready { chunk, rows, ahead, mut rejected }| {
            report.read += (rows + rejected.len()) as u64;
            report.ahead += ahead as u64;
            let taken = match rows {
                0 => Ok(()),
                _ => take(&mut importer, chunk, &mut |row| rejected.push(row)),
            };
            // A chunk is read, then compared with what is known: its rows are told of in the file's order all the same.
            rejected.sort_by_key(|rejected| rejected.line);
            rejected.iter().for_each(|rejected| report.reject(rejected));
            taken
        });
        // Whoever reads ends when nobody takes any more.
        drop(chunks);
        let read = reading.join();
        taken.map_err(anyhow::Error::new)?;
        read.map_err(|_| anyhow!("the file could not be read: a fault of vigie's own"))??;
        Ok(())
    })?;
    if report.read == 0 {
        return Err(Failure::Mistake(anyhow!("{}: {}", report.shown, table.without_rows())));
    }
    if arguments.replace && report.rejected == 0 {
        remove_others(&mut importer).map_err(anyhow::Error::new)?;
    }
    let tally = importer.finish().map_err(anyhow::Error::new)?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{}: {}: {} read: {} new, {} changed, {} unchanged, {} rejected{}{}{}",
        report.shown,
        table.described(),
        counted_rows(report.read, "row", "rows"),
        grouped(tally.new),
        grouped(tally.changed),
        grouped(tally.unchanged),
        grouped(report.rejected),
        if arguments.replace { format!("; {} removed", grouped(tally.removed)) } else { String::new() },
        counted(report.ahead, "in the future: taken, and counting from then on"),
        counted(tally.of_nobody, "of nobody known: kept until somebody is"),
    )
    .context("stdout")?;
    report.end(arguments)
}

/// What the file calls a team and the config does not know would never get a ticket.
fn warn_of_teams(ledger: &LedgerFile) {
    // A ledger by itself may have no config, and then no teams.
    let Ok(config) = ledger.load() else { return };
    let agents = Reader::open(&config.ledger.path).ok().and_then(|mut reader| reader.agents().ok());
    if let Some(agents) = agents {
        for warning in super::check::unknown_teams(&agents, &config.desk.routes) {
            remark(&format!("warning: {warning}"));
        }
    }
}

/// The ledger's file, and where times without an offset are meant: UTC where no config can be read, which is said.
fn place(arguments: &FileArguments) -> Result<(PathBuf, TimeZone), Failure> {
    let zone = |of_config| arguments.time_zone.clone().unwrap_or(of_config);
    match (arguments.ledger.load(), &arguments.ledger.ledger) {
        (Ok(config), _) => Ok((config.ledger.path, zone(config.desk.expectations.zone))),
        (Err(_), Some(path)) => {
            if arguments.time_zone.is_none() {
                remark(
                    "warning: no config can be read, so times without an offset are taken as UTC: see --time-zone",
                );
            }
            Ok((path.clone(), zone(TimeZone::UTC)))
        }
        (Err(failure), None) => Err(failure),
    }
}

/// Refuses to write rejected rows over the file that they come from, or over the ledger.
fn refuse_overwriting(arguments: &FileArguments, ledger: &Path) -> Result<(), Failure> {
    let Some(rejected) = &arguments.rejected else { return Ok(()) };
    // What is not there yet is nobody's.
    let Ok(there) = rejected.metadata() else { return Ok(()) };
    let input = match arguments.file.to_str() {
        Some("-") => {
            std::io::stdin().as_fd().try_clone_to_owned().and_then(|stdin| File::from(stdin).metadata())
        }
        _ => arguments.file.metadata(),
    };
    let is_there = |other: std::io::Result<Metadata>| {
        other.is_ok_and(|other| (other.dev(), other.ino()) == (there.dev(), there.ino()))
    };
    let what = match (there.is_file(), is_there(input), is_there(ledger.metadata())) {
        (true, true, _) => "the file that is imported",
        (true, _, true) => "the ledger",
        _ => return Ok(()),
    };
    let rejected = rejected.display();
    Err(Failure::Mistake(anyhow!("--rejected {rejected}: it is {what}, and would be overwritten")))
}

/// A clause of the summary, where there is something to say.
fn counted(rows: u64, what: &str) -> String {
    if rows == 0 { String::new() } else { format!("; {} {what}", grouped(rows)) }
}

/// What there is to say of rows.
struct Report {
    /// The file, as the caller named it.
    shown: String,
    read: u64,
    rejected: u64,
    /// Rows with a time that has not come yet.
    ahead: u64,
    file: Option<BufWriter<File>>,
    trouble: Option<std::io::Error>,
}

impl Report {
    fn open(arguments: &FileArguments) -> Result<Report, Failure> {
        let create = |path: &Path| {
            File::create(path).with_context(|| format!("{}", path.display())).map_err(Failure::Mistake)
        };
        let file = arguments.rejected.as_deref().map(create).transpose()?.map(BufWriter::new);
        let shown = match arguments.file.to_str() {
            Some("-") => "stdin".to_owned(),
            _ => arguments.file.display().to_string(),
        };
        Ok(Report { shown, read: 0, rejected: 0, ahead: 0, file, trouble: None })
    }

    fn reject(&mut self, Rejected { line, reason }: &Rejected) {
        self.rejected += 1;
        if self.rejected <= PRINTED_MAX {
            crate::telemetry::log::complain(&format!("{}:{line}: {reason}", self.shown));
        }
        if let Some(file) = &mut self.file
            && let Err(error) = writeln!(file, "{line}\t{reason}")
        {
            self.trouble.get_or_insert(error);
        }
    }

    fn end(mut self, arguments: &FileArguments) -> Result<(), Failure> {
        let flushed = self.file.as_mut().map_or(Ok(()), Write::flush);
        if let (Some(path), Some(error)) = (&arguments.rejected, self.trouble.or(flushed.err())) {
            return Err(Failure::Fault(anyhow!("{}: {error}", path.display())));
        }
        if self.rejected == 0 {
            return Ok(());
        }
        let unsaid = self.rejected.saturating_sub(PRINTED_MAX);
        let mut text = format!(
            "{} of {} rejected",
            grouped(self.rejected),
            counted_rows(self.read, "row was", "rows were")
        );
        if unsaid > 0 && arguments.rejected.is_none() {
            text.push_str(&format!(", {} more than are shown: --rejected FILE lists all", grouped(unsaid)));
        }
        if arguments.replace {
            text.push_str("; so nothing was removed: the file may not be the whole truth");
        }
        Err(Failure::Fault(anyhow!(text)))
    }
}

#[cfg(test)]
mod tests;
