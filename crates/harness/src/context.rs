//! What a test is given: the server, names of its own, and the removal of what it makes.

use super::{Api, Failure, Objects, Outcome, Resource, resource, until};
use rand::RngExt;
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// The label of every namespace that a run makes; its value is the run's.
pub const RUN_LABEL: &str = "conformance.orrery.dev/run";

/// The image that `orrery up` brings along.
pub const DEFAULT_POD_IMAGE: &str = "localhost/demo/busybox:latest";

/// What all tests of a run share.
pub struct Run {
    /// The server, as the administrator.
    pub api: Api,
    /// The server, without any credentials.
    pub stranger: Api,
    /// The kubeconfig the server was found with.
    pub kubeconfig: PathBuf,
    /// The kubectl to run, if there is one.
    pub kubectl: Option<PathBuf>,
    /// The image of pods that really run: busybox with its applets, and a shell.
    pub pod_image: String,
    /// What all names of this run share.
    pub id: String,
    /// Whether what tests have made stays.
    pub keep: bool,
    /// Cancelled when no more tests are to be started; those that run end, and what they have made is removed.
    pub stop: CancellationToken,
    counter: AtomicU32,
    /// Whether new namespaces get a default service account on this server; assumed until one did not.
    service_accounts: AtomicBool,
}

impl Run {
    /// A run against a server.
    #[must_use]
    pub fn new(api: Api, stranger: Api, kubeconfig: PathBuf, kubectl: Option<PathBuf>, keep: bool) -> Self {
        let id = format!("{:06x}", rand::rng().random_range(0..0x0100_0000_u32));
        let (counter, service_accounts) = (AtomicU32::new(0), AtomicBool::new(true));
        let stop = CancellationToken::new();
        let pod_image = DEFAULT_POD_IMAGE.to_owned();
        Self { api, stranger, kubeconfig, kubectl, pod_image, id, keep, stop, counter, service_accounts }
    }

    /// The same with another image for pods that really run.
    #[must_use]
    pub fn with_pod_image(mut self, image: String) -> Self {
        self.pod_image = image;
        self
    }

    /// Waits a while until the namespaces of this run are gone; returns the names of those that are not.
    ///
    /// # Errors
    /// When they can't be listed.
    pub async fn left_behind(&self) -> Outcome<Vec<String>> {
        let namespaces = Objects::new(self.api.clone(), resource::namespaces(), None);
        let selector = format!("{RUN_LABEL}={}", self.id);
        let gone = until(Duration::from_secs(30), || async {
            Ok(namespaces.labelled(&selector).await?.is_empty().then_some(()))
        });
        if gone.await.is_ok() {
            return Ok(Vec::new());
        }
        let left = namespaces.labelled(&selector).await?;
        Ok(super::names(&left).into_iter().map(str::to_owned).collect())
    }
}

/// What one test is given.
#[derive(Clone)]
pub struct Context {
    /// What all tests of the run share.
    pub run: Arc<Run>,
    /// The server, as the administrator.
    pub api: Api,
    /// What has to be removed, the oldest first.
    rubbish: Arc<Mutex<Vec<Rubbish>>>,
    /// Files of the test; removed with it.
    files: Arc<tempfile::TempDir>,
}

/// Something that a test has made in the cluster.
#[derive(Debug, Clone)]
enum Rubbish {
    Namespace(String),
    Path(String),
}

impl Context {
    /// What a test of this run is given.
    ///
    /// # Errors
    /// When there is no place for its files.
    pub fn new(run: &Arc<Run>) -> Outcome<Self> {
        let files = Arc::new(tempfile::tempdir()?);
        Ok(Self { run: Arc::clone(run), api: run.api.for_test(), rubbish: Arc::default(), files })
    }

    /// A name that nobody else has: a DNS label that begins with `what`.
    #[must_use]
    pub fn name(&self, what: &str) -> String {
        let count = self.run.counter.fetch_add(1, Ordering::Relaxed);
        format!("{what}-{}-{count}", self.run.id)
    }

