use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest as _, Sha1};

/// `user:password` as ACLs hold it: `user:base64(sha1(user:password))`.
pub(super) fn identity(credential: &str) -> String {
    let user = credential.split(':').next().unwrap_or_default();
    format!("{user}:{}", BASE64_STANDARD.encode(Sha1::digest(credential.as_bytes())))
}

#[test]
fn is_what_servers_compute() {
    // The example of ZooKeeper's administrator's guide.
    assert_eq!(identity("super:superpw"), "super:g9oN2HttPfn8MMWJZ2r45Np/LIA=");
}
