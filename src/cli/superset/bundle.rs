//! The importable bundle, made from the templates in `superset/`: one dashboard, one set of charts and one SQL text a
//! dataset for every route; a route only says where the rows come from (`superset/sources/`).
//!
//! Templates are what Superset exports, with `@{…}` for what differs. Each place is replaced by a quoted text, which
//! is right in YAML and in JSON alike. UUIDs follow from the bundle's name and route: a later import meets what an earlier
//! one made, and two bundles do not meet.

use std::io::{Cursor, Write};

use uuid::Uuid;
use zip::write::SimpleFileOptions;

use super::route::Route;

/// What UUIDs are made under; it never changes.
const NAMESPACE: Uuid = Uuid::from_u128(0x6a1d_44a3_0f5e_4a83_9c55_7b1f_2f1c_5a30);

macro_rules! texts {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../../superset/", $folder, "/", $name)))),+]
    };
}

type Texts = &'static [(&'static str, &'static str)];

const DATABASES: Texts = texts!("bundle/databases": "zktrail.yaml");
const DASHBOARDS: Texts = texts!("bundle/dashboards": "zookeeper_history.yaml");
const DATASETS: Texts = texts!("bundle/datasets":
    "changes.yaml", "config_changes.yaml", "ephemerals.yaml", "gaps.yaml", "tree_size.yaml");
const CHARTS: Texts = texts!("bundle/charts":
    "changes.yaml", "changes_an_hour.yaml", "config_changes.yaml", "ephemeral_churn.yaml", "flapping_members.yaml",
    "gaps.yaml", "hottest_paths.yaml", "missed.yaml", "net_growth.yaml", "paths.yaml", "tree_size.yaml", "unseen.yaml");
const QUERIES: Texts = texts!("datasets":
    "changes.sql", "config_changes.sql", "ephemerals.sql", "gaps.sql", "tree_size.sql");
const LIVE: Texts = texts!("sources/live": "change.sql", "gap.sql", "snapshot.sql");
const FILES: Texts = texts!("sources/files": "change.sql", "gap.sql", "snapshot.sql");

/// A template that does not fit: found by the tests, since templates come with the program.
#[derive(Debug, thiserror::Error)]
pub(super) enum BundleError {
    #[error("the template {template} has a place that nothing fills: {place}")]
    Place { template: String, place: String },
    #[error("there is no template {0}")]
    Template(String),
    #[error("cannot write the bundle: {0}")]
    Zip(#[from] zip::result::ZipError),
    #[error("cannot write the bundle: {0}")]
    Io(#[from] std::io::Error),
}

/// One dashboard over one history.
pub(super) struct Bundle {
    /// The database connection's name.
    pub(super) name: String,
    pub(super) title: String,
    pub(super) route: Route,
}

impl Bundle {
    /// The bundle's files: path and text.
    pub(super) fn files(&self) -> Result<Vec<(String, String)>, BundleError> {
        let time = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ");
        // Without a type both the import of dashboards and that of assets, which alone updates charts, take it.
        let metadata = format!("version: 1.0.0\ntimestamp: '{time}'\n");
        let mut files = vec![("zktrail/metadata.yaml".to_owned(), metadata)];
        let groups =
            [("databases", DATABASES), ("datasets/zktrail", DATASETS), ("charts", CHARTS), ("dashboards", DASHBOARDS)];
        for (folder, templates) in groups {
            for (name, template) in templates {
                files.push((format!("zktrail/{folder}/{name}"), self.fill(name, template)?));
            }
        }
        Ok(files)
    }

    /// The bundle as Superset imports it.
    pub(super) fn zip(&self) -> Result<Vec<u8>, BundleError> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        for (path, text) in self.files()? {
            zip.start_file(path, options)?;
            zip.write_all(text.as_bytes())?;
        }
        Ok(zip.finish()?.into_inner())
    }

    fn fill(&self, template: &str, text: &str) -> Result<String, BundleError> {
        fill(template, text, &|key, what| {
            Ok(Some(quoted(&match (key, what) {
                ("name", "") => self.name.clone(),
                ("title", "") => self.title.clone(),
                ("uri", "") => self.route.uri().to_owned(),
                ("uuid", what) if !what.is_empty() => self.uuid(what),
                ("dataset", what) => format!("{}_{what}", slug(&self.name)),
                ("sql", what) => self.sql(what)?,
                _ => return Ok(None),
            })))
        })
    }

    fn uuid(&self, what: &str) -> String {
        Uuid::new_v5(&NAMESPACE, format!("{}/{}/{what}", self.name, self.route.key()).as_bytes()).to_string()
    }

    /// A dataset's whole SQL: where the rows come from, then what is made of them.
    fn sql(&self, dataset: &str) -> Result<String, BundleError> {
        let name = format!("{dataset}.sql");
        let text = find(QUERIES, &name)?;
        let (first, body) = text.split_once('\n').unwrap_or((text, ""));
        let sources = first.strip_prefix("-- from: ").ok_or_else(|| BundleError::Template(name.clone()))?;
        let (templates, folder) = match &self.route {
            Route::Live { .. } => (LIVE, None),
            Route::Files { folder } => (FILES, Some(folder)),
        };
        let mut with = Vec::new();
        for source in sources.split(", ") {
            let name = format!("{source}.sql");
            let text = fill(&name, find(templates, &name)?, &|key, table| {
                let glob = |folder: &String| format!("{folder}/{table}/**/*.parquet");
                Ok(folder.filter(|_| key == "files").map(|folder| sql_text(&glob(folder))))
            })?;
            with.push(text.trim_end().to_owned());
        }
        Ok(format!("WITH {}\n{}", with.join(",\n"), body.trim_end()))
    }
}

fn find(texts: Texts, name: &str) -> Result<&'static str, BundleError> {
    let found = texts.iter().find(|(other, _)| *other == name).map(|(_, text)| *text);
    found.ok_or_else(|| BundleError::Template(name.to_owned()))
}

