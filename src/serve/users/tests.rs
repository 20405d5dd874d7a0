use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;
use crate::query::AccessLimits;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    (dir, path)
}

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

#[test]
fn a_verifier_is_the_one_of_rfc_7677_in_the_form_of_postgresql() {
    let salt = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, "W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let verifier = Verifier::derive("pencil", salt, 4_096);
    let text = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    assert_eq!(verifier.to_string(), text);
    assert!(text.parse::<Verifier>().unwrap() == verifier);
    assert!(verifier.fits("pencil") && !verifier.fits("pencils") && !verifier.fits(""));
    assert!(!format!("{verifier:?}").contains("WG5d"), "a verifier is never shown");
    for wrong in
        ["", "md5abc", "SCRAM-SHA-256$10:AAAA$AAAA:AAAA", &text.replace("4096", "1024"), &text.replace("WG", "")]
    {
        assert!(wrong.parse::<Verifier>().is_err(), "{wrong}");
    }
}

#[test]
fn passwords_are_normalised_and_bad_ones_refused() {
    // RFC 4013: a non-ASCII space is a space, a soft hyphen nothing.
    let verifier = Verifier::derive("correct horse", vec![3; 16], 4_096);
    assert!(verifier.fits("correct\u{a0}horse") && verifier.fits("cor\u{ad}rect horse"));
    assert_eq!(Verifier::of_new("short").unwrap_err(), PasswordError::Short);
    assert_eq!(Verifier::of_new("with\u{7}bell and more").unwrap_err(), PasswordError::Characters);
    assert_eq!(Verifier::of_new(&"x".repeat(2_000)).unwrap_err(), PasswordError::Long);
    let [one, two] = [(); 2].map(|()| Verifier::of_new("long enough").unwrap());
    assert!(one.salt != two.salt && one.fits("long enough") && one.iterations == ITERATIONS);
}

#[test]
fn the_file_is_read_strictly_and_its_errors_show_no_verifier() {
    let scram = Verifier::derive("a password", vec![1; 16], 4_096).to_string();
    let (_dir, path) = file(&format!(
        "# kept\n[users.ann]\nrole = \"read-values\"\nscram = \"{scram}\"\n\
         [users.\"bob@x.org\"]\nrole = \"read\"\nscram = \"{scram}\"\nmemory = \"64MiB\"\ntime = \"5s\"\nrows = 1_000\nconcurrent = 2\n"
    ));
    let users = Users::of_file(&path).unwrap();
    assert!(users.credentials_required());
    let (ann, bob) = (users.access("ann").unwrap(), users.access("bob@x.org").unwrap());
    assert_eq!((ann.values, ann.limits), (Values::Shown, AccessLimits::default()));
    assert_eq!(bob.values, Values::Withheld);
    assert_eq!(
        bob.limits,
        AccessLimits {
            memory_bytes_max: Some(64 << 20),
            time_max: Some(Duration::from_secs(5)),
            rows_max: Some(1_000),
            concurrent_max: Some(2),
        }
    );
    assert!(users.access("eve").is_none() && users.verifier("eve").is_none());
    assert!(users.decoy("eve") == users.decoy("eve") && users.decoy("eve") != users.decoy("mallory"));

    for (text, words) in [
        (format!("[users.ann]\nrole = \"admin\"\nscram = \"{scram}\""), "\"admin\" is no role"),
        (format!("[users.ann]\nscram = \"{scram}\""), "it has no role"),
        ("[users.ann]\nrole = \"read\"".to_owned(), "it has no scram"),
        (format!("[users.ann]\nrole = \"read\"\nscram = \"{scram}\"\nmax_rows = 5"), "\"max_rows\" is no key"),
        (format!("[users.ann]\nrole = \"read\"\nscram = \"{scram}\"\ntime = \"5 fortnights\""), "time: "),
        (format!("[users.ann]\nrole = \"read\"\nscram = \"x{scram}\""), "scram should be"),
        (format!("[users.\"a:b\"]\nrole = \"read\"\nscram = \"{scram}\""), "a user's name has"),
        (format!("[user.ann]\nrole = \"read\"\nscram = \"{scram}\""), "unknown field"),
        (format!("[users.ann]\nrole = \"read\"\nscram = \"{scram}\"\n[users.ann]\n"), "line 4"),
        (format!("[users.ann]\nrole = \"read\"\nscram = \"{scram}"), "line 3"),
    ] {
        let (_dir, path) = file(&text);
        let error = Users::of_file(&path).err().unwrap_or_else(|| panic!("read: {text}")).to_string();
        assert!(error.contains(words), "{error}, not {words}");
        assert!(!error.contains("SCRAM-SHA-256$4096") && error.contains("users.toml"), "{error}");
    }
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let (_dir, path) = file("");
    for mode in [0o644, 0o604, 0o660, 0o620] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = Users::of_file(&path).err().unwrap().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
    // The readers' group of a mounted secret.
    for mode in [0o600, 0o400, 0o640, 0o440] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert!(Users::of_file(&path).is_ok(), "{mode:o}");
    }
}

