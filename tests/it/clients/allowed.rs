//! What clients are known not to get, each with its reason. The table shows these; nothing else may fail, and what works
//! after all must be taken off the list.

/// A limit that is known.
pub struct Known {
    pub clients: &'static [&'static str],
    /// None: whatever the client does.
    pub features: &'static [&'static str],
    pub reason: &'static str,
}

impl Known {
    pub fn is_about(&self, client: &str, feature: &str) -> bool {
        self.clients.contains(&client) && (self.features.is_empty() || self.features.contains(&feature))
    }
}

/// Every client that gets as far as asking.
const ALL: &[&str] = &["psql", "psycopg2", "psycopg", "asyncpg", "sqlalchemy14", "sqlalchemy2", "pandas", "jdbc"];

pub const ALLOWED: &[Known] = &[
    Known {
        clients: ALL,
        features: &["parameters.uuid"],
        reason: "There is no type uuid: no column has it, and a cast to it is refused by name (0A000).",
    },
    Known {
        clients: &["psql", "psycopg2"],
        features: &["queries.prepared"],
        reason: "PREPARE and EXECUTE as statements are refused by name (0A000). The protocol's own prepared statements, which \
                 drivers use by themselves, work.",
    },
    Known {
        clients: ALL,
        features: &["introspection.regclass"],
        reason: "There is no `to_regclass`; `'changes'::regclass` has no binary form.",
    },
    Known {
        clients: ALL,
        features: &["transactions.one_moment"],
        reason: "`now()` is the start of the query, not of the transaction: each query sees the history as it is when the query \
                 begins.",
    },
    Known {
        clients: ALL,
        features: &["errors.bad_time"],
        reason: "Text that is no time is refused with 22P02, where PostgreSQL says 22007.",
    },
    Known {
        clients: &["jdbc"],
        features: &["values.floats"],
        reason: "An infinity is written `inf`, which pgjdbc does not read.",
    },
    Known {
        clients: &["pandas"],
        features: &["queries.stream", "queries.stream_all"],
        reason: "`chunksize` over psycopg 3 asks for `pg_cursors`, which is not there.",
    },
    Known {
        clients: &["adbc"],
        features: &[],
        reason: "ADBC reads `pg_type.typreceive` as a number when it connects, and is refused.",
    },
    Known {
        clients: &["grafana"],
        features: &["grafana.tables", "grafana.columns"],
        reason: "The query builder's lists call `string_to_array` as a table. Write the query in the code editor.",
    },
    Known {
        clients: &["superset"],
        features: &["superset.cancel"],
        reason: "There is no `pg_terminate_backend`: stopping a query in SQL Lab leaves it to its time limit.",
    },
];

/// The same against a real PostgreSQL, which shows where the client itself, and not the server, is the limit.
pub const ALLOWED_ON_POSTGRESQL: &[Known] = &[];
