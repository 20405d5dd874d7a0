use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::Result;
use datafusion::logical_expr::{LogicalPlanBuilder, col, lit};

/// pg_catalog as the crate makes it, where that is enough; else in the shape that clients expect.
#[derive(Debug)]
pub(super) struct Mended {
    shared: Arc<dyn SchemaProvider>,
    own: HashMap<&'static str, Arc<dyn TableProvider>>,
}

/// Tables about what the history does not have. The crate's rows are a PostgreSQL server's own.
const EMPTY: [&str; 5] = ["pg_constraint", "pg_index", "pg_rewrite", "pg_depend", "pg_auth_members"];

/// Their columns that are vectors or arrays.
const VECTORS: [&str; 9] =
    ["indkey", "indclass", "indcollation", "indoption", "conkey", "confkey", "conpfeqop", "conppeqop", "conexclop"];

/// Columns of pg_class that the crate leaves out, both arrays of text.
const CLASS_MISSING: [&str; 2] = ["relacl", "reloptions"];

impl Mended {
    pub(super) async fn new(shared: Arc<dyn SchemaProvider>) -> Result<Self> {
        let mut own: HashMap<&'static str, Arc<dyn TableProvider>> = HashMap::new();
        for name in EMPTY {
            if let Some(table) = shared.table(name).await? {
                let fields: Vec<Field> = table.schema().fields().iter().map(|field| vector(field)).collect();
                own.insert(name, Arc::new(MemTable::try_new(Arc::new(Schema::new(fields)), vec![vec![]])?));
            }
        }
        if let Some(class) = shared.table("pg_class").await? {
            let mut columns: Vec<_> = class.schema().fields().iter().map(|field| col(field.name().as_str())).collect();
            for name in CLASS_MISSING.iter().filter(|name| class.schema().column_with_name(name).is_none()) {
                columns.push(lit(ScalarValue::new_null_list(DataType::Utf8, true, 1)).alias(*name));
            }
            let plan =
                LogicalPlanBuilder::scan("pg_class", provider_as_source(class), None)?.project(columns)?.build()?;
            own.insert("pg_class", Arc::new(ViewTable::new(plan, None)));
        }
        if let Some(namespace) = shared.table("pg_namespace").await? {
            // The crate has the rights as a text, where clients take an array apart.
            let columns: Vec<_> = namespace
                .schema()
                .fields()
                .iter()
                .map(|field| match field.name().as_str() {
                    "nspacl" => lit(ScalarValue::new_null_list(DataType::Utf8, true, 1)).alias("nspacl"),
                    name => col(name),
                })
                .collect();
            let source = provider_as_source(namespace);
            let plan = LogicalPlanBuilder::scan("pg_namespace", source, None)?.project(columns)?.build()?;
            own.insert("pg_namespace", Arc::new(ViewTable::new(plan, None)));
        }
        Ok(Self { shared, own })
    }
}

fn vector(field: &Field) -> Field {
    let element = match field.name().as_str() {
        "indclass" | "indcollation" | "conpfeqop" | "conppeqop" | "conexclop" => DataType::Int32,
        _ => DataType::Int16,
    };
    match VECTORS.contains(&field.name().as_str()) {
        true => Field::new_list(field.name(), Field::new_list_field(element, true), true),
        false => field.clone(),
    }
}

#[async_trait]
impl SchemaProvider for Mended {
    fn table_names(&self) -> Vec<String> {
        self.shared.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.own.get(name) {
            Some(table) => Ok(Some(table.clone())),
            None => self.shared.table(name).await,
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.shared.table_exist(name)
    }
}
