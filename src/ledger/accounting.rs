//! What became of the frames, as of the last commit.
//!
//! Readers see whole batches only: every frame counted here has ended in its bucket, so the buckets sum to
//! what was received at every instant that anyone can look.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, params};

use crate::telemetry::{Bucket, Buckets};

/// The accounts of all sources.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Accounting {
    /// By the source's name in config.
    pub sources: BTreeMap<Arc<str>, SourceAccount>,
}

/// The account of one source, since the ledger was made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourceAccount {
    /// Where its frames ended.
    pub buckets: Buckets,
    /// Where a restart would resume, in the source's own unit.
    pub position: Option<i64>,
    /// Holes in its stream.
    pub gaps: u64,
    /// Those of them that were filled afterwards.
    pub gaps_recovered: u64,
    /// Length of all holes together, and of those that were filled, in the source's own unit.
    pub gap_length: f64,
    /// See there.
    pub gap_length_recovered: f64,
}

impl Accounting {
    /// All sources' buckets together.
    pub fn total(&self) -> Buckets {
        let mut total = Buckets::default();
        for account in self.sources.values() {
            total.add(&account.buckets);
        }
        total
    }
}

pub(super) fn add_buckets(connection: &Connection, source: &str, buckets: &Buckets) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO bucket (source, bucket, frames) VALUES (?1, ?2, ?3)
         ON CONFLICT (source, bucket) DO UPDATE SET frames = frames + excluded.frames",
    )?;
    for (bucket, frames) in buckets.iter().filter(|(_, frames)| *frames > 0) {
        statement.execute(params![source, bucket.name(), frames.cast_signed()])?;
    }
    Ok(())
}

pub(super) fn read(connection: &Connection) -> rusqlite::Result<Accounting> {
    let mut accounting = Accounting::default();
    let mut sources = connection.prepare(
        "SELECT name, position, gaps_forgotten, gaps_forgotten_recovered,
                gap_length_forgotten, gap_length_forgotten_recovered
         FROM source",
    )?;
    let mut rows = sources.query([])?;
    while let Some(row) = rows.next()? {
        let account = accounting.sources.entry(Arc::from(row.get::<_, String>(0)?)).or_default();
        account.position = row.get(1)?;
        account.gaps = row.get::<_, i64>(2)?.cast_unsigned();
        account.gaps_recovered = row.get::<_, i64>(3)?.cast_unsigned();
        account.gap_length = row.get(4)?;
        account.gap_length_recovered = row.get(5)?;
    }
    let mut buckets = connection.prepare("SELECT source, bucket, frames FROM bucket")?;
    let mut rows = buckets.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        let bucket = Bucket::ALL.into_iter().find(|bucket| bucket.name() == name).ok_or_else(|| {
            let error = format!("unknown bucket {name}");
            rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, error.into())
        })?;
        let account = accounting.sources.entry(Arc::from(row.get::<_, String>(0)?)).or_default();
        account.buckets[bucket] = row.get::<_, i64>(2)?.cast_unsigned();
    }
    let mut gaps = connection.prepare(
        "SELECT source, count(*), sum(recovered), total(CAST(to_position AS REAL) - from_position),
                total(CASE WHEN recovered THEN CAST(to_position AS REAL) - from_position END)
         FROM gap GROUP BY source",
    )?;
    let mut rows = gaps.query([])?;
    while let Some(row) = rows.next()? {
        let account = accounting.sources.entry(Arc::from(row.get::<_, String>(0)?)).or_default();
        account.gaps += row.get::<_, i64>(1)?.cast_unsigned();
        account.gaps_recovered += row.get::<_, i64>(2)?.cast_unsigned();
        account.gap_length += row.get::<_, f64>(3)?;
        account.gap_length_recovered += row.get::<_, f64>(4)?;
    }
    Ok(accounting)
}
