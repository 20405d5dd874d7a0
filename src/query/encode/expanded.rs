use std::fmt::Write;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::cell::Column;
use super::table::text;
use super::width;

/// Rows for people, a column a line: for values that are too wide for a table.
pub struct ExpandedEncoder {
    schema: SchemaRef,
    name_width: usize,
    rows: u64,
}

/// Wider values are cut, with an ellipsis.
const WIDTH_MAX: usize = 8_192;

impl ExpandedEncoder {
    pub fn new(schema: &SchemaRef) -> Self {
        let name_width = schema.fields().iter().map(|field| width::of(field.name())).max().unwrap_or_default();
        Self { schema: schema.clone(), name_width, rows: 0 }
    }

    /// Appends the rows of a batch.
    pub fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) {
        let fields = self.schema.fields().iter();
        let columns: Vec<(&String, Column<'_>)> =
            fields.zip(batch.columns()).map(|(field, array)| (field.name(), Column::new(field, array))).collect();
        let mut lines = String::new();
        for row in 0..batch.num_rows() {
            self.rows += 1;
            let _ = writeln!(lines, "-[ {} ]-", self.rows);
            for (name, column) in &columns {
                let padding = self.name_width.saturating_sub(width::of(name));
                let line = format!("{name}{:padding$} | {}", "", text(&column.cell(row), WIDTH_MAX));
                lines.push_str(line.trim_end());
                lines.push('\n');
            }
        }
        out.extend_from_slice(lines.as_bytes());
    }

    /// Appends how many rows there were.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(super::table::count(self.rows).as_bytes());
    }
}
