//! Holds a history against what a writer recorded, and a tree by SQL against one read by another client.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::prerequisites;
use crate::workload::{Kind, Operation, Recorded};

mod align;
#[cfg(test)]
mod tests;

use align::{align, is_missed_before};

/// In the order that the table's documentation gives.
pub const CHANGES_IN_ORDER: &str = "SELECT seq, kind, path, version, aversion, zxid, position, ordinal, czxid, \
    ephemeral_owner, data, data_length, evidence, missed, source FROM changes \
    ORDER BY position, zxid NULLS LAST, ordinal, seq";

pub const GAPS: &str = "SELECT path, from_zxid, to_zxid, from_time, to_time, reason, missed_at_least FROM gaps \
    ORDER BY from_time";

pub const ZNODES: &str = "SELECT path, czxid, mzxid, pzxid, ctime, mtime, version, cversion, aversion, \
    ephemeral_owner, data, data_length, num_children, acl FROM znodes ORDER BY path";

const COMPLAINTS_MAX: usize = 20;

/// A row of `changes`.
#[derive(Clone, Debug)]
pub struct Row {
    pub seq: i64,
    pub kind: Kind,
    pub path: String,
    pub version: Option<i32>,
    pub aversion: Option<i32>,
    pub zxid: Option<i64>,
    pub position: i64,
    pub czxid: Option<i64>,
    pub data: Option<Vec<u8>>,
    pub data_length: Option<i32>,
    pub evidence: String,
    pub missed: i64,
    pub source: String,
}

/// A row of `gaps`.
#[derive(Clone, Debug)]
pub struct Gap {
    pub path: String,
    pub from_zxid: Option<i64>,
    pub to_zxid: Option<i64>,
    pub from_time: Option<chrono::DateTime<chrono::Utc>>,
    pub to_time: Option<chrono::DateTime<chrono::Utc>>,
    pub reason: Option<String>,
}

/// What a comparison found, where it found nothing wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub matched: usize,
    /// Operations without a row, each inside a gap or counted by a later row's `missed`.
    pub absent: usize,
    pub coalesced: usize,
    pub inferred: usize,
}

/// What is expected of a history.
#[derive(Clone, Copy, Debug)]
pub struct Expectations<'a> {
    /// Rows for other paths are none of the writer's business.
    pub root: &'a str,
    /// Whether every notification carried its zxid (3.9 and later), so that every row heard has one.
    pub zxids: bool,
    /// `None` where every operation must have a row of its own.
    pub gaps: Option<&'a [Gap]>,
}

impl Row {
    fn parse(row: &Value) -> Result<Self> {
        let kind = text(row, "kind")?;
        let kind = [Kind::Created, Kind::DataChanged, Kind::AclChanged, Kind::Deleted]
            .into_iter()
            .find(|known| known.as_str() == kind)
            .with_context(|| format!("unknown kind {kind:?}"))?;
        Ok(Self {
            seq: integer(row, "seq")?.context("seq is null")?,
            kind,
            path: text(row, "path")?,
            version: integer(row, "version")?.map(i32::try_from).transpose()?,
            aversion: integer(row, "aversion")?.map(i32::try_from).transpose()?,
            zxid: integer(row, "zxid")?,
            position: integer(row, "position")?.context("position is null")?,
            czxid: integer(row, "czxid")?,
            data: binary(row, "data")?,
            data_length: integer(row, "data_length")?.map(i32::try_from).transpose()?,
            evidence: text(row, "evidence")?,
            missed: integer(row, "missed")?.context("missed is null")?,
            source: text(row, "source")?,
        })
    }

    fn describe(&self) -> String {
        format!(
            "seq {} {} {:?} version {:?} zxid {:x?} czxid {:x?} position {:x} {} missed {} ({})",
            self.seq,
            self.kind.as_str(),
            self.path,
            self.version,
            self.zxid,
            self.czxid,
            self.position,
            self.evidence,
            self.missed,
            self.source
        )
    }

    /// Whether nothing that this row says contradicts the operation.
    fn tells_of(&self, operation: &Operation) -> bool {
        let agrees = |row: Option<i64>, fact: Option<i64>| row.is_none() || fact.is_none() || row == fact;
        let version =
            self.kind == Kind::Deleted || agrees(self.version.map(i64::from), operation.version.map(i64::from));
        self.kind == operation.kind
            && version
            && agrees(self.zxid, operation.zxid)
            && agrees(self.czxid, Some(operation.czxid))
    }
}

/// The rows of [`CHANGES_IN_ORDER`].
pub fn rows(answer: &[Value]) -> Result<Vec<Row>> {
    answer.iter().map(|row| Row::parse(row).with_context(|| format!("in {row}"))).collect()
}

