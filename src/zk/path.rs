use std::sync::Arc;

/// A validated absolute path, cheap to clone.
pub type ZkPath = Arc<str>;

/// Why a string is no ZooKeeper path (the rules of the server's `PathUtils.validatePath`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("path {0:?} must start with '/'")]
    NotAbsolute(String),
    #[error("path {0:?} must not end with '/'")]
    TrailingSlash(String),
    #[error("path {0:?} has an empty node name")]
    EmptyName(String),
    #[error("path {0:?} has a relative node name ('.' or '..')")]
    RelativeName(String),
    #[error("path {path:?} holds the character U+{code:04X}, which ZooKeeper refuses")]
    BadCharacter { path: String, code: u32 },
}

/// Checks a path by the server's own rules.
pub fn validate(path: &str) -> Result<(), PathError> {
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute(path.to_owned()));
    }
    if path == "/" {
        return Ok(());
    }
    if path.ends_with('/') {
        return Err(PathError::TrailingSlash(path.to_owned()));
    }
    for name in path[1..].split('/') {
        match name {
            "" => return Err(PathError::EmptyName(path.to_owned())),
            "." | ".." => return Err(PathError::RelativeName(path.to_owned())),
            _ => {}
        }
    }
    // The server checks UTF-16 units: controls, surrogates (so everything beyond the basic plane), private use, specials.
    let bad = path.chars().find(|c| {
        let code = *c as u32;
        code <= 0x1f || (0x7f..=0x9f).contains(&code) || (0xe000..=0xf8ff).contains(&code) || code >= 0xfff0
    });
    match bad {
        Some(c) => Err(PathError::BadCharacter { path: path.to_owned(), code: c as u32 }),
        None => Ok(()),
    }
}

/// Whether a path is built as one: absolute, without empty names. What a server itself sends needs no more: servers of
/// several versions differ in which characters they refuse.
pub fn is_well_formed(path: &str) -> bool {
    path == "/" || (path.starts_with('/') && !path.ends_with('/') && !path.contains("//"))
}

/// The parent's path; `None` for the root.
pub fn parent(path: &str) -> Option<&str> {
    match path.rfind('/') {
        Some(0) if path.len() > 1 => Some("/"),
        Some(at) if at > 0 => Some(&path[..at]),
        _ => None,
    }
}

/// The last name of a path; empty for the root.
pub fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or("")
}

/// The number of names in a path: 0 for the root.
pub fn depth(path: &str) -> usize {
    if path == "/" { 0 } else { path.matches('/').count() }
}

/// The first `names` names of a path, or the whole path where it is shorter.
pub fn prefix(path: &str, names: usize) -> &str {
    if names == 0 {
        return "/";
    }
    path.match_indices('/').nth(names).map_or(path, |(at, _)| &path[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_path() {
        assert_eq!(parent("/"), None);
        assert_eq!(parent("/a"), Some("/"));
        assert_eq!(parent("/a/b"), Some("/a"));
        assert_eq!(name("/a/b"), "b");
        assert_eq!(name("/"), "");
        assert_eq!(depth("/"), 0);
        assert_eq!(depth("/a/b"), 2);
        assert_eq!(prefix("/a/b/c", 0), "/");
        assert_eq!(prefix("/a/b/c", 2), "/a/b");
        assert_eq!(prefix("/a", 5), "/a");
    }

    #[test]
    fn refuses_what_the_server_refuses() {
        for good in ["/", "/a", "/a b/ü", "/a/.b", "/…"] {
            assert_eq!(validate(good), Ok(()), "{good}");
        }
        for bad in
            ["", "a", "/a/", "//a", "/a//b", "/./a", "/a/..", "/a\u{1}", "/a\u{7f}", "/\u{f000}", "/\u{fff0}", "/🐘"]
        {
            assert!(validate(bad).is_err(), "{bad}");
        }
        for well_formed in ["/", "/a", "/a\u{7f}/b"] {
            assert!(is_well_formed(well_formed), "{well_formed}");
        }
        for not in ["", "a", "/a/", "//", "/a//b"] {
            assert!(!is_well_formed(not), "{not}");
        }
    }
}
