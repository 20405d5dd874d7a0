use globset::{GlobBuilder, GlobMatcher};

/// Why a path glob was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GlobError {
    #[error("path glob {0:?} can match nothing: start it with '/' or '**/'")]
    NotAbsolute(String),
    #[error("path glob {glob:?} is malformed: {reason}")]
    Malformed { glob: String, reason: String },
}

/// A glob over absolute znode paths.
///
/// `*` and `?` stay within one name, `**` as a whole name spans any number of names, `{a,b}` is either, `[ab]` a
/// class, and a backslash takes the next character literally. `**/users/**` matches below a `users` at any depth, also
/// `/users/x`, but not the `users` znode itself: `**/users{,/**}` matches both.
#[derive(Clone, Debug)]
pub struct PathGlob {
    matcher: GlobMatcher,
}

impl PathGlob {
    /// Compiles a glob. Refuses one that could never match an absolute path.
    pub fn new(glob: &str) -> Result<Self, GlobError> {
        compile(glob).map(|glob| Self { matcher: glob.compile_matcher() })
    }

    /// Whether the whole path matches.
    pub fn matches(&self, path: &str) -> bool {
        self.matcher.is_match(path)
    }

    /// The glob as it was written.
    pub fn as_str(&self) -> &str {
        self.matcher.glob().glob()
    }
}

pub(super) fn compile(glob: &str) -> Result<globset::Glob, GlobError> {
    if !(glob.starts_with('/') || glob.starts_with("**") || glob.starts_with("{/")) {
        return Err(GlobError::NotAbsolute(glob.to_owned()));
    }
    GlobBuilder::new(glob)
        .literal_separator(true)
        .backslash_escape(true)
        .empty_alternates(true)
        .build()
        .map_err(|error| GlobError::Malformed { glob: glob.to_owned(), reason: error.kind().to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(glob: &str, path: &str) -> bool {
        PathGlob::new(glob).expect("a glob").matches(path)
    }

    #[test]
    fn spans_names_only_with_two_stars() {
        assert!(matches("**/config/users/**", "/config/users/bob"));
        assert!(matches("**/config/users/**", "/a/b/config/users/bob/clients/x"));
        assert!(!matches("**/config/users/**", "/config/users"));
        assert!(!matches("**/config/users/**", "/config/usersx/y"));
        assert!(!matches("**/config/users/**", "/myconfig/users/y"));
        assert!(matches("**/config/users{,/**}", "/config/users"));
        assert!(matches("**/config/users{,/**}", "/x/config/users/y"));
        assert!(matches("/a/*/c", "/a/b/c"));
        assert!(!matches("/a/*/c", "/a/b/b/c"));
        assert!(!matches("/a/*", "/a/b/c"));
        assert!(!matches("/a?b", "/a/b"));
        assert!(matches("/a/**", "/a/b/c"));
        assert!(!matches("/a/**", "/ab/c"));
        assert!(matches("**", "/"));
        assert!(matches("/", "/"));
        assert!(matches("**/security.json", "/security.json"));
        assert!(matches("**/security.json", "/solr/x/security.json"));
        assert!(!matches("**/security.json", "/solr/security_json"));
    }

    #[test]
    fn odd_names_are_plain_text() {
        for name in ["a b", "{x}", "[1]", "ü→", "*", "a?", "\\", "!x", "a,b", "…", "😀", "a\u{a0}b", "%2F", "-"]
        {
            assert!(matches("/odd/*", &format!("/odd/{name}")), "{name}");
            assert!(matches("**/deep/**", &format!("/{name}/deep/{name}/{name}")), "{name}");
            assert!(!matches("/odd/*", &format!("/odd/{name}/x")), "{name}");
        }
        assert!(matches("/a\\{b\\}", "/a{b}"));
        assert!(matches("/a[[]1]", "/a[1]"));
        assert!(matches("/ü/*", "/ü/x"));
        assert!(matches("/NiFi/Cluster Coordinator/*", "/NiFi/Cluster Coordinator/_c_1"));
    }

    #[test]
    fn refuses_what_never_matches() {
        assert!(matches!(PathGlob::new("config/**"), Err(GlobError::NotAbsolute(_))));
        assert!(matches!(PathGlob::new(""), Err(GlobError::NotAbsolute(_))));
        assert!(matches!(PathGlob::new("/a[b"), Err(GlobError::Malformed { .. })));
        assert!(matches!(PathGlob::new("/a{b"), Err(GlobError::Malformed { .. })));
    }
}
