//! What `/metrics` tells of the tree: each change as it is recorded, the totals as they move. Nothing walks the tree.

use super::flaps::{Flaps, Life};
use crate::metrics::ClusterMetrics;
use crate::tree::Tree;
use crate::zk::{Change, ChangeKind, Micros, Source, TimeSource};

/// Counts one ensemble's changes and shows its tree's totals.
pub struct TreeCounts {
    metrics: ClusterMetrics,
    flaps: Flaps,
    /// When the last gap began: what it hid came after that. 0 where that is not known.
    gap_began: Micros,
}

impl TreeCounts {
    pub fn new(metrics: ClusterMetrics) -> Self {
        Self { metrics, flaps: Flaps::default(), gap_began: Micros::default() }
    }

    /// The tree is another one: it tells of its totals from now on.
    pub fn follow(&self, tree: &mut Tree) {
        tree.count_subtrees(self.metrics.tree.subtrees().clone());
    }

    /// Nobody listened from then on.
    pub fn gap_begins(&mut self, at: Micros) {
        self.gap_began = at;
    }

    /// Counts a row on its way to the recorder.
    pub fn change(&mut self, change: &Change) {
        let tree = &self.metrics.tree;
        let Some(series) = tree.subtree_at(tree.subtrees().place(&change.path)) else { return };
        series.changes(change.kind).inc();
        // It cannot have been committed after it was heard of, whatever the server's clock says.
        series.changed_at(change.time.min(change.observed_at));
        let is_ephemeral = change.ephemeral_owner != 0;
        if !is_ephemeral && let Some(config) = tree.config_changes(&change.path) {
            config.inc();
        }
        match change.kind {
            ChangeKind::Deleted => {
                let hidden = change.source == Source::Rescan;
                let time = if hidden { self.gap_began } else { change.time };
                self.flaps.deleted(&change.path, time, is_ephemeral);
            }
            ChangeKind::Created => {
                let life = match change.time_source {
                    _ if is_ephemeral => Life::Ephemeral,
                    TimeSource::Server => Life::Other,
                    // No Stat has shown it.
                    TimeSource::Agent => Life::Unknown,
                };
                if self.flaps.created(&change.path, change.time, life) {
                    series.flaps.inc();
                }
            }
            _ => {}
        }
    }

    /// Shows what has moved since the last time. `now` is the agent's clock.
    pub fn show(&mut self, tree: &mut Tree, now: Micros) {
        let series = &self.metrics.tree;
        series.znodes.set(count(tree.len()));
        series.ephemerals.set(count(tree.ephemerals()));
        series.ephemeral_sessions.set(count(tree.ephemeral_sessions()));
        series.data_bytes.set(bytes(tree.data_bytes()));
        series.largest_znode_bytes.set(bytes(tree.largest_data_bytes()));
        series.largest_children_bytes.set(bytes(tree.largest_children_bytes()));
        for (place, totals) in tree.moved_subtrees() {
            let Some(subtree) = series.subtree_at(place) else { continue };
            subtree.znodes.set(bytes(totals.znodes));
            subtree.bytes.set(bytes(totals.bytes));
            subtree.ephemerals.set(bytes(totals.ephemerals));
            subtree.changed_at(totals.newest.min(now));
        }
    }
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
