//! Authorities and what they sign, in files as servers and agents want them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};

pub const VALID: (i32, i32) = (2020, 2080);
pub const EXPIRED: (i32, i32) = (2010, 2020);

pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Signed {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = name_of(name);
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }

    pub fn sign(&self, name: &str, hosts: &[&str], years: (i32, i32)) -> Result<Signed> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts)?;
        (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
        params.distinguished_name = name_of(name);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Signed { certificate, key: key.serialize_pem() })
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        Ok(fs::write(path, &self.pem)?)
    }
}

fn name_of(name: &str) -> rcgen::DistinguishedName {
    let mut distinguished = rcgen::DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// What an agent is given.
#[derive(Clone)]
pub struct AgentFiles {
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl AgentFiles {
    pub fn write(folder: &Path, ca: &Authority, signed: &Signed) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let files =
            Self { ca: folder.join("ca.pem"), certificate: folder.join("agent.pem"), key: folder.join("agent.key") };
        ca.write(&files.ca)?;
        fs::write(&files.certificate, &signed.certificate)?;
        secret(&files.key, &signed.key)?;
        Ok(files)
    }

    pub fn flags(&self) -> Vec<String> {
        let mut flags = self.flags_without_identity();
        flags.extend(["--zk-cert".to_owned(), self.certificate.display().to_string()]);
        flags.extend(["--zk-key".to_owned(), self.key.display().to_string()]);
        flags
    }

    pub fn flags_without_identity(&self) -> Vec<String> {
        vec!["--zk-ca".to_owned(), self.ca.display().to_string()]
    }
}

/// What a server is given: its key with its certificate, and whom it trusts.
pub struct ServerFiles {
    keystore: PathBuf,
    truststore: PathBuf,
}

impl ServerFiles {
    pub fn write(folder: &Path, ca: &Authority, signed: &Signed) -> Result<Self> {
        let files = Self { keystore: folder.join("server.pem"), truststore: folder.join("trusted.pem") };
        ca.write(&files.truststore)?;
        secret(&files.keystore, &format!("{}{}", signed.key, signed.certificate))?;
        Ok(files)
    }

    /// Lines of zoo.cfg.
    pub fn lines(&self, port: u16, client_auth: &str) -> Vec<String> {
        vec![
            "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory".to_owned(),
            "secureClientPortAddress=127.0.0.1".to_owned(),
            format!("secureClientPort={port}"),
            format!("ssl.keyStore.location={}", self.keystore.display()),
            "ssl.keyStore.type=PEM".to_owned(),
            format!("ssl.trustStore.location={}", self.truststore.display()),
            "ssl.trustStore.type=PEM".to_owned(),
            format!("ssl.clientAuth={client_auth}"),
            // Which host a client is on is none of a certificate's business here.
            "ssl.hostnameVerification=false".to_owned(),
        ]
    }
}

/// Writes a file that only its owner may read.
pub fn secret(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o600))?)
}
