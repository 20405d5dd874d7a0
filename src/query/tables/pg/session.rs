use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::error::Result;

use super::PgFacts;
use crate::zk::Micros;

/// pg_catalog with the tables that depend on whose session it is.
pub(super) struct SessionCatalog {
    shared: Arc<dyn SchemaProvider>,
    facts: Arc<PgFacts>,
}

impl std::fmt::Debug for SessionCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionCatalog").finish_non_exhaustive()
    }
}

/// The tables that are made for each session.
const OWN: [&str; 5] = ["pg_settings", "pg_stat_activity", "pg_roles", "pg_user", "pg_database"];

/// What PostgreSQL shows to nobody but its superusers. The shared catalog has rows for them, of no system at all.
const HIDDEN: [&str; 2] = ["pg_authid", "pg_shadow"];

impl SessionCatalog {
    pub(super) fn new(shared: Arc<dyn SchemaProvider>, facts: Arc<PgFacts>) -> Self {
        Self { shared, facts }
    }

    fn own(&self, name: &str) -> Result<Option<RecordBatch>> {
        Ok(Some(match name {
            "pg_settings" => self.settings()?,
            "pg_stat_activity" => self.activity()?,
            "pg_roles" => self.roles()?,
            "pg_user" => self.users()?,
            "pg_database" => self.database()?,
            _ => return Ok(None),
        }))
    }

    fn settings(&self) -> Result<RecordBatch> {
        let all = (self.facts.settings)();
        let text = |of: fn(&super::PgSetting) -> Option<String>| -> ArrayRef {
            Arc::new(all.iter().map(of).collect::<StringArray>())
        };
        batch(vec![
            ("name", text(|setting| Some(setting.name.to_owned()))),
            ("setting", text(|setting| Some(setting.value.clone()))),
            ("unit", text(|_| None)),
            ("category", text(|_| Some("zktrail".to_owned()))),
            ("short_desc", text(|setting| Some(setting.about.to_owned()))),
            ("extra_desc", text(|_| None)),
            ("context", text(|setting| Some(if setting.can_set { "user" } else { "internal" }.to_owned()))),
            ("vartype", text(|setting| Some(setting.kind.to_owned()))),
            (
                "source",
                text(|setting| Some(if setting.value == setting.default { "default" } else { "session" }.to_owned())),
            ),
            ("min_val", text(|_| None)),
            ("max_val", text(|_| None)),
            ("enumvals", text(|_| None)),
            ("boot_val", text(|setting| Some(setting.default.to_owned()))),
            ("reset_val", text(|setting| Some(setting.default.to_owned()))),
            ("sourcefile", text(|_| None)),
            ("sourceline", Arc::new(Int32Array::from(vec![None; all.len()]))),
            ("pending_restart", Arc::new(BooleanArray::from(vec![false; all.len()]))),
        ])
    }

    fn activity(&self) -> Result<RecordBatch> {
        let all = (self.facts.activity)();
        let text = |of: fn(&super::PgActivity) -> Option<String>| -> ArrayRef {
            Arc::new(all.iter().map(of).collect::<StringArray>())
        };
        let time = |of: fn(&super::PgActivity) -> Option<Micros>| -> ArrayRef {
            let times = all.iter().map(|activity| of(activity).map(|time| time.0));
            Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        };
        let database = self.facts.database;
        batch(vec![
            ("datid", Arc::new(Int32Array::from(vec![DATABASE_OID; all.len()]))),
            ("datname", Arc::new(StringArray::from(vec![database; all.len()]))),
            ("pid", Arc::new(all.iter().map(|activity| Some(activity.pid)).collect::<Int32Array>())),
            ("usename", text(|activity| Some(activity.user.clone()))),
            ("application_name", text(|activity| Some(activity.application.clone()))),
            ("client_addr", text(|activity| Some(activity.client.ip().to_string()))),
            ("client_hostname", text(|_| None)),
            (
                "client_port",
                Arc::new(all.iter().map(|activity| Some(i32::from(activity.client.port()))).collect::<Int32Array>()),
            ),
            ("backend_start", time(|activity| Some(activity.started))),
            ("xact_start", time(|_| None)),
            ("query_start", time(|activity| activity.query_started)),
            ("state_change", time(|activity| activity.state_changed)),
            ("wait_event_type", text(|_| None)),
            ("wait_event", text(|_| None)),
            ("state", text(|activity| Some(activity.state.to_owned()))),
            ("query", text(|activity| Some(activity.query.clone()))),
            ("backend_type", text(|_| Some("client backend".to_owned()))),
        ])
    }

