//! TLS on the TCP listener, with certificates made here.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::ServerName;

use super::*;
use crate::access::tls::{Tls, client};

/// A folder of certificates, and the authorities that signed them.
struct Folder {
    path: tempfile::TempDir,
    ours: CertifiedIssuer<'static, KeyPair>,
    other: CertifiedIssuer<'static, KeyPair>,
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl Folder {
    fn new() -> Folder {
        let folder = Folder { path: tempfile::tempdir().unwrap(), ours: authority(), other: authority() };
        std::fs::write(folder.file("ca.pem"), folder.ours.pem()).unwrap();
        std::fs::write(folder.file("other-ca.pem"), folder.other.pem()).unwrap();
        folder.sign("server", &["localhost", "127.0.0.1"], &folder.ours);
        folder.sign("client", &["bridge.example"], &folder.ours);
        folder.sign("unnamed", &["stranger.example"], &folder.ours);
        folder.sign("foreign", &["bridge.example"], &folder.other);
        folder
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.path().join(name)
    }

    /// Writes `NAME.pem` and `NAME.key` for these names.
    fn sign(&self, name: &str, names: &[&str], by: &CertifiedIssuer<'static, KeyPair>) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, by).unwrap();
        std::fs::write(self.file(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// A roster that shows `server` and knows one token and one certificate.
    fn roster(&self, server: &str, client_ca: &str, token: &str) -> Access {
        let mut roster = Roster::default();
        let (certificate, key) = (self.file(&format!("{server}.pem")), self.file(&format!("{server}.key")));
        let mut warnings = Vec::new();
        let tls = Tls::load(&certificate, &key, Some(&self.file(client_ca)), &mut warnings).unwrap();
        assert!(warnings.iter().all(|warning| warning.contains("chmod o-rwx")), "{warnings:?}");
        roster.set_tls(tls);
        assert!(roster.add_token(token, grant("token", None)));
        let name = ServerName::try_from("bridge.example").unwrap();
        roster.add_certificate(name, grant("certificate", None));
        Access::new(roster)
    }

    async fn connect(
        &self,
        host: &str,
        ca: &str,
        identity: Option<&str>,
        token: &str,
    ) -> Result<Client, ClientError> {
        let files =
            identity.map(|name| (self.file(&format!("{name}.pem")), self.file(&format!("{name}.key"))));
        let identity = files.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
        let connector = client(&self.file(ca), identity).unwrap();
        let introduction = Introduction { token: token.into(), ..introduction("desk") };
        Client::connect_tls(host, &connector, introduction).await
    }
}

struct Served {
    memory: Arc<Memory>,
    access: Arc<Access>,
    host: String,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<io::Result<()>>,
}

fn serve(access: Access) -> Served {
    let access = Arc::new(access);
    let tcp = Some("127.0.0.1:0".parse().unwrap());
    let config = Config { tcp, access: access.clone(), ..Config::default() };
    let listener = Listener::bind(config).unwrap();
    let host = listener.tcp_address().unwrap().to_string();
    let (memory, stop) = (Memory::new(), watch::Sender::new(false));
    let task = tokio::spawn(listener.serve(memory.hub(), stop.subscribe()));
    Served { memory, access, host, stop, task }
}

impl Served {
    async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap().unwrap();
    }
}

fn reason(came: Result<Client, ClientError>) -> String {
    came.err().expect("not let in").to_string()
}

#[tokio::test]
async fn a_certificate_or_a_token_opens_the_listener_and_nothing_else_does() {
    let folder = Folder::new();
    let served = serve(folder.roster("server", "ca.pem", "swordfish"));
    let host = served.host.as_str();
    served.memory.record(&[1]);
    let mut client = folder.connect(host, "ca.pem", Some("client"), "").await.unwrap();
    assert_eq!(client.next().await.unwrap().seq, 1);
    client.ack(&[1]).await.unwrap();
    assert!(matches!(client.next_event().await, Ok(crate::wire::Event::Acked(seqs)) if seqs == [1]));
    drop(folder.connect(host, "ca.pem", None, "swordfish").await.unwrap());
    // A certificate that nobody named is like none; a token counts beside it.
    assert!(reason(folder.connect(host, "ca.pem", Some("unnamed"), "").await).contains("asks for a token"));
    drop(folder.connect(host, "ca.pem", Some("unnamed"), "swordfish").await.unwrap());
    assert!(reason(folder.connect(host, "ca.pem", None, "").await).contains("asks for a token"));
    assert!(reason(folder.connect(host, "ca.pem", None, "swordfist").await).contains("wrong token"));
    // Signed by somebody else: no conversation at all.
    let refused = reason(folder.connect(host, "ca.pem", Some("foreign"), "swordfish").await);
    assert!(refused.contains("UnknownCA") || refused.contains("connection lost"), "{refused}");
    // The client looks as closely: at the authority, and at the name.
    assert!(reason(folder.connect(host, "other-ca.pem", None, "swordfish").await).contains("certificate"));
    // Without TLS there is nobody.
    let plain = Client::connect(&Address::Tcp(host.to_owned()), introduction("desk")).await;
    assert!(plain.is_err());
    served.stop().await;
}

#[tokio::test]
async fn tls_older_than_1_3_is_not_spoken() {
    let folder = Folder::new();
    let served = serve(folder.roster("server", "ca.pem", "swordfish"));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(folder.ours.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let shake = async |version: &'static rustls::SupportedProtocolVersion| {
        let config = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let stream = tokio::net::TcpStream::connect(&served.host).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.map(drop)
    };
    assert!(shake(&rustls::version::TLS13).await.is_ok());
    let refused = shake(&rustls::version::TLS12).await.unwrap_err().to_string();
    assert!(refused.contains("ProtocolVersion"), "{refused}");
    served.stop().await;
}

/// New connections see the new certificate; those of clients whose authority is gone are closed, others stay.
#[tokio::test]
async fn certificates_are_replaced_while_clients_are_connected() {
    let folder = Folder::new();
    folder.sign("next", &["localhost", "127.0.0.1"], &folder.other);
    let served = serve(folder.roster("server", "ca.pem", "swordfish"));
    let host = served.host.as_str();
    let mut by_certificate = folder.connect(host, "ca.pem", Some("client"), "").await.unwrap();
    let mut by_token = folder.connect(host, "ca.pem", None, "swordfish").await.unwrap();
    served.access.replace(&folder.roster("next", "other-ca.pem", "swordfish"));
    let waited = tokio::time::timeout(Duration::from_secs(600), by_certificate.next()).await;
    let farewell = waited.expect("a goodbye").unwrap_err();
    assert!(matches!(&farewell, ClientError::Goodbye { code: Code::TokenRefused, .. }), "{farewell}");
    served.memory.record(&[1]);
    assert_eq!(by_token.next().await.unwrap().seq, 1);
    by_token.ack(&[1]).await.unwrap();
    assert!(folder.connect(host, "ca.pem", None, "swordfish").await.is_err(), "the old one is shown no more");
    drop(folder.connect(host, "other-ca.pem", Some("foreign"), "").await.unwrap());
    served.stop().await;
}

/// It connects and shakes no hand: the handshake counts into the time for a hello.
#[tokio::test(start_paused = true)]
async fn a_handshake_that_never_comes_ends_with_the_time_for_a_hello() {
    let folder = Folder::new();
    let (gates, stop) = (Gates::new(&Config::default()), watch::Sender::new(false));
    let guests = Guests {
        hub: Memory::new().hub(),
        terms: Arc::default(),
        access: Arc::new(folder.roster("server", "ca.pem", "swordfish")),
        reachable: true,
        gate: gates.tcp.clone(),
        stop: stop.subscribe(),
    };
    let place = gates.tcp.enter(Peer::User(1)).await.unwrap();
    let (mut silent, theirs) = tokio::io::duplex(4096);
    let since = tokio::time::Instant::now();
    let received = tokio::spawn(receive::<Network>(theirs, place, guests));
    silent.write_all(&[0x16, 0x03]).await.unwrap();
    received.await.unwrap();
    assert_eq!(since.elapsed(), Terms::default().handshake_max);
    assert_eq!(gates.counts().connections, 0);
}

/// A door to the network whose streams are pipes.
struct Network;

impl Door for Network {
    type Stream = DuplexStream;

    const IS_NETWORK: bool = true;

    async fn admit(&self) -> io::Result<(DuplexStream, Peer)> {
        std::future::pending().await
    }
}

#[test]
fn a_file_that_is_no_certificate_or_key_is_named() {
    let folder = Folder::new();
    std::fs::write(folder.file("empty"), "").unwrap();
    let check = |certificate: &str, key: &str, ca: &str, expected: &str| {
        let (certificate, key, ca) = (folder.file(certificate), folder.file(key), folder.file(ca));
        let (_, error) = Tls::load(&certificate, &key, Some(&ca), &mut Vec::new()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    };
    check("missing", "server.key", "ca.pem", "missing: No such file");
    check("empty", "server.key", "ca.pem", "empty: holds no certificate");
    check("server.pem", "server.pem", "ca.pem", "server.pem: holds no private key");
    check("server.pem", "client.key", "ca.pem", "client.key: ");
    check("server.pem", "server.key", "empty", "empty: holds no certificate");
}
