//! The tasks of caches and controllers, ended by one token.

use crate::{Cache, Controller, ControllerError, Options, Projected, Reconcile, supervise};
use kube::Api;
use std::future::Future;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Starts caches and controllers, and waits for their end.
#[derive(Debug)]
pub struct Tasks {
    set: JoinSet<()>,
    shutdown: CancellationToken,
}

impl Tasks {
    /// No task yet; `shutdown` ends all that are started.
    #[must_use]
    pub fn new(shutdown: CancellationToken) -> Self {
        Self { set: JoinSet::new(), shutdown }
    }

    /// Fills `cache` from `api`.
    pub fn follow<T: Projected>(&mut self, cache: &Cache<T>, api: Api<T::Object>, options: Options) {
        let cache = cache.clone();
        let start = move || {
            let (cache, api, options) = (cache.clone(), api.clone(), options.clone());
            async move {
                cache.run(api, options).await;
                Ok::<(), ControllerError>(())
            }
        };
        self.set.spawn(supervise(T::PLURAL, self.shutdown.clone(), start));
    }

    /// Runs `controller` once `ready` has come: a plan over caches that are not complete would be wrong.
    pub fn run<R: Reconcile>(&mut self, controller: Controller<R>, ready: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.set.spawn(async move {
            tokio::select! {
                // Cancel-safe: nothing has begun.
                () = ready => {}
                () = shutdown.cancelled() => return,
            }
            controller.run(shutdown).await;
        });
    }

    /// Runs any other task; it is to end by the token.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(task);
    }

    /// Runs a task that is simply dropped at the end.
    pub fn spawn_until_shutdown(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.set.spawn(async move {
            tokio::select! {
                () = task => {}
                () = shutdown.cancelled() => {}
            }
        });
    }

    /// Waits until all have ended.
    pub async fn ended(mut self) {
        while let Some(ended) = self.set.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task of the controllers ended badly");
            }
        }
    }
}
