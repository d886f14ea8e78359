//! Authorities and what they issue.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use sha2::{Digest, Sha256};
use std::{fs, io, net::IpAddr, os::unix::fs::OpenOptionsExt, path::Path, time::Duration, time::SystemTime};
use time::OffsetDateTime;

/// How long an authority lives. Replacing one is a step of its own, so it is long.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How far certificates reach back, for clocks that differ.
const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// Why a certificate could not be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read or written.
    #[error("cannot {doing} {path}")]
    File {
        /// `read` or `write`.
        doing: &'static str,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Making or reading a key or certificate failed.
    #[error("cannot {doing}")]
    Certificate {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A PEM text does not hold what it should.
    #[error("{0}")]
    Malformed(String),
    /// TLS refused the certificate or key.
    #[error("TLS refuses the certificate or key")]
    Tls(#[source] rustls::Error),
}

pub(crate) fn certificate_error(doing: &'static str) -> impl Fn(rcgen::Error) -> IdentityError {
    move |source| IdentityError::Certificate { doing, source }
}

/// What a certificate is for.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The subject's common name: the user's name to a server.
    pub common_name: String,
    /// The subject's organization: the user's group to a server.
    pub organization: Option<String>,
    /// Names and addresses that a server has; empty for a client.
    pub alternative_names: Vec<String>,
    /// Whether it proves a client or a server.
    pub usage: Usage,
    /// How long it is valid from now.
    pub lifetime: Duration,
}

/// What a certificate proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Who calls.
    Client,
    /// Who answers.
    Server,
}

/// A certificate with its private key, as PEM texts.
#[derive(Clone)]
pub struct Credentials {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key. Never logged.
    pub key_pem: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

/// Signs certificates of one purpose.
pub struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

impl Authority {
    /// The authority kept as `NAME.crt` and `NAME.key` in `directory`; made on first use, once if several processes begin at
    /// the same time.
    ///
    /// # Errors
    /// When the files can't be read or written, or hold something else.
    pub fn load_or_create(directory: &Path, name: &str) -> Result<Self, IdentityError> {
        let certificate_path = directory.join(format!("{name}.crt"));
        let key_path = directory.join(format!("{name}.key"));
        if !certificate_path.exists() {
            create(directory, name, (&certificate_path, &key_path))?;
        }
        let certificate_pem = read(&certificate_path)?;
        let key = KeyPair::from_pem(&read(&key_path)?).map_err(certificate_error("read an authority's key"))?;
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, key)
            .map_err(certificate_error("read an authority's certificate"))?;
        Ok(Self { certificate_pem, issuer })
    }

    /// PEM of the authority's certificate: what its clients trust.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// SHA-256 of the authority's certificate (DER), lower case hexadecimal digits.
    ///
    /// # Errors
    /// Never for an authority that was loaded; the PEM is parsed again.
    pub fn fingerprint(&self) -> Result<String, IdentityError> {
        crate::tls::fingerprint(&self.certificate_pem)
    }

