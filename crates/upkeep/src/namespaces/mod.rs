//! Terminating namespaces: their content is deleted, pods first, and then they are finalized.
//!
//! ```text
//! Active --deleted--> Terminating: pods remain --> other content remains --> empty --finalize--> gone
//! ```
//!
//! Each pass finds out anew what kinds there are and what is left; nothing is remembered between passes. The pass is a
//! pure plan ([`plan`]) between reading ([`content`]) and writing.

mod content;
mod plan;

use content::Kind;
use k8s_openapi::{
    api::core::v1::{self, NamespaceCondition},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use orrery_reconcile::{
    Cache, Controller, ControllerError, Metrics, ObjectKey, Outcome, Projected, Queue, Reconcile, chain,
    objects::Namespace,
};
use plan::{Observed, Step, plan};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// The finalizer that we do the work of.
const FINALIZER: &str = "kubernetes";
/// How long after a pass the next one looks for progress.
const PASS: Duration = Duration::from_millis(500);
const WORKERS: usize = 4;

/// Empties terminating namespaces.
pub(crate) struct Namespaces {
    client: kube::Client,
    namespaces: Cache<Namespace>,
}

pub(crate) fn controller(
    client: kube::Client,
    namespaces: &Cache<Namespace>,
    metrics: &Metrics,
) -> Controller<Namespaces> {
    let queue = Arc::new(Queue::default());
    let to = Arc::clone(&queue);
    namespaces.on_change(move |_, new| {
        if let Some(namespace) = new.filter(|namespace| is_ours(namespace)) {
            to.add(namespace.meta.key.clone());
        }
    });
    let reconciler = Arc::new(Namespaces { client, namespaces: namespaces.clone() });
    Controller { name: "namespace-controller", reconciler, queue, workers: WORKERS, metrics: metrics.clone() }
}

impl Reconcile for Namespaces {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, ControllerError> {
        if !self.namespaces.get(key).is_some_and(|namespace| is_ours(&namespace)) {
            return Ok(Outcome::Done);
        }
        let (kinds, undiscovered) = content::discover(&self.client).await?;
        pass(&self.client, &key.name, &kinds, &undiscovered).await
    }
}

fn is_ours(namespace: &Namespace) -> bool {
    namespace.meta.deleting.is_some() && namespace.finalizers.iter().any(|finalizer| finalizer == FINALIZER)
}

/// Reads what is left, plans, applies.
async fn pass(
    client: &kube::Client,
    name: &str,
    kinds: &[Kind],
    undiscovered: &[String],
) -> Result<Outcome, ControllerError> {
    let api: Api<v1::Namespace> = Api::all(client.clone());
    let read = api.get_opt(name).await.map_err(ControllerError::api("read a namespace"))?;
    let Some(namespace) = read.filter(|read| Namespace::project(read.clone()).is_some_and(|n| is_ours(&n))) else {
        return Ok(Outcome::Done);
    };
    let mut observed = Observed { undiscovered: undiscovered.to_vec(), ..Observed::default() };
    for kind in kinds {
        match content::read(client, name, kind).await {
            Ok(content) if content.count == 0 => {}
            Ok(content) => drop(observed.content.insert(kind.clone(), content)),
            Err(error) => observed.failures.push(format!("{}: {}", kind.qualified(), chain(&error))),
        }
    }
    let step = plan(&observed);
    if let Step::Delete(kinds) = &step {
        for kind in kinds {
            if let Err(error) = content::delete_all(client, name, kind).await {
                observed.failures.push(format!("{}: {}", kind.qualified(), chain(&error)));
            }
        }
    }
    write_conditions(&api, &namespace, &observed).await?;
    if matches!(step, Step::Finalize) {
        finalize(&api, namespace).await?;
        return Ok(Outcome::Done);
    }
    Ok(Outcome::After(PASS))
}

async fn write_conditions(
    api: &Api<v1::Namespace>,
    namespace: &v1::Namespace,
    observed: &Observed,
) -> Result<(), ControllerError> {
    let old: &[NamespaceCondition] =
        namespace.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let conditions = plan::conditions(observed, old, &Time(Timestamp::now()));
    if conditions == old {
        return Ok(());
    }
    let name = namespace.metadata.name.as_deref().unwrap_or_default();
    let patch = Patch::Merge(json!({"status": {"phase": "Terminating", "conditions": conditions}}));
    let written = api.patch_status(name, &PatchParams::default(), &patch).await;
    written.map(drop).map_err(ControllerError::api("write a namespace's conditions"))
}

async fn finalize(api: &Api<v1::Namespace>, mut namespace: v1::Namespace) -> Result<(), ControllerError> {
    if let Some(list) = namespace.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
        list.retain(|finalizer| finalizer != FINALIZER);
    }
    // The conditions were written meanwhile; what is finalized is the namespace, whatever its version.
    namespace.metadata.resource_version = None;
    let name = namespace.metadata.name.clone().unwrap_or_default();
    match api.replace_subresource("finalize", &name, &PostParams::default(), &namespace).await {
        Ok(_) => {
            tracing::info!(namespace = name, "the namespace is empty and was finalized");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(ControllerError::api("finalize a namespace")(error)),
    }
}
