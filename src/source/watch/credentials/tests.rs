use std::path::Path;

use super::testing::{Authority, EXPIRED, Pair, VALID, set_mode, write_secret};
use super::*;

fn config(ca: &Path, identity: Option<&Pair>) -> CredentialsConfig {
    let identity = identity.map(|pair| TlsIdentity { certificate: pair.certificate.clone(), key: pair.key.clone() });
    CredentialsConfig { tls: Some(TlsConfig { ca: ca.to_owned(), identity, check_names: true }), sasl: None }
}

fn load(config: &CredentialsConfig) -> Result<Credentials, String> {
    Credentials::load(config, &["127.0.0.1:1".to_owned()]).map_err(|error| error.to_string())
}

fn refused(config: &CredentialsConfig) -> String {
    load(config).err().expect("refused")
}

fn digest(user: &str, file: &Path) -> CredentialsConfig {
    let password = Password::File(file.to_owned());
    CredentialsConfig { tls: None, sasl: Some(SaslConfig::DigestMd5 { user: user.to_owned(), password }) }
}

#[test]
fn files_are_judged_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let authority = Authority::new(folder.path(), "ca");
    let good = authority.sign("agent", &[], VALID);
    let other = authority.sign("other", &[], VALID);
    let expired = authority.sign("agent", &[], EXPIRED);
    let future = authority.sign("agent", &[], (2070, 2090));
    let credentials = load(&config(&authority.file, Some(&good))).expect("good files");
    assert_eq!(credentials.not_after().map(|end| end.format("%F").to_string()), Some("2080-01-01".to_owned()));
    assert!(credentials.tls().and_then(Tls::subject).is_some_and(|subject| subject.contains("agent")));
    assert!(load(&config(&authority.file, None)).is_ok_and(|credentials| credentials.not_after().is_none()));

    std::fs::write(path("empty"), "no PEM at all\n").expect("a file");
    set_mode(&path("empty"), 0o600);
    std::fs::write(path("torn"), "-----BEGIN CERTIFICATE-----\nAAAA\n").expect("a file");
    std::fs::write(path("nonsense"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").expect("a file");
    let list = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    let ca = std::fs::read_to_string(&authority.file).expect("a file");
    std::fs::write(path("bad-list"), ca + list).expect("a file");
    std::fs::write(path("large"), "x".repeat((1 << 20) + 1)).expect("a file");
    let pair = |certificate: &Path, key: &Path| Pair { certificate: certificate.to_owned(), key: key.to_owned() };
    for (ca, identity, words) in [
        (&path("missing"), None, "cannot read zk_ca"),
        (&path("empty"), None, "holds no certificate: it should be PEM"),
        (&path("torn"), None, "is no sound PEM: a section has no end"),
        (&path("nonsense"), None, "no authority in it can be used"),
        (&path("bad-list"), None, "bad-list"),
        (&path("large"), None, "larger than 1 MiB"),
        (&authority.file, Some(pair(&path("missing"), &good.key)), "cannot read zk_cert"),
        (&authority.file, Some(pair(&good.certificate, &path("missing"))), "cannot read zk_key"),
        (&authority.file, Some(pair(&path("empty"), &good.key)), "zk_cert"),
        (&authority.file, Some(pair(&path("nonsense"), &good.key)), "is no X.509 certificate"),
        (&authority.file, Some(pair(&good.certificate, &path("empty"))), "holds no private key"),
        (&authority.file, Some(pair(&good.certificate, &other.key)), "is not the key of the certificate"),
        (&authority.file, Some(expired), "expired on 2020-01-01"),
        (&authority.file, Some(future), "valid only from 2070-01-01"),
    ] {
        let error = refused(&config(ca, identity.as_ref()));
        assert!(error.contains(words), "{error}, not {words}");
    }

    set_mode(&good.key, 0o644);
    let error = refused(&config(&authority.file, Some(&good)));
    assert!(error.contains("may be read by everybody (mode 644): chmod o-rwx"), "{error}");
    set_mode(&good.key, 0o640);
    assert!(load(&config(&authority.file, Some(&good))).is_ok(), "the group may read it: so secrets are mounted");
}

#[test]
fn a_host_that_no_certificate_can_name_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(&Authority::new(folder.path(), "ca").file, None);
    let load = |server: &str| Credentials::load(&config, &[server.to_owned()]).map(drop).map_err(|e| e.to_string());
    for server in ["zk1.example:2281", "127.0.0.1:1", "[::1]:2281", "zk_1:1"] {
        assert_eq!(load(server), Ok(()), "{server}");
    }
    for server in ["a..b:1", "-a:1"] {
        let error = load(server).expect_err(server);
        assert!(error.contains("neither a host name nor an address"), "{error}");
    }
}