    /// A directory for files of the test.
    #[must_use]
    pub fn directory(&self) -> &std::path::Path {
        self.files.path()
    }

    /// Writes a file of the test and returns its path.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> Outcome<String> {
        let path = self.files.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// A namespace of the test's own.
    ///
    /// # Errors
    /// When it can't be created.
    pub async fn namespace(&self) -> Outcome<String> {
        self.namespace_with(&json!({})).await
    }

    /// A namespace of the test's own with labels.
    ///
    /// # Errors
    /// When it can't be created.
    pub async fn namespace_with(&self, labels: &Value) -> Outcome<String> {
        let name = self.name("conformance");
        let mut labels = labels.clone();
        labels[RUN_LABEL] = self.run.id.clone().into();
        self.rubbish().push(Rubbish::Namespace(name.clone()));
        let object = json!({"metadata": {"name": name, "labels": labels}});
        self.cluster(resource::namespaces()).create(&object).await?;
        self.wait_for_service_account(&name).await;
        Ok(name)
    }

    /// Pods can't be made in a namespace before its service account is there.
    async fn wait_for_service_account(&self, namespace: &str) {
        if !self.run.service_accounts.load(Ordering::Relaxed) {
            return;
        }
        let accounts = self.objects(resource::service_accounts(), namespace);
        let there = until(Duration::from_secs(10), || async {
            let answer = accounts.read("default").await?;
            Ok(answer.is_success().then_some(()))
        });
        if there.await.is_err() {
            self.run.service_accounts.store(false, Ordering::Relaxed);
        }
    }

    /// The objects of a resource in a namespace.
    #[must_use]
    pub fn objects(&self, resource: Resource, namespace: &str) -> Objects {
        Objects::new(self.api.clone(), resource, Some(namespace))
    }

    /// The objects of a resource of the cluster, or of all namespaces.
    #[must_use]
    pub fn cluster(&self, resource: Resource) -> Objects {
        Objects::new(self.api.clone(), resource, None)
    }

    /// Removes an object of the cluster after the test. Say it before creating it.
    pub fn remove_later(&self, resource: &Resource, name: &str) {
        self.remove_path_later(format!("{}/{name}", resource.path(None)));
    }

    /// Removes what a path names after the test: an object, or those of a collection that a selector matches.
    pub fn remove_path_later(&self, path: String) {
        self.rubbish().push(Rubbish::Path(path));
    }

    fn rubbish(&self) -> std::sync::MutexGuard<'_, Vec<Rubbish>> {
        self.rubbish.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what the test has made, the newest first; returns what could not be removed.
    pub async fn clean_up(&self) -> Vec<String> {
        let mut left = Vec::new();
        loop {
            let Some(next) = self.rubbish().pop() else { return left };
            let removed = match &next {
                Rubbish::Namespace(name) => self.remove_namespace(name).await,
                Rubbish::Path(path) => self.remove_path(path).await,
            };
            if let Err(failure) = removed {
                left.push(failure.to_string());
            }
        }
    }

    async fn remove_path(&self, path: &str) -> Outcome {
        let answer = self.api.delete(path, &json!({"propagationPolicy": "Background"})).await?;
        if answer.is_success() || answer.status == 404 { Ok(()) } else { Err(answer.unexpected("its removal")) }
    }

    /// Pods go at once: there may be no kubelet that would end them.
    async fn remove_namespace(&self, name: &str) -> Outcome {
        let namespace = format!("{}/{name}", resource::namespaces().path(None));
        if self.api.get(&namespace).await?.status == 404 {
            return Ok(());
        }
        self.remove_path(&namespace).await?;
        let pods = resource::pods().path(Some(name));
        let _ = self.api.delete(&pods, &json!({"gracePeriodSeconds": 0})).await?;
        Ok(())
    }

    /// The kubectl to run.
    ///
    /// # Errors
    /// A skip, when there is none.
    pub fn kubectl_path(&self) -> Outcome<&std::path::Path> {
        self.run.kubectl.as_deref().ok_or_else(|| Failure::skipped("no kubectl: name one with --kubectl"))
    }
}
