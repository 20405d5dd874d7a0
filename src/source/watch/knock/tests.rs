//! Against servers that this process plays: every way in which TLS fails has its own words.

use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{SupportedProtocolVersion, version};

use super::*;
use crate::source::watch::credentials::testing::{Authority, EXPIRED, Pair, VALID};
use crate::source::watch::credentials::{Credentials, CredentialsConfig, TlsConfig, TlsIdentity};

const ANSWER: &str = "Zookeeper version: 3.9.3-x, built\nMode: standalone\n";

/// Whose client certificates a server wants.
type Wants<'a> = Option<&'a Authority>;

/// A server that answers every connection; gives `host:port`.
async fn server(own: &Pair, wants: Wants<'_>, versions: &[&'static SupportedProtocolVersion]) -> String {
    let provider = Arc::new(ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).expect("versions");
    let builder = match wants {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.certificate.clone()).expect("an authority");
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().expect("a verifier");
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(&own.certificate).expect("PEM").map(|c| c.expect("one")).collect();
    let key = PrivateKeyDer::from_pem_file(&own.key).expect("a key");
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).expect("a pair")));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                let mut word = [0; 4];
                stream.read_exact(&mut word).await?;
                stream.write_all(ANSWER.as_bytes()).await?;
                stream.shutdown().await
            });
        }
    });
    address
}

/// One without TLS, which takes a word or goes.
async fn plain_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut word = [0; 4];
            if stream.read_exact(&mut word).await.is_ok() && word == *b"srvr" {
                let _ = stream.write_all(ANSWER.as_bytes()).await;
            }
        }
    });
    address
}

fn credentials(ca: &Path, identity: Option<&Pair>, check_names: bool) -> Credentials {
    let identity = identity.map(|pair| TlsIdentity { certificate: pair.certificate.clone(), key: pair.key.clone() });
    let tls = Some(TlsConfig { ca: ca.to_owned(), identity, check_names });
    Credentials::load(&CredentialsConfig { tls, sasl: None }, &[]).expect("good files")
}

async fn told(server: &str, credentials: &Credentials) -> Result<String, String> {
    ask(server, credentials.tls(), "srvr").await.map_err(|cause| format!("{:?}: {}", cause.kind, cause.text))
}

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

#[tokio::test]
async fn a_servers_certificate_is_judged() {
    let folder = tempfile::tempdir().expect("a folder");
    let (authority, other) = (Authority::new(folder.path(), "ca"), Authority::new(folder.path(), "other"));
    let (trusting, strange) = (credentials(&authority.file, None, true), credentials(&other.file, None, true));
    let (any_name, any_stranger) = (credentials(&authority.file, None, false), credentials(&other.file, None, false));
    let good = server(&authority.sign("zk", &["127.0.0.1"], VALID), None, BOTH).await;
    let expired = server(&authority.sign("zk", &["127.0.0.1"], EXPIRED), None, BOTH).await;
    let future = server(&authority.sign("zk", &["127.0.0.1"], (2070, 2090)), None, BOTH).await;
    let misnamed = server(&authority.sign("misnamed", &["zk1.example", "10.0.0.1"], VALID), None, BOTH).await;
    let nameless = server(&authority.sign("nameless", &[], VALID), None, BOTH).await;
    assert_eq!(told(&good, &trusting).await.as_deref(), Ok(ANSWER));
    assert_eq!(told(&misnamed, &any_name).await.as_deref(), Ok(ANSWER));
    let tls = trusting.tls().expect("TLS");
    let looked = look(&good, tls).await.map_err(|cause| cause.text).expect("good");
    assert!(looked.starts_with("TLS 1.3, the server is ") && looked.contains("zk until 2080-01-01"), "{looked}");
    for (server, credentials, words) in [
        (&good, &strange, "no authority in "),
        (&good, &any_stranger, "has signed its certificate: give the one that did"),
        (&expired, &trusting, "its certificate expired on 2020-01-01 00:00:00 UTC"),
        (&expired, &any_name, "its certificate expired on"),
        (&future, &trusting, "valid only from 2070-01-01"),
        (&misnamed, &trusting, "its certificate names zk1.example, 10.0.0.1, not 127.0.0.1: name the server"),
        (&nameless, &trusting, "names no host at all (it has no subject alternative names), not 127.0.0.1"),
    ] {
        let error = told(server, credentials).await.expect_err(words);
        assert!(error.starts_with("Refused: ") && error.contains(words), "{error}, not {words}");
    }
}

#[tokio::test]
async fn a_server_judges_our_certificate() {
    let folder = tempfile::tempdir().expect("a folder");
    let (authority, other) = (Authority::new(folder.path(), "ca"), Authority::new(folder.path(), "other"));
    let own = authority.sign("zk", &["127.0.0.1"], VALID);
    let with = |pair: &Pair| credentials(&authority.file, Some(pair), true);
    let known = with(&authority.sign("agent", &[], VALID));
    let (stranger, nobody) = (with(&other.sign("agent", &[], VALID)), credentials(&authority.file, None, true));
    for versions in [&[&version::TLS13][..], &[&version::TLS12]] {
        let server = server(&own, Some(&authority), versions).await;
        assert_eq!(told(&server, &known).await.as_deref(), Ok(ANSWER));
        let error = told(&server, &nobody).await.expect_err("no certificate");
        assert!(error.starts_with("Refused: it wants a client certificate (TLS alert "), "{error}");
        let error = told(&server, &stranger).await.expect_err("a strange certificate");
        assert!(error.starts_with("Refused: it refuses our certificate") && error.contains("truststore"), "{error}");
    }
}

#[tokio::test]
async fn clear_text_and_tls_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path(), "ca");
    let secured = credentials(&authority.file, None, true);
    let (plain, tls) = (plain_server().await, server(&authority.sign("zk", &["127.0.0.1"], VALID), None, BOTH).await);
    assert_eq!(told(&plain, &Credentials::default()).await.as_deref(), Ok(ANSWER));
    let error = told(&plain, &secured).await.expect_err("TLS to a plain port");
    assert!(error.starts_with("Refused: it speaks plain text on this port: name its secureClientPort"), "{error}");
    assert!(speaks_tls(&tls).await && !speaks_tls(&plain).await);
    let error = told("127.0.0.1:1", &secured).await.expect_err("nobody listens");
    assert!(error.starts_with("Unreachable: "), "{error}");
}
