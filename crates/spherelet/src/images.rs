//! Images as the Spherelet needs them: what is on this host, and pulling what is not.

use crate::{config::RunError, node::chain};
use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared},
};
use orrery_images::{
    Access, Digest, Image, ImageStore, Progress, Reference,
    registry::{self, Keyring, Settings},
};
use orrery_lifecycle::pull::LOCAL;
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, watch};

/// An image that is on this host, with what its containers run by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedImage {
    /// `sha256:` and 64 hexadecimal digits.
    pub id: String,
    /// Its name by its digest, as pods' statuses show it; the id when it has none.
    pub pinned: String,
    /// The file system that the guest mounts.
    pub erofs_path: PathBuf,
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments after the entry point.
    pub cmd: Vec<String>,
    /// Variables as `NAME=value`.
    pub env: Vec<String>,
    /// Working directory; empty is `/`.
    pub working_dir: String,
    /// `user[:group]`; empty is root.
    pub user: String,
    /// The signal that asks its containers to end.
    pub stop_signal: Option<String>,
    /// Who may use it.
    pub access: Access,
}

impl ResolvedImage {
    /// What the guest finds the image's disk by: the first 20 digits of its digest.
    #[must_use]
    pub fn serial(&self) -> String {
        let digits = self.id.rsplit(':').next().unwrap_or_default();
        digits.chars().take(20).collect()
    }
}

impl From<Image> for ResolvedImage {
    fn from(image: Image) -> Self {
        Self {
            pinned: image.pinned(),
            id: image.id.to_string(),
            erofs_path: image.erofs_path,
            entrypoint: image.config.entrypoint,
            cmd: image.config.cmd,
            env: image.config.env,
            working_dir: image.config.working_dir,
            user: image.config.user,
            stop_signal: image.config.stop_signal,
            access: image.access,
        }
    }
}

/// Why an image could not be looked up.
#[derive(Debug, thiserror::Error)]
#[error("image {reference} cannot be looked up")]
pub struct ImageLookupError {
    /// What was looked up.
    pub reference: String,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// An image that was pulled.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The image.
    pub image: ResolvedImage,
    /// How long the pull itself took, without the wait for its turn.
    pub took: Duration,
    /// Size of the image's file system in bytes.
    pub size_bytes: u64,
}

/// A pull that goes on while somebody holds it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pulling {
    /// How it ends; a failure is told for people.
    pub outcome: Shared<BoxFuture<'static, Result<Pulled, String>>>,
    /// What has come of the layers and what is to come, in bytes.
    pub progress: watch::Receiver<(u64, u64)>,
}

/// Finds images on this host, and gets those that are not here.
pub trait ImageSource: Send + Sync + 'static {
    /// The image of this reference, or none when it is not here. May read files; it is called off the runtime's threads.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn resolve(&self, reference: &str) -> Result<Option<ResolvedImage>, ImageLookupError>;

    /// Whether an image, found by `reference`, was pulled openly or with a credential of `keyring`.
    fn allows(&self, reference: &str, image: &ResolvedImage, keyring: &Keyring) -> bool;

    /// Every name with the size of its image in bytes, for the node's status. May read files.
    fn list(&self) -> Vec<(Vec<String>, u64)>;

    /// Removes images that nobody needs, but for those whose file systems are `in_use`. May take long.
    fn collect(&self, in_use: &[PathBuf]);

    /// Begins to pull an image, or joins those who pull it with the same credentials.
    fn pull(&self, reference: &str, keyring: Keyring) -> Pulling;
}

/// A pull that is under way, for others to join.
struct UnderWay {
    outcome: WeakShared<BoxFuture<'static, Result<Pulled, String>>>,
    progress: watch::Receiver<(u64, u64)>,
}

/// The image store of this host.
struct Store {
    store: ImageStore,
    /// Where `registries.toml` is; read for each pull.
    registries: PathBuf,
    /// One permit for each pull at a time.
    turns: Arc<Semaphore>,
    under_way: Mutex<HashMap<(String, Keyring), UnderWay>>,
}

