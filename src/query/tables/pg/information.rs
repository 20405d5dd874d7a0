//! information_schema with PostgreSQL's columns and names of types.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::catalog::{MemTable, MemorySchemaProvider, SchemaProvider};
use datafusion::error::Result;

use super::catalog::Known;
use crate::query::tables::{CATALOG, SCHEMA};

/// The columns of the tables that are always empty here.
const EMPTY: [(&str, &[&str]); 7] = [
    ("views", &["table_catalog", "table_schema", "table_name", "view_definition", "check_option", "is_updatable"]),
    (
        "table_constraints",
        &[
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "table_catalog",
            "table_schema",
            "table_name",
            "constraint_type",
            "is_deferrable",
            "initially_deferred",
            "enforced",
        ],
    ),
    (
        "key_column_usage",
        &[
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
            "ordinal_position",
            "position_in_unique_constraint",
        ],
    ),
    (
        "referential_constraints",
        &[
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "unique_constraint_catalog",
            "unique_constraint_schema",
            "unique_constraint_name",
            "match_option",
            "update_rule",
            "delete_rule",
        ],
    ),
    (
        "constraint_column_usage",
        &[
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
        ],
    ),
    (
        "routines",
        &[
            "specific_catalog",
            "specific_schema",
            "specific_name",
            "routine_catalog",
            "routine_schema",
            "routine_name",
            "routine_type",
            "data_type",
            "routine_definition",
            "external_language",
        ],
    ),
    (
        "parameters",
        &[
            "specific_catalog",
            "specific_schema",
            "specific_name",
            "ordinal_position",
            "parameter_mode",
            "parameter_name",
            "data_type",
        ],
    ),
];

pub(super) fn schema(known: &Known) -> Result<Arc<dyn SchemaProvider>> {
    let provider = MemorySchemaProvider::new();
    let add = |name: &str, batch: RecordBatch| -> Result<()> {
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
        provider.register_table(name.to_owned(), Arc::new(table)).map(|_| ())
    };
    add("schemata", schemata()?)?;
    add("tables", tables(known)?)?;
    add("columns", columns(known)?)?;
    for (name, columns) in EMPTY {
        let fields: Vec<Field> = columns.iter().map(|column| Field::new(*column, DataType::Utf8, true)).collect();
        add(name, RecordBatch::new_empty(Arc::new(Schema::new(fields))))?;
    }
    Ok(Arc::new(provider))
}

fn same(text: &str, rows: usize) -> ArrayRef {
    Arc::new(StringArray::from(vec![text; rows]))
}

fn nulls(rows: usize) -> ArrayRef {
    Arc::new(StringArray::from(vec![None::<&str>; rows]))
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    Ok(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))?)
}

fn schemata() -> Result<RecordBatch> {
    let names = [SCHEMA, "pg_catalog", "information_schema"];
    let rows = names.len();
    batch(vec![
        ("catalog_name", same(CATALOG, rows)),
        ("schema_name", Arc::new(StringArray::from(names.to_vec()))),
        ("schema_owner", same(CATALOG, rows)),
        ("default_character_set_catalog", nulls(rows)),
        ("default_character_set_schema", nulls(rows)),
        ("default_character_set_name", nulls(rows)),
        ("sql_path", nulls(rows)),
    ])
}

fn tables(known: &Known) -> Result<RecordBatch> {
    let names: Vec<&str> = known.own().iter().map(|relation| relation.name.as_str()).collect();
    let rows = names.len();
    batch(vec![
        ("table_catalog", same(CATALOG, rows)),
        ("table_schema", same(SCHEMA, rows)),
        ("table_name", Arc::new(StringArray::from(names))),
        ("table_type", same("BASE TABLE", rows)),
        ("self_referencing_column_name", nulls(rows)),
        ("reference_generation", nulls(rows)),
        ("user_defined_type_catalog", nulls(rows)),
        ("user_defined_type_schema", nulls(rows)),
        ("user_defined_type_name", nulls(rows)),
        ("is_insertable_into", same("NO", rows)),
        ("is_typed", same("NO", rows)),
        ("commit_action", nulls(rows)),
    ])
}

