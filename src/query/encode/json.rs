use std::fmt::Write;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::cell::{Cell, Column, base64};

/// Rows as one JSON array of objects, a line each.
pub struct JsonEncoder {
    schema: SchemaRef,
    /// The names as they stand before each value, quoted and with their colon.
    keys: Vec<String>,
    started: bool,
}

impl JsonEncoder {
    pub fn new(schema: &SchemaRef) -> Self {
        let keys = schema.fields().iter().map(|field| {
            let mut key = String::new();
            write_text(field.name(), &mut key);
            key.push(':');
            key
        });
        Self { keys: keys.collect(), schema: schema.clone(), started: false }
    }

    /// Appends the rows of a batch.
    pub fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) {
        let fields = self.schema.fields().iter();
        let columns: Vec<Column<'_>> =
            fields.zip(batch.columns()).map(|(field, array)| Column::new(field, array)).collect();
        let mut line = String::new();
        for row in 0..batch.num_rows() {
            line.push_str(if self.started { ",\n{" } else { "[{" });
            self.started = true;
            for (index, (key, column)) in self.keys.iter().zip(&columns).enumerate() {
                if index > 0 {
                    line.push(',');
                }
                line.push_str(key);
                write_cell(&column.cell(row), &mut line);
            }
            line.push('}');
            out.extend_from_slice(line.as_bytes());
            line.clear();
        }
    }

    /// Appends the end of the array.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.started { b"]\n" } else { b"[]\n" });
    }
}

pub(super) fn write_cell(cell: &Cell<'_>, out: &mut String) {
    match cell {
        Cell::Null => out.push_str("null"),
        Cell::Bool(bool) => out.push_str(if *bool { "true" } else { "false" }),
        Cell::Number(digits) => out.push_str(digits),
        Cell::Text(text) => write_text(text, out),
        Cell::Bytes(bytes) => {
            out.push('"');
            out.push_str(&base64(bytes));
            out.push('"');
        }
        Cell::List(cells) => {
            out.push('[');
            for (index, cell) in cells.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_cell(cell, out);
            }
            out.push(']');
        }
        Cell::Object(members) => {
            out.push('{');
            for (index, (name, cell)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_text(name, out);
                out.push(':');
                write_cell(cell, out);
            }
            out.push('}');
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(text.get(plain..at).unwrap_or_default());
        if escape.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
        plain = at + 1;
    }
    out.push_str(text.get(plain..).unwrap_or_default());
    out.push('"');
}
