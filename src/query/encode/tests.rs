use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Date32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::ipc::reader::StreamReader;

use super::*;
use crate::query::tables::{FORM_HEX, FORM_KEY};

fn batch() -> RecordBatch {
    let hex = std::collections::HashMap::from([(FORM_KEY.to_owned(), FORM_HEX.to_owned())]);
    let columns: Vec<(Field, ArrayRef)> = vec![
        (Field::new("zxid", DataType::Int64, true), Arc::new(Int64Array::from(vec![Some(0x2_0000_0007), None]))),
        (
            Field::new("id", DataType::Int64, true).with_metadata(hex),
            Arc::new(Int64Array::from(vec![Some(-1), Some(0)])),
        ),
        (
            Field::new("time", crate::history::schema::timestamp(), true),
            Arc::new(TimestampMicrosecondArray::from(vec![1_795_132_800_000_001, -1]).with_timezone("UTC")),
        ),
        (Field::new("date", DataType::Date32, true), Arc::new(Date32Array::from(vec![20_777, -719_162]))),
        (Field::new("data", DataType::Binary, true), Arc::new(BinaryArray::from(vec![&b"a,b"[..], &[0xff, 0][..]]))),
        (Field::new("float", DataType::Float64, true), Arc::new(Float64Array::from(vec![f64::NAN, 1.5]))),
        (Field::new("te\"xt", DataType::Utf8, true), Arc::new(StringArray::from(vec!["a\"b\n\u{1}ü,\\", ""]))),
        (
            Field::new("list", DataType::new_list(DataType::Int32, true), true),
            Arc::new(arrow::array::ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
                Some(vec![Some(1), None]),
                None,
            ])),
        ),
    ];
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

#[test]
fn json_is_one_array_of_objects() {
    let batch = batch();
    let (mut encoder, mut out) = (JsonEncoder::new(&batch.schema()), Vec::new());
    encoder.batch(&batch, &mut out);
    encoder.batch(&batch.slice(0, 0), &mut out);
    encoder.finish(&mut out);
    let text = String::from_utf8(out).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        parsed,
        serde_json::json!([
            {
                "zxid": 8_589_934_599_i64, "id": "0xffffffffffffffff", "time": "2026-11-20T00:00:00.000001Z",
                "date": "2026-11-20", "data": "YSxi", "float": null, "te\"xt": "a\"b\n\u{1}ü,\\", "list": [1, null]
            },
            {
                "zxid": null, "id": "0x0", "time": "1969-12-31T23:59:59.999999Z", "date": "0001-01-01", "data": "/wA=",
                "float": 1.5, "te\"xt": "", "list": null
            }
        ])
    );
    let (mut empty, mut out) = (JsonEncoder::new(&batch.schema()), Vec::new());
    empty.finish(&mut out);
    assert_eq!(out, b"[]\n");
}

#[test]
fn csv_has_a_header_and_tells_null_from_empty() {
    let batch = batch();
    let (mut encoder, mut out) = (CsvEncoder::new(&batch.schema()), Vec::new());
    encoder.batch(&batch, &mut out);
    encoder.finish(&mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "zxid,id,time,date,data,float,\"te\"\"xt\",list\r\n\
         8589934599,0xffffffffffffffff,2026-11-20T00:00:00.000001Z,2026-11-20,YSxi,,\"a\"\"b\n\u{1}ü,\\\",\"[1,null]\"\r\n\
         ,0x0,1969-12-31T23:59:59.999999Z,0001-01-01,/wA=,1.5,\"\",\r\n"
    );
}

#[test]
fn a_table_is_aligned_and_cannot_touch_the_terminal() {
    let batch = batch().project(&[0, 4, 6]).unwrap();
    let (mut encoder, mut out) = (TableEncoder::new(&batch.schema()), Vec::new());
    encoder.batch(&batch, &mut out);
    encoder.finish(&mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "      zxid  data    te\"xt\n\
         ----------  ------  --------\n\
         8589934599  a,b     a\"b⏎ ü,\\\n\
         \x20           0xff00\n\
         (2 rows)\n"
    );
}

#[test]
fn arrow_comes_back_with_its_forms() {
    let batch = batch();
    let (mut encoder, mut out) = (ArrowEncoder::new(&batch.schema()).unwrap(), Vec::new());
    encoder.batch(&batch, &mut out).unwrap();
    encoder.finish(&mut out).unwrap();
    let read: Vec<RecordBatch> = StreamReader::try_new(out.as_slice(), None).unwrap().map(Result::unwrap).collect();
    assert_eq!(read, [batch]);
}