    /// A new key and its certificate.
    ///
    /// # Errors
    /// When a name in the profile is not one.
    pub fn issue(&self, profile: &Profile) -> Result<Credentials, IdentityError> {
        let key = KeyPair::generate().map_err(certificate_error("make a key"))?;
        let certificate =
            params(profile)?.signed_by(&key, &self.issuer).map_err(certificate_error("sign a certificate"))?;
        Ok(Credentials { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// Signs the key of a signing request. Only the key is taken from the request: whom it names is `profile`'s word.
    ///
    /// # Errors
    /// When the request is not one or its signature does not fit its key.
    pub fn sign_request(&self, request_pem: &str, profile: &Profile) -> Result<String, IdentityError> {
        let request = CertificateSigningRequestParams::from_pem(request_pem)
            .map_err(certificate_error("read a certificate signing request"))?;
        let request = CertificateSigningRequestParams { params: params(profile)?, public_key: request.public_key };
        let certificate = request.signed_by(&self.issuer).map_err(certificate_error("sign a certificate"))?;
        Ok(certificate.pem())
    }
}

/// Makes an authority's key and certificate, unless another process did so while this one waited for its turn.
fn create(directory: &Path, name: &str, (certificate_path, key_path): (&Path, &Path)) -> Result<(), IdentityError> {
    let failed = |source| IdentityError::File { doing: "lock", path: directory.display().to_string(), source };
    // The lock ends with the file.
    let turn = fs::File::open(directory).map_err(failed)?;
    turn.lock().map_err(failed)?;
    if certificate_path.exists() {
        return Ok(());
    }
    let key = KeyPair::generate().map_err(certificate_error("make an authority's key"))?;
    let certificate =
        authority_params(name).self_signed(&key).map_err(certificate_error("sign an authority's certificate"))?;
    // The certificate is written last: it is what tells that the pair is complete.
    write_private(key_path, &key.serialize_pem())?;
    write_private(certificate_path, &certificate.pem())
}

/// A new key and a request to sign it: `(key_pem, request_pem)`. The signer decides on the names.
///
/// # Errors
/// When no key can be made.
pub fn new_signing_request(common_name: &str) -> Result<(String, String), IdentityError> {
    let key = KeyPair::generate().map_err(certificate_error("make a key"))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(common_name, None);
    let request = params.serialize_request(&key).map_err(certificate_error("make a signing request"))?;
    Ok((key.serialize_pem(), request.pem().map_err(certificate_error("write a signing request"))?))
}

/// When a certificate ends.
///
/// # Errors
/// When the text is no certificate.
pub fn not_after(certificate_pem: &str) -> Result<SystemTime, IdentityError> {
    let der = crate::tls::certificates(certificate_pem)?;
    let first = der.first().ok_or_else(|| IdentityError::Malformed("the PEM text holds no certificate".into()))?;
    let (_, certificate) = x509_parser::parse_x509_certificate(first)
        .map_err(|error| IdentityError::Malformed(format!("the certificate is malformed: {error}")))?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn distinguished_name(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name
}

fn authority_params(name: &str) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(&format!("orrery {name}"), None);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = now - BACKDATE;
    params.not_after = now + AUTHORITY_LIFETIME;
    params
}

fn params(profile: &Profile) -> Result<CertificateParams, IdentityError> {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(&profile.common_name, profile.organization.as_deref());
    params.not_before = now - BACKDATE;
    params.not_after = now + profile.lifetime;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![match profile.usage {
        Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
        Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
    }];
    for name in &profile.alternative_names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(
                name.as_str().try_into().map_err(certificate_error("use an alternative name of a certificate"))?,
            ),
        });
    }
    Ok(params)
}

pub(crate) fn read(path: &Path) -> Result<String, IdentityError> {
    fs::read_to_string(path).map_err(|source| IdentityError::File {
        doing: "read",
        path: path.display().to_string(),
        source,
    })
}

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), IdentityError> {
    let temporary = path.with_extension("new");
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| IdentityError::File { doing: "write", path: path.display().to_string(), source })
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_begin_at_the_same_time_have_the_same_authority() {
        let directory = tempfile::tempdir().unwrap();
        let load = || Authority::load_or_create(directory.path(), "a").unwrap().certificate_pem().to_owned();
        let all: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(all.iter().all(|pem| *pem == all[0]));
    }

    fn profile(usage: Usage) -> Profile {
        Profile {
            common_name: "system:node:host-1".into(),
            organization: Some("system:nodes".into()),
            alternative_names: vec!["127.0.0.1".into(), "host-1".into()],
            usage,
            lifetime: Duration::from_secs(3600),
        }
    }

    #[test]
    fn an_authority_is_the_same_after_reopening() {
        let directory = tempfile::tempdir().unwrap();
        let first = Authority::load_or_create(directory.path(), "clients").unwrap();
        let second = Authority::load_or_create(directory.path(), "clients").unwrap();
        assert_eq!(first.certificate_pem(), second.certificate_pem());
        assert_eq!(first.fingerprint().unwrap().len(), 64);
    }

    #[test]
    fn a_signed_request_says_what_the_profile_says_and_not_what_was_asked() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_create(directory.path(), "clients").unwrap();
        let (_, request) = new_signing_request("system:masters").unwrap();
        let certificate = authority.sign_request(&request, &profile(Usage::Client)).unwrap();
        let der = crate::tls::certificates(&certificate).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&der[0]).unwrap();
        let names: Vec<_> = parsed.subject().iter_common_name().map(|n| n.as_str().unwrap()).collect();
        let groups: Vec<_> = parsed.subject().iter_organization().map(|n| n.as_str().unwrap()).collect();
        assert_eq!(names, ["system:node:host-1"]);
        assert_eq!(groups, ["system:nodes"]);
    }

    #[test]
    fn a_certificate_ends_when_its_lifetime_does() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_create(directory.path(), "serving").unwrap();
        let issued = authority.issue(&profile(Usage::Server)).unwrap();
        let left = not_after(&issued.certificate_pem).unwrap().duration_since(SystemTime::now()).unwrap();
        assert!(left <= Duration::from_secs(3600) && left > Duration::from_secs(3500), "{left:?}");
    }
}
