//! What PostgreSQL's clients look for beside the tables: pg_catalog, information_schema, and the functions that tell
//! of the server and the session.
//!
//! All of it is made from the tables' schemas alone, once, so that a table's oid stays what it is; nothing in here
//! holds a View. Questions about what there is not (indexes, keys, constraints, comments) are answered empty.

mod catalog;
mod functions;
mod information;
mod mended;
mod session;

use std::net::SocketAddr;
use std::sync::Arc;

use datafusion::catalog::{CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::{SessionContext, SessionState};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::{PgCatalogSchemaProvider, PgCatalogStaticTables};
use datafusion_pg_catalog::setup_pg_catalog;

use self::catalog::Known;
use self::mended::Mended;
use self::session::SessionCatalog;
use super::{CATALOG, Tables};
use crate::zk::Micros;

type GetSetting = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;
type SetSetting = Arc<dyn Fn(&str, &str) -> Result<(), String> + Send + Sync>;

/// What SQL can ask about a session of the PostgreSQL door, and do to it.
#[derive(Clone)]
pub struct PgFacts {
    pub pid: i32,
    pub user: String,
    pub database: &'static str,
    /// What `version()` says.
    pub version: String,
    pub server: SocketAddr,
    pub client: SocketAddr,
    /// When the door was opened.
    pub started: Micros,
    /// `current_setting(name)`.
    pub setting: GetSetting,
    /// `set_config(name, value, …)`.
    pub set: SetSetting,
    pub settings: Arc<dyn Fn() -> Vec<PgSetting> + Send + Sync>,
    /// The sessions that this one may see.
    pub activity: Arc<dyn Fn() -> Vec<PgActivity> + Send + Sync>,
    /// Cancels what a session is doing; false where it may not, or there is none.
    pub cancel: Arc<dyn Fn(i32) -> bool + Send + Sync>,
}

/// A row of pg_settings.
#[derive(Clone, Debug)]
pub struct PgSetting {
    pub name: &'static str,
    pub value: String,
    pub about: &'static str,
    pub default: &'static str,
    /// `bool`, `integer`, `enum` or `string`.
    pub kind: &'static str,
    pub can_set: bool,
}

/// A row of pg_stat_activity.
#[derive(Clone, Debug)]
pub struct PgActivity {
    pub pid: i32,
    pub user: String,
    pub application: String,
    pub client: SocketAddr,
    pub started: Micros,
    pub query_started: Option<Micros>,
    pub state_changed: Option<Micros>,
    pub state: &'static str,
    pub query: String,
}

/// What all sessions of the door share.
pub(in crate::query) struct Postgres {
    base: SessionState,
    catalog: Arc<dyn SchemaProvider>,
    information: Arc<dyn SchemaProvider>,
}

/// Schemas beside the tables' own.
type Schemas = Arc<[(&'static str, Arc<dyn SchemaProvider>)]>;

impl Postgres {
    pub(in crate::query) async fn new(base: &SessionState, tables: &Tables) -> Result<Self> {
        // The crate sets a context up; what it has put into it is taken out again.
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG.to_owned(), Arc::new(MemoryCatalogProvider::new()));
        let state = SessionStateBuilder::new_from_existing(base.clone()).with_catalog_list(Arc::new(catalogs)).build();
        let context = SessionContext::new_with_state(state);
        setup_pg_catalog(&context, CATALOG, EmptyContextProvider).map_err(|error| *error)?;
        let mut base = context.state();
        // Clients ask for PostgreSQL's columns: it is a schema of our own.
        base.config_mut().options_mut().catalog.information_schema = false;
        for function in functions::shared() {
            base.register_udf(function)?;
        }
        let known = Known::new(tables).await?;
        let information = information::schema(&known)?;
        let statics = Arc::new(PgCatalogStaticTables::try_new()?);
        let catalog = PgCatalogSchemaProvider::try_new(known, statics, EmptyContextProvider)?;
        let catalog = Mended::new(Arc::new(catalog)).await?;
        Ok(Self { base, catalog: Arc::new(catalog), information })
    }

    /// The state and the schemas of one session.
    pub(in crate::query) fn session(&self, facts: PgFacts) -> Result<(SessionState, Schemas)> {
        let mut state = self.base.clone();
        let facts = Arc::new(facts);
        for function in functions::of_session(&facts) {
            state.register_udf(function)?;
        }
        let catalog: Arc<dyn SchemaProvider> = Arc::new(SessionCatalog::new(self.catalog.clone(), facts));
        let information = self.information.clone();
        Ok((state, Arc::new([("pg_catalog", catalog), ("information_schema", information)])))
    }
}

/// An error of ours, where there should be none.
fn internal(text: &str) -> DataFusionError {
    DataFusionError::Internal(text.to_owned())
}
