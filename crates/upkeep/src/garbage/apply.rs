//! Carrying out a step.

use super::{
    Collector,
    graph::{FOREGROUND, GroupKind, Node, ORPHAN},
    kinds::Place,
    monitor::{Metadata, Object},
    plan::Step,
};
use futures::{StreamExt, stream};
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    api::{DeleteParams, GetParams, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::Request,
};
use orrery_reconcile::{ControllerError, ObjectKey, Outcome, Tone, Uid};
use serde_json::{Value, json};

/// How often a change that somebody else was faster with is tried again at once.
const ATTEMPTS: usize = 5;
/// How many dependents are let go at a time.
const AT_ONCE: usize = 32;

impl Collector {
    pub(super) async fn apply(&self, uid: &Uid, step: Step) -> Result<Outcome, ControllerError> {
        let Some(node) = self.shared.graph().get(uid).cloned() else { return Ok(Outcome::Done) };
        match step {
            Step::Nothing | Step::LookUp(_) => {}
            Step::Wake(dependents) => self.shared.wake(dependents),
            Step::RemoveOwners(owners) => self.edit(&node, |meta| without_owners(meta, &owners)).await?,
            Step::FinishForeground => self.edit(&node, |meta| without_finalizer(meta, FOREGROUND)).await?,
            Step::Orphan(dependents) => self.orphan(&node, dependents).await?,
            Step::Delete { policy, unblock } => {
                if unblock {
                    self.edit(&node, unblocked).await?;
                }
                self.delete(&node, policy, unblock).await?;
            }
        }
        Ok(Outcome::Done)
    }

    fn place(&self, kind: &GroupKind) -> Result<Place, ControllerError> {
        let place = self.shared.kinds().get(kind).cloned();
        place.ok_or_else(|| {
            let GroupKind { group, kind } = kind;
            ControllerError::Invalid(format!("the API has no kind {kind} in group {group:?}"))
        })
    }

