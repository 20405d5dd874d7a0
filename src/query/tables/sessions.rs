use std::sync::Arc;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
    SchemaProvider, TableProvider,
};
use datafusion::datasource::ViewTable;
use datafusion::error::Result;
use datafusion::execution::context::SessionState;
use datafusion::prelude::SessionContext;

/// What is known of each session: sightings, what audit logs say, and the ephemerals that it holds now. A session that
/// shows in one of them alone is there, too.
///
/// - `address` is the last one that a server listed (`host:port`), else the last one of an audit log (a host). Its source
///   and moment stand beside it; `hosts` counts the hosts that the session was ever seen at, so that 2 says it has moved.
/// - `user_name` is null where its audit lines do not all say the same. Lines without an address are the server's own:
///   it names its own user when it removes what a session leaves behind.
const SQL: &str = "
    SELECT
        cluster,
        session_id,
        max(opened_at) AS opened_at,
        max(closed_at) AS closed_at,
        max(last_seen) AS last_seen,
        max(timeout) AS timeout,
        coalesce(max(address), max(audit_address)) AS address,
        CASE
            WHEN max(address) IS NOT NULL THEN max(address_source)
            WHEN max(audit_address) IS NOT NULL THEN 'audit'
        END AS address_source,
        CASE WHEN max(address) IS NOT NULL THEN max(address_at) ELSE max(audit_address_at) END AS address_at,
        max(hosts) AS hosts,
        max(user_name) AS user_name,
        coalesce(max(ephemerals), 0) AS ephemerals
    FROM (
        SELECT
            cluster,
            session_id,
            min(time) FILTER (WHERE event = 'opened') AS opened_at,
            max(time) FILTER (WHERE event = 'closed') AS closed_at,
            max(time) AS last_seen,
            last_value(timeout_ms ORDER BY seq) FILTER (WHERE timeout_ms IS NOT NULL) AS timeout,
            last_value(address ORDER BY seq) FILTER (WHERE address IS NOT NULL) AS address,
            last_value(source ORDER BY seq) FILTER (WHERE address IS NOT NULL) AS address_source,
            last_value(time ORDER BY seq) FILTER (WHERE address IS NOT NULL) AS address_at,
            CAST(NULL AS text) AS audit_address,
            CAST(NULL AS timestamptz) AS audit_address_at,
            CAST(NULL AS bigint) AS hosts,
            CAST(NULL AS text) AS user_name,
            CAST(NULL AS bigint) AS ephemerals
        FROM sightings
        GROUP BY cluster, session_id
        UNION ALL
        SELECT
            cluster, session_id, NULL, NULL, max(time), NULL, NULL, NULL, NULL,
            last_value(address ORDER BY time, seq) FILTER (WHERE address IS NOT NULL),
            max(time) FILTER (WHERE address IS NOT NULL),
            NULL,
            CASE
                WHEN min(user_name) FILTER (WHERE address IS NOT NULL) = max(user_name) FILTER (WHERE address IS NOT NULL)
                    THEN max(user_name) FILTER (WHERE address IS NOT NULL)
            END,
            NULL
        FROM audit
        WHERE session_id IS NOT NULL
        GROUP BY cluster, session_id
        UNION ALL
        SELECT
            cluster, session_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, count(DISTINCT host), NULL, NULL
        FROM (
            SELECT cluster, session_id, btrim(regexp_replace(address, ':[0-9]+$', ''), '[]') AS host FROM sightings
            WHERE address IS NOT NULL
            UNION ALL
            SELECT cluster, session_id, address FROM audit WHERE session_id IS NOT NULL AND address IS NOT NULL
        )
        GROUP BY cluster, session_id
        UNION ALL
        SELECT
            cluster, ephemeral_owner, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, count(*)
        FROM znodes
        WHERE ephemeral_owner <> 0
        GROUP BY cluster, ephemeral_owner
    )
    GROUP BY cluster, session_id";

/// The `sessions` table: a view over the recorded sightings, the audit logs and the current znodes of the same Views.
pub(super) async fn view(
    base: &SessionState,
    sightings: Arc<dyn TableProvider>,
    audit: Arc<dyn TableProvider>,
    znodes: Arc<dyn TableProvider>,
) -> Result<Arc<dyn TableProvider>> {
    let catalogs = MemoryCatalogProviderList::new();
    let catalog = MemoryCatalogProvider::new();
    let schema = MemorySchemaProvider::new();
    schema.register_table("sightings".to_owned(), sightings)?;
    schema.register_table("audit".to_owned(), audit)?;
    schema.register_table("znodes".to_owned(), znodes)?;
    catalog.register_schema(super::SCHEMA, Arc::new(schema))?;
    catalogs.register_catalog(super::CATALOG.to_owned(), Arc::new(catalog));
    let state = datafusion::execution::session_state::SessionStateBuilder::new_from_existing(base.clone())
        .with_catalog_list(Arc::new(catalogs))
        .build();
    let plan = SessionContext::new_with_state(state).state().create_logical_plan(SQL).await?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}
