//! Pulls images from registries: Debian's own, and one that does as it is told.

// The tests of imports use more of it.
#[allow(dead_code)]
#[path = "../import/archives.rs"]
mod archives;
mod content;
mod fake;
mod faults;
mod real;
mod stays;
#[path = "../support/mod.rs"]
mod support;

use archives::Item::{Plain, Symlink};
use content::Content;
use fake::{Fake, Reply};
use orrery_images::registry::{self, Keyring, PullError, PulledImage, Settings};
use orrery_images::{Digest, ImageStore, Progress, Reference};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use support::{extract, hindrance};

pub(crate) struct Bench {
    directory: tempfile::TempDir,
    pub(crate) store: ImageStore,
    pub(crate) progress: Arc<Mutex<Vec<Progress>>>,
}

impl Bench {
    pub(crate) fn new() -> Option<Self> {
        if let Some(why) = hindrance() {
            orrery_testing::skipped(why);
            return None;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = ImageStore::open(&directory.path().join("images")).expect("open");
        Some(Self { directory, store, progress: Arc::default() })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What `registries.toml` with this text sets.
    pub(crate) fn settings(&self, text: &str) -> Settings {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path("registries.toml");
        fs::write(&path, text).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        Settings::read(&path).expect("valid settings")
    }

    pub(crate) async fn pull(&self, settings: &str, name: &str, keyring: &Keyring) -> Result<PulledImage, PullError> {
        let (settings, name) = (self.settings(settings), Reference::parse(name).expect("a name"));
        let told = self.progress.clone();
        let show = Arc::new(move |progress| told.lock().expect("no panic holds it").push(progress));
        registry::pull(&self.store, &settings, &name, keyring, show).await
    }

    /// The files of an image with their contents.
    pub(crate) fn look(&self, name: &str) -> BTreeMap<String, String> {
        let image = self.store.resolve(name).expect("it was pulled");
        let tree = self.path("tree");
        extract(&image.erofs_path, &tree);
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&tree).expect("read") {
            let entry = entry.expect("read");
            let content = fs::read_to_string(entry.path()).unwrap_or_default();
            found.insert(entry.file_name().to_string_lossy().into_owned(), content);
        }
        fs::remove_dir_all(&tree).expect("remove");
        found
    }

    pub(crate) fn assert_nothing_left(&self) {
        for directory in ["staging", "erofs", "blobs/sha256"] {
            let left = fs::read_dir(self.path("images").join(directory)).expect("read").count();
            assert_eq!(left, 0, "something is left in {directory}");
        }
        assert!(self.store.list().expect("the store").is_empty());
    }
}

pub(crate) fn plain(host: &str) -> String {
    format!("[registries.{host:?}]\nplain_http = true\n")
}

/// Credentials of `robot` for a host.
pub(crate) fn robot(host: &str, password: &str) -> Keyring {
    let mut keyring = Keyring::default();
    let config = serde_json::json!({ "auths": { host: { "username": "robot", "password": password } } });
    keyring.add_config_json(config.to_string().as_bytes()).expect("valid");
    keyring
}

pub(crate) fn two_layers() -> Content {
    Content::new(&[
        &[Plain("lower"), Plain("hidden")],
        &[Plain(".wh.hidden"), Plain("upper"), Symlink("link", "lower")],
    ])
}

#[tokio::test]
async fn an_image_is_pulled_from_debians_registry_and_only_once() {
    let Some(bench) = Bench::new() else { return };
    if let Some(why) = real::hindrance() {
        return orrery_testing::skipped(why);
    }
    let content = two_layers();
    content.store(&bench.path("registry"), "team/app", "1");
    let registry = real::Registry::start(&bench.path("registry"), false, "");
    let (settings, name) = (plain(&registry.host), format!("{}/team/app:1", registry.host));
    let pulled = bench.pull(&settings, &name, &Keyring::default()).await.expect("pulled");
    assert_eq!((&pulled.digest, &pulled.id, pulled.was_present), (&content.tag, &content.config, false));
    let files: Vec<_> = bench.look(&name).into_keys().collect();
    assert_eq!(files, ["link", "lower", "upper"]);
    let image = bench.store.resolve(&name).expect("there");
    assert_eq!(image.pinned(), format!("{}/team/app@{}", registry.host, content.tag));
    assert!(image.access.allows(&[]), "what was pulled openly is for everybody");
    let told = bench.progress.lock().expect("no panic holds it").clone();
    assert!(
        told.iter().any(|progress| matches!(progress, Progress::Downloading { bytes, of } if bytes == of)),
        "{told:?}"
    );
    let again = bench.pull(&settings, &name, &Keyring::default()).await.expect("pulled");
    assert!(again.was_present && again.downloaded_bytes < pulled.downloaded_bytes);
    // By its digest too; and a digest that is not there is told.
    let pinned = bench.pull(&settings, &image.pinned(), &Keyring::default()).await.expect("pulled");
    assert_eq!(pinned.id, pulled.id);
    let other = format!("{}/team/app@{}", registry.host, Digest::of(b"other"));
    let error = bench.pull(&settings, &other, &Keyring::default()).await.expect_err("not there");
    assert!(chain(&error).contains("(404): MANIFEST_UNKNOWN"), "{}", chain(&error));
}

#[tokio::test]
async fn a_registry_with_passwords_and_its_own_authority_gives_to_those_who_have_them() {
    let Some(bench) = Bench::new() else { return };
    if let Some(why) = real::hindrance() {
        return orrery_testing::skipped(why);
    }
    let content = two_layers();
    content.store(&bench.path("registry"), "app", "latest");
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    fs::write(bench.path("ca.pem"), certified.cert.pem()).expect("write");
    fs::write(bench.path("key.pem"), certified.signing_key.serialize_pem()).expect("write");
    let (certificate, key) = (bench.path("ca.pem"), bench.path("key.pem"));
    let tls = format!("  tls:\n    certificate: {}\n    key: {}\n", certificate.display(), key.display());
    let registry = real::Registry::start(&bench.path("registry"), true, &tls);
    let (host, name) = (&registry.host, format!("{}/app", registry.host));
    let ca = format!("[registries.{host:?}]\nca = {certificate:?}\n");
    for (settings, keyring, word) in [
        ("", robot(host, "secret"), "over TLS; a registry without it"),
        (ca.as_str(), Keyring::default(), "credentials are needed"),
        (&ca, robot(host, "wrong"), "the credentials are not valid"),
        (&ca, robot("elsewhere.example", "secret"), "credentials are needed"),
    ] {
        let error = bench.pull(settings, &name, &keyring).await.expect_err(word);
        assert!(chain(&error).contains(word), "{}", chain(&error));
        bench.assert_nothing_left();
    }
    let keyring = robot(host, "secret");
    bench.pull(&ca, &name, &keyring).await.expect("pulled");
    let access = bench.store.resolve(&name).expect("there").access;
    let print = |keyring: &Keyring| keyring.lookup(host, "app").iter().map(|c| c.fingerprint(host)).collect::<Vec<_>>();
    assert!(access.allows(&print(&keyring)));
    assert!(!access.allows(&[]) && !access.allows(&print(&robot(host, "wrong"))));
    // What the host itself has credentials for is for all of its pods.
    let own = format!("{ca}username = \"robot\"\npassword = \"secret\"\n");
    bench.pull(&own, &name, &Keyring::default()).await.expect("pulled");
    assert!(bench.store.resolve(&name).expect("there").access.allows(&[]));
}

/// A registry with tokens: what it gives out depends on who asks.
fn with_tokens(content: Content) -> Fake {
    Fake::start(move |asked| {
        if asked.path.starts_with("/token?") {
            assert!(asked.path.contains("service=test&scope=repository%3Aapp%3Apull"), "{}", asked.path);
            let user = asked.authorization.as_deref() == Some("Basic cm9ib3Q6c2VjcmV0");
            let token = if user { "good" } else { "poor" };
            return Reply::new(200, format!("{{\"token\":{token:?}}}").as_bytes());
        }
        if asked.path == "/token" {
            assert!(asked.body.contains("refresh_token=lasting") && asked.method == "POST");
            return Reply::new(200, b"{\"access_token\":\"good\"}");
        }
        match asked.authorization.as_deref() {
            Some("Bearer good") => content.answer(asked),
            Some("Bearer poor") => Reply::new(403, br#"{"errors":[{"code":"DENIED","message":"not for you"}]}"#),
            _ => {
                let challenge = format!("Bearer realm=\"http://{}/token\",service=\"test\",scope=\"x\"", asked.host);
                Reply::new(401, b"").with("WWW-Authenticate", challenge)
            }
        }
    })
}

#[tokio::test]
async fn tokens_are_got_with_passwords_identity_tokens_or_nothing() {
    let Some(bench) = Bench::new() else { return };
    let fake = with_tokens(two_layers());
    let (settings, name) = (plain(&fake.host), format!("{}/app", fake.host));
    let error = bench.pull(&settings, &name, &Keyring::default()).await.expect_err("denied");
    assert!(chain(&error).contains("(403): DENIED not for you"), "{}", chain(&error));
    bench.pull(&settings, &name, &robot(&fake.host, "secret")).await.expect("pulled");
    bench.store.remove(&name).expect("removed");
    let mut identity = Keyring::default();
    let config = serde_json::json!({ "auths": { &fake.host: { "identitytoken": "lasting" } } });
    identity.add_config_json(config.to_string().as_bytes()).expect("valid");
    bench.pull(&settings, &name, &identity).await.expect("pulled");
    let asked = fake.asked();
    let tokens = asked.iter().filter(|asked| asked.path.starts_with("/token")).count();
    assert_eq!(tokens, 3, "one token for each pull: {asked:#?}");
}

#[tokio::test]
async fn mirrors_come_first_with_their_own_credentials_and_the_registry_is_there_when_they_fail() {
    let Some(bench) = Bench::new() else { return };
    let content = two_layers();
    let (of_mirror, of_origin) = (content.clone(), content.clone());
    let mirror = Fake::start(move |asked| of_mirror.answer(asked));
    let origin = Fake::start(move |asked| of_origin.answer(asked));
    let broken = Fake::start(|_| Reply::new(404, b""));
    let set = |mirror: &Fake| {
        let mirrors = format!("mirrors = [\"{}/cache\"]\n", mirror.host);
        format!("{}{mirrors}{}", plain(&origin.host), plain(&mirror.host))
    };
    let (name, keyring) = (format!("{}/app:1", origin.host), robot(&origin.host, "secret"));
    bench.pull(&set(&mirror), &name, &keyring).await.expect("pulled");
    assert!(origin.asked().is_empty(), "the mirror had everything");
    let asked = mirror.asked();
    assert!(asked.iter().all(|asked| asked.path.starts_with("/v2/cache/app/") && asked.authorization.is_none()));
    bench.store.remove(&name).expect("removed");
    bench.pull(&set(&broken), &name, &keyring).await.expect("pulled");
    assert!(!broken.asked().is_empty() && !origin.asked().is_empty());
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
