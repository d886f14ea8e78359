//! Filling a cache: list, then watch from there, and list again when the watch has become too old.

use super::{Cache, Projected};
use crate::{Meta, Revision, chain};
use futures::{Stream, StreamExt, TryStreamExt};
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, WatchEvent, WatchParams},
};
use std::time::Duration;

/// How many objects are read with one request.
const PAGE: u32 = 500;
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// Which objects of the kind are watched; by default all.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A field selector.
    pub fields: Option<String>,
    /// A label selector.
    pub labels: Option<String>,
}

/// Why following the API was interrupted.
#[derive(Debug)]
pub(super) enum Interruption {
    /// The watch ended as watches do; it goes on where it was.
    Ended,
    /// The version to go on from is not known any more.
    TooOld,
    Failed(kube::Error),
}

impl From<kube::Error> for Interruption {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 410 => Self::TooOld,
            _ => Self::Failed(error),
        }
    }
}

impl<T: Projected> Cache<T> {
    /// Follows `api` for ever. Failures are logged and retried: what is cached stays, and grows stale meanwhile.
    pub async fn run(&self, api: Api<T::Object>, options: Options) {
        let mut delay = FIRST_DELAY;
        let mut known: Option<Revision> = None;
        loop {
            let before = known;
            let interruption = match known {
                Some(revision) => self.follow(&api, &options, revision).await,
                None => match self.list(&api, &options).await {
                    Ok(revision) => {
                        known = Some(revision);
                        continue;
                    }
                    Err(error) => error.into(),
                },
            };
            known = known.map(|_| self.revision());
            match interruption {
                Interruption::Ended => {}
                Interruption::TooOld => known = None,
                Interruption::Failed(kube::Error::Api(status)) if status.code == 404 => {
                    tracing::debug!(resource = T::PLURAL, "the API does not serve it (yet)");
                }
                Interruption::Failed(error) => {
                    let error = chain(&error);
                    tracing::warn!(resource = T::PLURAL, error, ?delay, "the watch failed; it is started again");
                }
            }
            // Progress since the last interruption means that the API is well.
            delay = if known.is_some() && known != before { FIRST_DELAY } else { (delay * 2).min(LONGEST_DELAY) };
            tokio::time::sleep(delay).await;
        }
    }

    /// Takes in the complete list. Returns the version that it is of.
    async fn list(&self, api: &Api<T::Object>, options: &Options) -> Result<Revision, kube::Error> {
        let mut params = ListParams { limit: Some(PAGE), ..ListParams::default() };
        params.field_selector.clone_from(&options.fields);
        params.label_selector.clone_from(&options.labels);
        let mut items = Vec::new();
        loop {
            let page = api.list(&params).await?;
            items.extend(page.items.into_iter().filter_map(T::project));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => {
                    let revision = Revision::parse(page.metadata.resource_version.as_deref());
                    self.replace(items, revision);
                    return Ok(revision);
                }
            }
        }
    }

    async fn follow(&self, api: &Api<T::Object>, options: &Options, from: Revision) -> Interruption {
        let mut params = WatchParams::default();
        params.field_selector.clone_from(&options.fields);
        params.label_selector.clone_from(&options.labels);
        match api.watch(&params, &from.to_string()).await {
            Ok(stream) => self.take_in_all(stream.boxed()).await,
            Err(error) => error.into(),
        }
    }

    /// Takes in what the watch delivers, until it is interrupted.
    pub(super) async fn take_in_all(
        &self,
        mut stream: impl Stream<Item = Result<WatchEvent<T::Object>, kube::Error>> + Unpin,
    ) -> Interruption {
        loop {
            match stream.try_next().await {
                Ok(Some(WatchEvent::Added(object) | WatchEvent::Modified(object))) => self.changed(object),
                Ok(Some(WatchEvent::Deleted(mut object))) => {
                    let meta = Meta::take(object.meta_mut());
                    self.remove(&meta.key, meta.version);
                }
                Ok(Some(WatchEvent::Bookmark(bookmark))) => {
                    self.advance(Revision::parse(Some(&bookmark.metadata.resource_version)));
                }
                Ok(Some(WatchEvent::Error(status))) => return kube::Error::Api(status).into(),
                Ok(None) => return Interruption::Ended,
                Err(error) => return error.into(),
            }
        }
    }

    fn changed(&self, object: T::Object) {
        let key = crate::ObjectKey::new(object.namespace().unwrap_or_default(), object.name_any());
        let revision = Revision::parse(object.meta().resource_version.as_deref());
        match T::project(object) {
            Some(item) => self.put(item),
            None => self.remove(&key, revision),
        }
    }
}