/// The rows of [`GAPS`].
pub fn gaps(answer: &[Value]) -> Result<Vec<Gap>> {
    let parse = |row: &Value| -> Result<Gap> {
        Ok(Gap {
            path: text(row, "path")?,
            from_zxid: integer(row, "from_zxid")?,
            to_zxid: integer(row, "to_zxid")?,
            from_time: time(row, "from_time")?,
            to_time: time(row, "to_time")?,
            reason: row.get("reason").and_then(Value::as_str).map(str::to_owned),
        })
    };
    answer.iter().map(|row| parse(row).with_context(|| format!("in {row}"))).collect()
}

/// Every operation exactly once, in order, with its value; nothing that did not happen; nothing lost outside a gap.
pub fn compare(recorded: &Recorded, rows: &[Row], expected: Expectations<'_>) -> Result<Findings> {
    let below = format!("{}/", expected.root);
    let mut by_path: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.path == expected.root || row.path.starts_with(&below)) {
        by_path.entry(&row.path).or_default().push(row);
    }
    let operations = recorded.by_path();
    let mut complaints = Complaints::default();
    let mut findings = Findings::default();

    let mut seqs = HashSet::new();
    for row in rows.iter().filter(|row| !seqs.insert(row.seq)) {
        complaints.add(format!("seq {} is there twice: {}", row.seq, row.describe()));
    }
    for (path, rows) in &by_path {
        if !operations.contains_key(path) {
            complaints.add(format!("nobody wrote {path:?}: {}", rows[0].describe()));
        }
    }
    for (path, operations) in &operations {
        let rows = by_path.get(path).map_or(&[][..], Vec::as_slice);
        compare_path(operations, rows, expected, &mut findings, &mut complaints);
        compare_acls(operations, rows, &mut complaints);
    }
    complaints.verdict(format!(
        "{} operations against {} rows, {findings:?}",
        recorded.operations.len(),
        rows.len()
    ))?;
    Ok(findings)
}

fn compare_path(
    operations: &[&Operation],
    rows: &[&Row],
    expected: Expectations<'_>,
    findings: &mut Findings,
    complaints: &mut Complaints,
) {
    let heard: Vec<&Operation> = operations.iter().copied().filter(|one| one.kind != Kind::AclChanged).collect();
    let rows: Vec<&Row> = rows.iter().copied().filter(|row| row.kind != Kind::AclChanged).collect();
    let may_be_absent: Vec<bool> = heard.iter().map(|operation| is_in_gap(operation, expected.gaps)).collect();
    let pairs = align(&heard, &rows, &may_be_absent);
    let mut next = 0;
    for (row, pair) in rows.into_iter().zip(pairs) {
        let Some(at) = pair else {
            complaints.add(format!("doubled, invented or out of order: {}", row.describe()));
            continue;
        };
        absent(&heard[next..at], Some(row), expected, findings, complaints);
        let operation = heard[at];
        next = at + 1;
        findings.matched += 1;
        compare_value(operation, row, complaints);
        match row.evidence.as_str() {
            "exact" => {}
            "coalesced" => findings.coalesced += 1,
            "inferred" => findings.inferred += 1,
            other => complaints.add(format!("evidence {other:?}: {}", row.describe())),
        }
        if expected.zxids && row.source == "watch" && row.zxid.is_none() {
            complaints.add(format!("its notification carried a zxid: {}", row.describe()));
        }
        if expected.gaps.is_none() && (row.missed != 0 || row.source == "rescan") {
            complaints.add(format!("nothing was missed, and yet: {}", row.describe()));
        }
    }
    absent(&heard[next..], None, expected, findings, complaints);
}

impl Row {
    fn has_value_of(&self, operation: &Operation) -> bool {
        self.data.is_none() || self.data == operation.value
    }
}

fn compare_value(operation: &Operation, row: &Row, complaints: &mut Complaints) {
    let Some(value) = &operation.value else {
        if row.data.is_some() {
            complaints.add(format!("a deletion has no value: {}", row.describe()));
        }
        return;
    };
    match &row.data {
        Some(data) if data != value => complaints.add(format!("another value than was written: {}", row.describe())),
        None if row.evidence == "exact" => complaints.add(format!("exact, yet without a value: {}", row.describe())),
        _ => {}
    }
    if row.data_length.is_some_and(|length| usize::try_from(length) != Ok(value.len())) {
        complaints.add(format!("data_length {:?}, written {}: {}", row.data_length, value.len(), row.describe()));
    }
}

fn is_in_gap(operation: &Operation, gaps: Option<&[Gap]>) -> bool {
    let covers = |zxid| gaps.is_some_and(|gaps| gaps.iter().any(|gap| gap.covers(&operation.path, zxid)));
    operation.zxid.is_some_and(covers)
}

