//! A tree that listens to a simulated connection, and remembers what came of it.

use std::sync::Arc;

use super::connection::{Listener, Wish};
use super::totals::Totals;
use crate::tree::{Effect, Tree};
use crate::zk::{Change, Observation, ReadOutcome, Stat, Subtrees, Zxid};

#[derive(Debug)]
pub(super) struct Run {
    pub tree: Tree,
    pub effects: Vec<Effect>,
    /// For each scan the greatest zxid before its gap.
    pub before_gaps: Vec<Zxid>,
    /// Everything that the tree was given, for the report of a failure.
    fed: Vec<Observation>,
    before_gap: Zxid,
    scanning: bool,
    totals: Totals,
}

/// Beneath prefixes as the operator may list them: one within another, and one that no znode ever has.
fn counting(mut tree: Tree) -> Tree {
    let listed = ["/a", "/a/x", "/nowhere"].map(str::to_owned);
    tree.count_subtrees(Arc::new(Subtrees::new(&listed, 10)));
    tree
}

impl Run {
    pub(super) fn new() -> Self {
        Self {
            tree: counting(Tree::new("/".into(), 1)),
            effects: Vec::new(),
            before_gaps: Vec::new(),
            fed: Vec::new(),
            before_gap: Zxid(0),
            scanning: false,
            totals: Totals::default(),
        }
    }

    /// Starts anew from what is recorded.
    pub(super) fn restart(&mut self) {
        let mut tree = Tree::new("/".into(), 1);
        for znode in self.tree.iter() {
            tree.restore(znode);
        }
        tree.restored(self.tree.greatest_zxid());
        self.tree = counting(tree);
        self.totals = Totals::default();
    }

    /// The run, to be read by people.
    pub(super) fn tell(&self) -> String {
        let fed = self.fed.iter().map(|observation| match observation {
            Observation::Event(event) => format!("{:?} {} {:?}", event.kind, event.path, event.zxid),
            Observation::Read { path, event, outcome: ReadOutcome::Found { stat, .. }, .. } => {
                let Stat { czxid, mzxid, version, cversion, .. } = stat;
                format!("read {path} {event:?} {czxid} {mzxid} version {version} cversion {cversion}")
            }
            other => format!("{other:?}"),
        });
        let effects = self.effects.iter().map(|effect| match effect {
            Effect::Change(row) => {
                let Change { kind, path, zxid, position, czxid, version, missed, source, .. } = row;
                format!("{kind:?} {path} {zxid:?} at {position} of {czxid:?}, {version:?}, missed {missed}, {source:?}")
            }
            Effect::Value { path, stat, .. } => format!("value {path} {} version {}", stat.mzxid, stat.version),
            other => format!("{other:?}"),
        });
        fed.chain(["gives".to_owned()]).chain(effects).collect::<Vec<_>>().join("\n")
    }
}

impl Listener for Run {
    fn hear(&mut self, observation: Observation) -> Vec<Wish> {
        match observation {
            Observation::ScanStarted { .. } => self.scanning = true,
            Observation::Disconnected { .. } if !std::mem::take(&mut self.scanning) => {
                self.before_gap = self.tree.greatest_zxid();
            }
            Observation::ScanFinished { .. } => {
                self.scanning = false;
                self.before_gaps.push(self.before_gap);
            }
            _ => {}
        }
        let from = self.effects.len();
        self.fed.push(observation.clone());
        self.tree.apply(observation, &mut self.effects);
        self.totals.check(&mut self.tree);
        let wish = |effect: &Effect| match effect {
            Effect::ReadAcl(path) => Some(Wish::Acl(path.clone())),
            Effect::Reread(path) => Some(Wish::Again(path.clone())),
            _ => None,
        };
        self.effects[from..].iter().filter_map(wish).collect()
    }
}