    async fn get(&self, place: &Place, key: &ObjectKey) -> Result<Option<Metadata>, ControllerError> {
        let request = Request::new(place.collection(key)).get_metadata(&key.name, &GetParams::default());
        let doing = ControllerError::api("read an object's metadata");
        let request = request.map_err(|error| doing(kube::Error::BuildRequest(error)))?;
        match self.client.request::<Object>(request).await {
            Ok(object) => Ok(Some(object.metadata)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(doing(error)),
        }
    }

    /// Finds out whether an owner that the graph does not know exists.
    pub(super) async fn look_up(&self, uid: &Uid, owner: &OwnerReference) -> Result<(), ControllerError> {
        let Some(node) = self.shared.graph().get(uid).cloned() else { return Ok(()) };
        let place = self.place(&GroupKind::of(owner))?;
        let namespace = if place.namespaced { node.key.namespace.as_str() } else { "" };
        if place.namespaced && namespace.is_empty() {
            // Which namespace it would be in nobody can say, so it can't be found missing either.
            self.shared.graph().note_found(owner, namespace, false);
            return Ok(());
        }
        let found = self.get(&place, &ObjectKey::new(namespace, &owner.name)).await?;
        match found.filter(|found| found.uid == owner.uid) {
            Some(found) => {
                let waits = found.deletion_timestamp.is_some() && found.finalizers.iter().any(|f| f == FOREGROUND);
                self.shared.graph().note_found(owner, &node.key.namespace, waits);
            }
            None => {
                let elsewhere = self.shared.graph().get(&Uid(owner.uid.clone())).is_some();
                if elsewhere {
                    let (kind, name) = (&owner.kind, &owner.name);
                    let message = format!("owner {kind} {name:?} does not exist in namespace {:?}", node.key.namespace);
                    self.events.record(&reference(&node, &place), Tone::Warning, "OwnerRefInvalidNamespace", &message);
                }
                self.shared.graph().note_missing(owner, &node.key.namespace);
            }
        }
        Ok(())
    }

    /// Deletes what the plan was made for: if it has changed meanwhile, its owners must be the same.
    async fn delete(&self, node: &Node, policy: PropagationPolicy, changed: bool) -> Result<(), ControllerError> {
        let place = self.place(&node.kind)?;
        let version = (!changed).then(|| node.version.to_string());
        match self.delete_once(&place, node, &policy, version).await {
            Err(error) if error.code() == Some(409) => {
                let Some(fresh) = self.get(&place, &node.key).await? else { return Ok(()) };
                if fresh.uid != node.uid.0 || fresh.deletion_timestamp.is_some() {
                    return Ok(());
                }
                if fresh.owner_references != node.owners && !changed {
                    return Err(ControllerError::Changed("an object that seemed to be garbage"));
                }
                self.delete_once(&place, node, &policy, Some(fresh.resource_version)).await
            }
            other => other,
        }
    }

    async fn delete_once(
        &self,
        place: &Place,
        node: &Node,
        policy: &PropagationPolicy,
        version: Option<String>,
    ) -> Result<(), ControllerError> {
        let doing = ControllerError::api("delete an object whose owners are gone");
        let params = DeleteParams {
            propagation_policy: Some(policy.clone()),
            preconditions: Some(Preconditions { uid: Some(node.uid.0.clone()), resource_version: version }),
            ..DeleteParams::default()
        };
        let request = Request::new(place.collection(&node.key)).delete(&node.key.name, &params);
        let request = request.map_err(|error| doing(kube::Error::BuildRequest(error)))?;
        match self.client.request::<Value>(request).await {
            Ok(_) => {
                tracing::debug!(kind = node.kind.kind, object = %node.key, ?policy, "deleted garbage");
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(doing(error)),
        }
    }

    async fn orphan(&self, owner: &Node, dependents: Vec<Uid>) -> Result<(), ControllerError> {
        let of = std::slice::from_ref(&owner.uid);
        let letting_go = stream::iter(dependents).map(|uid| async move {
            let Some(node) = self.shared.graph().get(&uid).cloned() else { return Ok(()) };
            self.edit(&node, |meta| without_owners(meta, of)).await
        });
        let results: Vec<Result<(), ControllerError>> = letting_go.buffer_unordered(AT_ONCE).collect().await;
        results.into_iter().collect::<Result<Vec<()>, _>>()?;
        self.edit(owner, |meta| without_finalizer(meta, ORPHAN)).await
    }

    /// Changes metadata as it is now. An object that is gone needs no change.
    async fn edit(&self, node: &Node, change: impl Fn(&Metadata) -> Option<Value>) -> Result<(), ControllerError> {
        let place = self.place(&node.kind)?;
        let doing = ControllerError::api("change an object's metadata");
        let mut last = ControllerError::Changed("an object");
        for _ in 0..ATTEMPTS {
            let Some(meta) = self.get(&place, &node.key).await?.filter(|meta| meta.uid == node.uid.0) else {
                return Ok(());
            };
            let Some(mut metadata) = change(&meta) else { return Ok(()) };
            metadata["resourceVersion"] = meta.resource_version.into();
            let patch = Patch::Merge(json!({"metadata": metadata}));
            let request = Request::new(place.collection(&node.key));
            let request = request.patch(&node.key.name, &PatchParams::default(), &patch);
            let request = request.map_err(|error| doing(kube::Error::BuildRequest(error)))?;
            match self.client.request::<Object>(request).await {
                Ok(object) => {
                    let wake = self.shared.graph().changed(object.metadata.into_node(&node.kind));
                    self.shared.wake(wake);
                    return Ok(());
                }
                Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
                Err(error @ kube::Error::Api(_)) => {
                    last = doing(error);
                    if last.code() != Some(409) {
                        return Err(last);
                    }
                }
                Err(error) => return Err(doing(error)),
            }
        }
        Err(last)
    }
}

fn without_owners(meta: &Metadata, off: &[Uid]) -> Option<Value> {
    let stays = |owner: &&OwnerReference| !off.iter().any(|uid| uid.0 == owner.uid);
    let left: Vec<&OwnerReference> = meta.owner_references.iter().filter(stays).collect();
    (left.len() < meta.owner_references.len()).then(|| json!({"ownerReferences": left}))
}

fn without_finalizer(meta: &Metadata, off: &str) -> Option<Value> {
    let left: Vec<&String> = meta.finalizers.iter().filter(|finalizer| *finalizer != off).collect();
    (left.len() < meta.finalizers.len()).then(|| json!({"finalizers": left}))
}

fn unblocked(meta: &Metadata) -> Option<Value> {
    let mut owners = meta.owner_references.clone();
    let blocks = owners.iter().any(|owner| owner.block_owner_deletion == Some(true));
    for owner in &mut owners {
        owner.block_owner_deletion = owner.block_owner_deletion.map(|_| false);
    }
    blocks.then(|| json!({"ownerReferences": owners}))
}

fn reference(node: &Node, place: &Place) -> ObjectReference {
    let group =
        if place.group.is_empty() { place.version.clone() } else { format!("{}/{}", place.group, place.version) };
    ObjectReference {
        api_version: Some(group),
        kind: Some(node.kind.kind.clone()),
        namespace: Some(node.key.namespace.clone()),
        name: Some(node.key.name.clone()),
        uid: Some(node.uid.0.clone()),
        ..ObjectReference::default()
    }
}
