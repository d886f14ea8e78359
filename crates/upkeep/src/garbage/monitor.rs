//! Bringing the metadata of all objects into the graph: one list and watch for each kind.

use super::{
    Shared,
    graph::{FOREGROUND, GroupKind, Node, ORPHAN},
    kinds::{Kinds, Place},
};
use futures::TryStreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    api::{ListParams, ObjectList, WatchEvent, WatchParams},
    core::Request,
};
use orrery_reconcile::{ControllerError, ObjectKey, Revision, Uid, chain};
use serde::Deserialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};

/// How often new kinds are looked for.
const DISCOVER_EVERY: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(1);
/// How many objects are read with one request.
const PAGE: u32 = 500;

/// The metadata that matters here. Everything else is skipped while it is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
    pub(super) deletion_timestamp: Option<String>,
    pub(super) owner_references: Vec<OwnerReference>,
    pub(super) finalizers: Vec<String>,
}

/// An object of any kind.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Object {
    #[serde(default)]
    pub(super) metadata: Metadata,
}

impl Metadata {
    pub(super) fn into_node(self, kind: &GroupKind) -> Node {
        let has = |finalizer: &str| self.finalizers.iter().any(|one| one == finalizer);
        Node {
            kind: kind.clone(),
            foreground: has(FOREGROUND),
            orphan: has(ORPHAN),
            deleting: self.deletion_timestamp.is_some(),
            version: Revision::parse(Some(&self.resource_version)),
            key: ObjectKey::new(self.namespace, self.name),
            uid: Uid(self.uid),
            owners: self.owner_references,
        }
    }
}

/// Keeps one monitor for each kind, for ever. `listed` is told once each of the first has listed.
pub(super) async fn run(client: kube::Client, shared: Arc<Shared>, listed: oneshot::Sender<()>) {
    let mut listed = Some(listed);
    let mut monitors: BTreeMap<GroupKind, (Place, tokio::task::AbortHandle)> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    loop {
        match sync_kinds(&client, &shared).await {
            Ok(wanted) => {
                monitors.retain(|kind, (place, task)| {
                    let stays = wanted.get(kind) == Some(place);
                    if !stays {
                        task.abort();
                    }
                    stays
                });
                let mut firsts = Vec::new();
                for (kind, place) in wanted {
                    if monitors.contains_key(&kind) {
                        continue;
                    }
                    let (synced, first) = watch::channel(false);
                    let monitor = monitor(client.clone(), Arc::clone(&shared), kind.clone(), place.clone(), synced);
                    monitors.insert(kind, (place, tasks.spawn(monitor)));
                    firsts.push(first);
                }
                if let Some(listed) = listed.take() {
                    for mut first in firsts {
                        // A monitor ends only when its kind does.
                        let _ = first.wait_for(|synced| *synced).await;
                    }
                    let _ = listed.send(());
                }
            }
            Err(error) => tracing::warn!(error = chain(&error), "the kinds are not known; asked again"),
        }
        tokio::time::sleep(if listed.is_some() { RETRY } else { DISCOVER_EVERY }).await;
        while tasks.try_join_next().is_some() {}
    }
}

/// Finds out the kinds; those that vanished leave no object behind.
async fn sync_kinds(client: &kube::Client, shared: &Shared) -> Result<BTreeMap<GroupKind, Place>, ControllerError> {
    let known = std::mem::take(&mut *shared.kinds());
    let discovered = Kinds::discover(client, &known).await;
    let (kinds, error) = match discovered {
        Ok(kinds) => (kinds, None),
        Err(error) => (known, Some(error)),
    };
    let wanted: BTreeMap<GroupKind, Place> =
        kinds.collectable().map(|(kind, place)| (kind.clone(), place.clone())).collect();
    *shared.kinds() = kinds;
    error.map_or(Ok(wanted), Err)
}

async fn monitor(
    client: kube::Client,
    shared: Arc<Shared>,
    kind: GroupKind,
    place: Place,
    synced: watch::Sender<bool>,
) {
    loop {
        match list(&client, &place).await {
            Ok((items, revision)) => {
                let nodes: Vec<Node> = items.into_iter().map(|object| object.metadata.into_node(&kind)).collect();
                let keys: Vec<ObjectKey> = nodes.iter().map(|node| node.key.clone()).collect();
                let wake = shared.graph().replace(&kind, nodes);
                shared.wake(wake);
                keys.iter().for_each(|key| shared.tell(&kind.kind, key));
                synced.send_replace(true);
                follow(&client, &shared, &kind, &place, revision).await;
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {
                // The kind has just been removed, and its objects with it.
                let wake = shared.graph().replace(&kind, Vec::new());
                shared.wake(wake);
                synced.send_replace(true);
            }
            Err(error) => {
                tracing::warn!(resource = place.plural, error = chain(&error), "the list failed; it is tried again");
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn list(client: &kube::Client, place: &Place) -> Result<(Vec<Object>, String), kube::Error> {
    let request = Request::new(place.root());
    let mut params = ListParams { limit: Some(PAGE), ..ListParams::default() };
    let mut items = Vec::new();
    loop {
        let page = request.list_metadata(&params).map_err(kube::Error::BuildRequest)?;
        let page: ObjectList<Object> = client.request(page).await?;
        items.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok((items, page.metadata.resource_version.unwrap_or_default())),
        }
    }
}

/// Watches from `revision` until the watch is too old or fails.
async fn follow(client: &kube::Client, shared: &Shared, kind: &GroupKind, place: &Place, mut revision: String) {
    loop {
        match watch_once(client, shared, kind, place, &mut revision).await {
            Ok(()) => {}
            Err(error) => {
                tracing::debug!(resource = place.plural, error = chain(&error), "the watch ended; it is listed anew");
                return;
            }
        }
    }
}

async fn watch_once(
    client: &kube::Client,
    shared: &Shared,
    kind: &GroupKind,
    place: &Place,
    revision: &mut String,
) -> Result<(), kube::Error> {
    let request = Request::new(place.root()).watch_metadata(&WatchParams::default(), revision);
    let events = client.request_events::<Object>(request.map_err(kube::Error::BuildRequest)?).await?;
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.try_next().await? {
        let wake = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                revision.clone_from(&object.metadata.resource_version);
                let node = object.metadata.into_node(kind);
                let key = node.key.clone();
                let wake = shared.graph().put(node);
                shared.tell(&kind.kind, &key);
                wake
            }
            WatchEvent::Deleted(object) => {
                revision.clone_from(&object.metadata.resource_version);
                let wake = shared.graph().remove(&Uid(object.metadata.uid));
                shared.tell(&kind.kind, &ObjectKey::new(object.metadata.namespace, object.metadata.name));
                wake
            }
            WatchEvent::Bookmark(bookmark) => {
                *revision = bookmark.metadata.resource_version;
                continue;
            }
            WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
        };
        shared.wake(wake);
    }
    Ok(())
}
