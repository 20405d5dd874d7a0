use std::collections::HashSet;

use super::fold::Znode;
use super::folder::{Folder, Plan};
use super::rows::Needs;
use super::{At, PathFilter, ReplayError, locate, select};
use crate::history::error::HistoryError;
use crate::history::view::View;

/// What became of a path between two moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffKind {
    Created,
    Deleted,
    /// Its value, its ACL, or its life: deleted and created anew.
    Changed,
}

impl DiffKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Deleted => "deleted",
            Self::Changed => "changed",
        }
    }
}

/// A path at one of the two moments; null fields are unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    pub czxid: Option<i64>,
    pub mzxid: Option<i64>,
    pub version: Option<i32>,
    pub aversion: Option<i32>,
    pub data_length: Option<i32>,
    pub data_hash: Option<i64>,
}

/// A path that differs between two moments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    pub path: String,
    pub kind: DiffKind,
    /// `None` where the path did not exist.
    pub a: Option<Side>,
    pub b: Option<Side>,
    /// Whether its place straddles one of the moments.
    pub uncertain: bool,
}

/// The paths that differ between two moments, sorted by path. What only their children changed is not a difference.
pub struct TreeDiff {
    a: Tree,
    b: Tree,
    done: bool,
}

struct Tree {
    folder: Folder,
    uncertain: HashSet<Box<str>>,
    more: bool,
}

/// Compares the trees at two moments.
///
/// # Errors
/// As [`super::replay`], for either moment.
pub fn tree_diff(view: &View, a: At, b: At, filter: &PathFilter) -> Result<TreeDiff, ReplayError> {
    Ok(TreeDiff { a: Tree::open(view, a, filter)?, b: Tree::open(view, b, filter)?, done: false })
}

impl Tree {
    fn open(view: &View, at: At, filter: &PathFilter) -> Result<Self, ReplayError> {
        let located = locate(view, &at)?;
        let uncertain = super::locate::uncertain(view, &located, filter)?;
        let needs = Needs { stat: true, ..Needs::default() };
        let folder = Folder::open(Plan {
            table: &view.changes,
            base: Some(&located.snapshot),
            select: select(&located),
            filter,
            needs,
            children: false,
        })?;
        let mut tree = Self { folder, uncertain, more: true };
        tree.advance()?;
        Ok(tree)
    }

    fn advance(&mut self) -> Result<(), HistoryError> {
        while self.more {
            self.more = self.folder.next(|_, _| ())?;
            if self.folder.znode.alive {
                break;
            }
        }
        Ok(())
    }

    fn path(&self) -> Option<&str> {
        self.more.then_some(self.folder.path.as_str())
    }

    fn side(&self) -> Side {
        let Znode { czxid, mzxid, version, aversion, data_length, data_hash, .. } = self.folder.znode;
        Side { czxid, mzxid, version, aversion, data_length, data_hash }
    }
}

impl TreeDiff {
    fn next_diff(&mut self) -> Result<Option<Diff>, HistoryError> {
        loop {
            let (in_a, in_b, path) = match (self.a.path(), self.b.path()) {
                (None, None) => return Ok(None),
                (Some(a), None) => (true, false, a),
                (None, Some(b)) => (false, true, b),
                (Some(a), Some(b)) => (a <= b, b <= a, a.min(b)),
            };
            let path = path.to_owned();
            let uncertain = self.a.uncertain.contains(path.as_str()) || self.b.uncertain.contains(path.as_str());
            let a = in_a.then(|| self.a.side());
            let b = in_b.then(|| self.b.side());
            if in_a {
                self.a.advance()?;
            }
            if in_b {
                self.b.advance()?;
            }
            let kind = match (&a, &b) {
                (Some(a), Some(b)) if a == b => continue,
                (Some(_), Some(_)) => DiffKind::Changed,
                (None, _) => DiffKind::Created,
                (_, None) => DiffKind::Deleted,
            };
            return Ok(Some(Diff { path, kind, a, b, uncertain }));
        }
    }
}

impl Iterator for TreeDiff {
    type Item = Result<Diff, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.next_diff();
        self.done = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}
