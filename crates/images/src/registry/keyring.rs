//! Credentials for registries, and which of them fit an image: the rules of Kubernetes' keyring.

use crate::digest::Digest;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, Engine as _};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;

/// What a registry is shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A user with a password.
    Password {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
    /// A token that tokens for one repository are got with.
    IdentityToken(String),
    /// A token that is shown as it is.
    RegistryToken(String),
}

impl Credential {
    /// What stands for it where it must not be kept: a digest of it and of the place it is for.
    #[must_use]
    pub fn fingerprint(&self, place: &str) -> Digest {
        let parts = match self {
            Self::Password { username, password } => ["password", username, password],
            Self::IdentityToken(token) => ["identity", token, ""],
            Self::RegistryToken(token) => ["registry", token, ""],
        };
        // JSON keeps the parts apart, whatever is in them.
        Digest::of(serde_json::json!([place, parts]).to_string().as_bytes())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { username, .. } => write!(f, "Password({username})"),
            Self::IdentityToken(_) => f.write_str("IdentityToken"),
            Self::RegistryToken(_) => f.write_str("RegistryToken"),
        }
    }
}

/// Why a document is no docker configuration.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// It is not JSON of the form.
    #[error("it is not valid JSON of the form that `docker login` writes")]
    Json(#[source] serde_json::Error),
    /// The field `auth` of an entry is not what it should be.
    #[error("auth of {place:?} is not base64 of USER:PASSWORD")]
    Auth {
        /// The entry.
        place: String,
    },
}

/// Credentials by the places that they are for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Keyring {
    entries: Vec<(Place, Credential)>,
}

/// `HOST[:PORT][/PATH]`; labels of the host may have wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    host: String,
    port: Option<String>,
    path: String,
}

#[derive(Deserialize)]
struct ConfigJson {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl Keyring {
    /// Adds what a Secret of type `kubernetes.io/dockerconfigjson` holds (`~/.docker/config.json`).
    ///
    /// # Errors
    ///
    /// [`KeyringError`]; nothing was added then.
    pub fn add_config_json(&mut self, document: &[u8]) -> Result<(), KeyringError> {
        let config: ConfigJson = serde_json::from_slice(document).map_err(KeyringError::Json)?;
        self.add(config.auths)
    }

    /// Adds what a Secret of type `kubernetes.io/dockercfg` holds (`~/.dockercfg`).
    ///
    /// # Errors
    ///
    /// [`KeyringError`]; nothing was added then.
    pub fn add_config(&mut self, document: &[u8]) -> Result<(), KeyringError> {
        self.add(serde_json::from_slice(document).map_err(KeyringError::Json)?)
    }

    fn add(&mut self, entries: BTreeMap<String, Entry>) -> Result<(), KeyringError> {
        let mut added = Vec::new();
        for (text, entry) in entries {
            let bad = || KeyringError::Auth { place: text.clone() };
            if let Some(credential) = entry.credential().map_err(|NotBase64| bad())? {
                added.push((Place::parse(&text), credential));
            }
        }
        self.entries.extend(added);
        Ok(())
    }

    /// The credentials for a repository of a registry, the most specific places first.
    #[must_use]
    pub fn lookup(&self, registry: &str, repository: &str) -> Vec<Credential> {
        let (host, port) = split_port(registry);
        let mut found: Vec<(&Place, &Credential)> =
            self.entries.iter().filter(|(place, _)| place.fits(host, port, repository)).map(|(p, c)| (p, c)).collect();
        found.sort_by_key(|(place, _)| (std::cmp::Reverse(place.path.len()), place.host.contains(['*', '?', '['])));
        let mut credentials: Vec<Credential> = Vec::new();
        for (_, credential) in found {
            if !credentials.contains(credential) {
                credentials.push(credential.clone());
            }
        }
        credentials
    }
}

/// The field `auth` cannot be read.
struct NotBase64;

impl Entry {
    fn credential(&self) -> Result<Option<Credential>, NotBase64> {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = filled(&self.identitytoken) {
            return Ok(Some(Credential::IdentityToken(token)));
        }
        if let Some(token) = filled(&self.registrytoken) {
            return Ok(Some(Credential::RegistryToken(token)));
        }
        if let Some(auth) = filled(&self.auth) {
            let auth = auth.trim();
            let bytes = BASE64_STANDARD.decode(auth).or_else(|_| BASE64_STANDARD_NO_PAD.decode(auth));
            let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(NotBase64)?;
            let (username, password) = text.split_once(':').ok_or(NotBase64)?;
            let (username, password) = (username.to_owned(), password.trim_end_matches('\0').to_owned());
            return Ok(Some(Credential::Password { username, password }));
        }
        let both = filled(&self.username).zip(filled(&self.password));
        Ok(both.map(|(username, password)| Credential::Password { username, password }))
    }
}

impl Place {
    fn parse(text: &str) -> Self {
        let text = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        let (authority, path) = text.split_once('/').unwrap_or((text, ""));
        let path = path.trim_matches('/');
        let (host, port) = split_port(authority);
        // `docker login` writes the first of the API's versions for its own registry.
        let hub = matches!(host, "index.docker.io" | "docker.io");
        let path = if hub && matches!(path, "v1" | "v2") { "" } else { path };
        let host = if hub { "docker.io" } else { host };
        Self { host: host.to_owned(), port: port.map(str::to_owned), path: path.to_owned() }
    }

