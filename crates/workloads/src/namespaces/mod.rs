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

use crate::{
    mirror::Mirror,
    supervise::{ControllerError, chain},
};
use content::Kind;
use k8s_openapi::{
    api::core::v1::{Namespace, NamespaceCondition},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    runtime::watcher,
};
use plan::{Observed, Step, plan};
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};

/// The finalizer that we do the work of.
const FINALIZER: &str = "kubernetes";
/// How long after a pass the next one looks for progress.
const PASS: Duration = Duration::from_secs(1);

/// Empties terminating namespaces until the watch ends.
pub(crate) async fn run(client: kube::Client) -> Result<(), ControllerError> {
    let api = Api::all(client.clone());
    let mut terminating = Mirror::new("namespaces", api, watcher::Config::default(), is_terminating);
    loop {
        let any = !terminating.items().is_empty();
        tokio::select! {
            // Cancel-safe: see `Mirror::changed`.
            changed = terminating.changed() => changed?,
            // Cancel-safe: a timer.
            () = tokio::time::sleep(PASS), if any => {}
        }
        if terminating.items().is_empty() {
            continue;
        }
        let (kinds, undiscovered) = content::discover(&client).await?;
        for name in terminating.items().keys() {
            if let Err(error) = pass(&client, name, &kinds, &undiscovered).await {
                tracing::warn!(namespace = name, error = chain(&error), "a pass failed; it is done again");
            }
        }
    }
}

fn is_terminating(namespace: &Namespace) -> Option<()> {
    let ours = namespace.spec.as_ref().is_some_and(|spec| finalizers(spec.finalizers.as_ref()).contains(FINALIZER));
    (ours && namespace.metadata.deletion_timestamp.is_some()).then_some(())
}

fn finalizers(list: Option<&Vec<String>>) -> BTreeSet<&str> {
    list.into_iter().flatten().map(String::as_str).collect()
}

/// Reads what is left, plans, applies.
async fn pass(
    client: &kube::Client,
    name: &str,
    kinds: &[Kind],
    undiscovered: &[String],
) -> Result<(), ControllerError> {
    let api: Api<Namespace> = Api::all(client.clone());
    let Some(namespace) = api.get_opt(name).await.map_err(ControllerError::api("read a namespace"))? else {
        return Ok(());
    };
    if is_terminating(&namespace).is_none() {
        return Ok(());
    }
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
    if matches!(step, Step::Finalize) { finalize(&api, namespace).await } else { Ok(()) }
}

async fn write_conditions(
    api: &Api<Namespace>,
    namespace: &Namespace,
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

async fn finalize(api: &Api<Namespace>, mut namespace: Namespace) -> Result<(), ControllerError> {
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
