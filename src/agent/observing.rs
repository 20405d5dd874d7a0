//! What is being observed, as `coverage` will show it: pure bookkeeping between the stream and the recorder.

use std::collections::BTreeSet;

use crate::history::{Aspect, CoverageEntry};
use crate::zk::{Ended, Micros, Source, ZkPath, Zxid};

/// The intervals of one watch source: the scope's data, and its ACLs once a sweep has read them all.
#[derive(Debug)]
pub struct Observing {
    scope: ZkPath,
    incarnation: i32,
    data_open: bool,
    acl_open: bool,
    /// The greatest zxid of a row, or of a scan.
    recorded: Zxid,
    /// Everything committed up to here has its row, or lies in a gap: of the transaction after it more may come.
    complete: Zxid,
    unreadable: BTreeSet<ZkPath>,
    /// Unreadable before this scan began: whoever is not found so again can be read.
    unreadable_before: BTreeSet<ZkPath>,
    /// When the running ACL sweep began, and how far everything was recorded then.
    sweep: Option<(Micros, Zxid)>,
    /// When every znode was last proved to be readable, and how far everything was recorded then.
    readable_at: (Micros, Zxid),
    /// The same of the last sweep that is done, whose last answers may still be on their way.
    swept: (Micros, Zxid),
}

impl Observing {
    /// `unreadable` are the paths whose coverage ended before because they could not be read.
    pub fn new(scope: ZkPath, incarnation: i32, recorded: Zxid, unreadable: Vec<ZkPath>) -> Self {
        let unreadable_before = unreadable.into_iter().collect();
        Self {
            scope,
            incarnation,
            data_open: false,
            acl_open: false,
            recorded,
            complete: recorded,
            unreadable: BTreeSet::new(),
            unreadable_before,
            sweep: None,
            readable_at: (Micros::default(), recorded),
            swept: (Micros::default(), recorded),
        }
    }

    /// A scan begins: it will tell again which paths cannot be read.
    pub fn scan_started(&mut self) {
        self.unreadable_before.append(&mut self.unreadable);
    }

    pub fn is_open(&self) -> bool {
        self.data_open
    }

    pub fn unreadable(&self) -> usize {
        self.unreadable.len()
    }

    /// A row with this zxid goes to the recorder; rows go in the order of the events.
    pub fn row(&mut self, zxid: Option<Zxid>) {
        if let Some(zxid) = zxid.filter(|zxid| *zxid > self.recorded) {
            self.complete = self.recorded;
            self.recorded = zxid;
        }
    }

    /// An answer came and no event waits for its own: the server sends all events of a transaction before any answer
    /// that shows it, so the last one is whole.
    pub fn settled(&mut self) {
        self.complete = self.recorded;
    }

    /// A scan is done: from here on everything is seen.
    pub fn scanned(&mut self, at: Micros, greatest: Zxid, missed_at_least: i64, out: &mut Vec<CoverageEntry>) {
        self.data_open = true;
        self.recorded = self.recorded.max(greatest);
        self.complete = self.recorded;
        self.readable_at = (at, self.recorded);
        self.swept = self.readable_at;
        out.push(self.open(Aspect::Data, self.scope.clone(), at, missed_at_least));
        for path in std::mem::take(&mut self.unreadable_before) {
            out.push(self.open(Aspect::Data, path, at, 0));
        }
    }

    /// The reading of all ACLs begins.
    pub fn sweep_started(&mut self, at: Micros) {
        self.sweep = Some((at, self.recorded));
    }

    /// Every ACL has been read. After the first time they are known from now on; later, an ACL that changed since the
    /// sweep began may have been read before it did.
    pub fn swept(&mut self, at: Micros) -> Option<CoverageEntry> {
        let (since, recorded) = self.sweep.take()?;
        // What a sweep finds unreadable was readable when the one before it began.
        self.readable_at = std::mem::replace(&mut self.swept, (since, recorded));
        if self.acl_open {
            let (source, aspect) = (Source::Watch, Aspect::Acl);
            return Some(CoverageEntry::Progress { source, aspect, time: since, zxid: recorded });
        }
        self.acl_open = true;
        Some(self.open(Aspect::Acl, self.scope.clone(), at, 0))
    }

    /// Heard up to this moment, with everything before it on its way to the recorder.
    pub fn progress(&self, time: Micros) -> Option<CoverageEntry> {
        self.data_open.then_some(CoverageEntry::Progress {
            source: Source::Watch,
            aspect: Aspect::Data,
            time,
            zxid: self.complete,
        })
    }

    /// Nothing was observed since the history began.
    pub fn never_observed(&self, began: Micros, out: &mut Vec<CoverageEntry>) {
        out.push(self.open(Aspect::Data, self.scope.clone(), began, 0));
        out.push(CoverageEntry::Close {
            source: Source::Watch,
            path: Some(self.scope.clone()),
            aspect: Aspect::Data,
            to_time: Some(began),
            to_zxid: Some(self.recorded),
            ended: Ended::Disconnected,
        });
    }

