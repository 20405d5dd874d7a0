//! The engines that a znode may name, and the SQLAlchemy dialect that Superset reaches each with.

/// One kind of database.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Engine {
    /// The names that mean it, the usual one first.
    pub(super) names: &'static [&'static str],
    /// SQLAlchemy's `dialect` or `dialect+driver`, as Superset's documentation recommends it.
    pub(super) scheme: &'static str,
    /// Where it listens unless told otherwise; `None` where it is no server.
    pub(super) port: Option<u16>,
}

const fn engine(names: &'static [&'static str], scheme: &'static str, port: u16) -> Engine {
    Engine { names, scheme, port: if port == 0 { None } else { Some(port) } }
}

pub(super) const ENGINES: &[Engine] = &[
    engine(&["postgresql", "postgres", "pgsql", "pg"], "postgresql+psycopg2", 5432),
    engine(&["mysql"], "mysql", 3306),
    engine(&["mariadb"], "mysql", 3306),
    engine(&["clickhouse", "clickhousedb"], "clickhousedb", 8123),
    engine(&["trino"], "trino", 8080),
    engine(&["presto", "prestodb"], "presto", 8080),
    engine(&["hive", "hiveserver2", "spark", "sparksql"], "hive", 10_000),
    engine(&["impala"], "impala", 21_050),
    engine(&["druid"], "druid", 8082),
    engine(&["pinot"], "pinot", 8099),
    engine(&["mssql", "sqlserver"], "mssql+pymssql", 1433),
    engine(&["oracle"], "oracle", 1521),
    engine(&["redshift"], "redshift+psycopg2", 5439),
    engine(&["cockroachdb", "cockroach"], "cockroachdb", 26_257),
    engine(&["starrocks"], "starrocks", 9030),
    engine(&["doris"], "pydoris", 9030),
    engine(&["db2"], "db2+ibm_db", 50_000),
    engine(&["vertica"], "vertica+vertica_python", 5433),
    engine(&["elasticsearch"], "elasticsearch+http", 9200),
    engine(&["zktrail"], "postgresql+psycopg2", 5847),
    engine(&["duckdb"], "duckdb", 0),
    engine(&["sqlite"], "sqlite", 0),
];

/// The engine of a name, whatever its case.
pub(super) fn find(name: &str) -> Option<&'static Engine> {
    let name = name.to_ascii_lowercase();
    ENGINES.iter().find(|engine| engine.names.contains(&name.as_str()))
}

/// The usual names, for a message.
pub(super) fn names() -> String {
    ENGINES.iter().filter_map(|engine| engine.names.first().copied()).collect::<Vec<_>>().join(", ")
}
