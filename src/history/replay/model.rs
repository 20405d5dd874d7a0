//! A naive tree to compare replays with, and random rows that a server and an agent could have given.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::fold::Znode;
use super::output::Output;
use super::testing::{TestRow, part, snapshot};
use crate::history::layout::{SeqRange, Table};
use crate::history::part::Part;
use crate::history::schema;
use crate::zk::{ChangeKind, parent};

/// The naive tree: rows applied one by one in their order, parents changed with each.
#[derive(Clone, Default)]
pub(crate) struct Model(pub(crate) BTreeMap<String, Znode>);

impl Model {
    pub(crate) fn root() -> Self {
        let mut root = Znode { alive: true, czxid: Some(0), mzxid: Some(0), pzxid: Some(0), ..Znode::default() };
        (root.version, root.cversion, root.aversion) = (Some(0), Some(-1), Some(0));
        root.ctime = Some(0);
        root.mtime = Some(0);
        Self(BTreeMap::from([("/".to_owned(), root)]))
    }

    pub(crate) fn of(rows: &[TestRow]) -> Self {
        let mut sorted: Vec<&TestRow> = rows.iter().collect();
        sorted.sort_by_key(|row| row.key());
        let mut model = Self::root();
        sorted.into_iter().for_each(|row| model.apply(row));
        model
    }

    pub(crate) fn apply(&mut self, row: &TestRow) {
        let time = row.server_timed.then_some(row.time);
        match row.kind {
            ChangeKind::Created => {
                let mut znode = Znode { alive: true, czxid: row.czxid, pzxid: row.czxid, ..Znode::default() };
                znode.mzxid = row.zxid;
                (znode.ctime, znode.mtime) = (time, time);
                (znode.version, znode.cversion, znode.aversion) = (Some(0), Some(0), Some(0));
                znode.ephemeral_owner = row.owner;
                znode.node_type.set((row.owner != 0).then_some("ephemeral"));
                set(&mut znode, row);
                self.0.insert(row.path.clone(), znode);
            }
            ChangeKind::DataChanged => {
                let znode = self.0.get_mut(&row.path).expect("rows are valid");
                (znode.mzxid, znode.mtime, znode.version) = (row.zxid, time, row.version);
                set(znode, row);
            }
            ChangeKind::AclChanged => {
                let znode = self.0.get_mut(&row.path).expect("rows are valid");
                znode.aversion = row.aversion;
                znode.acl.set(Some("[]"));
            }
            ChangeKind::Deleted => {
                self.0.remove(&row.path).expect("rows are valid");
            }
        }
        let one = match row.kind {
            ChangeKind::Created => 1,
            ChangeKind::Deleted => -1,
            _ => return,
        };
        let above = self.0.get_mut(parent(&row.path).expect("not the root")).expect("rows are valid");
        above.cversion = above.cversion.map(|cversion| cversion + 1);
        above.num_children += one;
        above.pzxid = row.zxid;
    }

    pub(crate) fn batch(&self) -> RecordBatch {
        let all: Vec<usize> = (0..schema::ZNODES.fields().len()).collect();
        let mut output = Output::new(&all).expect("all columns");
        for (path, znode) in &self.0 {
            output.push(path, znode, false);
        }
        output.finish().expect("a batch")
    }

    pub(crate) fn snapshot(&self, dir: &Path, at: (i32, i64, i64, i64), group_rows: usize) -> Arc<Part> {
        let znodes: Vec<(String, Znode)> = self.0.clone().into_iter().collect();
        part(dir, Table::Snapshots, SeqRange { first: at.1, last: at.1 }, &snapshot(at, &znodes), group_rows)
    }
}

fn set(znode: &mut Znode, row: &TestRow) {
    znode.data.set(row.data.as_deref());
    znode.data_length = row.data.as_ref().map(|data| data.len() as i32);
    znode.data_hash = row.hash();
}

pub(crate) const PATHS: [&str; 9] = ["/a", "/a-b", "/a-b/x", "/a/x", "/a/x/y", "/a/x0", "/a0", "/b", "/b/é"];

/// Turns random numbers into rows that a server and an agent could have given: some without a zxid, some found by a
/// rescan after a gap, several operations in one transaction.
pub(crate) fn rows_of(ops: &[(u8, u8, u8)]) -> Vec<TestRow> {
    let mut model = Model::root();
    let mut rows: Vec<TestRow> = Vec::new();
    let (mut zxid, mut known) = (100, 100);
    for (op, path, flags) in ops {
        let path = PATHS[*path as usize % PATHS.len()];
        let exists = model.0.contains_key(path);
        let has_children = model.0.get(path).is_some_and(|znode| znode.num_children > 0);
        let kind = match op % 4 {
            0 if !exists && model.0.contains_key(parent(path).expect("not the root")) => ChangeKind::Created,
            0 | 1 if exists => ChangeKind::DataChanged,
            2 if exists => ChangeKind::AclChanged,
            3 if exists && !has_children => ChangeKind::Deleted,
            _ => continue,
        };
        let same_transaction = flags & 1 != 0 && rows.last().is_some_and(|row| row.zxid == Some(zxid));
        if !same_transaction {
            zxid += 1 + i64::from(flags & 6);
        }
        let mut row = TestRow::new(rows.len() as i64 + 1, zxid, kind, path);
        row.ordinal = if same_transaction { rows.last().map_or(0, |row| row.ordinal + 1) } else { 0 };
        if !same_transaction && flags & 24 == 24 {
            row.zxid = None;
            row.position = known;
            row.server_timed = false;
            row.source = if flags & 32 != 0 { "rescan" } else { "watch" };
        } else {
            known = zxid;
        }
        match kind {
            ChangeKind::Created => {
                row.czxid = row.zxid;
                row.version = Some(0);
                row.owner = if flags & 64 != 0 { 77 } else { 0 };
            }
            ChangeKind::DataChanged => row.version = model.0[path].version.map(|version| version + 1),
            ChangeKind::AclChanged => row.aversion = model.0[path].aversion.map(|version| version + 1),
            ChangeKind::Deleted => {}
        }
        if kind != ChangeKind::Created {
            row.czxid = model.0[path].czxid;
            row.owner = model.0[path].ephemeral_owner;
        }
        if matches!(kind, ChangeKind::Created | ChangeKind::DataChanged) && flags & 128 == 0 {
            row.data = Some(format!("{path}={zxid}").into_bytes());
        }
        model.apply(&row);
        rows.push(row);
    }
    rows
}