/// Opens the image store in the directory `root`.
pub(crate) fn open_store(root: &Path, registries: &Path) -> Result<Arc<dyn ImageSource>, RunError> {
    let store = ImageStore::open(root);
    let store = store.map_err(|source| RunError::Images { path: root.to_owned(), source: Box::new(source) })?;
    let settings = Settings::read(registries).unwrap_or_else(|error| {
        // Pods whose images are here can run; the others say this.
        tracing::error!(error = %chain(&error), "no image can be pulled until this is put right");
        Settings::default()
    });
    let turns = Arc::new(Semaphore::new(settings.parallel_pulls));
    Ok(Arc::new(Store { store, registries: registries.to_owned(), turns, under_way: Mutex::default() }))
}

impl ImageSource for Store {
    fn resolve(&self, reference: &str) -> Result<Option<ResolvedImage>, ImageLookupError> {
        let image = self.store.resolve(reference);
        // Who asks is about to use it: it stays until then.
        image.iter().for_each(|image| self.store.touch(&image.id));
        Ok(image.map(ResolvedImage::from))
    }

    fn allows(&self, reference: &str, image: &ResolvedImage, keyring: &Keyring) -> bool {
        let (Ok(reference), Ok(settings)) = (Reference::parse(reference), Settings::read(&self.registries)) else {
            return image.access.allows(&[]);
        };
        image.access.allows(&registry::fingerprints(&settings, &reference, keyring))
    }

    fn list(&self) -> Vec<(Vec<String>, u64)> {
        let images = self.store.list().unwrap_or_else(|error| {
            tracing::warn!(error = %chain(&error), "the images cannot be listed");
            Vec::new()
        });
        let mut by_id: BTreeMap<Digest, (Vec<String>, u64)> = BTreeMap::new();
        for image in images {
            let (names, size) = by_id.entry(image.id.clone()).or_default();
            *size = image.size_bytes;
            for name in [image.pinned(), image.reference] {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        by_id.into_values().collect()
    }

    fn collect(&self, in_use: &[PathBuf]) {
        let collected = Settings::read(&self.registries).map_err(|error| chain(&error)).and_then(|settings| {
            let in_use = in_use.iter().filter_map(|path| self.store.image_of(path)).collect();
            self.store.collect(&settings.collection, &in_use).map_err(|error| chain(&error))
        });
        if let Err(error) = collected {
            tracing::warn!(error, "unused images could not be removed");
        }
    }

    fn pull(&self, reference: &str, keyring: Keyring) -> Pulling {
        let key = (reference.to_owned(), keyring.clone());
        let mut under_way = self.under_way.lock().expect("nobody panics while holding this lock");
        under_way.retain(|_, pull| pull.outcome.upgrade().is_some_and(|outcome| outcome.peek().is_none()));
        if let Some(known) = under_way.get(&key)
            && let Some(outcome) = known.outcome.upgrade()
        {
            return Pulling { outcome, progress: known.progress.clone() };
        }
        let (tell, progress) = watch::channel((0, 0));
        let (store, registries) = (self.store.clone(), self.registries.clone());
        let (turns, reference) = (self.turns.clone(), reference.to_owned());
        let work = async move {
            let _turn = turns.acquire_owned().await.map_err(|_| "the Spherelet ends".to_owned())?;
            pull(&store, &registries, &reference, &keyring, tell).await.map_err(|error| chain(&*error))
        };
        let outcome = work.boxed().shared();
        let weak = outcome.downgrade().expect("it was just made and not polled");
        under_way.insert(key, UnderWay { outcome: weak, progress: progress.clone() });
        Pulling { outcome, progress }
    }
}

async fn pull(
    store: &ImageStore,
    registries: &Path,
    reference: &str,
    keyring: &Keyring,
    tell: watch::Sender<(u64, u64)>,
) -> Result<Pulled, Box<dyn std::error::Error + Send + Sync>> {
    let began = Instant::now();
    if reference.starts_with(LOCAL) {
        return Err(
            format!("image {reference} is not present on host; import it with: orrery image import FILE").into()
        );
    }
    let name = Reference::parse(reference)?;
    let settings = Settings::read(registries)?;
    let show = Arc::new(move |progress| {
        if let Progress::Downloading { bytes, of } = progress {
            tell.send_replace((bytes, of));
        }
    });
    let pulled = registry::pull(store, &settings, &name, keyring, show).await?;
    let (store, name) = (store.clone(), name.to_string());
    let found = tokio::task::spawn_blocking(move || store.resolve(&name)).await?;
    let image = found.ok_or("the image was removed meanwhile")?.into();
    Ok(Pulled { image, took: began.elapsed(), size_bytes: pulled.size_bytes })
}
