//! A certificate for localhost, the authority that signed it, and an authority that signed nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

pub struct Certificates {
    pub ca: PathBuf,
    pub other_ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificates {
    pub fn make(folder: &Path) -> Result<Self> {
        let made = Self {
            ca: folder.join("ca.pem"),
            other_ca: folder.join("other-ca.pem"),
            certificate: folder.join("server.pem"),
            key: folder.join("server.key"),
        };
        let (authority, authority_key) = authority("zktrail test authority")?;
        fs::write(&made.ca, authority.self_signed(&authority_key)?.pem())?;
        let (other, other_key) = self::authority("another authority")?;
        fs::write(&made.other_ca, other.self_signed(&other_key)?.pem())?;
        let server_key = KeyPair::generate()?;
        let server = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        let issuer = Issuer::new(authority, authority_key);
        fs::write(&made.certificate, server.signed_by(&server_key, &issuer)?.pem())?;
        write_private(&made.key, &server_key.serialize_pem())?;
        Ok(made)
    }
}

fn authority(name: &str) -> Result<(CertificateParams, KeyPair)> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    Ok((params, KeyPair::generate()?))
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
