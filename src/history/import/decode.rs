//! From rows of a part back to the vocabulary's values.

use std::path::Path;

use arrow::array::{Array, BinaryArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use super::super::error::HistoryError;
use super::super::replay::rows::{column, text, value};
use crate::zk::{Change, ChangeKind, DeleteCause, Evidence, Micros, NodeType, Source, TimeSource, ZkPath, Zxid};

/// The rows of a batch in the schema of `changes`, each with its seq. `place` names the file in errors.
pub(super) fn changes(batch: &RecordBatch, place: &Path) -> Result<Vec<(i64, Change)>, HistoryError> {
    let ints = |name: &str| column::<Int32Array>(batch, name, place);
    let longs = |name: &str| column::<Int64Array>(batch, name, place);
    let texts = |name: &str| column::<StringArray>(batch, name, place);
    let times = |name: &str| column::<TimestampMicrosecondArray>(batch, name, place);
    let (incarnation, seq, time, time_source) =
        (ints("incarnation")?, longs("seq")?, times("time")?, texts("time_source")?);
    let (observed_at, zxid, position) = (times("observed_at")?, longs("zxid")?, longs("position")?);
    let (ordinal, kind, path, czxid) = (ints("ordinal")?, texts("kind")?, texts("path")?, longs("czxid")?);
    let (version, aversion, node_type) = (ints("version")?, ints("aversion")?, texts("node_type")?);
    let (owner, data, length) =
        (longs("ephemeral_owner")?, column::<BinaryArray>(batch, "data", place)?, ints("data_length")?);
    let (hash, acl, evidence) = (longs("data_hash")?, texts("acl")?, texts("evidence")?);
    let (missed, source, cause) = (longs("missed")?, texts("source")?, texts("cause")?);
    let (session_id, cxid) = (longs("session_id")?, ints("cxid")?);
    let wrong = |name: &str, at: usize| {
        let place = place.display();
        HistoryError::Unknown(format!("{place}: row {at} has a {name} that this zktrail does not know"))
    };
    let mut rows = Vec::with_capacity(batch.num_rows());
    for at in 0..batch.num_rows() {
        let change = Change {
            incarnation: incarnation.value(at),
            time: Micros(time.value(at)),
            time_source: TimeSource::parse(time_source.value(at)).ok_or_else(|| wrong("time_source", at))?,
            observed_at: Micros(observed_at.value(at)),
            zxid: value(&zxid, at).map(Zxid),
            position: Zxid(position.value(at)),
            ordinal: ordinal.value(at),
            kind: ChangeKind::parse(kind.value(at)).ok_or_else(|| wrong("kind", at))?,
            path: ZkPath::from(path.value(at)),
            czxid: value(&czxid, at).map(Zxid),
            version: value(&version, at),
            aversion: value(&aversion, at),
            node_type: text(&node_type, at).and_then(NodeType::parse),
            ephemeral_owner: owner.value(at),
            data: data.is_valid(at).then(|| Bytes::copy_from_slice(data.value(at))),
            data_length: value(&length, at),
            data_hash: value(&hash, at),
            acl: text(&acl, at).map(Into::into),
            evidence: Evidence::parse(evidence.value(at)).ok_or_else(|| wrong("evidence", at))?,
            missed: missed.value(at),
            source: Source::parse(source.value(at)).ok_or_else(|| wrong("source", at))?,
            cause: text(&cause, at).and_then(DeleteCause::parse),
            session_id: value(&session_id, at),
            cxid: value(&cxid, at),
        };
        rows.push((seq.value(at), change));
    }
    Ok(rows)
}
