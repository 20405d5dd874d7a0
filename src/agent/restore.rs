//! Rebuilds the tree from the history when the agent starts: metadata only.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};

use crate::history::replay::{At, PathFilter, ReplayOptions, replay};
use crate::history::{HistoryError, View, schema};
use crate::tree::{Known, Tree, Znode};
use crate::zk::{Micros, NodeType, Stat, ZkPath, Zxid};

const BATCH_ROWS: usize = 8192;

/// Puts every znode that the history knows to exist now into the tree.
pub fn restore(view: &View, tree: &mut Tree) -> Result<(), HistoryError> {
    let columns = (0..schema::ZNODES.fields().len()).filter(|at| schema::ZNODES.field(*at).name() != "data").collect();
    let options = ReplayOptions { columns, filter: PathFilter::All, batch_rows: BATCH_ROWS };
    let replay = replay(view, At::Now, options).map_err(|error| HistoryError::Unknown(error.to_string()))?;
    for batch in replay {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            if let Some(znode) = znode(&batch, row) {
                tree.restore(znode);
            }
        }
    }
    Ok(())
}

fn znode(batch: &RecordBatch, row: usize) -> Option<Znode> {
    let i64s = |name: &str| {
        let column = batch.column_by_name(name)?;
        let value = match column.data_type() {
            DataType::Timestamp(_, _) => column.as_primitive_opt::<TimestampMicrosecondType>()?.value(row),
            _ => column.as_primitive_opt::<Int64Type>()?.value(row),
        };
        column.is_valid(row).then_some(value)
    };
    let i32s = |name: &str| {
        let column = batch.column_by_name(name)?;
        let value = column.as_primitive_opt::<Int32Type>()?.value(row);
        column.is_valid(row).then_some(value)
    };
    let text = |name: &str| {
        let column = batch.column_by_name(name)?;
        let value = column.as_string_opt::<i32>()?.value(row);
        column.is_valid(row).then_some(value)
    };
    let (czxid, mzxid, pzxid) = (i64s("czxid"), i64s("mzxid"), i64s("pzxid"));
    let (version, cversion) = (i32s("version"), i32s("cversion"));
    let known = Known {
        czxid: czxid.is_some(),
        mzxid: mzxid.is_some(),
        pzxid: pzxid.is_some(),
        version: version.is_some(),
        cversion: cversion.is_some(),
    };
    let stat = Stat {
        czxid: Zxid(czxid.unwrap_or_default()),
        mzxid: Zxid(mzxid.unwrap_or_default()),
        pzxid: Zxid(pzxid.unwrap_or_default()),
        ctime: Micros(i64s("ctime").unwrap_or_default()),
        mtime: Micros(i64s("mtime").unwrap_or_default()),
        version: version.unwrap_or_default(),
        cversion: cversion.unwrap_or_default(),
        aversion: i32s("aversion").unwrap_or_default(),
        ephemeral_owner: i64s("ephemeral_owner").unwrap_or_default(),
        data_length: i32s("data_length").unwrap_or_default(),
        num_children: i32s("num_children").unwrap_or_default(),
    };
    Some(Znode {
        path: ZkPath::from(text("path")?),
        stat,
        known,
        acl: text("acl").map(Into::into),
        node_type: text("node_type").and_then(NodeType::parse),
        // A value was recorded where its hash or length is; a value withheld by policy counts as recorded too, which
        // cannot be told from one that was overtaken: then a rescan records it once more in a snapshot, no harm done.
        value_recorded: i64s("data_hash").is_some(),
    })
}
