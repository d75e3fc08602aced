//! TLS: both protocols, client certificates, replacement of the certificate.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use net::{
    ClientAuth, ClientAuthorities, ClientCertificate, ReloadingTls, ServeSettings, TlsSettings, TlsVersion,
    install_provider,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Client, Routes, Server, within};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn below(&self) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "between");
        Authority(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    fn issue(&self, common_name: &str) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    fn write(&self, directory: &Path, common_name: &str) {
        let (certificate, key) = self.issue(common_name);
        std::fs::write(directory.join("tls.crt"), certificate.pem()).unwrap();
        std::fs::write(directory.join("tls.key"), key.serialize_pem()).unwrap();
        std::fs::write(directory.join("ca.crt"), self.0.pem()).unwrap();
    }

    fn client(&self, alpn: &str, identity: Option<(rcgen::Certificate, KeyPair)>) -> TlsConnector {
        self.client_with(alpn, identity, &[])
    }

    fn client_with(
        &self,
        alpn: &str,
        identity: Option<(rcgen::Certificate, KeyPair)>,
        sent_with_it: &[&Authority],
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                let chain = [certificate.der()].into_iter().chain(sent_with_it.iter().map(|issuer| issuer.0.der()));
                builder.with_client_auth_cert(chain.cloned().collect(), key).unwrap()
            }
        };
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}

fn settings(directory: &Path, client_auth: ClientAuth, verify: bool) -> TlsSettings {
    TlsSettings {
        certificate: directory.join("tls.crt"),
        key: directory.join("tls.key"),
        client_cas: if verify { vec![directory.join("ca.crt")] } else { Vec::new() },
        client_auth,
        minimum_version: TlsVersion::V1_2,
        cipher_suites: Vec::new(),
        http2: true,
    }
}

async fn connect(server: &Server, connector: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(&server.address).await?;
    within(connector.connect(ServerName::try_from("localhost").unwrap(), stream)).await
}

fn leaf(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn both_protocols_copy_files_and_a_new_certificate_is_seen_at_once() {
    install_provider();
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    authority.write(directory.path(), "one");
    let tls = Arc::new(ReloadingTls::load(settings(directory.path(), ClientAuth::Require, false)).unwrap());
    let routes = Routes::new(3 << 20);
    let server = Server::start(&routes, Some(tls.clone()), ServeSettings::new()).await;
    let size = routes.content.len();

    let stream = connect(&server, &authority.client("http/1.1", None)).await.unwrap();
    let before = leaf(&stream);
    let mut h1 = Client::new(stream);
    for length in [0, 1, 70_000, size] {
        assert!(h1.get(&format!("/range/0/{length}")).await == routes.content[..length]);
    }
    assert_eq!(h1.get("/sent").await, b"0");

    let stream = TokioIo::new(connect(&server, &authority.client("h2", None)).await.unwrap());
    let (mut h2, connection) =
        hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("https://x/range/0/{size}")).body(Empty::new()).unwrap();
    let body = within(h2.send_request(request)).await.unwrap().into_body();
    assert!(within(body.collect()).await.unwrap().to_bytes() == routes.content);

    authority.write(directory.path(), "two");
    assert!(tls.reload_if_changed().unwrap());
    let after = leaf(&connect(&server, &authority.client("http/1.1", None)).await.unwrap());
    assert_ne!(before, after);
    assert_eq!(h1.get("/range/0/5").await, routes.content[..5], "open connections live on");
    drop((h1, h2));
    assert_eq!(server.end().await.cut, 0);
}

#[tokio::test]
async fn client_certificates_are_judged_as_configured() {
    install_provider();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    authority.write(directory.path(), "server");
    let routes = Routes::new(1);
    // What `/who` answers to: nobody, a known certificate, a certificate of another authority.
    let (none, known, foreign) = ("None", r#"Some((Some("kubelet"), true))"#, r#"Some((Some("kubelet"), false))"#);
    for (client_auth, expected) in [
        (ClientAuth::Require, [None, Some(known), None]),
        (ClientAuth::VerifyIfGiven, [Some(none), Some(known), None]),
        (ClientAuth::RequireAny, [None, Some(foreign), Some(foreign)]),
        (ClientAuth::Request, [Some(none), Some(foreign), Some(foreign)]),
    ] {
        let tls = ReloadingTls::load(settings(directory.path(), client_auth, true)).unwrap();
        let server = Server::start(&routes, Some(Arc::new(tls)), ServeSettings::new()).await;
        let identities = [None, Some(authority.issue("kubelet")), Some(stranger.issue("kubelet"))];
        for (identity, expected) in identities.into_iter().zip(expected) {
            assert_eq!(
                who(&server, &authority.client("http/1.1", identity)).await.as_deref(),
                expected,
                "{client_auth:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_handler_can_judge_the_chain_that_a_client_sent() {
    install_provider();
    let (root, stranger, directory) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    root.write(directory.path(), "server");
    let tls = ReloadingTls::load(settings(directory.path(), ClientAuth::Request, false)).unwrap();
    let server = Server::start(&Routes::new(1), Some(Arc::new(tls)), ServeSettings::new()).await;
    let trust = ClientAuthorities::from_pem(root.0.pem().as_bytes()).unwrap();
    let between = root.below();
    let many = vec![&between; 20];
    for (issuer, sent_with_it, kept, expected) in [
        (&root, &[][..], 0, true),
        (&stranger, &[], 0, false),
        (&between, &[], 0, false),
        (&between, &[&between], 1, true),
        (&between, &many, 6, true),
    ] {
        let connector = root.client_with("http/1.1", Some(issuer.issue("proxy")), sent_with_it);
        let mut client = Client::new(connect(&server, &connector).await.unwrap());
        let chain = String::from_utf8(client.get("/chain").await).unwrap();
        let mut chain: Vec<_> = chain.lines().map(bytes_of).collect();
        let certificate = ClientCertificate::new(chain.remove(0), chain, false);
        assert_eq!(certificate.common_name.as_deref(), Some("proxy"));
        assert_eq!(certificate.intermediates.len(), kept);
        assert_eq!(trust.vouches_for(&certificate, SystemTime::now()), expected);
    }
}

fn bytes_of(hexadecimal: &str) -> Vec<u8> {
    (0..hexadecimal.len()).step_by(2).map(|at| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap()).collect()
}

/// In TLS 1.3 a client learns only with its first read that its certificate was refused.
async fn who(server: &Server, connector: &TlsConnector) -> Option<String> {
    use tokio::io::AsyncWriteExt;
    let mut client = Client::new(connect(server, connector).await.ok()?);
    client.stream.write_all(b"GET /who HTTP/1.1\r\nhost: x\r\n\r\n").await.ok()?;
    let (_, body) = client.answer().await.ok()?;
    String::from_utf8(body).ok()
}

#[tokio::test]
async fn a_handshake_has_a_time_limit() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    authority.write(directory.path(), "server");
    let tls = ReloadingTls::load(settings(directory.path(), ClientAuth::Require, false)).unwrap();
    let settings = ServeSettings { handshake_timeout: Duration::from_millis(50), ..ServeSettings::new() };
    let counters = settings.counters.clone();
    let server = Server::start(&Routes::new(1), Some(Arc::new(tls)), settings).await;
    assert!(server.connect().await.is_closed().await);
    assert_eq!(counters.handshake_failures.load(Ordering::Relaxed), 1);
}
