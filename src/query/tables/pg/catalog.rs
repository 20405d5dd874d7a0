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
    is_view: bool,
}

impl Known {
    pub(super) async fn new(tables: &Tables) -> Result<Self> {
        let mut relations = Vec::new();
        for name in NAMES {
            if let Some(table) = tables.table(name).await? {
                relations.push(Relation { name: name.to_owned(), columns: table.schema(), is_view: false });
            }
        }
        Ok(Self { schemas: Arc::new([(SCHEMA.to_owned(), relations), ("pg_catalog".to_owned(), Vec::new())]) })
    }

    pub(super) async fn with_information(&self, information: &Arc<dyn SchemaProvider>) -> Result<Self> {
        let mut relations = Vec::new();
        for name in information.table_names() {
            if let Some(table) = information.table(&name).await? {
                relations.push(Relation { name, columns: table.schema(), is_view: true });
            }
        }
        let mut schemas = self.schemas.to_vec();
        schemas.push(("information_schema".to_owned(), relations));
        Ok(Self { schemas: schemas.into() })
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
        let of = |relation: &Relation| if relation.is_view { TableType::View } else { TableType::Base };
        Ok(self.relation(schema, table).map(of))
    }
}
