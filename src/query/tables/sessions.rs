use std::sync::Arc;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
    SchemaProvider, TableProvider,
};
use datafusion::datasource::ViewTable;
use datafusion::error::Result;
use datafusion::execution::context::SessionState;
use datafusion::prelude::SessionContext;

/// What is known of each session: sightings, and the ephemerals that it holds now. Where no source tells of sessions
/// there is only the latter.
const SQL: &str = "
    SELECT
        coalesce(seen.cluster, held.cluster) AS cluster,
        coalesce(seen.session_id, held.session_id) AS session_id,
        seen.opened_at,
        seen.closed_at,
        seen.last_seen,
        seen.timeout_ms AS timeout,
        seen.address,
        coalesce(held.ephemerals, 0) AS ephemerals
    FROM (
        SELECT
            cluster,
            session_id,
            min(time) FILTER (WHERE event = 'opened') AS opened_at,
            max(time) FILTER (WHERE event = 'closed') AS closed_at,
            max(time) AS last_seen,
            last_value(timeout_ms ORDER BY seq) FILTER (WHERE timeout_ms IS NOT NULL) AS timeout_ms,
            last_value(address ORDER BY seq) FILTER (WHERE address IS NOT NULL) AS address
        FROM sightings
        GROUP BY cluster, session_id
    ) AS seen
    FULL OUTER JOIN (
        SELECT cluster, ephemeral_owner AS session_id, count(*) AS ephemerals
        FROM znodes
        WHERE ephemeral_owner <> 0
        GROUP BY cluster, ephemeral_owner
    ) AS held
    ON seen.cluster = held.cluster AND seen.session_id = held.session_id";

/// The `sessions` table: a view over the recorded sightings and the current znodes of the same Views.
pub(super) async fn view(
    base: &SessionState,
    sightings: Arc<dyn TableProvider>,
    znodes: Arc<dyn TableProvider>,
) -> Result<Arc<dyn TableProvider>> {
    let catalogs = MemoryCatalogProviderList::new();
    let catalog = MemoryCatalogProvider::new();
    let schema = MemorySchemaProvider::new();
    schema.register_table("sightings".to_owned(), sightings)?;
    schema.register_table("znodes".to_owned(), znodes)?;
    catalog.register_schema(super::SCHEMA, Arc::new(schema))?;
    catalogs.register_catalog(super::CATALOG.to_owned(), Arc::new(catalog));
    let state = datafusion::execution::session_state::SessionStateBuilder::new_from_existing(base.clone())
        .with_catalog_list(Arc::new(catalogs))
        .build();
    let plan = SessionContext::new_with_state(state).state().create_logical_plan(SQL).await?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}
