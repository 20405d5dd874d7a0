use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::cell::{Cell, Column, base64};
use super::json;

/// Rows as RFC 4180 CSV with a header; null is empty, empty text is `""`.
pub struct CsvEncoder {
    schema: SchemaRef,
    started: bool,
}

impl CsvEncoder {
    pub fn new(schema: &SchemaRef) -> Self {
        Self { schema: schema.clone(), started: false }
    }

    /// Appends the rows of a batch.
    pub fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) {
        self.header(out);
        let fields = self.schema.fields().iter();
        let columns: Vec<Column<'_>> =
            fields.zip(batch.columns()).map(|(field, array)| Column::new(field, array)).collect();
        for row in 0..batch.num_rows() {
            for (index, column) in columns.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_cell(&column.cell(row), out);
            }
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Appends the header, if no row came.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.header(out);
    }

    fn header(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        for (index, field) in self.schema.fields().iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_text(field.name(), out);
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn write_cell(cell: &Cell<'_>, out: &mut Vec<u8>) {
    match cell {
        Cell::Null => {}
        Cell::Bool(bool) => out.extend_from_slice(if *bool { b"true" } else { b"false" }),
        Cell::Number(digits) => out.extend_from_slice(digits.as_bytes()),
        Cell::Text(text) => write_text(text, out),
        Cell::Bytes(bytes) => write_text(&base64(bytes), out),
        nested => {
            let mut text = String::new();
            json::write_cell(nested, &mut text);
            write_text(&text, out);
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    let quoted = text.is_empty() || text.bytes().any(|byte| matches!(byte, b'"' | b',' | b'\r' | b'\n'));
    if !quoted {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}
