use std::path::Path;

use arrow::record_batch::RecordBatch;

use super::super::disk::Disk;
use super::super::error::HistoryError;
use super::super::import::REPLACED_KEY;
use super::super::layout::SeqRange;
use super::super::part::Part;
use super::super::snapshots::PLACED_KEY;
use super::compact::COMPACTED_KEY;
use super::file::{PartWriter, read};

/// Puts a part that stays as it is into a day that is built anew: a second name for the same file,
/// or a copy where the file system gives none.
pub(crate) fn keep_part(disk: &Disk, part: &Part, folder: &Path) -> Result<SeqRange, HistoryError> {
    let from = part.path();
    let name = from.file_name().map(ToOwned::to_owned).unwrap_or_else(|| part.range.file_name(part.table).into());
    let to = folder.join(name);
    if std::fs::hard_link(&from, &to).is_err() {
        let error = |source| HistoryError::io("copy", &from, source);
        let mut source = part.open()?;
        let mut copy = disk.create(&to)?;
        std::io::copy(&mut source, &mut copy).map_err(error)?;
        copy.sync()?;
    }
    Ok(part.range)
}

/// Writes a part anew into a folder, each batch passing `map`, which keeps the rows' order. The part keeps the mark of a
/// compaction, and its name where all of its rows stay. Gives `None`, and writes nothing, where no row is left.
pub(crate) fn rewrite_part(
    disk: &Disk,
    part: &Part,
    folder: &Path,
    mut map: impl FnMut(RecordBatch) -> Result<RecordBatch, HistoryError>,
) -> Result<Option<SeqRange>, HistoryError> {
    let mut writer: Option<PartWriter> = None;
    for batch in read(part)? {
        let batch = map(batch?)?;
        if batch.num_rows() == 0 {
            continue;
        }
        let open = match &mut writer {
            Some(open) => open,
            None => writer.insert(PartWriter::create(disk, folder, part.table, &part.cluster, &kept_marks(part)?)?),
        };
        open.write(&batch)?;
    }
    writer.map(|writer| writer.finish(None).map(|written| written.range)).transpose()
}

/// The key-value metadata of ours that a rewritten part keeps.
pub(crate) fn kept_marks(part: &Part) -> Result<Vec<(&'static str, String)>, HistoryError> {
    const KEPT: [&str; 7] = [
        COMPACTED_KEY,
        REPLACED_KEY,
        "zktrail.incarnation",
        "zktrail.position",
        "zktrail.taken_at",
        "zktrail.unsettled",
        PLACED_KEY,
    ];
    let metadata = part.metadata()?;
    let entries = metadata.metadata().file_metadata().key_value_metadata();
    let entries = entries.map(Vec::as_slice).unwrap_or_default();
    let marks = KEPT.iter().filter_map(|key| {
        let entry = entries.iter().find(|entry| entry.key == *key)?;
        Some((*key, entry.value.clone()?))
    });
    Ok(marks.collect())
}