/// Operations without a row, up to the row that comes next on their path.
fn absent(
    operations: &[&Operation],
    next: Option<&Row>,
    expected: Expectations<'_>,
    findings: &mut Findings,
    complaints: &mut Complaints,
) {
    findings.absent += operations.len();
    for (index, operation) in operations.iter().enumerate() {
        let Some(gaps) = expected.gaps else {
            complaints.add(format!("no row for {operation:?}"));
            continue;
        };
        // The last ones before a later change of the same life: its arithmetic proves them.
        let proved = next.is_some_and(|row| {
            is_missed_before(operation, row)
                && usize::try_from(row.missed).is_ok_and(|missed| operations.len() - index <= missed)
        });
        if !is_in_gap(operation, Some(gaps)) && !proved {
            complaints.add(format!("no row, and outside every gap: {operation:?}"));
        }
    }
}

/// ACL changes come by reading, so some have no row; those that have one are right and in order.
fn compare_acls(operations: &[&Operation], rows: &[&Row], complaints: &mut Complaints) {
    let happened: HashSet<(i64, Option<i32>)> =
        operations.iter().filter(|one| one.kind == Kind::AclChanged).map(|one| (one.czxid, one.aversion)).collect();
    let mut told: BTreeMap<Option<i64>, i64> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.kind == Kind::AclChanged) {
        if row.czxid.is_some_and(|czxid| !happened.contains(&(czxid, row.aversion))) {
            complaints.add(format!("this ACL was never set: {}", row.describe()));
        }
        let sum = told.entry(row.czxid).or_default();
        *sum += 1 + row.missed;
        if row.aversion.is_some_and(|aversion| i64::from(aversion) != *sum) {
            complaints.add(format!("{sum} ACL changes are told of up to here: {}", row.describe()));
        }
    }
}

impl Gap {
    /// Whether a change of this path at this zxid fell into the gap: after its begin, up to its end.
    pub fn covers(&self, path: &str, zxid: i64) -> bool {
        let below = self.path == "/" || path == self.path || path.starts_with(&format!("{}/", self.path));
        below && self.from_zxid.is_none_or(|from| from < zxid) && self.to_zxid.is_none_or(|to| zxid <= to)
    }
}