type Fill<'a> = &'a dyn Fn(&str, &str) -> Result<Option<String>, BundleError>;

/// Replaces every `@{key}` and `@{key:what}`.
fn fill(template: &str, text: &str, with: Fill<'_>) -> Result<String, BundleError> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("@{") {
        let (place, behind) = after.split_once('}').unwrap_or((after, ""));
        let (key, what) = place.split_once(':').unwrap_or((place, ""));
        let Some(value) = with(key, what)? else {
            return Err(BundleError::Place { template: template.to_owned(), place: place.to_owned() });
        };
        filled.push_str(before);
        filled.push_str(&value);
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// A text as JSON, and so YAML, quotes it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A text as SQL quotes it.
fn sql_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name as a table may bear it.
fn slug(name: &str) -> String {
    let letters = name.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '_' });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn bundle(route: Route) -> Bundle {
        Bundle { name: "zk \"prod\"".into(), title: "History".into(), route }
    }

    fn routes() -> [Route; 2] {
        [
            Route::live("postgresql://me@h:5847/zktrail", None).expect("a URI"),
            Route::files("/srv/it's/history/").expect("a folder"),
        ]
    }

    #[test]
    fn every_template_of_the_folder_is_in_the_bundle_and_filled() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("superset");
        let folders: [(&str, Texts); 7] = [
            ("bundle/databases", DATABASES),
            ("bundle/dashboards", DASHBOARDS),
            ("bundle/datasets", DATASETS),
            ("bundle/charts", CHARTS),
            ("datasets", QUERIES),
            ("sources/live", LIVE),
            ("sources/files", FILES),
        ];
        for (folder, texts) in folders {
            let entries = std::fs::read_dir(root.join(folder)).expect(folder).flatten();
            let there: BTreeSet<String> =
                entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            let known: BTreeSet<String> = texts.iter().map(|(name, _)| (*name).to_owned()).collect();
            assert_eq!(there, known, "{folder}");
        }
        for route in routes() {
            let files = bundle(route).files().expect("filled");
            assert_eq!(files.len(), 1 + 1 + 5 + 12 + 1);
            for (path, text) in files {
                assert!(!text.contains("@{"), "{path}: {text}");
            }
        }
    }

    #[test]
    fn the_folder_is_quoted_and_the_two_routes_share_no_uuid() {
        let [live, files] = routes().map(bundle);
        let sql = files.sql("changes").expect("SQL");
        assert!(sql.contains("read_parquet('/srv/it''s/history/changes/**/*.parquet'"), "{sql}");
        assert!(!live.sql("gaps").expect("SQL").contains("parquet"));
        assert_ne!(live.uuid("chart/gaps"), files.uuid("chart/gaps"));
        assert_eq!(slug("ZK prod-1"), "zk_prod_1");
    }
}
