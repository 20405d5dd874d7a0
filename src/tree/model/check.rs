//! What must hold between the true history, the rows and the final tree.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::connection::Connection;
use super::run::Run;
use super::server::{Fact, Server};
use crate::tree::Effect;
use crate::zk::{Change, ChangeKind, Evidence, Source, TimeSource, Zxid};

pub(super) fn check(server: &Server, connection: &Connection<Run>) -> Result<(), TestCaseError> {
    let run = &connection.listener;
    every_row_is_true(server, run)?;
    replay_gives_the_final_tree(server, run)?;
    losses_are_accounted(server, run, &connection.scans)?;
    the_tree_is_the_servers(server, run)
}

fn rows(run: &Run) -> impl Iterator<Item = &Change> {
    run.effects.iter().filter_map(|effect| match effect {
        Effect::Change(change) => Some(change),
        _ => None,
    })
}

/// Each delivered event is one row, in order; each other row is one thing that happened unseen; all they state is so.
fn every_row_is_true(server: &Server, run: &Run) -> Result<(), TestCaseError> {
    let mut delivered = server.log.iter().filter(|fact| fact.delivered);
    let mut unseen: Vec<&Fact> = server.log.iter().filter(|fact| !fact.delivered).collect();
    for row in rows(run) {
        if row.source == Source::Watch {
            let fact = delivered.next();
            prop_assert!(fact.is_some_and(|fact| agrees(row, fact)), "{row:#?}\nis not {fact:#?}");
            prop_assert_eq!(row.missed > 0 && row.kind != ChangeKind::DataChanged, false, "{:?}", row);
        } else {
            let at = unseen.iter().position(|fact| agrees(row, fact));
            prop_assert!(at.is_some(), "{row:#?}\nnever happened, or was told of before");
            unseen.remove(at.unwrap_or_default());
            prop_assert_eq!(row.evidence, Evidence::Inferred);
        }
    }
    prop_assert!(delivered.next().is_none(), "an event without a row");
    Ok(())
}

fn agrees(row: &Change, fact: &Fact) -> bool {
    let version = if row.kind == ChangeKind::AclChanged { row.aversion } else { row.version };
    let exact = row.evidence != Evidence::Exact
        || row.zxid.is_some() && (row.kind == ChangeKind::Deleted || row.data.is_some());
    exact
        && row.kind == fact.kind
        && *row.path == *fact.path
        && row.zxid.is_none_or(|zxid| zxid == fact.zxid && row.position == zxid)
        && row.position <= fact.zxid
        && row.czxid.is_none_or(|czxid| czxid == fact.czxid)
        && version.is_none_or(|version| version == fact.version)
        && row.data.as_ref().is_none_or(|data| *data == fact.data)
        && (row.ephemeral_owner == 0 || row.ephemeral_owner == fact.owner)
        && (row.time_source == TimeSource::Agent || row.time == fact.time)
}

#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    czxid: Option<Zxid>,
    mzxid: Option<Zxid>,
    version: Option<i32>,
    data: Option<Bytes>,
}

fn replay_gives_the_final_tree(server: &Server, run: &Run) -> Result<(), TestCaseError> {
    let key = |effect: &Effect| match effect {
        Effect::Change(row) => Some((row.position, row.zxid.is_none(), row.ordinal)),
        // After what was told of its own transaction before.
        Effect::Value { stat, .. } => Some((stat.mzxid, true, 0)),
        _ => None,
    };
    let mut ordered: Vec<_> = run.effects.iter().filter_map(|effect| Some((key(effect)?, effect))).collect();
    ordered.sort_by_key(|(key, _)| *key);
    let mut tree: BTreeMap<&str, State> = BTreeMap::new();
    // Sets heard of an unverified life went out without a version, in front of the creation that was found later.
    let unplaced = |row: &&Change| row.kind == ChangeKind::DataChanged && row.version.is_none();
    let vague: BTreeSet<&str> = rows(run).filter(unplaced).map(|row| &*row.path).collect();
    for (_, effect) in ordered {
        match effect {
            Effect::Change(row) => apply(&mut tree, row, &vague)?,
            Effect::Value { path, stat, data } => {
                let known = tree.get(&**path).and_then(|state| state.version);
                let whole = vague.contains(&**path) || known.is_none_or(|version| version == stat.version);
                prop_assert!(whole, "{path}: an unmarked hole at {stat:?}");
                let state = State {
                    czxid: Some(stat.czxid),
                    mzxid: Some(stat.mzxid),
                    version: Some(stat.version),
                    data: Some(data.clone()),
                };
                tree.insert(path, state);
            }
            _ => {}
        }
    }
    let expected: BTreeMap<&str, State> = server.nodes.iter().map(|(path, node)| (*path, state_of(node))).collect();
    prop_assert_eq!(tree, expected);
    Ok(())
}

