//! The running totals, held against what a walk over the whole tree counts.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{SubtreeTotals, Tree};
use crate::zk::{Micros, parent};

/// The totals by prefix as the tree has told them so far.
#[derive(Debug, Default)]
pub(super) struct Totals {
    told: BTreeMap<usize, SubtreeTotals>,
    newest: BTreeMap<usize, Micros>,
}

impl Totals {
    /// To be called after every observation.
    pub(super) fn check(&mut self, tree: &mut Tree) {
        self.told.extend(tree.moved_subtrees());
        assert_eq!(tree.moved_subtrees().count(), 0, "each is told once");
        let subtrees = tree.subtrees().clone();
        let mut counted: Vec<SubtreeTotals> = subtrees.labels().map(|_| SubtreeTotals::default()).collect();
        let (mut owners, mut lists, mut longest) = (BTreeSet::new(), BTreeMap::new(), 0);
        for znode in tree.iter() {
            let stat = znode.stat;
            let place = subtrees.place(&znode.path);
            let totals = &mut counted[place];
            totals.znodes += 1;
            totals.bytes += u64::try_from(stat.data_length).expect("a length");
            totals.ephemerals += u64::from(stat.ephemeral_owner != 0);
            if stat.ephemeral_owner != 0 {
                owners.insert(stat.ephemeral_owner);
            }
            longest = longest.max(stat.data_length as u64);
            if &*znode.path != "/zookeeper/config" {
                let newest = self.newest.entry(place).or_default();
                *newest = (*newest).max(stat.ctime).max(stat.mtime);
            }
            lists.entry(znode.path.to_string()).or_insert(4);
            if let Some(parent) = parent(&znode.path) {
                let name = crate::zk::name(&znode.path).len() as u64;
                *lists.entry(parent.to_owned()).or_insert(4) += 4 + name;
            }
        }
        for (place, mut totals) in counted.into_iter().enumerate() {
            totals.newest = self.newest.get(&place).copied().unwrap_or_default();
            assert_eq!(self.told.get(&place).copied().unwrap_or_default(), totals, "at {place} of {subtrees:?}");
        }
        assert_eq!(tree.ephemeral_sessions(), owners.len());
        assert_eq!(tree.ephemeral_owners().collect::<BTreeSet<_>>(), owners);
        assert_eq!(tree.largest_data_bytes(), longest);
        assert_eq!(tree.largest_children_bytes(), lists.values().copied().max().unwrap_or(0));
    }
}
