use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

/// Certificate and key, valid for `years`, written into `dir`.
fn pair(dir: &Path, years: (i32, i32)) -> (PathBuf, PathBuf) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
    let certificate = params.self_signed(&key).unwrap();
    let (certificate_path, key_path) = (dir.join(format!("{}.crt", years.1)), dir.join(format!("{}.key", years.1)));
    std::fs::write(&certificate_path, certificate.pem()).unwrap();
    std::fs::write(&key_path, key.serialize_pem()).unwrap();
    (certificate_path, key_path)
}

fn refused(certificate: &Path, key: &Path) -> String {
    Tls::load(certificate, key).err().expect("refused").to_string()
}

#[test]
fn only_a_sound_pair_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = pair(dir.path(), (2020, 2080));
    let tls = Tls::load(&certificate, &key).unwrap();
    assert_eq!(tls.not_after().format("%F").to_string(), "2080-01-01");
    let (other, other_key) = pair(dir.path(), (2020, 2081));
    let (expired, expired_key) = pair(dir.path(), (2010, 2020));
    let (future, future_key) = pair(dir.path(), (2070, 2079));
    let empty = dir.path().join("empty");
    std::fs::write(&empty, "no PEM at all\n").unwrap();
    let broken = dir.path().join("broken");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let missing = dir.path().join("missing");
    for (certificate, key, words) in [
        (&certificate, &other_key, "is not that of the certificate"),
        (&other, &key, "is not that of the certificate"),
        (&expired, &expired_key, "expired on 2020-01-01"),
        (&future, &future_key, "valid only from 2070-01-01"),
        (&missing, &key, "cannot read"),
        (&certificate, &missing, "cannot read"),
        (&empty, &key, "holds no certificate"),
        (&certificate, &empty, "holds no private key"),
        (&certificate, &certificate, "holds no private key"),
        (&broken, &key, "no X.509 certificate"),
    ] {
        let error = refused(certificate, key);
        assert!(error.contains(words), "{error}, not {words}");
    }
}

#[test]
fn the_end_of_a_certificate_is_told_of_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = pair(dir.path(), (2020, 2080));
    let tls = Tls::load(&certificate, &key).unwrap();
    let before = |days| tls.warning(tls.not_after() - TimeDelta::days(days));
    assert!(before(31).is_none());
    assert!(before(29).is_some_and(|warning| warning.contains("expires in 29 days")));
    assert!(before(-1).is_some_and(|warning| warning.contains("expired on 2080-01-01")));
}

#[test]
fn a_reload_takes_the_new_pair_or_leaves_the_old() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = pair(dir.path(), (2020, 2080));
    let tls = Tls::load(&certificate, &key).unwrap();
    let (clone, first) = (tls.clone(), tls.certificate());
    let (new, new_key) = pair(dir.path(), (2021, 2081));
    std::fs::copy(&new, &certificate).unwrap();
    assert!(tls.reload().is_err(), "half of a pair");
    assert!(clone.certificate() == first);
    std::fs::copy(&new_key, &key).unwrap();
    tls.reload().unwrap();
    assert!(clone.certificate() != first && clone.not_after() == tls.not_after());
    let (expired, expired_key) = pair(dir.path(), (2010, 2020));
    std::fs::copy(&expired, &certificate).unwrap();
    std::fs::copy(&expired_key, &key).unwrap();
    assert!(tls.reload().is_err() && clone.not_after().format("%Y").to_string() == "2081");
}