    fn fits(&self, host: &str, port: Option<&str>, repository: &str) -> bool {
        let (own, asked): (Vec<_>, Vec<_>) = (self.host.split('.').collect(), host.split('.').collect());
        // As Kubernetes has it: a part of the path may end anywhere.
        self.port.as_deref() == port
            && own.len() == asked.len()
            && own.iter().zip(&asked).all(|(pattern, label)| glob(pattern.as_bytes(), label.as_bytes()))
            && repository.starts_with(&self.path)
    }
}

/// Whether a label fits a pattern with `*` and `?`, letters of either case alike.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=text.len()).any(|skipped| glob(rest, &text[skipped..])),
        (Some((b'?', rest)), Some((_, after))) => glob(rest, after),
        (Some((wanted, rest)), Some((found, after))) => wanted.eq_ignore_ascii_case(found) && glob(rest, after),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(port)),
        Some(_) | None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(config: &str, registry: &str, repository: &str) -> Vec<String> {
        let mut keyring = Keyring::default();
        keyring.add_config_json(config.as_bytes()).expect("valid");
        let user = |credential| match credential {
            Credential::Password { username, .. } => username,
            Credential::IdentityToken(token) | Credential::RegistryToken(token) => token,
        };
        keyring.lookup(registry, repository).into_iter().map(user).collect()
    }

    fn config(places: &[&str]) -> String {
        let entry = |place: &&str| ((*place).to_owned(), serde_json::json!({ "username": place, "password": "p" }));
        serde_json::json!({ "auths": places.iter().map(entry).collect::<serde_json::Map<_, _>>() }).to_string()
    }

    #[test]
    fn places_are_matched_as_kubernetes_does() {
        let table: [(&str, &str, &str, bool); 17] = [
            ("registry.io", "registry.io", "a/b", true),
            ("https://registry.io/", "registry.io", "a/b", true),
            ("registry.io", "other.io", "a", false),
            ("registry.io", "sub.registry.io", "a", false),
            ("*.registry.io", "sub.registry.io", "a", true),
            ("*.registry.io", "registry.io", "a", false),
            ("*.registry.io", "a.b.registry.io", "a", false),
            ("*.*.registry.io", "a.b.registry.io", "a", true),
            ("prefix.*.io", "prefix.registry.io", "a", true),
            ("*-good.registry.io", "prefix-good.registry.io", "a", true),
            ("registry.io:8080", "registry.io", "a", false),
            ("registry.io", "registry.io:8080", "a", false),
            ("*.registry.io:8080", "x.registry.io:8080", "a", true),
            ("registry.io/team", "registry.io", "team/app", true),
            ("registry.io/team", "registry.io", "other/app", false),
            ("https://index.docker.io/v1/", "docker.io", "library/busybox", true),
            ("registry.io/v2/x", "registry.io", "x", false),
        ];
        for (place, registry, repository, fits) in table {
            assert_eq!(
                !users(&config(&[place]), registry, repository).is_empty(),
                fits,
                "{place} {registry}/{repository}"
            );
        }
    }

    #[test]
    fn the_most_specific_comes_first_and_the_others_follow() {
        let config = config(&["r.io", "*.io", "r.io/team", "r.io/team/app"]);
        assert_eq!(users(&config, "r.io", "team/app"), ["r.io/team/app", "r.io/team", "r.io", "*.io"]);
    }

    #[test]
    fn every_form_of_entry_is_read() {
        let auth = BASE64_STANDARD.encode("u:p:q");
        for (entry, user) in [
            (format!("{{\"auth\":\"{auth}\"}}"), "u"),
            (format!("{{\"auth\":\"{}\"}}", auth.trim_end_matches('=')), "u"),
            ("{\"identitytoken\":\"i\",\"auth\":\"eDo=\"}".to_owned(), "i"),
            ("{\"registrytoken\":\"t\"}".to_owned(), "t"),
        ] {
            assert_eq!(users(&format!("{{\"auths\":{{\"r\":{entry}}}}}"), "r", "x"), [user]);
        }
        let mut old = Keyring::default();
        old.add_config(b"{\"r.io\":{\"username\":\"u\",\"password\":\"p\"}}").expect("valid");
        assert_eq!(old.lookup("r.io", "x").len(), 1);
        for bad in ["7", "{\"auths\":{\"r\":{\"auth\":\"%\"}}}", "{\"auths\":{\"r\":{\"auth\":\"dQ==\"}}}"] {
            assert!(Keyring::default().add_config_json(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fingerprint_tells_credentials_and_places_apart_and_debug_shows_no_secret() {
        let one = Credential::Password { username: "a".into(), password: "bc".into() };
        let other = Credential::Password { username: "ab".into(), password: "c".into() };
        assert_ne!(one.fingerprint("r"), other.fingerprint("r"));
        assert_ne!(one.fingerprint("r"), one.fingerprint("s"));
        assert!(!format!("{one:?}").contains("bc"));
    }
}
