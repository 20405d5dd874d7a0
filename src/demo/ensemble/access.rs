//! ACLs: what is stored, and who may do what.

use crate::source::jute::{ANYONE_ALL, Acl, ErrorCode, Id, perms};

use super::tree::Acls;

/// Whether somebody with these identities has one of the permissions.
pub(super) fn allows(acl: &[Acl], perms: i32, identities: &[Id]) -> bool {
    acl.is_empty()
        || acl
            .iter()
            .filter(|entry| entry.perms & perms != 0)
            .any(|entry| is_anyone(&entry.id) || identities.contains(&entry.id))
}

/// What of an asked-for ACL is stored: duplicates are dropped, `auth` becomes the identities that asked.
///
/// # Errors
/// `InvalidAcl` where it is empty or names somebody who cannot be.
pub(super) fn fix(asked: &[Acl], identities: &[Id]) -> Result<Acls, ErrorCode> {
    let mut fixed: Vec<Acl> = Vec::new();
    let mut add = |acl: Acl| {
        if !fixed.contains(&acl) {
            fixed.push(acl);
        }
    };
    for acl in asked {
        match acl.id.scheme.as_str() {
            "world" if is_anyone(&acl.id) => add(acl.clone()),
            "auth" => {
                let proven: Vec<&Id> = identities.iter().filter(|id| id.scheme == "digest").collect();
                if proven.is_empty() {
                    return Err(ErrorCode::InvalidAcl);
                }
                proven.into_iter().for_each(|id| add(Acl { perms: acl.perms, id: id.clone() }));
            }
            "digest" if acl.id.id.split(':').count() == 2 => add(acl.clone()),
            "ip" if is_address(&acl.id.id) => add(acl.clone()),
            _ => return Err(ErrorCode::InvalidAcl),
        }
    }
    if fixed.is_empty() { Err(ErrorCode::InvalidAcl) } else { Ok(fixed.into()) }
}

/// What getACL shows: without permission to administer, no digest's hash.
pub(super) fn shown(acl: &[Acl], identities: &[Id]) -> Vec<Acl> {
    let mut shown = acl.to_vec();
    if !allows(acl, perms::ADMIN, identities) {
        for entry in shown.iter_mut().filter(|entry| entry.id.scheme == "digest") {
            let user = entry.id.id.split(':').next().unwrap_or_default();
            entry.id.id = format!("{user}:x");
        }
    }
    shown
}

fn is_anyone(id: &Id) -> bool {
    (id.scheme.as_str(), id.id.as_str()) == ANYONE_ALL
}

/// An address, or one and how many of its bits count. Only whole addresses ever match here.
fn is_address(text: &str) -> bool {
    let (address, bits) = text.split_once('/').unwrap_or((text, "0"));
    address.parse::<std::net::IpAddr>().is_ok() && bits.parse::<u8>().is_ok_and(|bits| bits <= 128)
}
