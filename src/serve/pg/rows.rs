//! The rows of an answer, on their way out: as they come from the engine, encoded one by one.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit};
use arrow_pg::datatypes::field_into_pg_type;
use arrow_pg::encoder::{Encoder, encode_value};
use futures::StreamExt;
use pgwire::api::Type;
use pgwire::api::results::{FieldFormat, FieldInfo};
use pgwire::types::format::FormatOptions;

use super::error::PgError;
use super::message::Format;
use crate::query::QueryStream;

/// The columns of an answer as they are shown: types that the protocol has, times in the session's zone.
pub(super) fn shown(schema: &Schema, names: &[Option<String>], time_zone: &str) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(at, field)| {
            let name = names.get(at).cloned().flatten().unwrap_or_else(|| field.name().clone());
            Field::new(name, shown_type(field.data_type(), time_zone), true).with_metadata(field.metadata().clone())
        })
        .collect();
    Arc::new(Schema::new(fields))
}

fn shown_type(of: &DataType, time_zone: &str) -> DataType {
    match of {
        DataType::Null | DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Dictionary(_, value) => shown_type(value, time_zone),
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(TimeUnit::Microsecond, Some(time_zone.into())),
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Date64 => DataType::Date32,
        DataType::Float16 => DataType::Float32,
        DataType::Duration(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Decimal256(_, scale) => DataType::Decimal128(38, *scale),
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            let element = shown_type(field.data_type(), time_zone);
            DataType::List(Arc::new(Field::new_list_field(element, true).with_metadata(field.metadata().clone())))
        }
        other => other.clone(),
    }
}

/// How the columns are told to the client.
pub(super) fn fields(
    schema: &Schema,
    formats: &[Format],
    options: &Arc<FormatOptions>,
) -> Result<Arc<Vec<FieldInfo>>, PgError> {
    let one = |(at, field): (usize, &Arc<Field>)| {
        let of = field_into_pg_type(field)
            .map_err(|_| PgError::unsupported(format!("column {:?} of type {}", field.name(), field.data_type())))?;
        let format = match formats {
            [] => Format::Text,
            [one] => *one,
            several => several.get(at).copied().unwrap_or(Format::Text),
        };
        let format = match format {
            Format::Text => FieldFormat::Text,
            Format::Binary => FieldFormat::Binary,
        };
        let size = type_size(&of);
        Ok(FieldInfo::new(field.name().clone(), None, None, of, format)
            .with_type_size(size)
            .with_format_options(options.clone()))
    };
    schema.fields().iter().enumerate().map(one).collect::<Result<Vec<_>, _>>().map(Arc::new)
}

fn type_size(of: &Type) -> i16 {
    match *of {
        Type::BOOL | Type::CHAR => 1,
        Type::INT2 => 2,
        Type::INT4 | Type::FLOAT4 | Type::DATE | Type::OID | Type::REGCLASS | Type::REGTYPE | Type::REGPROC => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::TIME => 8,
        Type::INTERVAL => 16,
        Type::NAME => 64,
        _ => -1,
    }
}

/// The rows of one answer that are still to come.
pub(super) struct Rows {
    schema: SchemaRef,
    source: Source,
    current: Option<(RecordBatch, usize)>,
}

enum Source {
    Stream(Box<QueryStream>),
    Made(VecDeque<RecordBatch>),
}

impl Rows {
    /// `schema` is as [`shown`] made it when the statement was described.
    pub(super) fn stream(schema: SchemaRef, stream: QueryStream) -> Self {
        Self { schema, source: Source::Stream(Box::new(stream)), current: None }
    }

    pub(super) fn made(batch: RecordBatch) -> Self {
        Self { schema: batch.schema(), source: Source::Made(VecDeque::from([batch])), current: None }
    }

    /// A single column of text.
    pub(super) fn text(name: &str, values: Vec<String>) -> Result<Self, PgError> {
        let schema = Arc::new(Schema::new(vec![Field::new(name, DataType::Utf8, true)]));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(StringArray::from(values))])
            .map_err(|error| PgError::new("XX000", error.to_string()))?;
        Ok(Self::made(batch))
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn at_hand(&self) -> bool {
        self.current.as_ref().is_some_and(|(batch, at)| *at < batch.num_rows())
    }

    /// Makes sure that there is a row at hand; false at the end. May be dropped half way.
    pub(super) async fn ready(&mut self) -> Result<bool, PgError> {
        loop {
            if self.at_hand() {
                return Ok(true);
            }
            self.current = None;
            let batch = match &mut self.source {
                Source::Made(batches) => batches.pop_front(),
                Source::Stream(stream) => stream.next().await.transpose()?,
            };
            match batch {
                Some(batch) => self.current = Some((self.converted(&batch)?, 0)),
                None => return Ok(false),
            }
        }
    }

    fn converted(&self, batch: &RecordBatch) -> Result<RecordBatch, PgError> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let columns = batch.columns().iter().zip(self.schema.fields());
        let columns: Vec<ArrayRef> = columns
            .map(|(column, field)| match column.data_type() == field.data_type() {
                true => Ok(column.clone()),
                false => cast_with_options(column, field.data_type(), &options)
                    .map_err(|error| PgError::new("22003", error.to_string())),
            })
            .collect::<Result<_, _>>()?;
        let rows = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &rows)
            .map_err(|error| PgError::new("XX000", error.to_string()))
    }

    /// Encodes the row at hand and goes on to the next; `None` where none is at hand.
    pub(super) fn encode<E: Encoder>(
        &mut self,
        encoder: &mut E,
        fields: &[FieldInfo],
    ) -> Result<Option<E::Item>, PgError> {
        let Some((batch, at)) = &mut self.current else { return Ok(None) };
        if *at >= batch.num_rows() {
            return Ok(None);
        }
        let wrong = |error: pgwire::error::PgWireError| PgError::new("XX000", error.to_string());
        for ((column, field), info) in batch.columns().iter().zip(self.schema.fields()).zip(fields) {
            if column.is_null(*at) {
                encoder.encode_field(&None::<i8>, info).map_err(wrong)?;
            } else {
                encode_value(encoder, column, *at, field, info).map_err(wrong)?;
            }
        }
        *at += 1;
        Ok(Some(encoder.take_row()))
    }

    /// Passes over the row at hand.
    pub(super) fn skip(&mut self) {
        if let Some((_, at)) = &mut self.current {
            *at += 1;
        }
    }
}
