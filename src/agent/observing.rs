//! What is being observed, as `coverage` will show it: pure bookkeeping between the stream and the recorder.

use crate::history::{Aspect, CoverageEntry};
use crate::zk::{Ended, Micros, Source, ZkPath, Zxid};

/// The intervals of one watch source: the scope's data, and its ACLs once a sweep has read them all.
#[derive(Debug)]
pub struct Observing {
    scope: ZkPath,
    incarnation: i32,
    data_open: bool,
    acl_open: bool,
    /// Everything committed up to here has its row, or lies in a gap.
    recorded: Zxid,
    unreadable: std::collections::BTreeSet<ZkPath>,
}

impl Observing {
    pub fn new(scope: ZkPath, incarnation: i32, recorded: Zxid) -> Self {
        Self { scope, incarnation, data_open: false, acl_open: false, recorded, unreadable: Default::default() }
    }

    pub fn is_open(&self) -> bool {
        self.data_open
    }

    pub fn unreadable(&self) -> usize {
        self.unreadable.len()
    }

    /// A row with this zxid goes to the recorder; rows go in the order of the events.
    pub fn row(&mut self, zxid: Option<Zxid>) {
        self.recorded = self.recorded.max(zxid.unwrap_or_default());
    }

    /// A scan is done: from here on everything is seen.
    pub fn scanned(&mut self, at: Micros, greatest: Zxid, missed_at_least: i64) -> CoverageEntry {
        self.data_open = true;
        self.recorded = self.recorded.max(greatest);
        self.open(Aspect::Data, at, missed_at_least)
    }

    /// Every ACL has been read once, or once more; the sweep began at `since`.
    pub fn swept(&mut self, since: Micros) -> CoverageEntry {
        if self.acl_open {
            return CoverageEntry::Progress {
                source: Source::Watch,
                aspect: Aspect::Acl,
                time: since,
                zxid: self.recorded,
            };
        }
        self.acl_open = true;
        self.open(Aspect::Acl, since, 0)
    }

    /// Heard up to this moment, with everything before it on its way to the recorder.
    pub fn progress(&self, time: Micros) -> Option<CoverageEntry> {
        self.data_open.then_some(CoverageEntry::Progress {
            source: Source::Watch,
            aspect: Aspect::Data,
            time,
            zxid: self.recorded,
        })
    }

    /// Observing ended where the last byte was heard.
    pub fn ended(&mut self, last_heard: Micros, ended: Ended, out: &mut Vec<CoverageEntry>) {
        for (open, aspect) in [(&mut self.data_open, Aspect::Data), (&mut self.acl_open, Aspect::Acl)] {
            if std::mem::take(open) {
                // ACLs were last seen when the last sweep began.
                let to_time = (aspect == Aspect::Data).then_some(last_heard);
                let to_zxid = (aspect == Aspect::Data).then_some(self.recorded);
                out.push(CoverageEntry::Close { source: Source::Watch, path: None, aspect, to_time, to_zxid, ended });
            }
        }
    }

    /// A path cannot be read: it has an interval of its own, which ends here.
    pub fn unreadable_path(&mut self, path: ZkPath, at: Micros, out: &mut Vec<CoverageEntry>) {
        if !self.unreadable.insert(path.clone()) {
            return;
        }
        let (source, aspect) = (Source::Watch, Aspect::Data);
        out.push(CoverageEntry::Open {
            source,
            path: path.clone(),
            aspect,
            incarnation: self.incarnation,
            from_time: at,
            from_zxid: self.recorded,
            missed_at_least: 0,
        });
        out.push(CoverageEntry::Close {
            source,
            path: Some(path),
            aspect,
            to_time: Some(at),
            to_zxid: Some(self.recorded),
            ended: Ended::Unreadable,
        });
    }

    /// A path can be read again.
    pub fn readable_path(&mut self, path: ZkPath, at: Micros, out: &mut Vec<CoverageEntry>) {
        if self.unreadable.remove(&path) {
            out.push(CoverageEntry::Open {
                source: Source::Watch,
                path,
                aspect: Aspect::Data,
                incarnation: self.incarnation,
                from_time: at,
                from_zxid: self.recorded,
                missed_at_least: 0,
            });
        }
    }

    fn open(&self, aspect: Aspect, from_time: Micros, missed_at_least: i64) -> CoverageEntry {
        CoverageEntry::Open {
            source: Source::Watch,
            path: self.scope.clone(),
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
        let mut observing = Observing::new("/".into(), 1, Zxid(5));
        assert_eq!(observing.progress(Micros(9)), None, "nothing is covered before the first scan is done");
        let open = observing.scanned(Micros(10), Zxid(7), 0);
        assert!(matches!(open, CoverageEntry::Open { from_time: Micros(10), from_zxid: Zxid(7), .. }));
        observing.row(Some(Zxid(8)));
        observing.row(None);
        assert!(matches!(
            observing.progress(Micros(20)),
            Some(CoverageEntry::Progress { time: Micros(20), zxid: Zxid(8), .. })
        ));
        let mut out = Vec::new();
        observing.ended(Micros(21), Ended::Disconnected, &mut out);
        assert_eq!(out.len(), 1);
        assert!(matches!(out[0], CoverageEntry::Close { to_time: Some(Micros(21)), to_zxid: Some(Zxid(8)), .. }));
        out.clear();
        observing.ended(Micros(22), Ended::Stopped, &mut out);
        assert!(out.is_empty(), "it ends once");
        assert!(matches!(
            observing.scanned(Micros(30), Zxid(12), 3),
            CoverageEntry::Open { from_zxid: Zxid(12), missed_at_least: 3, .. }
        ));
    }
}
