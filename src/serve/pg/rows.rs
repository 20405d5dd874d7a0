//! The rows of an answer, on their way out: as they come from the engine, encoded one by one.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow_pg::datatypes::{PG_CHAR_KEY, PG_OID_ALIAS_KEY, field_into_pg_type};
use arrow_pg::encoder::{Encoder, encode_value};
use bytes::{BufMut, BytesMut};
use chrono::{DateTime, Datelike, Offset, TimeDelta, TimeZone};
use futures::StreamExt;
use pgwire::api::Type;
use pgwire::api::results::{FieldFormat, FieldInfo};
use pgwire::types::ToSqlText;
use pgwire::types::format::FormatOptions;
use postgres_types::{IsNull, ToSql};

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
            let data_type = shown_type(field.data_type(), time_zone);
            let mut metadata = field.metadata().clone();
            // A cast keeps the marks of what it is a cast of: an oid as a bigint is no oid any more.
            if data_type != DataType::Int32 {
                metadata.remove(PG_OID_ALIAS_KEY);
            }
            if data_type != DataType::Utf8 {
                metadata.remove(PG_CHAR_KEY);
            }
            Field::new(name, data_type, true).with_metadata(metadata)
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

/// A moment as PostgreSQL writes it: no more digits than it has, and the zone's offset behind it.
#[derive(Debug)]
struct Time {
    micros: i64,
    zone: Option<Tz>,
}

/// Microseconds from 1970 to 2000, where PostgreSQL begins to count.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

impl ToSql for Time {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_i64(self.micros.checked_sub(EPOCH_MICROS).ok_or("the time is out of range")?);
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        matches!(*of, Type::TIMESTAMP | Type::TIMESTAMPTZ)
    }

    fn to_sql_checked(
        &self,
        of: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.to_sql(of, out)
    }
}

impl ToSqlText for Time {
    fn to_sql_text(
        &self,
        _: &Type,
        out: &mut BytesMut,
        _: &FormatOptions,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let utc = DateTime::from_timestamp_micros(self.micros).ok_or("the time is out of range")?.naive_utc();
        let offset = self.zone.map(|zone| zone.offset_from_utc_datetime(&utc).fix().local_minus_utc());
        let local = utc.checked_add_signed(TimeDelta::seconds(i64::from(offset.unwrap_or(0))));
        let local = local.ok_or("the time is out of range")?;
        let (year, era) = if local.year() > 0 { (local.year(), "") } else { (1 - local.year(), " BC") };
        let mut text = format!("{year:04}-{}", local.format("%m-%d %H:%M:%S"));
        let micros = self.micros.rem_euclid(1_000_000);
        if micros != 0 {
            text.push_str(format!(".{micros:06}").trim_end_matches('0'));
        }
        if let Some(offset) = offset {
            let (sign, offset) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs());
            text.push_str(&format!("{sign}{:02}", offset / 3_600));
            if offset % 3_600 != 0 {
                text.push_str(&format!(":{:02}", offset / 60 % 60));
            }
            if offset % 60 != 0 {
                text.push_str(&format!(":{:02}", offset % 60));
            }
        }
        text.push_str(era);
        out.put_slice(text.as_bytes());
        Ok(IsNull::No)
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
            } else if let Some(times) = column.as_primitive_opt::<TimestampMicrosecondType>() {
                let zone = match field.data_type() {
                    DataType::Timestamp(_, Some(zone)) => Some(
                        zone.parse::<Tz>()
                            .map_err(|error| PgError::new("22023", format!("the zone {zone:?}: {error}")))?,
                    ),
                    _ => None,
                };
                encoder.encode_field(&Time { micros: times.value(*at), zone }, info).map_err(wrong)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_postgresql_writes_them() {
        let written = |micros: i64, zone: Option<&str>| {
            let mut out = BytesMut::new();
            let time = Time { micros, zone: zone.map(|zone| zone.parse().unwrap()) };
            time.to_sql_text(&Type::TIMESTAMPTZ, &mut out, &FormatOptions::default()).unwrap();
            String::from_utf8(out.to_vec()).unwrap()
        };
        assert_eq!(written(1_795_172_400_120_000, Some("Europe/Berlin")), "2026-11-20 12:00:00.12+01");
        assert_eq!(written(1_795_172_400_000_000, Some("Asia/Kolkata")), "2026-11-20 16:30:00+05:30");
        assert_eq!(written(1_795_172_400_000_001, None), "2026-11-20 11:00:00.000001");
        assert_eq!(written(-1, Some("UTC")), "1969-12-31 23:59:59.999999+00");
        assert_eq!(written(-62_167_219_200_000_000, None), "0001-01-01 00:00:00 BC");
    }
}
