//! Writing slices.

use super::{
    object::{MANAGED_BY, SERVICE_NAME, Slice},
    pack::{Draft, Pack},
};
use k8s_openapi::{
    api::discovery::v1::EndpointSlice,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Api,
    api::{DeleteParams, PostParams, Preconditions},
};
use orrery_reconcile::{ControllerError, ObjectKey, OwnWrites, Revision};
use std::collections::BTreeMap;

/// What all slices of a service have in common.
#[derive(Debug, Clone)]
pub(super) struct Common {
    /// The service.
    pub(super) key: ObjectKey,
    pub(super) manager: &'static str,
    pub(super) owner: OwnerReference,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

impl Common {
    /// All labels.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        labels.insert(SERVICE_NAME.to_owned(), self.key.name.clone());
        labels.insert(MANAGED_BY.to_owned(), self.manager.to_owned());
        labels
    }

    /// Whether a slice bears other labels, annotations or owners.
    pub(super) fn differs(&self, slice: &Slice) -> bool {
        let owned = slice.meta.owners.iter().any(|owner| owner.uid == self.owner.uid);
        slice.meta.labels != self.labels() || slice.annotations != self.annotations || !owned
    }
}

/// Writes slices and notes what was written.
pub(super) struct Writer {
    pub(super) client: kube::Client,
    pub(super) written: OwnWrites,
}

impl Writer {
    pub(super) async fn apply(&self, common: &Common, pack: Pack) -> Result<(), ControllerError> {
        for draft in pack.write {
            self.write(common, &draft).await?;
        }
        for slice in pack.delete {
            self.delete(&common.key, &slice).await?;
        }
        Ok(())
    }

    async fn write(&self, common: &Common, draft: &Draft) -> Result<(), ControllerError> {
        let api: Api<EndpointSlice> = Api::namespaced(self.client.clone(), &common.key.namespace);
        let mut metadata = ObjectMeta {
            namespace: Some(common.key.namespace.clone()),
            labels: Some(common.labels()),
            annotations: Some(common.annotations.clone()).filter(|annotations| !annotations.is_empty()),
            owner_references: Some(vec![common.owner.clone()]),
            ..ObjectMeta::default()
        };
        match &draft.before {
            None => metadata.generate_name = Some(format!("{}-", common.key.name)),
            Some(before) => {
                metadata.name = Some(before.meta.key.name.clone());
                metadata.uid = Some(before.meta.uid.0.clone());
                metadata.resource_version = Some(before.meta.version.to_string());
            }
        }
        let object = EndpointSlice {
            metadata,
            address_type: draft.group.family.as_str().to_owned(),
            endpoints: Some(draft.endpoints.iter().map(super::object::Endpoint::to_object).collect()),
            ports: Some(draft.group.ports.iter().map(super::object::SlicePort::to_object).collect()),
        };
        let written = match &draft.before {
            None => api.create(&PostParams::default(), &object).await,
            Some(before) => api.replace(&before.meta.key.name, &PostParams::default(), &object).await,
        };
        let written = match written.map_err(ControllerError::api("write an endpoint slice")) {
            Err(error) if error.is_namespace_terminating() => return Ok(()),
            other => other?,
        };
        self.written.wrote(&common.key, Revision::parse(written.metadata.resource_version.as_deref()));
        Ok(())
    }

    pub(super) async fn delete(&self, key: &ObjectKey, slice: &Slice) -> Result<(), ControllerError> {
        let api: Api<EndpointSlice> = Api::namespaced(self.client.clone(), &slice.meta.key.namespace);
        let precondition = Preconditions { uid: Some(slice.meta.uid.0.clone()), resource_version: None };
        let params = DeleteParams::default().preconditions(precondition);
        match api.delete(&slice.meta.key.name, &params).await {
            Ok(_) => self.written.removed(key, slice.meta.key.clone(), slice.meta.uid.clone()),
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {}
            Err(error) => return Err(ControllerError::api("delete an endpoint slice")(error)),
        }
        Ok(())
    }
}
