//! ACLs: read on demand and by sweeps, since setACL gives no event.

use std::collections::HashMap;
use std::sync::Arc;

use super::nodes::bit;
use super::{Effect, Tree};
use crate::zk::{AclOutcome, ChangeKind, Evidence, Micros, Source, Zxid, acls_to_json};

/// Interned ACLs: an ensemble has few different ones, and most of its znodes share one.
#[derive(Debug, Default)]
pub(super) struct Acls {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Acls {
    /// The number of a text, from 1.
    pub(super) fn intern(&mut self, text: &Arc<str>) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        self.texts.push(text.clone());
        let number = self.texts.len() as u32;
        self.numbers.insert(text.clone(), number);
        number
    }

    /// The text of a number; `None` for 0.
    pub(super) fn get(&self, number: u32) -> Option<Arc<str>> {
        self.texts.get((number as usize).checked_sub(1)?).cloned()
    }
}

impl Tree {
    /// Takes the answer to a getACL. What its Stat tells beyond the aversion has, or will have, its own event.
    ///
    /// A znode that the session may no longer read gives no event either: an ACL that is refused, or that moved, is the
    /// only sign of it. So the znode is read once more, which tells.
    pub(super) fn acl(&mut self, path: &str, heard_at: Micros, outcome: AclOutcome, out: &mut Vec<Effect>) {
        let Some(id) = self.nodes.find(path).filter(|id| self.nodes.get(*id).exists()) else { return };
        let unreadable = self.nodes.get(id).has(bit::UNREADABLE);
        let AclOutcome::Found { acls, stat } = outcome else {
            self.nodes.get_mut(id).clear(bit::ACL_ASKED);
            if !unreadable && outcome == AclOutcome::NoAuth {
                out.push(Effect::Reread(path.into()));
            }
            return;
        };
        if unreadable {
            out.push(Effect::Reread(path.into()));
        }
        self.high = self.high.max(stat.newest_zxid());
        let node = self.nodes.get(id);
        // Of another life, or of one that no Stat has told of yet: that life's ACL is asked for when its Stat comes.
        if node.czxid() != Some(stat.czxid) {
            self.nodes.get_mut(id).clear(bit::ACL_ASKED);
            return;
        }
        let moved = stat.aversion.wrapping_sub(node.stat.aversion);
        if moved < 0 {
            return;
        }
        let text: Arc<str> = acls_to_json(&acls).into();
        if moved > 0 {
            if !unreadable {
                out.push(Effect::Reread(path.into()));
            }
            let seen = node.shown_zxid();
            let mut row = self.row(ChangeKind::AclChanged, path.into(), heard_at);
            // Nothing newer is known to precede it: others' zxids may have been heard long after this change.
            row.position = self.gap.take_acl_floor(id).unwrap_or(seen).max(node.stat.czxid);
            row.czxid = node.czxid();
            row.aversion = Some(stat.aversion);
            row.node_type = node.node_type;
            row.ephemeral_owner = node.stat.ephemeral_owner;
            row.acl = Some(text.clone());
            row.evidence = Evidence::Inferred;
            row.source = Source::Rescan;
            row.missed = i64::from(moved) - 1;
            self.line.push_change(row);
        }
        let number = self.acls.intern(&text);
        let node = self.nodes.get_mut(id);
        node.acl = number;
        node.stat.aversion = stat.aversion;
        node.clear(bit::ACL_ASKED);
    }

    /// Takes an ACL that another source has recorded, so that no sweep records it again. Tells whether it is news: then the
    /// znode should be read once more, as after a sweep.
    pub fn knows_acl(&mut self, path: &str, czxid: Zxid, aversion: i32, acl: &Arc<str>) -> bool {
        let Some(id) = self.nodes.find(path).filter(|id| self.nodes.get(*id).exists()) else { return false };
        let node = self.nodes.get(id);
        if node.czxid() != Some(czxid) || aversion.wrapping_sub(node.stat.aversion) <= 0 {
            return false;
        }
        let number = self.acls.intern(acl);
        self.gap.take_acl_floor(id);
        let node = self.nodes.get_mut(id);
        node.acl = number;
        node.stat.aversion = aversion;
        true
    }
}
