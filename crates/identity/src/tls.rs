//! TLS settings out of PEM texts.

use crate::{Credentials, IdentityError};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme, WantsVerifier,
    client::{
        WantsClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::sync::Arc;

/// The certificates in a PEM text.
///
/// # Errors
/// When the text is not PEM.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| IdentityError::Malformed(format!("a certificate is not PEM: {error}")))
}

/// SHA-256 of the first certificate (DER) in a PEM text, lower case hexadecimal digits.
///
/// # Errors
/// When the text holds no certificate.
pub fn fingerprint(pem: &str) -> Result<String, IdentityError> {
    let all = certificates(pem)?;
    let first = all.first().ok_or_else(|| IdentityError::Malformed("the PEM text holds no certificate".into()))?;
    Ok(crate::authority::sha256_hex(first))
}

fn roots(pem: &str) -> Result<Arc<RootCertStore>, IdentityError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem)? {
        store.add(certificate).map_err(IdentityError::Tls)?;
    }
    Ok(Arc::new(store))
}

fn key(credentials: &Credentials) -> Result<PrivateKeyDer<'static>, IdentityError> {
    PrivateKeyDer::from_pem_slice(credentials.key_pem.as_bytes())
        .map_err(|error| IdentityError::Malformed(format!("a private key is not PEM: {error}")))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Who may connect to a server.
#[derive(Debug, Clone, Copy)]
pub enum Clients<'a> {
    /// Anybody; those with a certificate of this authority (PEM) are known by it.
    Optional(&'a str),
    /// Only those with a certificate of this authority (PEM).
    Required(&'a str),
}

/// Settings of a server. `protocols` are ALPN names in order of preference, such as `h2`, `http/1.1`.
///
/// # Errors
/// When a PEM text is malformed or the key does not fit the certificate.
pub fn server(
    credentials: &Credentials,
    clients: Clients<'_>,
    protocols: &[&str],
) -> Result<Arc<ServerConfig>, IdentityError> {
    let builder =
        |pem| -> Result<_, IdentityError> { Ok(WebPkiClientVerifier::builder_with_provider(roots(pem)?, provider())) };
    let verifier = match clients {
        Clients::Optional(pem) => builder(pem)?.allow_unauthenticated().build(),
        Clients::Required(pem) => builder(pem)?.build(),
    }
    .map_err(|error| IdentityError::Malformed(format!("a client authority is of no use: {error}")))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(IdentityError::Tls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&credentials.certificate_pem)?, key(credentials)?)
        .map_err(IdentityError::Tls)?;
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

/// Settings of a client that trusts the authority `server_ca_pem` only.
///
/// # Errors
/// When a PEM text is malformed or the key does not fit the certificate.
pub fn client(
    server_ca_pem: &str,
    credentials: Option<&Credentials>,
    protocols: &[&str],
) -> Result<Arc<ClientConfig>, IdentityError> {
    let roots = roots(server_ca_pem)?;
    client_by(credentials, protocols, |builder| builder.with_root_certificates(roots))
}

/// Settings of a client that takes any server for the right one, where an administrator has asked for that.
///
/// # Errors
/// When a PEM text is malformed or the key does not fit the certificate.
pub fn client_of_anybody(
    credentials: Option<&Credentials>,
    protocols: &[&str],
) -> Result<Arc<ClientConfig>, IdentityError> {
    let anybody = Arc::new(Anybody(provider()));
    client_by(credentials, protocols, |builder| builder.dangerous().with_custom_certificate_verifier(anybody))
}

fn client_by(
    credentials: Option<&Credentials>,
    protocols: &[&str],
    verify: impl FnOnce(ConfigBuilder<ClientConfig, WantsVerifier>) -> ConfigBuilder<ClientConfig, WantsClientCert>,
) -> Result<Arc<ClientConfig>, IdentityError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(IdentityError::Tls)?;
    let builder = verify(builder);
    let mut config = match credentials {
        None => builder.with_no_client_auth(),
        Some(credentials) => builder
            .with_client_auth_cert(certificates(&credentials.certificate_pem)?, key(credentials)?)
            .map_err(IdentityError::Tls)?,
    };
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

/// Takes any certificate; that its owner has its key is checked nevertheless.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
