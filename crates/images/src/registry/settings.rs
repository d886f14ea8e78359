//! `registries.toml`: how registries are reached, and what pulling may take.

use super::keyring::Credential;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How registries are reached, and what pulling may take. The default is what holds without a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Images that are pulled at a time.
    pub parallel_pulls: usize,
    /// How long a registry may send nothing.
    pub idle_timeout: Duration,
    /// What an image may take, compressed as well as unpacked, in bytes.
    pub max_image_bytes: u64,
    /// When images that nobody uses are removed.
    pub collection: CollectionSettings,
    registries: BTreeMap<String, RegistrySettings>,
}

/// When images that nobody uses are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectionSettings {
    /// How full the disk may become, in per cent, before images go. 100 switches this off.
    pub high_percent: u8,
    /// How full the disk is when no more have to go, in per cent.
    pub low_percent: u8,
    /// How long an image may be unused; none is for ever.
    pub max_unused: Option<Duration>,
}

impl Default for CollectionSettings {
    fn default() -> Self {
        Self { high_percent: 85, low_percent: 80, max_unused: None }
    }
}

/// How one registry is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RegistrySettings {
    pub(crate) plain_http: bool,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) mirrors: Vec<Mirror>,
    pub(crate) credential: Option<Credential>,
}

/// Another registry that has the same images, below a path of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirror {
    pub(crate) host: String,
    /// Empty, or ends with a slash.
    pub(crate) prefix: String,
}

/// Why `registries.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no TOML, or has keys or kinds of values that are not known.
    #[error("{} is not valid; docs/images.md has an example", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Its values contradict each other or are out of range.
    #[error("{} is not valid: {}", path.display(), mistakes.join("; "))]
    Values {
        /// The file.
        path: PathBuf,
        /// Every mistake.
        mistakes: Vec<String>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    parallel_pulls: Option<usize>,
    idle_timeout_seconds: Option<u64>,
    max_image_gib: Option<u64>,
    #[serde(default)]
    garbage_collection: CollectionTable,
    #[serde(default)]
    registries: BTreeMap<String, RegistryTable>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CollectionTable {
    high_percent: Option<u8>,
    low_percent: Option<u8>,
    max_unused_hours: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistryTable {
    #[serde(default)]
    plain_http: bool,
    ca: Option<PathBuf>,
    #[serde(default)]
    mirrors: Vec<String>,
    username: Option<String>,
    password: Option<String>,
    password_file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            parallel_pulls: 4,
            idle_timeout: Duration::from_secs(30),
            max_image_bytes: 64 << 30,
            collection: CollectionSettings::default(),
            registries: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Reads the file; what it does not say, or all when it is not there, is as by default.
    ///
    /// # Errors
    ///
    /// [`SettingsError`], with every mistake.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let fail = |source| SettingsError::Read { path: path.to_owned(), source };
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            read => read.map_err(fail)?,
        };
        let file: File = toml::from_str(&text)
            .map_err(|source| SettingsError::Malformed { path: path.to_owned(), source: Box::new(source) })?;
        let shared = std::fs::metadata(path).map_err(fail)?.permissions().mode() & 0o077 != 0;
        let mut mistakes = Vec::new();
        if shared && file.registries.values().any(|registry| registry.password.is_some()) {
            mistakes.push("it holds a password and others may read it: chmod 600, or use password_file".to_owned());
        }
        let settings = file.check(&mut mistakes);
        if mistakes.is_empty() { Ok(settings) } else { Err(SettingsError::Values { path: path.to_owned(), mistakes }) }
    }

    pub(crate) fn registry(&self, host: &str) -> RegistrySettings {
        self.registries.get(host).cloned().unwrap_or_default()
    }
}

impl File {
    fn check(self, mistakes: &mut Vec<String>) -> Settings {
        let usual = Settings::default();
        let parallel_pulls = self.parallel_pulls.unwrap_or(usual.parallel_pulls);
        let idle_seconds = self.idle_timeout_seconds.unwrap_or(usual.idle_timeout.as_secs());
        let max_gib = self.max_image_gib.unwrap_or(usual.max_image_bytes >> 30);
        for (name, fits, range) in [
            ("parallel_pulls", (1..=64).contains(&parallel_pulls), "from 1 to 64"),
            ("idle_timeout_seconds", (1..=3600).contains(&idle_seconds), "from 1 to 3600"),
            ("max_image_gib", (1..=1024).contains(&max_gib), "from 1 to 1024"),
        ] {
            if !fits {
                mistakes.push(format!("{name} must be {range}"));
            }
        }
        let collection = self.garbage_collection.check(mistakes);
        let mut registries = BTreeMap::new();
        for (host, table) in self.registries {
            let settings = table.check(&host, mistakes);
            if !crate::reference::is_host(&host) {
                mistakes.push(format!("[registries.{host:?}] is no registry: use a host name, with a port if need be"));
            }
            registries.insert(host, settings);
        }
        Settings {
            parallel_pulls,
            idle_timeout: Duration::from_secs(idle_seconds),
            max_image_bytes: max_gib.min(1 << 30) << 30,
            collection,
            registries,
        }
    }
}

