use arrow::datatypes::TimestampMicrosecondType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::history::recorder::tests::rig::{NOON, Rig, batches, change, rows};
use crate::history::recorder::{Entry, tests::rig::Running};
use crate::zk::{Change, Zxid};

#[test]
fn a_part_is_sorted_and_can_be_pruned() {
    let rig = Rig::new();
    let running = Running::new(rig.open().unwrap());
    let scattered = |n: i64| Change {
        path: format!("/p/{:04}", n * 7_919 % 1_000).into(),
        position: Zxid(n * 31 % 50),
        data: Some(bytes::Bytes::from_static(b"do-not-keep-me-in-statistics")),
        ..change(n)
    };
    for n in 0..30 {
        let changes = (n * 1_000 + 1..=(n + 1) * 1_000).map(scattered).collect();
        running.send(Entry::Changes(changes)).unwrap();
    }
    assert!(running.flush());
    let view = running.state.view();
    let [part] = &*view.changes.parts else { panic!("{} parts", view.changes.parts.len()) };
    let mut order = Vec::new();
    for batch in batches(&view, Table::Changes) {
        let paths = batch.column_by_name("path").unwrap().as_string::<i32>().clone();
        let positions = batch.column_by_name("position").unwrap().as_primitive::<Int64Type>().clone();
        let seqs = batch.column_by_name("seq").unwrap().as_primitive::<Int64Type>().clone();
        for row in 0..batch.num_rows() {
            order.push((paths.value(row).to_owned(), positions.value(row), seqs.value(row)));
        }
        let times = batch.column_by_name("time").unwrap().as_primitive::<TimestampMicrosecondType>().clone();
        assert!(times.values().iter().zip(seqs.values()).all(|(time, seq)| *time == NOON + seq));
    }
    assert_eq!(order.len(), 30_000);
    assert!(order.is_sorted());

    let metadata = part.metadata().unwrap();
    let metadata = metadata.metadata();
    assert!(metadata.column_index().is_some() && metadata.offset_index().is_some());
    let group = metadata.row_group(0);
    assert_eq!(group.sorting_columns().map(Vec::len), Some(4));
    let path = Table::Changes.schema().index_of("path").unwrap();
    assert!(metadata.offset_index().unwrap()[0][path].page_locations().len() > 1, "pages prune");
    let data = Table::Changes.schema().index_of("data").unwrap();
    assert!(group.column(data).statistics().is_none());
    let pairs = metadata.file_metadata().key_value_metadata().unwrap();
    assert!(pairs.iter().any(|pair| pair.key == "zktrail.format_version" && pair.value.as_deref() == Some("1")));

    let builder = ParquetRecordBatchReaderBuilder::try_new(part.open().unwrap()).unwrap();
    let bloom = builder.get_row_group_column_bloom_filter(0, path).unwrap().unwrap();
    assert!(bloom.check(&"/p/0007") && !bloom.check(&"/p/none"));
    assert!(running.stop());
}

#[test]
fn a_newer_format_is_refused_with_its_name() {
    let rig = Rig::new();
    drop(rig.open().unwrap());
    let disk = Disk::new();
    let folder = rig.layout.day(Table::Changes, "prod", Day(20_000));
    disk.create_dir(&folder).unwrap();
    let properties = WriterProperties::builder()
        .set_key_value_metadata(Some(vec![KeyValue::new(schema::FORMAT_VERSION_KEY.to_owned(), "2".to_owned())]));
    let path = folder.join("1-1.parquet");
    let file = disk.create(&path).unwrap();
    ArrowWriter::try_new(file, Table::Changes.schema(), Some(properties.build())).unwrap().close().unwrap();
    for error in [rig.open().unwrap_err(), rig.view().unwrap_err()] {
        assert!(matches!(&error, HistoryError::NewerFormat { found, .. } if found == "2"), "{error}");
    }
}

#[test]
fn what_is_no_part_is_not_listed() {
    let rig = Rig::new();
    let running = rig.start();
    running.send(Entry::Changes((1..=3).map(change).collect())).unwrap();
    assert!(running.stop());
    let day = rig.layout.day(Table::Changes, "prod", Day((NOON / 86_400_000_000) as i32));
    for name in [".9-9.parquet.new", "notes.txt", "9-8.parquet", ".9-9.parquet"] {
        std::fs::write(day.join(name), b"x").unwrap();
    }
    assert_eq!(rows(&rig.view().unwrap(), Table::Changes, "path").len(), 3);
}