#[test]
fn a_reload_takes_all_or_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path(), "ca");
    let (good, newer) = (authority.sign("agent", &[], VALID), authority.sign("agent", &[], (2021, 2081)));
    let password = folder.path().join("password");
    write_secret(&password, "first\n");
    let both = CredentialsConfig { sasl: digest("ann", &password).sasl, ..config(&authority.file, Some(&good)) };
    let credentials = load(&both).expect("good files");
    let clone = credentials.clone();
    let year = |credentials: &Credentials| credentials.not_after().expect("an end").format("%Y").to_string();
    let mut reloads = credentials.reloads();

    std::fs::copy(&newer.certificate, &good.certificate).expect("copied");
    let error = credentials.reload().expect_err("half of a pair").to_string();
    assert!(error.contains("is not the key of the certificate"), "{error}");
    std::fs::copy(&newer.key, &good.key).expect("copied");
    write_secret(&password, "\n");
    let error = credentials.reload().expect_err("no password").to_string();
    assert!(error.contains("it is empty"), "{error}");
    assert_eq!((year(&clone).as_str(), reloads.has_changed().expect("alive")), ("2080", false));

    write_secret(&password, "second\n");
    credentials.reload().expect("both are good");
    assert_eq!(year(&clone), "2081");
    assert!(reloads.has_changed().expect("alive"));
    reloads.mark_unchanged();
    std::fs::remove_file(&authority.file).expect("removed");
    assert!(credentials.reload().is_err() && year(&clone) == "2081" && !reloads.has_changed().expect("alive"));
}

#[test]
fn what_an_operator_should_know_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path(), "ca");
    let mut config = config(&authority.file, Some(&authority.sign("agent", &[], VALID)));
    let credentials = load(&config).expect("good files");
    let end = credentials.not_after().expect("an end");
    assert!(credentials.warnings(end - TimeDelta::days(31)).is_empty());
    let warned = |days| credentials.warnings(end - TimeDelta::days(days)).concat();
    assert!(warned(29).contains("expires in 29 days, on 2080-01-01"), "{}", warned(29));
    assert!(warned(-1).contains("expired on 2080-01-01"), "{}", warned(-1));
    config.tls.as_mut().expect("TLS").check_names = false;
    let warnings = load(&config).expect("good files").warnings(Utc::now()).concat();
    assert!(warnings.contains("zk_hostname_check is off"), "{warnings}");
    assert!(Credentials::default().warnings(Utc::now()).is_empty() && Credentials::default().is_empty());
}

#[test]
fn users_and_passwords_are_judged_and_never_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    write_secret(&file, "hunter2 with spaces\nsecond line\n");
    let good = digest("ann", &file);
    assert!(load(&good).is_ok());
    assert!(!format!("{good:?}").contains("hunter2"));
    let given = Password::Given { origin: "SECRET".to_owned(), text: "hunter2\u{e9}".to_owned() };
    let config =
        CredentialsConfig { tls: None, sasl: Some(SaslConfig::DigestMd5 { user: "ann".into(), password: given }) };
    let error = refused(&config);
    assert!(error.contains("SECRET") && error.contains("ASCII") && !error.contains("hunter2"), "{error}");
    assert!(!format!("{config:?}").contains("hunter2"));
    for (user, words) in
        [("", "empty"), ("a\"b", "quotation mark"), ("a\\b", "backslash"), ("j\u{f6}", "ASCII"), ("a\n", "ASCII")]
    {
        let error = refused(&digest(user, &file));
        assert!(error.contains(words), "{error}, not {words}");
    }
    write_secret(&file, "");
    assert!(refused(&digest("ann", &file)).contains("first line"));
    set_mode(&file, 0o604);
    assert!(refused(&digest("ann", &file)).contains("sasl_password_file"));
    assert!(refused(&digest("ann", &folder.path().join("missing"))).contains("cannot read sasl_password_file"));
}

#[test]
#[cfg(not(feature = "gssapi"))]
fn kerberos_says_how_it_is_built() {
    let sasl = Some(SaslConfig::Gssapi { service: "zookeeper".to_owned(), host: None });
    let error = refused(&CredentialsConfig { tls: None, sasl });
    assert!(error.contains("--features gssapi"), "{error}");
}
