//! Writing pods on behalf of their controllers: making, deleting, adopting, releasing, and the events that tell of it.

use k8s_openapi::{
    api::core::v1::{ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use orrery_reconcile::{
    ControllerError, Meta, ObjectKey, OwnWrites, Recorder, Revision, Tone, Uid, objects, owner_reference,
};
use serde_json::json;

/// Longest prefix that the API completes to a name.
const MAX_PREFIX: usize = 253;

/// For whom pods are written.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) api_version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) key: ObjectKey,
    pub(crate) uid: Uid,
}

impl Owner {
    /// The reference that its pods bear.
    pub(crate) fn reference(&self) -> OwnerReference {
        owner_reference(self.api_version, self.kind, &self.key.name, &self.uid)
    }

    /// What events are about.
    pub(crate) fn object(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(self.api_version.to_owned()),
            kind: Some(self.kind.to_owned()),
            namespace: Some(self.key.namespace.clone()),
            name: Some(self.key.name.clone()),
            uid: Some(self.uid.0.clone()),
            ..ObjectReference::default()
        }
    }
}

/// Writes pods, notes the versions of what was written, and records events.
pub(crate) struct PodControl {
    client: kube::Client,
    events: Recorder,
    written: OwnWrites,
    wording: Wording,
}

/// How events tell that a pod was made or deleted: verb (`create`, `delete`), pod and owner.
type Wording = fn(&str, &str, &Owner) -> String;

fn plain(verb: &str, pod: &str, _: &Owner) -> String {
    if verb == "create" { format!("Created pod: {pod}") } else { format!("Deleted pod: {pod}") }
}

impl PodControl {
    pub(crate) fn new(client: kube::Client, events: Recorder) -> Self {
        Self { client, events, written: OwnWrites::default(), wording: plain }
    }

    /// The same with other words in its events.
    pub(crate) fn worded(self, wording: Wording) -> Self {
        Self { wording, ..self }
    }

    /// What was written for each owner.
    pub(crate) fn written(&self) -> &OwnWrites {
        &self.written
    }

    pub(crate) fn events(&self) -> &Recorder {
        &self.events
    }

    fn api(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Makes `pod`; one without a name gets one that begins with its owner's.
    pub(crate) async fn create(&self, owner: &Owner, mut pod: Pod) -> Result<Pod, ControllerError> {
        if pod.metadata.name.is_none() && pod.metadata.generate_name.is_none() {
            let mut prefix = format!("{}-", owner.key.name);
            prefix.truncate(MAX_PREFIX);
            pod.metadata.generate_name = Some(prefix);
        }
        pod.metadata.namespace = Some(owner.key.namespace.clone());
        let created = self.api(&owner.key.namespace).create(&PostParams::default(), &pod).await;
        match created {
            Ok(pod) => {
                let name = pod.metadata.name.as_deref().unwrap_or_default();
                self.note(owner, &pod);
                let message = (self.wording)("create", name, owner);
                self.events.record(&owner.object(), Tone::Normal, "SuccessfulCreate", &message);
                Ok(pod)
            }
            Err(error) => {
                let error = ControllerError::api("create a pod")(error);
                if !error.is_namespace_terminating() {
                    let message = format!("Error creating: {}", error.told());
                    self.events.record(&owner.object(), Tone::Warning, "FailedCreate", &message);
                }
                Err(error)
            }
        }
    }

    /// Asks that the pod be deleted; one that is gone or another by now is no failure.
    pub(crate) async fn delete(&self, owner: &Owner, pod: &Meta) -> Result<(), ControllerError> {
        let precondition = Preconditions { uid: Some(pod.uid.0.clone()), resource_version: None };
        let params = DeleteParams::default().preconditions(precondition);
        match self.api(&pod.key.namespace).delete(&pod.key.name, &params).await {
            Ok(answer) => {
                match answer.left() {
                    Some(pod) => self.note(owner, &pod),
                    None => self.written.removed(&owner.key, pod.key.clone(), pod.uid.clone()),
                }
                let message = (self.wording)("delete", &pod.key.name, owner);
                self.events.record(&owner.object(), Tone::Normal, "SuccessfulDelete", &message);
                Ok(())
            }
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {
                self.written.removed(&owner.key, pod.key.clone(), pod.uid.clone());
                Ok(())
            }
            Err(error) => {
                let error = ControllerError::api("delete a pod")(error);
                let message = format!("Error deleting: {}", error.told());
                self.events.record(&owner.object(), Tone::Warning, "FailedDelete", &message);
                Err(error)
            }
        }
    }

    /// Makes the owner the pod's controller. Whether it is: the pod may have gone, or become another's.
    pub(crate) async fn adopt(&self, owner: &Owner, pod: &Meta) -> Result<bool, ControllerError> {
        let patch = json!({"metadata": {"uid": pod.uid.0, "ownerReferences": [owner.reference()]}});
        self.patch(owner, pod, &patch, "adopt a pod").await
    }

    /// Takes the owner's reference off the pod.
    pub(crate) async fn release(&self, owner: &Owner, pod: &Meta) -> Result<(), ControllerError> {
        let off = json!([{"$patch": "delete", "uid": owner.uid.0}]);
        let patch = json!({"metadata": {"uid": pod.uid.0, "ownerReferences": off}});
        self.patch(owner, pod, &patch, "release a pod").await.map(drop)
    }

    /// A strategic merge patch of the pod's metadata. Whether it was written: the pod may be gone.
    pub(crate) async fn patch(
        &self,
        owner: &Owner,
        pod: &Meta,
        patch: &serde_json::Value,
        doing: &'static str,
    ) -> Result<bool, ControllerError> {
        let api = self.api(&pod.key.namespace);
        match api.patch(&pod.key.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(pod) => {
                self.note(owner, &pod);
                Ok(true)
            }
            // Gone, or another of its name (409), or another controller's meanwhile (422): the watch will tell.
            Err(kube::Error::Api(status)) if [404, 409, 422].contains(&status.code) => Ok(false),
            Err(error) => Err(ControllerError::api(doing)(error)),
        }
    }

    /// Takes `finalizer` off the pod. Whether it is off: it may have gone as a whole.
    pub(crate) async fn remove_finalizer(
        &self,
        owner: &Owner,
        pod: &objects::Pod,
        finalizer: &str,
    ) -> Result<(), ControllerError> {
        let patch = json!({"metadata": {"uid": pod.meta.uid.0, "$deleteFromPrimitiveList/finalizers": [finalizer]}});
        self.patch(owner, &pod.meta, &patch, "remove a pod's finalizer").await.map(drop)
    }

    fn note(&self, owner: &Owner, pod: &Pod) {
        self.written.wrote(&owner.key, Revision::parse(pod.metadata.resource_version.as_deref()));
    }
}
