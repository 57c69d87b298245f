//! TLS 1.3, and nothing older, for the doors that other machines come to, and for our own client.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::secret;

/// Why a certificate, key or authority cannot be used. Names the file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct TlsError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Which of the server's files an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its certificate.
    Certificate,
    /// The key to it.
    Key,
    /// The authority of its clients.
    ClientCa,
}

/// What the server shows and whom it trusts.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("client_ca", &self.clients.is_some()).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files: our certificate with its chain, its key, and the authority of our clients' certificates.
    ///
    /// A client without a certificate is not turned away here: it may show a token. Adds to `warnings` what works
    /// and is not as it should be.
    ///
    /// # Errors
    ///
    /// The first file that cannot be used.
    pub fn load(
        certificate: &Path,
        key: &Path,
        client_ca: Option<&Path>,
        warnings: &mut Vec<String>,
    ) -> Result<Tls, (Part, TlsError)> {
        let of = |part| move |error| (part, error);
        let chain = certificates(certificate).map_err(of(Part::Certificate))?;
        let key_der = private_key(key, warnings).map_err(of(Part::Key))?;
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| (Part::Certificate, at(certificate, error)))?;
        let clients = client_ca.map(client_verifier).transpose().map_err(of(Part::ClientCa))?;
        let builder = match &clients {
            Some(clients) => builder.with_client_cert_verifier(clients.clone()),
            None => builder.with_no_client_auth(),
        };
        let config = builder.with_single_cert(chain, key_der);
        let mut config = config.map_err(|error| (Part::Key, at(key, error)))?;
        // A resumed session would carry a certificate past the reload that took its authority away, and the cache
        // would cost memory for clients that connect once a day.
        config.send_tls13_tickets = 0;
        Ok(Tls { config: Arc::new(config), clients })
    }

    /// For the handshake.
    pub fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        self.config.clone().into()
    }

    /// The same for HTTP, which some clients speak only where the handshake has agreed on it.
    pub fn http_acceptor(&self) -> tokio_rustls::TlsAcceptor {
        let mut config = ServerConfig::clone(&self.config);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config).into()
    }

    /// Whether our authority for clients has signed this, and it is valid now.
    pub(super) fn trusts_client(&self, chain: &[CertificateDer<'static>]) -> bool {
        let (Some(clients), Some((leaf, others))) = (&self.clients, chain.split_first()) else {
            return false;
        };
        clients.verify_client_cert(leaf, others, UnixTime::now()).is_ok()
    }
}

/// What our own client trusts and shows.
///
/// # Errors
///
/// The first file that cannot be used.
pub fn client(ca: &Path, identity: Option<(&Path, &Path)>) -> Result<tokio_rustls::TlsConnector, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| at(ca, error))?
        .with_root_certificates(roots(ca)?);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let key_der = private_key(key, &mut Vec::new())?;
            builder.with_client_auth_cert(chain, key_der).map_err(|error| at(key, error))?
        }
    };
    Ok(Arc::new(config).into())
}

/// The name in `HOST:PORT` that the certificate of whoever answers there must be for.
///
/// # Errors
///
/// It is neither a DNS name nor an address.
pub fn server_name(host: &str) -> Result<ServerName<'static>, InvalidDnsNameError> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    ServerName::try_from(name.trim_start_matches('[').trim_end_matches(']').to_owned())
}

fn client_verifier(ca: &Path) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), Arc::new(ring::default_provider()))
        .allow_unauthenticated()
        .build()
        .map_err(|error| at(ca, error))
}

/// The authorities in a PEM file.
///
/// # Errors
///
/// It cannot be read, or holds none.
pub fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| at(path, error))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = secret::read(path).map_err(|error| at(path, error))?.bytes;
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|error| at(path, error))?;
    if certificates.is_empty() {
        return Err(at(path, "holds no certificate in PEM form (BEGIN CERTIFICATE)"));
    }
    Ok(certificates)
}

fn private_key(path: &Path, warnings: &mut Vec<String>) -> Result<PrivateKeyDer<'static>, TlsError> {
    let secret = secret::read(path).map_err(|error| at(path, error))?;
    warnings.extend(secret.warning);
    PrivateKeyDer::from_pem_slice(&secret.bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => at(path, "holds no private key in PEM form (BEGIN PRIVATE KEY)"),
        error => at(path, error),
    })
}

fn at(path: &Path, reason: impl fmt::Display) -> TlsError {
    TlsError { path: path.to_owned(), reason: reason.to_string() }
}