/// The tree as another client reads it: the lines of `dump_tree.py`.
pub fn dump_tree(connect_string: &str) -> Result<Vec<Value>> {
    let python = prerequisites::python().context("Python is not in the cache: run tests/run prepare")?;
    let output = std::process::Command::new(python)
        .arg(prerequisites::script("dump_tree.py"))
        .arg(connect_string)
        .output()
        .context("running dump_tree.py")?;
    ensure!(output.status.success(), "dump_tree.py: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Whether the tree by SQL (rows of [`ZNODES`]) is the tree that another client reads.
///
/// `pzxid` and `aversion` may be behind: before 3.9 no notification tells the one, and none ever the other.
pub fn tree_equals(dump: &[Value], znodes: &[Value]) -> Result<usize> {
    // The servers' own: differs from one to another, and moves by itself.
    let ours = |path: &str| path != "/" && !path.starts_with("/zookeeper");
    let keyed = |rows: &[Value]| -> Result<BTreeMap<String, Value>> {
        let rows = rows.iter().map(|row| Ok((text(row, "path")?, row.clone())));
        rows.filter(|row: &Result<(String, Value)>| row.as_ref().map_or(true, |(path, _)| ours(path))).collect()
    };
    let (theirs, znodes) = (keyed(dump)?, keyed(znodes)?);
    let mut complaints = Complaints::default();
    for path in znodes.keys().filter(|path| !theirs.contains_key(*path)) {
        complaints.add(format!("{path:?} is in znodes, but not in the ensemble"));
    }
    for (path, theirs) in &theirs {
        let Some(znode) = znodes.get(path) else {
            complaints.add(format!("{path:?} is in the ensemble, but not in znodes"));
            continue;
        };
        for column in ["czxid", "mzxid", "version", "cversion", "data_length", "num_children", "ephemeral_owner"] {
            let (real, told) = (integer(theirs, column)?, integer(znode, column)?);
            if real != told {
                complaints.add(format!("{path:?}: {column} is {real:?}, znodes says {told:?}"));
            }
        }
        for column in ["pzxid", "aversion"] {
            let (real, told) = (integer(theirs, column)?, integer(znode, column)?);
            if told.is_some() && told > real {
                complaints.add(format!("{path:?}: {column} is {real:?}, znodes says {told:?}"));
            }
        }
        for column in ["ctime", "mtime"] {
            let real = integer(theirs, column)?;
            let told = time(znode, column)?.map(|time| time.timestamp_millis());
            if real != told {
                complaints.add(format!("{path:?}: {column} is {real:?}, znodes says {told:?}"));
            }
        }
        // Where it was read in this version.
        if znode["acl"].is_string()
            && integer(theirs, "aversion")? == integer(znode, "aversion")?
            && serde_json::from_str::<Value>(&text(znode, "acl")?)? != theirs["acl"]
        {
            complaints.add(format!("{path:?}: the ACL is {}, znodes says {}", theirs["acl"], znode["acl"]));
        }
        // A client reads null as an empty value, or the other way round.
        if binary(theirs, "data")?.unwrap_or_default() != binary(znode, "data")?.unwrap_or_default() {
            complaints.add(format!("{path:?}: data differ"));
        }
    }
    complaints.verdict(format!("{} znodes against {}", znodes.len(), theirs.len()))?;
    Ok(theirs.len())
}

/// Whether the tree by SQL has every ACL as it is now: [`tree_equals`] then compares each.
pub fn has_every_acl(dump: &[Value], znodes: &[Value]) -> Result<()> {
    let aversions = dump.iter().map(|row| Ok((text(row, "path")?, integer(row, "aversion")?)));
    let aversions = aversions.collect::<Result<BTreeMap<_, _>>>()?;
    for znode in znodes {
        let path = text(znode, "path")?;
        let known = znode["acl"].is_string() && aversions.get(&path) == Some(&integer(znode, "aversion")?);
        ensure!(known || path == "/" || path.starts_with("/zookeeper"), "the ACL of {path:?} is not known: {znode}");
    }
    Ok(())
}

/// Whether the ensemble, read by another client, is as the writer left it.
pub fn model_equals(dump: &[Value], recorded: &Recorded, root: &str) -> Result<usize> {
    let below = format!("{root}/");
    let mut complaints = Complaints::default();
    let mut seen = HashSet::new();
    for row in dump {
        let path = text(row, "path")?;
        if path != root && !path.starts_with(&below) {
            continue;
        }
        let Some(znode) = recorded.tree.get(&path) else {
            complaints.add(format!("{path:?} is in the ensemble, but nobody recorded it"));
            continue;
        };
        let same = integer(row, "czxid")? == Some(znode.czxid)
            && integer(row, "version")? == Some(i64::from(znode.version))
            && integer(row, "aversion")? == Some(i64::from(znode.aversion))
            && integer(row, "ephemeral_owner")? == Some(znode.ephemeral_owner)
            && binary(row, "data")?.unwrap_or_default() == znode.value;
        if !same {
            complaints.add(format!("{path:?}: the ensemble has {row}, recorded was {znode:?}"));
        }
        seen.insert(path);
    }
    for path in recorded.tree.keys().filter(|path| !seen.contains(*path)) {
        complaints.add(format!("{path:?} was recorded, but is not in the ensemble"));
    }
    complaints.verdict(format!("{} znodes against {} recorded", seen.len(), recorded.tree.len()))?;
    Ok(seen.len())
}

#[derive(Default)]
struct Complaints {
    first: Vec<String>,
    count: usize,
}

impl Complaints {
    fn add(&mut self, complaint: String) {
        self.count += 1;
        if self.first.len() < COMPLAINTS_MAX {
            self.first.push(complaint);
        }
    }

    fn verdict(self, compared: String) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        bail!("{compared}: {} complaints, the first of them\n  {}", self.count, self.first.join("\n  "))
    }
}

fn text(row: &Value, column: &str) -> Result<String> {
    let value = row.get(column).with_context(|| format!("no column {column}"))?;
    Ok(value.as_str().with_context(|| format!("{column} is {value}"))?.to_owned())
}

/// A number, or one as `"0x…"`.
fn integer(row: &Value, column: &str) -> Result<Option<i64>> {
    match row.get(column).with_context(|| format!("no column {column}"))? {
        Value::Null => Ok(None),
        Value::Number(number) => Ok(Some(number.as_i64().with_context(|| format!("{column} is {number}"))?)),
        Value::String(hex) => {
            let digits = hex.strip_prefix("0x").with_context(|| format!("{column} is {hex:?}"))?;
            Ok(Some(u64::from_str_radix(digits, 16)?.cast_signed()))
        }
        other => bail!("{column} is {other}"),
    }
}

fn binary(row: &Value, column: &str) -> Result<Option<Vec<u8>>> {
    match row.get(column).with_context(|| format!("no column {column}"))? {
        Value::Null => Ok(None),
        Value::String(base64) => Ok(Some(BASE64_STANDARD.decode(base64).with_context(|| column.to_owned())?)),
        other => bail!("{column} is {other}"),
    }
}

fn time(row: &Value, column: &str) -> Result<Option<chrono::DateTime<chrono::Utc>>> {
    match row.get(column).with_context(|| format!("no column {column}"))? {
        Value::Null => Ok(None),
        Value::String(text) => {
            let time = chrono::DateTime::parse_from_rfc3339(text).with_context(|| format!("{column} is {text:?}"))?;
            Ok(Some(time.to_utc()))
        }
        other => bail!("{column} is {other}"),
    }
}