    fn roles(&self) -> Result<RecordBatch> {
        let no = || -> ArrayRef { Arc::new(BooleanArray::from(vec![false])) };
        let yes = || -> ArrayRef { Arc::new(BooleanArray::from(vec![true])) };
        let none = || -> ArrayRef { Arc::new(StringArray::from(vec![None::<&str>])) };
        batch(vec![
            ("oid", Arc::new(Int32Array::from(vec![USER_OID]))),
            ("rolname", Arc::new(StringArray::from(vec![self.facts.user.as_str()]))),
            ("rolsuper", no()),
            ("rolinherit", yes()),
            ("rolcreaterole", no()),
            ("rolcreatedb", no()),
            ("rolcanlogin", yes()),
            ("rolreplication", no()),
            ("rolconnlimit", Arc::new(Int32Array::from(vec![-1]))),
            ("rolpassword", none()),
            ("rolvaliduntil", none()),
            ("rolbypassrls", no()),
            ("rolconfig", none()),
        ])
    }

    fn users(&self) -> Result<RecordBatch> {
        let no = || -> ArrayRef { Arc::new(BooleanArray::from(vec![false])) };
        batch(vec![
            ("usename", Arc::new(StringArray::from(vec![self.facts.user.as_str()]))),
            ("usesysid", Arc::new(Int32Array::from(vec![USER_OID]))),
            ("usecreatedb", no()),
            ("usesuper", no()),
            ("userepl", no()),
            ("usebypassrls", no()),
        ])
    }

    fn database(&self) -> Result<RecordBatch> {
        let number = |value: i32| -> ArrayRef { Arc::new(Int32Array::from(vec![value])) };
        let text = |value: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![value])) };
        let flag = |value: bool| -> ArrayRef { Arc::new(BooleanArray::from(vec![value])) };
        batch(vec![
            ("oid", number(DATABASE_OID)),
            ("datname", text(Some(self.facts.database))),
            ("datdba", number(USER_OID)),
            ("encoding", number(6)),
            ("datlocprovider", text(Some("c"))),
            ("datistemplate", flag(false)),
            ("datallowconn", flag(true)),
            ("datconnlimit", number(-1)),
            ("datfrozenxid", number(0)),
            ("datminmxid", number(0)),
            ("dattablespace", number(1663)),
            ("datcollate", text(Some("C"))),
            ("datctype", text(Some("C"))),
            ("daticulocale", text(None)),
            ("daticurules", text(None)),
            ("datlocale", text(None)),
            ("datcollversion", text(None)),
            (
                "datacl",
                Arc::new(arrow::array::ListArray::new_null(Arc::new(Field::new_list_field(DataType::Utf8, true)), 1)),
            ),
        ])
    }
}

/// The one database's, and the user's.
pub(super) const DATABASE_OID: i32 = 16_384;
pub(super) const USER_OID: i32 = 10;

fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    let oid = |name: &str| matches!(name, "oid" | "datid" | "usesysid" | "datdba" | "dattablespace");
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column)| {
            let field = Field::new(*name, column.data_type().clone(), true);
            match oid(name) && *column.data_type() == DataType::Int32 {
                true => field.with_metadata([("pg.oid_alias".to_owned(), "oid".to_owned())].into()),
                false => field,
            }
        })
        .collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

#[async_trait]
impl SchemaProvider for SessionCatalog {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.shared.table_names();
        names.retain(|name| !HIDDEN.contains(&name.as_str()));
        names.extend(OWN.iter().map(|name| (*name).to_owned()).filter(|name| !self.shared.table_exist(name)));
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.own(name)? {
            None if HIDDEN.contains(&name) => Ok(None),
            Some(batch) => Ok(Some(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))),
            None => self.shared.table(name).await,
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        OWN.contains(&name) || !HIDDEN.contains(&name) && self.shared.table_exist(name)
    }
}