    /// Observing ended where the last byte was heard.
    pub fn ended(&mut self, last_heard: Micros, ended: Ended, out: &mut Vec<CoverageEntry>) {
        self.sweep = None;
        for (open, aspect) in [(&mut self.data_open, Aspect::Data), (&mut self.acl_open, Aspect::Acl)] {
            if std::mem::take(open) {
                // ACLs were last seen when the last sweep began.
                let to_time = (aspect == Aspect::Data).then_some(last_heard);
                let to_zxid = (aspect == Aspect::Data).then_some(self.complete);
                out.push(CoverageEntry::Close { source: Source::Watch, path: None, aspect, to_time, to_zxid, ended });
            }
        }
    }

    /// A path cannot be read: it has an interval of its own, which ends where the path was last known to be readable.
    /// Since then its changes may have gone unseen: a znode that may not be read gives no notification either.
    pub fn unreadable_path(&mut self, path: ZkPath, at: Micros, out: &mut Vec<CoverageEntry>) {
        let known = self.unreadable_before.remove(&path);
        if !self.unreadable.insert(path.clone()) || known {
            return;
        }
        let (source, aspect) = (Source::Watch, Aspect::Data);
        let (since, zxid) = if self.data_open { self.readable_at } else { (at, self.recorded) };
        out.push(CoverageEntry::Open {
            source,
            path: path.clone(),
            aspect,
            incarnation: self.incarnation,
            from_time: since,
            from_zxid: zxid,
            missed_at_least: 0,
        });
        out.push(CoverageEntry::Close {
            source,
            path: Some(path),
            aspect,
            to_time: Some(since),
            to_zxid: Some(zxid),
            ended: Ended::Unreadable,
        });
    }

    /// A path can be read again.
    pub fn readable_path(&mut self, path: ZkPath, at: Micros, out: &mut Vec<CoverageEntry>) {
        if self.unreadable.remove(&path) | self.unreadable_before.remove(&path) {
            out.push(self.open(Aspect::Data, path, at, 0));
        }
    }

    fn open(&self, aspect: Aspect, path: ZkPath, from_time: Micros, missed_at_least: i64) -> CoverageEntry {
        CoverageEntry::Open {
            source: Source::Watch,
            path,
            aspect,
            incarnation: self.incarnation,
            from_time,
            from_zxid: self.recorded,
            missed_at_least,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_begins_at_the_last_byte_and_ends_with_the_scan() {
        let mut observing = Observing::new("/".into(), 1, Zxid(5), Vec::new());
        assert_eq!(observing.progress(Micros(9)), None, "nothing is covered before the first scan is done");
        let mut out = Vec::new();
        observing.scanned(Micros(10), Zxid(7), 0, &mut out);
        assert!(matches!(out[..], [CoverageEntry::Open { from_time: Micros(10), from_zxid: Zxid(7), .. }]));
        observing.row(Some(Zxid(8)));
        observing.row(None);
        assert!(
            matches!(observing.progress(Micros(19)), Some(CoverageEntry::Progress { zxid: Zxid(7), .. })),
            "more of the transaction 8 may come"
        );
        observing.settled();
        assert!(matches!(
            observing.progress(Micros(20)),
            Some(CoverageEntry::Progress { time: Micros(20), zxid: Zxid(8), .. })
        ));
        observing.row(Some(Zxid(11)));
        out.clear();
        observing.ended(Micros(21), Ended::Disconnected, &mut out);
        assert!(matches!(out[..], [CoverageEntry::Close { to_time: Some(Micros(21)), to_zxid: Some(Zxid(8)), .. }]));
        out.clear();
        observing.ended(Micros(22), Ended::Stopped, &mut out);
        assert!(out.is_empty(), "it ends once");
        observing.scanned(Micros(30), Zxid(12), 3, &mut out);
        assert!(matches!(out[..], [CoverageEntry::Open { from_zxid: Zxid(12), missed_at_least: 3, .. }]));
    }

    #[test]
    fn acls_are_covered_from_the_end_of_the_first_sweep_to_the_beginning_of_the_last() {
        let mut observing = Observing::new("/".into(), 1, Zxid(5), Vec::new());
        observing.sweep_started(Micros(10));
        observing.row(Some(Zxid(6)));
        let first = observing.swept(Micros(20));
        assert!(matches!(first, Some(CoverageEntry::Open { from_time: Micros(20), from_zxid: Zxid(6), .. })));
        observing.sweep_started(Micros(30));
        observing.row(Some(Zxid(7)));
        let second = observing.swept(Micros(40));
        assert!(matches!(second, Some(CoverageEntry::Progress { time: Micros(30), zxid: Zxid(6), .. })));
    }

    #[test]
    fn what_could_not_be_read_before_is_covered_again_once_a_scan_can() {
        let unreadable = vec![ZkPath::from("/still"), ZkPath::from("/no more")];
        let mut observing = Observing::new("/".into(), 1, Zxid(5), unreadable);
        observing.scan_started();
        let mut out = Vec::new();
        observing.unreadable_path("/still".into(), Micros(9), &mut out);
        assert!(out.is_empty(), "its gap is open already");
        observing.scanned(Micros(10), Zxid(7), 0, &mut out);
        let opened: Vec<&str> = out
            .iter()
            .map(|entry| match entry {
                CoverageEntry::Open { path, .. } => &**path,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(opened, ["/", "/no more"]);
    }
}
