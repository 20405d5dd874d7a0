//! The catalog of one query: every table over the same Views.

mod diff;
mod gaps;
mod moment;
mod parts;
mod pg;
mod reader;
mod scope;
mod sessions;
mod statistics;
mod withheld;
mod znodes;
mod zone;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider,
    TableFunction, TableProvider,
};
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::SessionState;
use datafusion::execution::session_state::SessionStateBuilder;

use self::diff::TreeDiff;
use self::gaps::GapsTable;
use self::moment::ZnodesAt;
use self::parts::PartsTable;
use self::znodes::ZnodesTable;
use crate::history::layout::Table;
use crate::history::replay::At;
use crate::history::view::View;
use crate::query::access::Values;

pub(super) use self::pg::Postgres;
pub use self::pg::{PgActivity, PgFacts, PgSetting};
pub(super) use self::statistics::PartStatistics;

/// How SQL names the one database that there is.
pub(super) const CATALOG: &str = "zktrail";
pub(super) const SCHEMA: &str = "public";

/// The tables, as SHOW TABLES lists them.
pub const NAMES: [&str; 7] = ["changes", "znodes", "snapshots", "coverage", "gaps", "sessions", "audit"];

/// The table functions.
pub const FUNCTIONS: [&str; 2] = ["znodes_at", "tree_diff"];

/// The tables of one query. All of them see the same Views.
#[derive(Clone)]
pub(super) struct Tables {
    views: Arc<[View]>,
    statistics: Arc<PartStatistics>,
    /// Plans the views that are written in SQL.
    base: Arc<SessionState>,
    values: Values,
    /// The session's time zone, where it is not UTC.
    zone: Option<Arc<str>>,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").field("clusters", &self.views.len()).finish_non_exhaustive()
    }
}

impl Tables {
    pub(super) fn new(
        mut views: Vec<View>,
        statistics: Arc<PartStatistics>,
        base: SessionState,
        values: Values,
    ) -> Self {
        views.sort_by(|a, b| a.cluster.cmp(&b.cluster));
        Self { views: views.into(), statistics, base: Arc::new(base), values, zone: None }
    }

    fn parts(&self, table: Table) -> Arc<dyn TableProvider> {
        let table = PartsTable::new(table, self.views.clone(), self.statistics.clone());
        withheld::as_shown(self.values, Arc::new(table))
    }

    fn znodes(&self) -> Arc<dyn TableProvider> {
        let trees = self.views.iter().map(|view| (view.clone(), At::Now)).collect();
        withheld::as_shown(self.values, Arc::new(ZnodesTable::new(trees, false)))
    }
}

impl Tables {
    /// The znodes from which sessions show: a history whose tree was never read to the end has sessions all the same.
    fn ephemerals(&self) -> Arc<dyn TableProvider> {
        let complete = self.views.iter().filter(|view| !view.snapshots.is_empty());
        let trees = complete.map(|view| (view.clone(), At::Now)).collect();
        withheld::as_shown(self.values, Arc::new(ZnodesTable::new(trees, false)))
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        NAMES.iter().map(|name| (*name).to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let table: Arc<dyn TableProvider> = match name {
            "changes" => self.parts(Table::Changes),
            "snapshots" => self.parts(Table::Snapshots),
            "coverage" => self.parts(Table::Coverage),
            "znodes" => self.znodes(),
            "gaps" => withheld::as_shown(self.values, Arc::new(GapsTable::new(self.views.clone()))),
            "audit" => self.parts(Table::Audit),
            "sessions" => {
                let (sightings, audit) = (self.parts(Table::Sessions), self.parts(Table::Audit));
                sessions::view(&self.base, sightings, audit, self.ephemerals()).await?
            }
            _ => return Ok(None),
        };
        zone::shown_in(self.zone.as_deref(), name, table).map(Some)
    }

    fn table_exist(&self, name: &str) -> bool {
        NAMES.contains(&name)
    }
}

/// A copy of `base` that knows these tables and nothing else, for one query that begins now.
pub(super) fn with_tables(
    base: &SessionState,
    tables: Tables,
    schemas: &[(&'static str, Arc<dyn SchemaProvider>)],
) -> Result<SessionState> {
    let tables = Tables { zone: zone::of(base), ..tables };
    let catalogs = MemoryCatalogProviderList::new();
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA, Arc::new(tables.clone()))?;
    for (name, schema) in schemas {
        catalog.register_schema(name, schema.clone())?;
    }
    catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
    let mut functions: HashMap<String, Arc<TableFunction>> = base.table_functions().clone();
    let at = TableFunction::new("znodes_at".to_owned(), Arc::new(ZnodesAt::new(tables.views.clone(), tables.values)));
    let diff = TableFunction::new("tree_diff".to_owned(), Arc::new(TreeDiff::new(tables.views.clone(), tables.values)));
    for function in [at, diff] {
        let function = zone::function_shown_in(tables.zone.clone(), function);
        functions.insert(function.name().to_owned(), Arc::new(function));
    }
    let mut state = SessionStateBuilder::new_from_existing(base.clone())
        .with_catalog_list(Arc::new(catalogs))
        .with_table_functions(functions)
        .build();
    // What now() is, in the whole query.
    state.mark_start_execution();
    Ok(state)
}

/// The empty object store that stands where DataFusion wants one.
pub(super) fn store_url() -> Result<ObjectStoreUrl> {
    ObjectStoreUrl::parse("history://parts")
}

/// The columns whose numbers are identities or hashes: shown as `0x…`, because they pass 2^53.
pub(super) const HEX_COLUMNS: [&str; 3] = ["session_id", "ephemeral_owner", "data_hash"];

/// Field metadata that makes every encoder show a number as `0x…`; it survives aliases.
pub(super) const FORM_KEY: &str = "zktrail.form";
pub(super) const FORM_HEX: &str = "hex";

/// Marks the columns that are shown as `0x…`.
fn with_forms(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| {
            let field = field.as_ref().clone();
            if HEX_COLUMNS.contains(&field.name().as_str()) {
                let form = HashMap::from([(FORM_KEY.to_owned(), FORM_HEX.to_owned())]);
                field.with_metadata(form)
            } else {
                field
            }
        })
        .collect();
    Arc::new(Schema::new(fields))
}

fn cluster_field() -> Field {
    Field::new("cluster", DataType::Utf8, false)
}

/// A column that is the same text in every row.
fn constant_text(text: &str, rows: usize) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows)))
}

/// An error that is the query's own fault, worded as it is shown.
fn user_error(text: impl Into<String>) -> DataFusionError {
    DataFusionError::Plan(text.into())
}
