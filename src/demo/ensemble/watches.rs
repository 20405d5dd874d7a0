//! Watches: one-shot ones of data and children, persistent and persistent recursive ones.
//!
//! As at servers of 3.9: two tables, modes of one client on one path add up, a client hears of one change once however
//! many of its watches saw it, and recursive watches hear nothing of changed children. They belong to connections.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::effect::ConnectionId;
use super::tree::split;
use crate::source::jute::WatcherType;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Modes {
    one_shot: bool,
    persistent: bool,
    recursive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    OneShot,
    Persistent,
    Recursive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Data,
    Children,
}

#[derive(Default)]
struct Watched {
    paths: HashMap<String, BTreeMap<ConnectionId, Modes>>,
    /// The same by connection, to forget it.
    connections: HashMap<ConnectionId, HashSet<String>>,
    recursive: usize,
}

impl Watched {
    fn add(&mut self, path: &str, connection: ConnectionId, mode: Mode) {
        let modes = self.paths.entry(path.to_owned()).or_default().entry(connection).or_default();
        match mode {
            Mode::OneShot => modes.one_shot = true,
            Mode::Persistent => modes.persistent = true,
            Mode::Recursive => {
                self.recursive += usize::from(!modes.recursive);
                modes.recursive = true;
            }
        }
        self.connections.entry(connection).or_default().insert(path.to_owned());
    }

    fn remove(&mut self, path: &str, connection: ConnectionId) -> bool {
        let Some(watchers) = self.paths.get_mut(path) else { return false };
        let Some(modes) = watchers.remove(&connection) else { return false };
        self.recursive -= usize::from(modes.recursive);
        if watchers.is_empty() {
            self.paths.remove(path);
        }
        if let Some(paths) = self.connections.get_mut(&connection) {
            paths.remove(path);
            if paths.is_empty() {
                self.connections.remove(&connection);
            }
        }
        true
    }

    /// Whose watches see a change of this path. One-shot ones on it are gone then.
    fn trigger(&mut self, path: &str) -> BTreeSet<ConnectionId> {
        let mut seen = BTreeSet::new();
        let mut spent = Vec::new();
        if let Some(watchers) = self.paths.get_mut(path) {
            for (connection, modes) in watchers {
                seen.insert(*connection);
                modes.one_shot = false;
                if *modes == Modes::default() {
                    spent.push(*connection);
                }
            }
        }
        for connection in spent {
            self.remove(path, connection);
        }
        let mut at = path;
        while self.recursive > 0 && at != "/" {
            let Some((parent, _)) = split(at) else { break };
            at = parent;
            if let Some(watchers) = self.paths.get(at) {
                seen.extend(watchers.iter().filter(|(_, modes)| modes.recursive).map(|(connection, _)| *connection));
            }
        }
        seen
    }
}

#[derive(Default)]
pub(super) struct Watches {
    data: Watched,
    children: Watched,
}

impl Watches {
    fn table(&mut self, table: Table) -> &mut Watched {
        match table {
            Table::Data => &mut self.data,
            Table::Children => &mut self.children,
        }
    }

    pub fn len(&self) -> usize {
        [&self.data, &self.children].iter().flat_map(|table| table.paths.values()).map(BTreeMap::len).sum()
    }

    /// A one-shot watch.
    pub fn once(&mut self, table: Table, path: &str, connection: ConnectionId) {
        self.table(table).add(path, connection, Mode::OneShot);
    }

    /// A persistent watch, recursive or not.
    pub fn add(&mut self, path: &str, connection: ConnectionId, mode: Mode) {
        self.data.add(path, connection, mode);
        if mode != Mode::Recursive {
            self.children.add(path, connection, mode);
        }
    }

    /// Whose watches see a change, in the order of connections.
    pub fn trigger(&mut self, table: Table, path: &str) -> BTreeSet<ConnectionId> {
        self.table(table).trigger(path)
    }

    pub fn contains(&self, path: &str, connection: ConnectionId, kind: WatcherType) -> bool {
        let has = |table: &Watched| table.paths.get(path).is_some_and(|watchers| watchers.contains_key(&connection));
        match kind {
            WatcherType::Data => has(&self.data),
            WatcherType::Children => has(&self.children),
            WatcherType::Any => has(&self.data) || has(&self.children),
        }
    }

    /// Whether there was one to remove.
    pub fn remove(&mut self, path: &str, connection: ConnectionId, kind: WatcherType) -> bool {
        let data = kind != WatcherType::Children && self.data.remove(path, connection);
        let children = kind != WatcherType::Data && self.children.remove(path, connection);
        data || children
    }

    /// Its connection is closed.
    pub fn forget(&mut self, connection: ConnectionId) {
        for table in [&mut self.data, &mut self.children] {
            for path in table.connections.get(&connection).cloned().unwrap_or_default() {
                table.remove(&path, connection);
            }
        }
    }
}
