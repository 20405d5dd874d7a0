//! Which changes are shown: a part of it in SQL, so that little is fetched, the rest by the globs themselves.

use crate::lens::PathGlob;
use crate::zk::ChangeKind;

/// Paths and kinds. Gaps pass every filter.
#[derive(Debug, Default)]
pub struct Filter {
    pub globs: Vec<PathGlob>,
    pub kinds: Vec<ChangeKind>,
}

impl Filter {
    /// Lets paths of one more glob pass.
    pub fn add_glob(&mut self, glob: &str) -> Result<(), String> {
        self.globs.push(PathGlob::new(glob).map_err(|error| error.to_string())?);
        Ok(())
    }

    /// A condition that lets every change pass that [`Self::matches`], with ` AND ` before it; empty where all pass.
    pub fn sql(&self) -> String {
        let mut sql = String::new();
        if !self.kinds.is_empty() {
            let kinds: Vec<String> = self.kinds.iter().map(|kind| quote(kind.as_str())).collect();
            sql.push_str(&format!(" AND kind IN ({})", kinds.join(", ")));
        }
        let paths: Option<Vec<String>> = self.globs.iter().map(|glob| beginning(glob.as_str())).collect();
        if let Some(paths) = paths.filter(|paths| !paths.is_empty()) {
            sql.push_str(&format!(" AND ({})", paths.join(" OR ")));
        }
        sql
    }

    pub fn matches(&self, path: &str) -> bool {
        self.globs.is_empty() || self.globs.iter().any(|glob| glob.matches(path))
    }
}

/// The condition that a glob's literal beginning makes; `None` where any path may match.
fn beginning(glob: &str) -> Option<String> {
    match glob.find(['*', '?', '[', '{', '\\']) {
        None => Some(format!("path = {}", quote(glob))),
        Some(at) => {
            let literal = glob.get(..at).filter(|literal| literal.len() > 1)?;
            Some(format!("starts_with(path, {})", quote(literal)))
        }
    }
}

/// A text as SQL writes it.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(globs: &[&str], kinds: &[ChangeKind]) -> Filter {
        let globs = globs.iter().map(|glob| PathGlob::new(glob).expect("a glob")).collect();
        Filter { globs, kinds: kinds.to_vec() }
    }

    #[test]
    fn literal_beginnings_go_to_sql() {
        assert_eq!(filter(&[], &[]).sql(), "");
        assert_eq!(filter(&["/a/b"], &[]).sql(), " AND (path = '/a/b')");
        assert_eq!(
            filter(&["/config/**", "/it's/*"], &[ChangeKind::Created, ChangeKind::Deleted]).sql(),
            " AND kind IN ('created', 'deleted') AND (starts_with(path, '/config/') OR starts_with(path, '/it''s/'))"
        );
        assert_eq!(filter(&["/a\\*b"], &[]).sql(), " AND (starts_with(path, '/a'))");
        // One that may match anything makes the others useless to SQL.
        assert_eq!(filter(&["/config/**", "**/leader"], &[]).sql(), "");
        assert_eq!(filter(&["/*"], &[]).sql(), "");
    }

    #[test]
    fn the_globs_decide() {
        let filter = filter(&["/config/*", "**/leader"], &[]);
        assert!(filter.matches("/config/a") && filter.matches("/x/leader"));
        assert!(!filter.matches("/config/a/b"));
        assert!(Filter::default().matches("/any"));
    }
}