fn state_of(node: &super::server::Node) -> State {
    State {
        czxid: Some(node.stat.czxid),
        mzxid: Some(node.stat.mzxid),
        version: Some(node.stat.version),
        data: Some(node.data.clone()),
    }
}

fn apply<'t>(
    tree: &mut BTreeMap<&'t str, State>,
    row: &'t Change,
    vague: &BTreeSet<&str>,
) -> Result<(), TestCaseError> {
    match row.kind {
        ChangeKind::Created => {
            let state = State { czxid: row.czxid, mzxid: row.zxid, version: Some(0), data: row.data.clone() };
            tree.insert(&row.path, state);
        }
        ChangeKind::DataChanged => {
            let state = tree.entry(&row.path).or_default();
            if let (Some(before), Some(after)) = (state.version, row.version)
                && after != -1
                && !vague.contains(&*row.path)
            {
                prop_assert_eq!(i64::from(before) + 1 + row.missed, i64::from(after), "a hole before {:?}", row);
            }
            state.version = row.version;
            state.czxid = row.czxid.or(state.czxid);
            state.mzxid = row.zxid;
            state.data = row.data.clone();
        }
        ChangeKind::AclChanged => {}
        ChangeKind::Deleted => {
            tree.remove(&*row.path);
        }
    }
    Ok(())
}

/// What was lost lies between the greatest zxid before the gap and that of the scan's end, and no more is claimed.
fn losses_are_accounted(server: &Server, run: &Run, scans: &[usize]) -> Result<(), TestCaseError> {
    let mut from = 0;
    let mut inferred = 0;
    let mut scans = scans.iter().zip(&run.before_gaps);
    let mut claimed = 0;
    let mut lost = 0;
    for effect in &run.effects {
        match effect {
            Effect::Change(row) if row.source == Source::Rescan && row.kind != ChangeKind::AclChanged => inferred += 1,
            Effect::ScanFinished { missed_at_least, greatest_zxid, .. } => {
                let Some((to, before)) = scans.next() else {
                    return Err(TestCaseError::fail("a scan finished twice"));
                };
                for fact in server.log[from..*to].iter().filter(|fact| !fact.delivered && !is_acl(fact)) {
                    prop_assert!(fact.zxid > *before && fact.zxid <= *greatest_zxid, "{fact:?} lies outside its gap");
                    lost += 1;
                }
                claimed += missed_at_least;
                prop_assert!(inferred + claimed <= lost, "{inferred} inferred and {claimed} claimed of {lost} lost");
                from = *to;
            }
            _ => {}
        }
    }
    prop_assert!(scans.next().is_none(), "a scan did not finish");
    Ok(())
}

fn is_acl(fact: &Fact) -> bool {
    fact.kind == ChangeKind::AclChanged
}

fn the_tree_is_the_servers(server: &Server, run: &Run) -> Result<(), TestCaseError> {
    prop_assert_eq!(run.tree.pending(), 0);
    let mut znodes = run.tree.iter();
    for (path, node) in &server.nodes {
        let Some(znode) = znodes.next() else { return Err(TestCaseError::fail(format!("{path} is missing"))) };
        prop_assert_eq!(&*znode.path, *path);
        prop_assert!(znode.value_recorded);
        // A parent's Stat is what its last read and the events since then say.
        let known = znode.known;
        prop_assert!(known.czxid && known.mzxid && known.version && known.cversion, "{znode:?}");
        let mut stat = znode.stat;
        if !known.pzxid {
            stat.pzxid = node.stat.pzxid;
        }
        stat.aversion = node.stat.aversion;
        prop_assert_eq!(stat, node.stat, "{}", path);
    }
    prop_assert!(znodes.next().is_none(), "a znode too many");
    prop_assert_eq!(run.tree.len(), server.nodes.len());
    let bytes: i64 = server.nodes.values().map(|node| i64::from(node.stat.data_length)).sum();
    prop_assert_eq!(run.tree.data_bytes(), bytes as u64);
    let ephemerals = server.nodes.values().filter(|node| node.stat.ephemeral_owner != 0).count();
    prop_assert_eq!(run.tree.ephemerals(), ephemerals);
    Ok(())
}
