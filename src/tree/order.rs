//! Walks the tree in the order of the whole path's bytes.
//!
//! That is not the preorder: `/a-b` sorts before `/a/c`, because some characters sort before the slash. Among siblings
//! the descendants of `s` all sort where `s/` does; so a walk over the sorted siblings keeps those whose descendants
//! are still to come on a stack, and descends into each as soon as the next sibling sorts after its `s/`.

use super::nodes::{Id, Nodes, ROOT};

struct Level {
    directory: Id,
    /// The next child to show.
    next: usize,
    /// Children shown, their descendants not; each one's name begins with the name below it.
    deferred: Vec<Id>,
}

/// The ids of all znodes that exist.
pub(super) struct Walk<'t> {
    nodes: &'t Nodes,
    levels: Vec<Level>,
    started: bool,
}

impl<'t> Walk<'t> {
    pub(super) fn new(nodes: &'t Nodes) -> Self {
        Self { nodes, levels: vec![level(ROOT)], started: false }
    }

    fn step(&mut self) -> Option<Id> {
        if !self.started {
            self.started = true;
            return Some(ROOT);
        }
        loop {
            let level_now = self.levels.last_mut()?;
            let next = self.nodes.get(level_now.directory).children.get(level_now.next).copied();
            let descend = match (level_now.deferred.last(), next) {
                (Some(deferred), Some(next)) => {
                    slash_before(&self.nodes.get(*deferred).name, &self.nodes.get(next).name)
                }
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => {
                    self.levels.pop();
                    continue;
                }
            };
            if descend {
                if let Some(directory) = level_now.deferred.pop() {
                    self.levels.push(level(directory));
                }
            } else if let Some(id) = next {
                level_now.next += 1;
                if !self.nodes.get(id).children.is_empty() {
                    level_now.deferred.push(id);
                }
                return Some(id);
            }
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Id;

    fn next(&mut self) -> Option<Id> {
        loop {
            let id = self.step()?;
            if self.nodes.get(id).exists() {
                return Some(id);
            }
        }
    }
}

fn level(directory: Id) -> Level {
    Level { directory, next: 0, deferred: Vec::new() }
}

/// Whether `name/` sorts before `other`, which sorts after `name`.
fn slash_before(name: &str, other: &str) -> bool {
    match other.strip_prefix(name) {
        Some(rest) => rest.bytes().next().is_some_and(|byte| byte > b'/'),
        None => true,
    }
}
