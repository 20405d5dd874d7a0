//! Typed names of everything in a history's folder. Nothing else builds or parses a path.
//!
//! ```text
//! <dir>/changes/cluster=prod/date=2026-11-20/<first seq>-<last seq>.parquet
//! <dir>/snapshots/cluster=prod/date=2026-11-20/<seq>.parquet
//! <dir>/coverage/… <dir>/sessions/… <dir>/audit/…        as changes
//! <dir>/wal/cluster=prod/<number of the first frame>.wal
//! <dir>/wal/cluster=prod/lock              the writer's lock
//! <dir>/.work/cluster=prod/…               days that are being exchanged
//! ```
//! A part that was rewritten with the same seqs is `<first seq>-<last seq>.<n>.parquet`, n counting from 1.
//!
//! A name with a leading dot is work in progress or work to be thrown away, and a file of that kind never ends in
//! `.parquet`: some readers that glob ignore the dot, others the missing end.

use std::path::{Path, PathBuf};

/// The tables that have parts on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    Changes,
    Coverage,
    Sessions,
    Audit,
    Snapshots,
}

impl Table {
    pub const ALL: [Self; 5] = [Self::Changes, Self::Coverage, Self::Sessions, Self::Audit, Self::Snapshots];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::Coverage => "coverage",
            Self::Sessions => "sessions",
            Self::Audit => "audit",
            Self::Snapshots => "snapshots",
        }
    }

    pub fn schema(self) -> arrow::datatypes::SchemaRef {
        use super::schema;
        match self {
            Self::Changes => schema::CHANGES.clone(),
            Self::Coverage => schema::COVERAGE.clone(),
            Self::Sessions => schema::SESSIONS.clone(),
            Self::Audit => schema::AUDIT.clone(),
            Self::Snapshots => schema::SNAPSHOTS.clone(),
        }
    }
}

/// The folder of one history, holding any number of clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn table(&self, table: Table) -> PathBuf {
        self.dir.join(table.as_str())
    }

    pub fn cluster(&self, table: Table, cluster: &str) -> PathBuf {
        self.table(table).join(format!("cluster={cluster}"))
    }

    pub fn day(&self, table: Table, cluster: &str, day: Day) -> PathBuf {
        self.cluster(table, cluster).join(format!("date={day}"))
    }

    pub fn wal(&self, cluster: &str) -> PathBuf {
        self.dir.join("wal").join(format!("cluster={cluster}"))
    }

    /// Where days are built anew and old ones wait for their last reader: outside of every table's folder, because some
    /// readers (DuckDB) follow `**` into folders with a leading dot.
    pub fn work(&self, cluster: &str) -> PathBuf {
        self.dir.join(".work").join(format!("cluster={cluster}"))
    }

    pub fn lock(&self, cluster: &str) -> PathBuf {
        self.wal(cluster).join("lock")
    }

    /// The key of this folder's keyed hashes: 32 random bytes, made at the first start.
    pub fn hash_key(&self) -> PathBuf {
        self.dir.join(".hash-key")
    }

    /// The clusters that this folder holds, sorted. An empty list where the folder does not exist.
    pub fn clusters(&self) -> std::io::Result<Vec<String>> {
        let mut names = std::collections::BTreeSet::new();
        let mut places: Vec<PathBuf> = Table::ALL.iter().map(|table| self.table(*table)).collect();
        places.push(self.dir.join("wal"));
        for place in places {
            for name in list(&place)? {
                if let Some(cluster) = name.strip_prefix("cluster=") {
                    names.insert(cluster.to_owned());
                }
            }
        }
        Ok(names.into_iter().collect())
    }

    /// The days of one table that are on disk, oldest first.
    pub fn days(&self, table: Table, cluster: &str) -> std::io::Result<Vec<Day>> {
        let names = list(&self.cluster(table, cluster))?;
        let mut days: Vec<Day> =
            names.iter().filter_map(|name| name.strip_prefix("date=")).filter_map(Day::parse).collect();
        days.sort_unstable();
        Ok(days)
    }
}

/// The entries of a folder without those that start with a dot; none where the folder does not exist.
pub fn list(dir: &Path) -> std::io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string()
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// A UTC day, counted from 1970-01-01; shown as `2026-11-20`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(pub i32);

impl Day {
    pub fn parse(text: &str) -> Option<Self> {
        let date = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        Some(Self(date.to_epoch_days()))
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match chrono::NaiveDate::from_epoch_days(self.0) {
            Some(date) => write!(f, "{}", date.format("%Y-%m-%d")),
            None => write!(f, "day{}", self.0),
        }
    }
}

/// The seqs that a part's name states, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeqRange {
    pub first: i64,
    pub last: i64,
}

impl SeqRange {
    /// The name of a part of this table: a snapshot is named by its one seq.
    pub fn file_name(self, table: Table) -> String {
        match table {
            Table::Snapshots => format!("{}.parquet", self.last),
            _ => format!("{}-{}.parquet", self.first, self.last),
        }
    }

    /// The name of a part that takes the place of one with the same range: a name of its own, because a reader that opens
    /// a path twice must not find two files under it. `generation` is 0 for a part that replaces none.
    pub fn file_name_of(self, table: Table, generation: u32) -> String {
        let name = self.file_name(table);
        match (generation, name.strip_suffix(".parquet")) {
            (1.., Some(stem)) => format!("{stem}.{generation}.parquet"),
            _ => name,
        }
    }

    /// How often the part of this name took the place of one with the same range.
    pub fn generation(name: &str) -> u32 {
        let stem = name.strip_suffix(".parquet").unwrap_or(name);
        stem.split_once('.').and_then(|(_, generation)| generation.parse().ok()).unwrap_or(0)
    }

    /// The range that a part's name states; `None` for a name that is not ours.
    pub fn parse(table: Table, name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".parquet")?;
        let stem = match stem.split_once('.') {
            Some((stem, generation)) => generation.parse::<u32>().ok().map(|_| stem)?,
            None => stem,
        };
        let (first, last) = match table {
            Table::Snapshots => (stem, stem),
            _ => stem.split_once('-')?,
        };
        let range = Self { first: first.parse().ok()?, last: last.parse().ok()? };
        (range.first >= 0 && range.first <= range.last).then_some(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        let range = SeqRange { first: 7, last: 4_096 };
        assert_eq!(range.file_name(Table::Changes), "7-4096.parquet");
        assert_eq!(SeqRange::parse(Table::Changes, "7-4096.parquet"), Some(range));
        assert_eq!(SeqRange::parse(Table::Snapshots, "9.parquet"), Some(SeqRange { first: 9, last: 9 }));
        let rewritten = range.file_name_of(Table::Changes, 2);
        assert_eq!(rewritten, "7-4096.2.parquet");
        assert_eq!((SeqRange::parse(Table::Changes, &rewritten), SeqRange::generation(&rewritten)), (Some(range), 2));
        assert_eq!(SeqRange::generation("7-4096.parquet"), 0);
        for not_ours in ["x.parquet", "7-4096.x.parquet", "7-4096.parquet.tmp", "9-7.parquet", "-1-4.parquet"] {
            assert_eq!(SeqRange::parse(Table::Changes, not_ours), None, "{not_ours}");
        }
        assert_eq!(Day::parse("2026-11-20").map(|day| day.to_string()).as_deref(), Some("2026-11-20"));
    }
}
