use std::fmt::Write;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::cell::{Cell, Column};
use super::{json, width};

/// Rows as an aligned table for people.
///
/// The widths come from the first [`ROWS_MEASURED`] rows, which are held until then; a later wider value sticks out.
pub struct TableEncoder {
    schema: SchemaRef,
    right: Vec<bool>,
    widths: Vec<usize>,
    held: Vec<Vec<String>>,
    measured: bool,
    rows: u64,
}

/// Rows that are looked at before the first is printed.
const ROWS_MEASURED: usize = 1_000;

/// Wider values are cut, with an ellipsis: whole ones are for the other formats.
const WIDTH_MAX: usize = 120;

impl TableEncoder {
    pub fn new(schema: &SchemaRef) -> Self {
        let widths = schema.fields().iter().map(|field| width::of(field.name())).collect();
        let right = schema.fields().iter().map(|field| field.data_type().is_numeric()).collect();
        Self { schema: schema.clone(), right, widths, held: Vec::new(), measured: false, rows: 0 }
    }

    /// Appends the rows of a batch, or holds them while the widths are being measured.
    pub fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) {
        let fields = self.schema.fields().iter();
        let columns: Vec<Column<'_>> =
            fields.zip(batch.columns()).map(|(field, array)| Column::new(field, array)).collect();
        for row in 0..batch.num_rows() {
            self.rows += 1;
            let texts: Vec<String> = columns.iter().map(|column| text(&column.cell(row), WIDTH_MAX)).collect();
            if self.measured {
                self.line(&texts, out);
                continue;
            }
            for (width_max, text) in self.widths.iter_mut().zip(&texts) {
                *width_max = (*width_max).max(width::of(text));
            }
            self.held.push(texts);
            if self.held.len() >= ROWS_MEASURED {
                self.release(out);
            }
        }
    }

    /// Appends what is held, and how many rows there were.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.measured {
            self.release(out);
        }
        out.extend_from_slice(count(self.rows).as_bytes());
    }

    fn release(&mut self, out: &mut Vec<u8>) {
        self.measured = true;
        let names: Vec<String> = self.schema.fields().iter().map(|field| field.name().clone()).collect();
        self.line(&names, out);
        let rule: Vec<String> = self.widths.iter().map(|width| "-".repeat(*width)).collect();
        self.line(&rule, out);
        for texts in std::mem::take(&mut self.held) {
            self.line(&texts, out);
        }
    }

    fn line(&self, texts: &[String], out: &mut Vec<u8>) {
        let mut line = String::new();
        for (index, text) in texts.iter().enumerate() {
            if index > 0 {
                line.push_str("  ");
            }
            let wanted = self.widths.get(index).copied().unwrap_or_default();
            let padding = wanted.saturating_sub(width::of(text));
            if self.right.get(index).copied().unwrap_or_default() {
                line.extend(std::iter::repeat_n(' ', padding));
                line.push_str(text);
            } else {
                line.push_str(text);
                line.extend(std::iter::repeat_n(' ', padding));
            }
        }
        out.extend_from_slice(line.trim_end().as_bytes());
        out.push(b'\n');
    }
}

/// The line that ends an answer for people.
pub(super) fn count(rows: u64) -> String {
    format!("({rows} {})\n", if rows == 1 { "row" } else { "rows" })
}

/// A value on one line, cut where it is wider than `width_max`.
pub(super) fn text(cell: &Cell<'_>, width_max: usize) -> String {
    let text = match cell {
        Cell::Null => String::new(),
        Cell::Bool(bool) => bool.to_string(),
        Cell::Number(digits) => digits.to_string(),
        Cell::Text(text) => visible(text),
        Cell::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if text.chars().all(|c| !c.is_control() || c == '\n' || c == '\t') => visible(text),
            _ => {
                let mut hex = "0x".to_owned();
                // Two digits a byte: what would be cut anyway is not even written.
                for byte in bytes.iter().take(width_max) {
                    let _ = write!(hex, "{byte:02x}");
                }
                hex
            }
        },
        nested => {
            let mut text = String::new();
            json::write_cell(nested, &mut text);
            text
        }
    };
    match width::cut_at(&text, width_max) {
        Some(at) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

/// A value is anybody's: it must not move the cursor or colour the terminal.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { if c == '\n' { '⏎' } else { ' ' } } else { c }).collect()
}
