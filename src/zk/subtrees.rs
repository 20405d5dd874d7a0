use std::collections::HashMap;

use super::depth;

/// The prefix of everything that no listed prefix holds. No path, so it collides with none.
pub const OTHER: &str = "other";

/// The operator-listed prefixes, and which of them holds a path. Without any, everything is [`OTHER`].
#[derive(Clone, Debug, Default)]
pub struct Subtrees {
    prefixes: Vec<String>,
    places: HashMap<String, usize>,
    depth_max: usize,
}

impl Subtrees {
    /// More are never taken: a place fits into two bytes of a znode.
    pub const PREFIXES_MAX: usize = 10_000;

    /// Takes the first `prefixes_max` distinct prefixes, so that the number of series is bounded whatever is listed.
    pub fn new(prefixes: &[String], prefixes_max: usize) -> Self {
        let prefixes_max = prefixes_max.min(Self::PREFIXES_MAX);
        let mut subtrees = Self::default();
        for prefix in prefixes {
            if subtrees.prefixes.len() < prefixes_max && !subtrees.places.contains_key(prefix) {
                subtrees.places.insert(prefix.clone(), subtrees.prefixes.len());
                subtrees.prefixes.push(prefix.clone());
                subtrees.depth_max = subtrees.depth_max.max(depth(prefix));
            }
        }
        subtrees
    }

    /// The listed prefixes, in their order.
    pub fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.prefixes.iter().map(String::as_str)
    }

    /// The place of [`OTHER`], which is the last.
    pub fn other(&self) -> usize {
        self.prefixes.len()
    }

    /// The place of this very path, if it is listed.
    pub fn listed(&self, path: &str) -> Option<usize> {
        if self.places.is_empty() { None } else { self.places.get(path).copied() }
    }

    /// The labels, [`OTHER`] last.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.prefixes().chain([OTHER])
    }

    /// The place among [`Self::labels`] of the longest prefix that holds the path, name by name: `/a` holds `/a` and
    /// `/a/b`, not `/ab`.
    pub fn place(&self, path: &str) -> usize {
        if self.prefixes.is_empty() {
            return self.other();
        }
        let mut place = self.places.get("/").copied().unwrap_or_else(|| self.other());
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
        for end in ends.take(self.depth_max) {
            if let Some(longer) = path.get(..end).and_then(|prefix| self.places.get(prefix)) {
                place = *longer;
            }
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(prefixes: &[&str], path: &str) -> String {
        let prefixes: Vec<_> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        let subtrees = Subtrees::new(&prefixes, 3);
        subtrees.labels().nth(subtrees.place(path)).expect("a label").to_owned()
    }

    #[test]
    fn longest_prefix_by_names() {
        let listed = ["/a", "/a/b/c", "/ü"];
        for (path, expected) in [
            ("/", "other"),
            ("/a", "/a"),
            ("/ab", "other"),
            ("/a/b", "/a"),
            ("/a/b/c", "/a/b/c"),
            ("/a/b/c/d/e", "/a/b/c"),
            ("/a/b/cd", "/a"),
            ("/ü/x", "/ü"),
            ("/x/a", "other"),
        ] {
            assert_eq!(label(&listed, path), expected, "{path}");
        }
        assert_eq!(label(&["/"], "/x/y"), "/");
        assert_eq!(label(&["/"], "/"), "/");
        assert_eq!(label(&["/", "/x"], "/x/y"), "/x");
        assert_eq!(label(&[], "/x"), "other");
    }

    #[test]
    fn the_cap_holds() {
        assert_eq!(label(&["/a", "/a", "/b", "/c", "/d"], "/c"), "/c");
        assert_eq!(label(&["/a", "/a", "/b", "/c", "/d"], "/d"), "other");
    }
}