fn columns(known: &Known) -> Result<RecordBatch> {
    let (mut tables, mut names, mut positions, mut nullable) = (vec![], vec![], vec![], vec![]);
    let (mut types, mut udts, mut octets, mut precisions, mut scales, mut radixes, mut times) =
        (vec![], vec![], vec![], vec![], vec![], vec![], vec![]);
    for relation in known.own() {
        for (at, field) in relation.columns.fields().iter().enumerate() {
            let named = type_names(field.data_type());
            tables.push(relation.name.as_str());
            names.push(field.name().as_str());
            positions.push(i32::try_from(at + 1).unwrap_or(i32::MAX));
            nullable.push(if field.is_nullable() { "YES" } else { "NO" });
            types.push(named.sql);
            udts.push(named.udt);
            octets.push((named.udt == "text").then_some(1_073_741_824));
            precisions.push(named.precision);
            scales.push(named.precision.map(|_| 0));
            radixes.push(named.precision.map(|_| 2));
            times.push(matches!(named.udt, "timestamptz" | "timestamp").then_some(6));
        }
    }
    let rows = names.len();
    let number = |values: Vec<Option<i32>>| -> ArrayRef { Arc::new(Int32Array::from(values)) };
    let no_number = || number(vec![None; rows]);
    batch(vec![
        ("table_catalog", same(CATALOG, rows)),
        ("table_schema", same(SCHEMA, rows)),
        ("table_name", Arc::new(StringArray::from(tables))),
        ("column_name", Arc::new(StringArray::from(names))),
        ("ordinal_position", Arc::new(Int32Array::from(positions.clone()))),
        ("column_default", nulls(rows)),
        ("is_nullable", Arc::new(StringArray::from(nullable))),
        ("data_type", Arc::new(StringArray::from(types))),
        ("character_maximum_length", no_number()),
        ("character_octet_length", number(octets)),
        ("numeric_precision", number(precisions)),
        ("numeric_precision_radix", number(radixes)),
        ("numeric_scale", number(scales)),
        ("datetime_precision", number(times)),
        ("interval_type", nulls(rows)),
        ("interval_precision", no_number()),
        ("character_set_name", nulls(rows)),
        ("collation_name", nulls(rows)),
        ("domain_catalog", nulls(rows)),
        ("domain_schema", nulls(rows)),
        ("domain_name", nulls(rows)),
        ("udt_catalog", same(CATALOG, rows)),
        ("udt_schema", same("pg_catalog", rows)),
        ("udt_name", Arc::new(StringArray::from(udts))),
        ("dtd_identifier", Arc::new(positions.iter().map(|at| Some(at.to_string())).collect::<StringArray>())),
        ("is_self_referencing", same("NO", rows)),
        ("is_identity", same("NO", rows)),
        ("identity_generation", nulls(rows)),
        ("is_generated", same("NEVER", rows)),
        ("generation_expression", nulls(rows)),
        ("is_updatable", same("NO", rows)),
    ])
}

/// How SQL and PostgreSQL name a type.
struct Named {
    sql: &'static str,
    udt: &'static str,
    precision: Option<i32>,
}

fn type_names(of: &DataType) -> Named {
    let (sql, udt, precision) = match of {
        DataType::Boolean => ("boolean", "bool", None),
        DataType::Int16 => ("smallint", "int2", Some(16)),
        DataType::Int32 => ("integer", "int4", Some(32)),
        DataType::Int64 => ("bigint", "int8", Some(64)),
        DataType::Float64 => ("double precision", "float8", Some(53)),
        DataType::Date32 => ("date", "date", None),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => ("timestamp with time zone", "timestamptz", None),
        DataType::Timestamp(..) => ("timestamp without time zone", "timestamp", None),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => ("bytea", "bytea", None),
        _ => ("text", "text", None),
    };
    Named { sql, udt, precision }
}
