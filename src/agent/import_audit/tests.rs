use super::*;
use crate::history::{Layout, Settings};

fn line(second: u32, path: &str) -> String {
    format!(
        "2026-11-20 03:10:{second:02},000 INFO x: session=0x1\tuser=a\tip=10.0.0.1\toperation=setData\tznode={path}\t\
         result=success\n"
    )
}

fn write(folder: &Path, name: &str, lines: &[String]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, lines.concat()).unwrap();
    path
}

struct Rig {
    folder: tempfile::TempDir,
    history: History,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { free_space_floor_percent: 0, ..Settings::default() };
        let history = History::open(&Layout::new(folder.path().join("history")), "prod", settings).unwrap();
        Self { folder, history }
    }

    fn import(&self, files: &[PathBuf]) -> AuditImported {
        import_audit(&self.history, files, LogZone::default(), |_| ()).unwrap()
    }
}

#[test]
fn rotated_files_are_one_log_in_whatever_order_they_are_given() {
    let rig = Rig::new();
    let folder = rig.folder.path();
    // The rotation cuts a moment of four equal lines apart.
    let older = write(folder, "audit.log.1", &["starting\n".to_owned(), line(1, "/a"), line(2, "/a"), line(2, "/a")]);
    let newer =
        write(folder, "audit.log", &[line(2, "/a"), line(2, "/a"), line(3, "/b"), "x session=0x1\tresult=".into()]);
    let done = rig.import(&[newer.clone(), older.clone(), newer.clone()]);
    assert_eq!((done.files, done.added, done.known, done.other, done.unusable), (2, 6, 0, 1, 0));
    assert_eq!(done.from.unwrap().to_string(), "2026-11-20T03:10:01.000000Z");
    assert_eq!(done.to.unwrap().to_string(), "2026-11-20T03:10:03.000000Z");
    let again = rig.import(&[older, newer.clone()]);
    assert_eq!((again.added, again.known), (0, 6));
    // The file has grown.
    write(folder, "audit.log", &[line(2, "/a"), line(2, "/a"), line(3, "/b"), line(3, "/b"), line(4, "/b")]);
    let grown = rig.import(&[newer]);
    assert_eq!((grown.added, grown.known), (2, 3));
}

#[test]
fn lines_that_cannot_be_used_are_counted_and_the_first_is_named() {
    let rig = Rig::new();
    let folder = rig.folder.path();
    let bad = "no time: session=0x1\toperation=create\tresult=success\n".to_owned();
    let log = write(folder, "audit.log", &[line(1, "/a"), bad.clone(), bad, line(2, "/a")]);
    let done = rig.import(std::slice::from_ref(&log));
    assert_eq!((done.added, done.unusable), (2, 2));
    let said = done.first_unusable.unwrap().to_string();
    assert!(said.contains("audit.log:2: there is no date and time"), "{said}");
    let missing = import_audit(&rig.history, &[folder.join("nowhere")], LogZone::default(), |_| ());
    assert!(missing.unwrap_err().to_string().contains("nowhere"));
}

#[test]
fn a_packed_file_that_is_cut_short_gives_what_it_has() {
    use std::io::Write as _;
    let rig = Rig::new();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    for n in 0..60 {
        encoder.write_all(line(n, "/a").as_bytes()).unwrap();
    }
    let whole = encoder.finish().unwrap();
    let log = rig.folder.path().join("audit.log.gz");
    std::fs::write(&log, &whole[..whole.len() - 2_000]).unwrap();
    let error = import_audit(&rig.history, std::slice::from_ref(&log), LogZone::default(), |_| ()).unwrap_err();
    assert!(error.to_string().contains("audit.log.gz"), "{error}");
    std::fs::write(&log, &whole).unwrap();
    let done = rig.import(&[log]);
    assert_eq!(done.added + done.known, 60);
}