impl CollectionTable {
    fn check(&self, mistakes: &mut Vec<String>) -> CollectionSettings {
        let usual = CollectionSettings::default();
        let high_percent = self.high_percent.unwrap_or(usual.high_percent);
        let low_percent = self.low_percent.unwrap_or(usual.low_percent);
        if high_percent > 100 || low_percent >= high_percent {
            mistakes
                .push("garbage_collection: low_percent must be below high_percent, which is at most 100".to_owned());
        }
        let max_unused = self.max_unused_hours.map(|hours| Duration::from_secs(hours.saturating_mul(3600)));
        if max_unused.is_some_and(|unused| unused.is_zero()) {
            mistakes.push("garbage_collection: max_unused_hours must be 1 or more; leave it out for ever".to_owned());
        }
        CollectionSettings { high_percent, low_percent, max_unused }
    }
}

impl RegistryTable {
    fn check(self, host: &str, mistakes: &mut Vec<String>) -> RegistrySettings {
        let mut wrong = |what: String| mistakes.push(format!("registries.{host:?}: {what}"));
        if self.plain_http && self.ca.is_some() {
            wrong("ca is of no use with plain_http".to_owned());
        }
        if let Some(ca) = self.ca.as_ref().filter(|ca| !ca.is_file()) {
            wrong(format!("ca {} is no file", ca.display()));
        }
        let mut mirrors = Vec::new();
        for text in self.mirrors {
            match Mirror::parse(&text) {
                Some(mirror) => mirrors.push(mirror),
                None => wrong(format!("mirror {text:?} is not of the form HOST[:PORT][/PATH]")),
            }
        }
        let password = match (self.password, self.password_file) {
            (Some(_), Some(_)) => {
                wrong("give password or password_file, not both".to_owned());
                None
            }
            (None, Some(file)) => match std::fs::read_to_string(&file) {
                Ok(text) => Some(text.trim_end_matches(['\n', '\r']).to_owned()),
                Err(error) => {
                    wrong(format!("password_file {} cannot be read: {error}", file.display()));
                    None
                }
            },
            (password, None) => password,
        };
        let credential = match (self.username, password) {
            (Some(username), Some(password)) => Some(Credential::Password { username, password }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                wrong("username and a password belong together".to_owned());
                None
            }
        };
        RegistrySettings { plain_http: self.plain_http, ca: self.ca, mirrors, credential }
    }
}

impl Mirror {
    fn parse(text: &str) -> Option<Self> {
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        let path = path.trim_matches('/');
        let fine =
            crate::reference::is_host(host) && (path.is_empty() || path.split('/').all(crate::reference::is_component));
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        fine.then(|| Self { host: host.to_owned(), prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, mode: u32) -> Result<Settings, SettingsError> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("registries.toml");
        std::fs::write(&path, text).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
        Settings::read(&path)
    }

    #[test]
    fn a_full_file_is_understood_and_a_missing_one_is_the_default() {
        assert_eq!(Settings::read(Path::new("/nowhere/registries.toml")).expect("no file"), Settings::default());
        let text = r#"
            parallel_pulls = 2
            idle_timeout_seconds = 7
            max_image_gib = 3
            [garbage_collection]
            high_percent = 70
            low_percent = 60
            max_unused_hours = 24
            [registries."127.0.0.1:5000"]
            plain_http = true
            [registries."docker.io"]
            mirrors = ["127.0.0.1:5000/hub"]
            username = "u"
            password = "p"
        "#;
        let settings = read(text, 0o600).expect("valid");
        assert_eq!(
            (settings.parallel_pulls, settings.idle_timeout.as_secs(), settings.max_image_bytes),
            (2, 7, 3 << 30)
        );
        assert_eq!(settings.collection.max_unused, Some(Duration::from_secs(86_400)));
        assert!(settings.registry("127.0.0.1:5000").plain_http && !settings.registry("elsewhere").plain_http);
        let hub = settings.registry("docker.io");
        assert_eq!(hub.mirrors, [Mirror { host: "127.0.0.1:5000".into(), prefix: "hub/".into() }]);
        assert_eq!(hub.credential, Some(Credential::Password { username: "u".into(), password: "p".into() }));
    }

    #[test]
    fn mistakes_are_refused_and_named() {
        let table = [
            ("insecure = true", "unknown field"),
            ("[registries.\"a.b\"]\nplainhttp = true", "unknown field"),
            ("parallel_pulls = \"x\"", "invalid type"),
            ("parallel_pulls = 0", "parallel_pulls must be"),
            ("[garbage_collection]\nhigh_percent = 80\nlow_percent = 80", "low_percent must be below"),
            ("[registries.\"http://a.b\"]", "is no registry"),
            ("[registries.\"a.b\"]\nca = \"/nowhere.pem\"", "is no file"),
            ("[registries.\"a.b\"]\nmirrors = [\"https://m\"]", "mirror \"https://m\" is not"),
            ("[registries.\"a.b\"]\nusername = \"u\"", "belong together"),
            ("[registries.\"a.b\"]\nusername = \"u\"\npassword_file = \"/nowhere\"", "cannot be read"),
            ("[registries.\"a.b\"]\nusername = \"u\"\npassword = \"p\"", "chmod 600"),
        ];
        for (text, word) in table {
            let error = read(text, 0o644).expect_err(text);
            let whole =
                format!("{error} {}", std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default());
            assert!(whole.contains(word) && whole.contains("registries.toml"), "{text}: {whole}");
        }
    }
}
