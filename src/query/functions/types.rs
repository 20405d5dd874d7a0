//! The types that SQL names.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{DataType as Sql, ExactNumberInfo, TimezoneInfo};

use super::value::{NUMERIC_DIGITS_MAX, UTC};

/// Marks a text that was cast to json or jsonb; the value says which.
pub(super) const JSON_KEY: &str = "zktrail.json";

/// Digits behind the point of a `numeric` that says nothing of them.
pub(super) const NUMERIC_SCALE: i8 = 16;

/// Marks a numeric whose digits nobody asked for.
pub(super) const ANY_SCALE_KEY: &str = "zktrail.numeric";

#[derive(Debug)]
pub(super) struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql: &Sql) -> Result<Option<FieldRef>> {
        let plain = |data_type: DataType| Ok(Some(Arc::new(Field::new("", data_type, true))));
        let marked = |data_type: DataType, key: &str, value: &str| {
            let metadata = HashMap::from([(key.to_owned(), value.to_owned())]);
            Ok(Some(Arc::new(Field::new("", data_type, true).with_metadata(metadata))))
        };
        let refused = || Err(DataFusionError::Plan(format!("the type {sql} is not supported")));
        match sql {
            Sql::JSON => marked(DataType::Utf8, JSON_KEY, "json"),
            Sql::JSONB => marked(DataType::Utf8, JSON_KEY, "jsonb"),
            Sql::Timestamp(None | Some(6), zone) => plain(match zone {
                TimezoneInfo::Tz | TimezoneInfo::WithTimeZone => {
                    DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))
                }
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => DataType::Timestamp(TimeUnit::Microsecond, None),
            }),
            Sql::Time(None | Some(6), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
                plain(DataType::Time64(TimeUnit::Microsecond))
            }
            Sql::Timestamp(..) | Sql::Time(..) => refused(),
            Sql::Interval { fields: None, precision: None } => plain(DataType::Interval(IntervalUnit::MonthDayNano)),
            Sql::Interval { .. } => refused(),
            Sql::Numeric(ExactNumberInfo::None) | Sql::Decimal(ExactNumberInfo::None) => {
                marked(DataType::Decimal128(NUMERIC_DIGITS_MAX, NUMERIC_SCALE), ANY_SCALE_KEY, "any")
            }
            // A length is kept by nothing here, so that it would be a promise.
            Sql::Varchar(Some(_)) | Sql::CharacterVarying(Some(_)) | Sql::Char(_) | Sql::Character(_) => refused(),
            Sql::Text | Sql::Varchar(None) | Sql::CharacterVarying(None) => plain(DataType::Utf8),
            Sql::Custom(name, modifiers) if modifiers.is_empty() => match name.to_string().to_lowercase().as_str() {
                "timestamptz" => plain(DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))),
                "jsonb" => marked(DataType::Utf8, JSON_KEY, "jsonb"),
                "json" => marked(DataType::Utf8, JSON_KEY, "json"),
                "name" | "regclass" | "oid" => Ok(None),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }
}