#[test]
fn the_file_is_changed_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.toml");
    let verifier = |text: &str| Verifier::derive(text, vec![1; 16], 4_096);
    edit::add(&path, &name("ann"), Role::ReadValues, &verifier("one password"), &[]).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("[users.ann]", "# the owner\n[users.ann]")).unwrap();
    let limits = [("time", "5s".to_owned()), ("rows", "100".to_owned())];
    edit::add(&path, &name("b.o-b@x"), Role::Read, &verifier("two passwords"), &limits).unwrap();
    assert!(edit::add(&path, &name("ann"), Role::Read, &verifier("x"), &[]).is_err());
    edit::set_verifier(&path, &name("ann"), &verifier("another password")).unwrap();
    assert!(edit::set_verifier(&path, &name("eve"), &verifier("x")).is_err());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# Who may ask") && text.contains("# the owner\n[users.ann]"), "{text}");
    let users = Users::of_file(&path).unwrap();
    assert!(users.verifier("ann").unwrap().fits("another password"));
    assert_eq!(users.access("b.o-b@x").unwrap().limits.rows_max, Some(100));
    edit::remove(&path, &name("ann")).unwrap();
    assert!(edit::remove(&path, &name("ann")).is_err());
    assert_eq!(edit::list(&path).unwrap().keys().collect::<Vec<_>>(), ["b.o-b@x"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left behind");
}

#[test]
fn names_are_plain() {
    for good in ["a", "ann", "bob@x.org", "svc_grafana-1", &"x".repeat(63)] {
        assert!(good.parse::<UserName>().is_ok(), "{good}");
    }
    for bad in ["", "a:b", "a b", "ä", "-x", "a\n", &"x".repeat(64)] {
        assert!(bad.parse::<UserName>().is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_reload_is_seen_by_the_clones_and_never_opens_by_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.toml");
    let users = Users::of_file_if_any(&path).unwrap();
    let clone = users.clone();
    assert!(!clone.credentials_required() && clone.access("anybody").is_some());
    edit::add(&path, &name("ann"), Role::Read, &Verifier::derive("one password", vec![1; 16], 4_096), &[]).unwrap();
    assert!(matches!(users.reload(false), Err(UsersError::MayNotBegin { .. })));
    assert!(!clone.credentials_required());
    users.reload(true).unwrap();
    assert!(clone.credentials_required() && clone.access("anybody").is_none());
    assert!(clone.prove("ann", "one password", HERE).await.is_ok());
    assert_eq!(clone.prove("ann", "two passwords", HERE).await.unwrap_err(), LoginError::Wrong);
    assert_eq!(clone.prove("eve", "one password", HERE).await.unwrap_err(), LoginError::Wrong);
    // A bad file, and one that is gone, leave the old list.
    std::fs::write(&path, "[users.ann]\nrole = \"root\"\n").unwrap();
    assert!(users.reload(true).is_err() && clone.access("ann").is_some());
    std::fs::remove_file(&path).unwrap();
    assert!(users.reload(true).is_err() && clone.credentials_required());
    // A changed password shuts out also whoever was let in a moment ago.
    edit::add(&path, &name("ann"), Role::Read, &Verifier::derive("two passwords", vec![2; 16], 4_096), &[]).unwrap();
    users.reload(true).unwrap();
    assert!(clone.prove("ann", "one password", HERE).await.is_err());
    assert!(clone.prove("ann", "two passwords", HERE).await.is_ok());
    edit::remove(&path, &name("ann")).unwrap();
    users.reload(true).unwrap();
    assert!(clone.credentials_required() && clone.prove("ann", "two passwords", HERE).await.is_err());
}
