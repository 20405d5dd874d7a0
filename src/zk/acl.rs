use serde::{Deserialize, Serialize};

/// One entry of a znode's ACL, its permissions in the letters of ZooKeeper's own tools (`cdrwa`).
///
/// The digest scheme's hash is masked where the entry is read, before anything else sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Acl {
    pub perms: String,
    pub scheme: String,
    pub id: String,
}

impl Acl {
    /// From the wire's bit mask: read 1, write 2, create 4, delete 8, admin 16.
    pub fn new(perms: i32, scheme: &str, id: &str) -> Self {
        let letters = [(4, 'c'), (8, 'd'), (1, 'r'), (2, 'w'), (16, 'a')];
        let perms = letters.iter().filter(|(bit, _)| perms & bit != 0).map(|(_, letter)| *letter).collect();
        let id = match (scheme, id.split_once(':')) {
            ("digest", Some((user, _hash))) => format!("{user}:***"),
            _ => id.to_owned(),
        };
        Self { perms, scheme: scheme.to_owned(), id }
    }
}

/// The `acl` column: a JSON array of `{"perms","scheme","id"}`.
pub fn acls_to_json(acls: &[Acl]) -> String {
    // A slice of plain strings always serialises.
    serde_json::to_string(acls).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_digest_hashes() {
        let acls = [Acl::new(31, "world", "anyone"), Acl::new(1, "digest", "bob:Zm9v")];
        assert_eq!(
            acls_to_json(&acls),
            r#"[{"perms":"cdrwa","scheme":"world","id":"anyone"},{"perms":"r","scheme":"digest","id":"bob:***"}]"#
        );
    }
}
