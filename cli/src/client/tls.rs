//! TLS to a launcher: the host's own certificate authorities (`SSL_CERT_FILE` names others), beside the public ones.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where distributions keep them.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

pub(super) async fn wrap(stream: TcpStream, host: &str) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots()?)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

fn roots() -> io::Result<RootCertStore> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let file = match &named {
        Some(file) => Some(file.clone()),
        None => BUNDLES.iter().map(PathBuf::from).find(|file| file.is_file()),
    };
    let Some(file) = file else { return Ok(roots) };
    let failed = |error: &dyn std::fmt::Display| {
        io::Error::other(format!("certificates of {}: {error}", file.display()))
    };
    match CertificateDer::pem_file_iter(&file) {
        Ok(certificates) => {
            // A bundle may hold what we cannot read; one that was named must not be wholly unreadable.
            let (added, _) = roots.add_parsable_certificates(certificates.filter_map(Result::ok));
            if added == 0 && named.is_some() {
                return Err(failed(&"there are none in it"));
            }
        }
        Err(error) if named.is_some() => return Err(failed(&error)),
        Err(_) => {}
    }
    Ok(roots)
}
