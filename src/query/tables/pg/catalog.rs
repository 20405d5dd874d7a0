use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::SchemaProvider;
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion_pg_catalog::pg_catalog::catalog_info::CatalogInfo;

use crate::query::tables::{CATALOG, NAMES, SCHEMA, Tables};

/// The relations that pg_class and its like tell of, with their columns; always in the same order, so that each keeps
/// its oid.
#[derive(Clone, Debug)]
pub(super) struct Known {
    schemas: Arc<[(String, Vec<Relation>)]>,
}

#[derive(Clone, Debug)]
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) columns: SchemaRef,
}

impl Known {
    pub(super) async fn new(tables: &Tables) -> Result<Self> {
        let mut relations = Vec::new();
        for name in NAMES {
            if let Some(table) = tables.table(name).await? {
                relations.push(Relation { name: name.to_owned(), columns: table.schema() });
            }
        }
        // The others are there, but what they hold is not in the search path, and so not for every list of tables.
        let schemas = [(SCHEMA, relations), ("pg_catalog", Vec::new()), ("information_schema", Vec::new())];
        Ok(Self { schemas: schemas.map(|(name, relations)| (name.to_owned(), relations)).into() })
    }

    /// The history's own tables.
    pub(super) fn own(&self) -> &[Relation] {
        self.relations(SCHEMA).unwrap_or_default()
    }

    fn relations(&self, schema: &str) -> Option<&[Relation]> {
        self.schemas.iter().find(|(name, _)| name == schema).map(|(_, relations)| relations.as_slice())
    }

    fn relation(&self, schema: &str, name: &str) -> Option<&Relation> {
        self.relations(schema)?.iter().find(|relation| relation.name == name)
    }
}

#[async_trait]
impl CatalogInfo for Known {
    async fn catalog_names(&self) -> Result<Vec<String>> {
        Ok(vec![CATALOG.to_owned()])
    }

    async fn schema_names(&self, _: &str) -> Result<Option<Vec<String>>> {
        Ok(Some(self.schemas.iter().map(|(name, _)| name.clone()).collect()))
    }

    async fn table_names(&self, _: &str, schema: &str) -> Result<Option<Vec<String>>> {
        Ok(self.relations(schema).map(|relations| relations.iter().map(|relation| relation.name.clone()).collect()))
    }

    async fn table_schema(&self, _: &str, schema: &str, table: &str) -> Result<Option<SchemaRef>> {
        Ok(self.relation(schema, table).map(|relation| relation.columns.clone()))
    }

    async fn table_type(&self, _: &str, schema: &str, table: &str) -> Result<Option<TableType>> {
        Ok(self.relation(schema, table).map(|_| TableType::Base))
    }
}
