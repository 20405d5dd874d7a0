use super::*;

fn open(path: &str, at: i64) -> CoverageEntry {
    CoverageEntry::Open {
        source: Source::Watch,
        path: path.into(),
        aspect: Aspect::Data,
        incarnation: 3,
        from_time: Micros(at),
        from_zxid: Zxid(at),
        missed_at_least: 2,
    }
}

fn progress(aspect: Aspect, at: i64) -> CoverageEntry {
    CoverageEntry::Progress { source: Source::Watch, aspect, time: Micros(at), zxid: Zxid(at) }
}

fn close(path: Option<&str>, to: Option<i64>) -> CoverageEntry {
    CoverageEntry::Close {
        source: Source::Watch,
        path: path.map(Into::into),
        aspect: Aspect::Data,
        to_time: to.map(Micros),
        to_zxid: to.map(Zxid),
        ended: Ended::Disconnected,
    }
}

fn spans(rows: &[CoverageRow]) -> Vec<(&str, i64, i64, Option<Ended>)> {
    rows.iter().map(|row| (&*row.path, row.from_time.0, row.to_time.0, row.ended)).collect()
}

#[test]
fn an_interval_runs_from_open_to_the_last_progress() {
    let (mut coverage, mut closed) = (OpenCoverage::default(), Vec::new());
    coverage.apply(open("/", 10), &mut closed);
    coverage.apply(progress(Aspect::Data, 20), &mut closed);
    coverage.apply(progress(Aspect::Data, 15), &mut closed);
    coverage.apply(progress(Aspect::Acl, 99), &mut closed);
    coverage.apply(close(None, None), &mut closed);
    assert_eq!(spans(&closed), [("/", 10, 20, Some(Ended::Disconnected))]);
    assert!(coverage.is_empty());
    coverage.apply(close(None, None), &mut closed);
    assert_eq!(closed.len(), 1, "closing what is not open says nothing");
}

#[test]
fn rolling_loses_and_doubles_no_time() {
    let (mut coverage, mut closed) = (OpenCoverage::default(), Vec::new());
    coverage.apply(open("/", 10), &mut closed);
    assert!(coverage.roll().is_empty(), "nothing was heard yet");
    coverage.apply(progress(Aspect::Data, 20), &mut closed);
    closed.extend(coverage.roll());
    coverage.apply(progress(Aspect::Data, 30), &mut closed);
    coverage.apply(close(Some("/"), Some(28)), &mut closed);
    assert_eq!(spans(&closed), [("/", 10, 20, Some(Ended::Rolled)), ("/", 20, 28, Some(Ended::Disconnected))]);
    assert_eq!((closed[0].missed_at_least, closed[1].missed_at_least), (2, 0), "what was missed is told once");
}

#[test]
fn opening_anew_ends_what_is_open_and_one_path_closes_alone() {
    let (mut coverage, mut closed) = (OpenCoverage::default(), Vec::new());
    coverage.apply(open("/a", 1), &mut closed);
    coverage.apply(open("/b", 1), &mut closed);
    coverage.apply(open("/a", 5), &mut closed);
    assert_eq!(spans(&closed), [("/a", 1, 1, Some(Ended::Rolled))]);
    coverage.apply(close(Some("/b"), Some(6)), &mut closed);
    assert_eq!((closed.len(), coverage.len()), (2, 1));
    assert_eq!(spans(&coverage.close_all(Ended::Stopped)), [("/a", 5, 5, Some(Ended::Stopped))]);
}

#[test]
fn a_mark_round_trips() {
    let (mut coverage, mut closed) = (OpenCoverage::default(), Vec::new());
    coverage.apply(open("/a", 1), &mut closed);
    coverage.apply(open("/b", 2), &mut closed);
    coverage.apply(progress(Aspect::Data, 7), &mut closed);
    let rows = rows_of_mark(&coverage.batch().unwrap()).unwrap();
    assert_eq!(rows, coverage.intervals.into_values().collect::<Vec<_>>());
}
