//! The questions that operators ask: `queries/*.sql`, as they are shipped.

use std::borrow::Cow;

use super::parameters::{Declaration, declarations};

/// A question and its SQL. The first line is the question; the comments behind it declare the parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    pub name: Cow<'static, str>,
    /// The file as it is.
    pub sql: Cow<'static, str>,
}

impl Recipe {
    /// What it answers: the first line's comment, or its name where there is none.
    pub fn question(&self) -> &str {
        let first = self.sql.lines().next().unwrap_or_default().trim();
        first.strip_prefix("--").map(str::trim).filter(|question| !question.is_empty()).unwrap_or(&self.name)
    }

    pub fn parameters(&self) -> Vec<Declaration> {
        declarations(&self.sql)
    }
}

macro_rules! recipes {
    ($($name:literal),+ $(,)?) => {
        const SHIPPED: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../queries/", $name, ".sql")))),+];
    };
}

recipes! {
    "authors",
    "biggest",
    "churn",
    "config-changes",
    "deleted",
    "ephemeral-owners",
    "flapping",
    "gaps",
    "hottest-paths",
    "path-life",
    "tree-growth",
    "who-deleted",
}

/// Every shipped recipe, by name.
pub fn shipped() -> impl Iterator<Item = Recipe> {
    SHIPPED.iter().map(|(name, sql)| Recipe { name: Cow::Borrowed(name), sql: Cow::Borrowed(sql) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_shipped_and_says_what_it_answers() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        files.sort();
        assert_eq!(files, shipped().map(|recipe| recipe.name.into_owned()).collect::<Vec<_>>());
        for recipe in shipped() {
            assert!(recipe.question().ends_with('?'), "{}: {}", recipe.name, recipe.question());
            assert!(recipe.sql.contains("\n-- Honest about"), "{}", recipe.name);
            let declared = recipe.parameters();
            let lines = recipe.sql.lines().filter(|line| line.starts_with("-- $")).count();
            assert!(lines == declared.len() && !declared.is_empty(), "{}: {declared:?}", recipe.name);
            assert!(declared.iter().all(|parameter| !parameter.meaning.is_empty()), "{}", recipe.name);
        }
    }
}
