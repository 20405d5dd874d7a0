use super::super::error::HistoryError;
use super::cursor::Cursor;
use super::spill::{SCANNED_SEQ, Value};
use super::write::SnapshotRow;
use crate::zk::Zxid;

/// The value found for a znode; all `None` where the policy withholds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::history) struct Found {
    pub data: Option<Vec<u8>>,
    pub data_length: Option<i32>,
    pub data_hash: Option<i64>,
}

/// Finds the values of znodes that come sorted by path, in runs of values that are sorted by path.
pub(super) struct Join {
    cursors: Vec<Cursor>,
}

impl Join {
    pub(super) fn new(cursors: Vec<Cursor>) -> Self {
        Self { cursors }
    }

    /// The value of the next znode; `None` where no run has that of its version.
    pub(super) fn find(&mut self, row: &SnapshotRow) -> Result<Option<Found>, HistoryError> {
        let mut best: Option<(Rank, Found)> = None;
        for cursor in &mut self.cursors {
            while let Some(value) = cursor.value() {
                match value.path.as_bytes().cmp(row.path.as_bytes()) {
                    std::cmp::Ordering::Greater => break,
                    std::cmp::Ordering::Less => {}
                    std::cmp::Ordering::Equal => {
                        let rank = rank(&value);
                        if belongs(&value, row) && best.as_ref().is_none_or(|(best, _)| rank > *best) {
                            let Value { data, data_length, data_hash, .. } = value;
                            best = Some((rank, Found { data: data.map(<[u8]>::to_vec), data_length, data_hash }));
                        }
                    }
                }
                cursor.advance()?;
            }
        }
        Ok(best.map(|(_, found)| found))
    }
}

/// Same life, same version. What is not known never matches.
fn belongs(value: &Value<'_>, row: &SnapshotRow) -> bool {
    let life = value.czxid.is_some() && value.czxid == row.czxid;
    let version = value.version.is_some() && value.version == row.version;
    let state = value.version != Some(-1) || value.mzxid.is_some() && value.mzxid == row.mzxid;
    life && version && state
}

type Rank = (bool, (bool, bool, bool), (Option<Zxid>, i32), i64);

fn rank(value: &Value<'_>) -> Rank {
    let told = (value.data.is_some(), value.data_hash.is_some(), value.data_length.is_some());
    (value.seq == SCANNED_SEQ, told, (value.mzxid, value.ordinal), value.seq)
}
