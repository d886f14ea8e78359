//! The history of templates of DaemonSets and StatefulSets, kept in ControllerRevisions.
//!
//! ```text
//! template not among the revisions ──► new revision, numbered above all
//! template of an older revision (rolled back to) ──► that one is numbered above all
//! more unused revisions than are kept ──► oldest deleted
//! ```

mod plan;

pub(crate) use plan::{HistoryPlan, plan};

use crate::{
    pods::{Claimant, Owner, TemplateDigest, claim, dependents, digest},
    replicas::annotations,
};
use k8s_openapi::{
    api::{apps::v1::ControllerRevision, core::v1::PodTemplateSpec},
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, runtime::RawExtension},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use orrery_reconcile::{Cache, ControllerError, Meta, ObjectKey, OwnWrites, Projected, Revision as Version};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// The label on pods and revisions that says which template they are of.
pub(crate) const REVISION_HASH: &str = "controller-revision-hash";

/// A revision of a template.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct TemplateRevision {
    pub(crate) meta: Meta,
    pub(crate) number: i64,
    pub(crate) template: TemplateDigest,
    pub(crate) hash: String,
}

impl Projected for TemplateRevision {
    type Object = ControllerRevision;
    const PLURAL: &'static str = "controllerrevisions";

    fn project(mut object: ControllerRevision) -> Option<Self> {
        let _ = annotations(object.metadata.annotations.take());
        let meta = Meta::take(&mut object.metadata);
        let template = template_of(object.data.as_ref());
        let hash = meta.labels.get(REVISION_HASH).cloned().unwrap_or_default();
        Some(Self { meta, number: object.revision, template: template.map(|t| digest(&t)).unwrap_or_default(), hash })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// The template that a revision holds: a patch that puts it in the place of any other.
fn template_of(data: Option<&RawExtension>) -> Option<PodTemplateSpec> {
    let mut template = data?.0.pointer("/spec/template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

fn data_of(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).unwrap_or_default();
    template["$patch"] = "replace".into();
    json!({"spec": {"template": template}})
}

/// Reads and writes revisions on behalf of their owners.
pub(crate) struct History {
    client: kube::Client,
    revisions: Cache<TemplateRevision>,
    written: OwnWrites,
}

impl History {
    pub(crate) fn new(client: kube::Client, revisions: Cache<TemplateRevision>) -> Self {
        Self { client, revisions, written: OwnWrites::default() }
    }

    /// Whether the cache shows all that was written for `owner`.
    pub(crate) fn is_seen(&self, owner: &ObjectKey) -> bool {
        self.written.are_seen(owner, &self.revisions)
    }

    fn api(&self, owner: &Owner) -> Api<ControllerRevision> {
        Api::namespaced(self.client.clone(), &owner.key.namespace)
    }

    /// The owner's revisions by number, after adopting.
    pub(crate) async fn claim(
        &self,
        owner: &Owner,
        by: &Claimant<'_>,
    ) -> Result<Vec<Arc<TemplateRevision>>, ControllerError> {
        let mut claim = claim(by, dependents(&self.revisions, &owner.key, &owner.uid), |_| true);
        for (revisions, owners) in [
            (&claim.adopt, json!([owner.reference()])),
            (&claim.release, json!([{"$patch": "delete", "uid": owner.uid.0}])),
        ] {
            for revision in revisions {
                let patch = json!({"metadata": {"uid": revision.meta.uid.0, "ownerReferences": owners}});
                let name = &revision.meta.key.name;
                let patched = self.api(owner).patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await;
                self.note(owner, &patched.map_err(ControllerError::api("claim a revision"))?.metadata);
            }
        }
        claim.owned.extend(claim.adopt);
        claim.owned.sort_by(|a, b| (a.number, &a.meta.key).cmp(&(b.number, &b.meta.key)));
        Ok(claim.owned)
    }

    fn note(&self, owner: &Owner, meta: &ObjectMeta) {
        self.written.wrote(&owner.key, Version::parse(meta.resource_version.as_deref()));
    }

    /// Makes revision `number` of `template`. `false` when its name is taken by another template: the next try needs
    /// another hash.
    pub(crate) async fn create(
        &self,
        owner: &Owner,
        number: i64,
        hash: &str,
        template: &PodTemplateSpec,
        selected: &BTreeMap<String, String>,
    ) -> Result<bool, ControllerError> {
        let mut labels = selected.clone();
        labels.insert(REVISION_HASH.to_owned(), hash.to_owned());
        let name = format!("{}-{hash}", owner.key.name);
        let revision = ControllerRevision {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(owner.key.namespace.clone()),
                labels: Some(labels),
                owner_references: Some(vec![owner.reference()]),
                ..ObjectMeta::default()
            },
            data: Some(RawExtension(data_of(template))),
            revision: number,
        };
        let made = self.api(owner).create(&PostParams::default(), &revision).await;
        match made.map_err(ControllerError::api("create a revision")) {
            Ok(made) => self.note(owner, &made.metadata),
            Err(error) if error.code() == Some(409) => {
                let present = self.api(owner).get(&name).await.map_err(ControllerError::api("read a revision"))?;
                let same = template_of(present.data.as_ref()).is_some_and(|other| digest(&other) == digest(template));
                if !same {
                    return Ok(false);
                }
                self.note(owner, &present.metadata);
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// The template of the revision of this name; none when there is no such revision.
    pub(crate) async fn template(&self, owner: &Owner, name: &str) -> Result<Option<PodTemplateSpec>, ControllerError> {
        let revision = self.api(owner).get_opt(name).await.map_err(ControllerError::api("read a revision"))?;
        Ok(revision.and_then(|revision| template_of(revision.data.as_ref())))
    }

    /// Carries out all of `plan` but making a revision.
    pub(crate) async fn apply(&self, owner: &Owner, plan: &HistoryPlan) -> Result<(), ControllerError> {
        if let Some((revision, number)) = &plan.renumber {
            let patch = json!({"revision": number});
            let name = &revision.meta.key.name;
            let patched = self.api(owner).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
            self.note(owner, &patched.map_err(ControllerError::api("renumber a revision"))?.metadata);
        }
        for revision in &plan.delete {
            let precondition = Preconditions { uid: Some(revision.meta.uid.0.clone()), resource_version: None };
            let params = DeleteParams::default().preconditions(precondition);
            match self.api(owner).delete(&revision.meta.key.name, &params).await {
                Ok(_) => {
                    let meta = &revision.meta;
                    self.written.removed(&owner.key, meta.key.clone(), meta.uid.clone());
                }
                Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {}
                Err(error) => return Err(ControllerError::api("delete an old revision")(error)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_holds_a_template_as_a_patch_that_replaces() {
        let template: PodTemplateSpec =
            serde_json::from_value(json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}})).unwrap();
        let data = data_of(&template);
        assert_eq!(data["spec"]["template"]["$patch"], "replace");
        assert_eq!(template_of(Some(&RawExtension(data))), Some(template));
    }
}
