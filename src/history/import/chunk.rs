//! Some consecutive transactions, and the orders in which they are written.

use std::collections::{BTreeMap, HashMap};

use super::super::layout::Day;
use crate::zk::Change;

/// Changes in the order of the stream.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) changes: Vec<Change>,
    bytes: usize,
}

impl Chunk {
    pub(super) fn push(&mut self, change: Change) {
        let data = change.data.as_ref().map_or(0, bytes::Bytes::len);
        let acl = change.acl.as_ref().map_or(0, |acl| acl.len());
        self.bytes += size_of::<Change>() + change.path.len() + data + acl;
        self.changes.push(change);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(super) fn last_zxid(&self) -> Option<i64> {
        self.changes.last().and_then(|change| change.zxid).map(|zxid| zxid.0)
    }
}

/// Which of these changes go to which day, that of their commit, in the order of the stream.
pub(super) fn by_day(changes: &[Change], wanted: impl Fn(usize) -> bool) -> BTreeMap<Day, Vec<u32>> {
    let mut days: BTreeMap<Day, Vec<u32>> = BTreeMap::new();
    let mut last: Option<(Day, Vec<u32>)> = None;
    for (at, change) in changes.iter().enumerate().filter(|(at, _)| wanted(*at)) {
        let day = Day(change.time.day());
        match &mut last {
            Some((of, rows)) if *of == day => rows.push(at as u32),
            _ => {
                if let Some((of, rows)) = last.take() {
                    days.entry(of).or_default().extend(rows);
                }
                last = Some((day, vec![at as u32]));
            }
        }
    }
    if let Some((of, rows)) = last {
        days.entry(of).or_default().extend(rows);
    }
    days
}

/// Puts rows into a part's order, (path, position, ordinal): `rows` are in the order of the stream. Gives how many paths
/// they have.
///
/// Paths repeat, so they are compared once each and not in every step of a sort.
pub(super) fn sort_by_path(changes: &[Change], rows: &mut [u32]) -> usize {
    let mut ids: HashMap<&str, u32> = HashMap::new();
    let mut paths: Vec<&str> = Vec::new();
    let mut keys: Vec<u64> = Vec::with_capacity(rows.len());
    for (at, row) in rows.iter().enumerate() {
        let path: &str = &changes[*row as usize].path;
        let id = *ids.entry(path).or_insert_with(|| {
            paths.push(path);
            (paths.len() - 1) as u32
        });
        keys.push((u64::from(id) << 32) | at as u64);
    }
    let mut sorted: Vec<u32> = (0..paths.len() as u32).collect();
    sorted.sort_unstable_by_key(|id| paths[*id as usize].as_bytes());
    let mut ranks = vec![0_u64; paths.len()];
    for (rank, id) in sorted.iter().enumerate() {
        ranks[*id as usize] = rank as u64;
    }
    for key in &mut keys {
        *key = (ranks[(*key >> 32) as usize] << 32) | (*key & u64::from(u32::MAX));
    }
    keys.sort_unstable();
    let before = rows.to_vec();
    for (row, key) in rows.iter_mut().zip(&keys) {
        *row = before[(*key & u64::from(u32::MAX)) as usize];
    }
    paths.len()
}

#[cfg(test)]
mod tests {
    use super::super::tests::truth;
    use super::*;
    use crate::zk::ChangeKind;

    #[test]
    fn rows_come_by_path_then_by_place() {
        let changes: Vec<Change> = ["/b", "/a", "/b", "/a-b", "/a", "/"]
            .iter()
            .enumerate()
            .map(|(at, path)| truth(at as i64 + 1, 0, ChangeKind::DataChanged, path))
            .collect();
        let mut rows: Vec<u32> = (0..6).collect();
        assert_eq!(sort_by_path(&changes, &mut rows), 4);
        assert_eq!(rows, [5, 1, 4, 3, 0, 2]);
        let mut some = vec![0, 2, 3];
        assert_eq!(sort_by_path(&changes, &mut some), 2);
        assert_eq!(some, [3, 0, 2]);
    }
}
