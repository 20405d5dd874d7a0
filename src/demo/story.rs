//! Three questions that the data centre's history answers, each asked once its facts are there.

/// One question, its SQL, and what the answer says.
#[derive(Clone, Copy, Debug)]
pub struct Chapter {
    pub question: &'static str,
    /// Answers with one boolean: whether the facts are on record by now.
    pub ready: &'static str,
    /// Answers with one text, which stands for `{moment}` in `sql`.
    pub moment: Option<&'static str>,
    pub sql: &'static str,
    /// Answers with texts: what follows from the rows above, a sentence each.
    pub conclusion: Option<&'static str>,
    pub note: &'static str,
    /// The same by a shipped report.
    pub report: &'static str,
}

impl Chapter {
    /// Its SQL with the moment put in. A quote in it cannot end the literal.
    pub fn sql_at(&self, moment: Option<&str>) -> String {
        match moment {
            Some(moment) => self.sql.replace("{moment}", &moment.replace('\'', "''")),
            None => self.sql.to_owned(),
        }
    }
}

pub const CHAPTERS: [Chapter; 3] = [
    Chapter {
        question: "Two instances of checkout keep dying. What changed just before?",
        ready: "\
SELECT count(*) >= 9 FROM changes
WHERE kind = 'deleted' AND path LIKE '/services/checkout/%'
  AND time > (SELECT min(time) FROM changes WHERE path = '/config/checkout' AND kind = 'data_changed')",
        moment: None,
        sql: "\
SELECT time, path, version, data_text(data) AS settings
FROM changes
WHERE path LIKE '/config/%' AND kind = 'data_changed'
ORDER BY time DESC LIMIT 6",
        conclusion: Some(
            "\
SELECT 'Release ' || regexp_replace(settings, '.*\"release\":\"([^\"]*)\".*', '\\1') || ' of checkout set pool_size to '
    || regexp_replace(settings, '.*\"pool_size\":([0-9]+).*', '\\1') || '.'
FROM (
    SELECT data_text(data) AS settings FROM changes
    WHERE path = '/config/checkout' AND kind = 'data_changed' ORDER BY time LIMIT 1
)",
        ),
        note: "The password in the settings was masked before anything was written to disk.",
        report: "config-changes",
    },
    Chapter {
        question: "Which ephemerals come and go, and how often?",
        ready: "SELECT count(*) >= 3 FROM changes WHERE kind = 'deleted' AND path = '/brokers/ids/3'",
        moment: None,
        sql: "\
SELECT path, count(*) AS times_gone, max(time) AS last_gone
FROM changes
WHERE kind = 'deleted' AND path NOT LIKE '/locks/%'
GROUP BY path HAVING count(*) > 1
ORDER BY times_gone DESC, path LIMIT 5",
        conclusion: Some(
            "\
WITH gone AS (
    SELECT path, count(*) AS times, min(time) AS first FROM changes
    WHERE kind = 'deleted' AND path NOT LIKE '/locks/%'
    GROUP BY path HAVING count(*) > 1
),
release AS (
    SELECT min(time) AS time FROM changes WHERE path = '/config/checkout' AND kind = 'data_changed'
)
SELECT gone.path || ' first went '
    || CASE WHEN first < release.time THEN 'before the release: that is another problem.' ELSE 'after the release.' END
FROM gone CROSS JOIN release
ORDER BY first < release.time DESC, times DESC, gone.path LIMIT 6",
        ),
        note: "Holders of the lock are left out here: to go is their business.",
        report: "flapping",
    },
    Chapter {
        question: "What were checkout's settings before the release, to go back to them?",
        ready: "SELECT count(*) >= 1 FROM changes WHERE path = '/config/checkout' AND kind = 'data_changed'",
        moment: Some(
            "\
SELECT CAST(min(time) - INTERVAL '1 millisecond' AS VARCHAR)
FROM changes WHERE path = '/config/checkout' AND kind = 'data_changed'",
        ),
        sql: "\
SELECT path, version, data_text(data) AS settings, uncertain
FROM znodes_at('{moment}')
WHERE path = '/config/checkout'",
        conclusion: None,
        note: "That is the tree as it was a millisecond before. Any moment will do, and any path.",
        report: "path-life --param path=/config/checkout",
    },
];
