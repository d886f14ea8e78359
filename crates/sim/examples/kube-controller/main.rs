//! A controller as people write them with kube-rs: for each `Greeting` a config map that says it.
//!
//! It is here to be run against an API server by `scripts/clients`, and to be read. Everything that it does is usual: it watches
//! its custom resource and what it owns, writes with server-side apply under a name of its own, tells in the status what it has
//! seen, and has a finalizer, with which it says farewell in another config map before a greeting goes.
//!
//! ```text
//! kubectl apply -f crates/sim/examples/kube-controller/crd.yaml
//! cargo run -p orrery-sim --example kube-controller      # KUBECONFIG says where; ends with SIGINT or SIGTERM
//! ```
//!
//! Start reading at [`reconcile`].
#![forbid(unsafe_code)]

mod greeting;
mod plan;

use futures::StreamExt;
use greeting::Greeting;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{
        Controller,
        controller::{self, Action},
        finalizer,
        finalizer::Event,
        watcher,
    },
};
use serde_json::json;
use std::{error::Error, io::Write, sync::Arc, time::Duration};

/// Under which name fields are owned, and the finalizer.
const MANAGER: &str = "greeting-controller";
const FINALIZER: &str = "controller.clients.test/farewell";
/// The config map in which farewells are said.
const FAREWELLS: &str = "farewells";
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum ReconcileError {
    #[error("a greeting has no namespace")]
    NoNamespace,
    #[error("cannot write the config map of a greeting")]
    ConfigMap(#[source] kube::Error),
    #[error("cannot write the status of a greeting")]
    Status(#[source] kube::Error),
    #[error("cannot say farewell")]
    Farewell(#[source] kube::Error),
    #[error("cannot finalize a greeting")]
    Finalizer(#[from] Box<finalizer::Error<ReconcileError>>),
}

/// Looks at one greeting and does what is to be done.
async fn reconcile(greeting: Arc<Greeting>, client: Arc<Client>) -> Result<Action, ReconcileError> {
    let namespace = greeting.namespace().ok_or(ReconcileError::NoNamespace)?;
    let greetings: Api<Greeting> = Api::namespaced(Client::clone(&client), &namespace);
    let maps: Api<ConfigMap> = Api::namespaced(Client::clone(&client), &namespace);
    let done = finalizer(&greetings, FINALIZER, greeting, |event| async {
        match event {
            Event::Apply(greeting) => apply(&greetings, &maps, &greeting).await,
            Event::Cleanup(greeting) => farewell(&maps, &greeting).await,
        }
    });
    match done.await {
        // What was looked at was older than what there is: it has gone meanwhile, as it should.
        Err(finalizer::Error::RemoveFinalizer(kube::Error::Api(status))) if status.code == 404 => {
            Ok(Action::await_change())
        }
        other => other.map_err(|error| Box::new(error).into()),
    }
}

async fn apply(
    greetings: &Api<Greeting>,
    maps: &Api<ConfigMap>,
    greeting: &Greeting,
) -> Result<Action, ReconcileError> {
    let (name, ours) = (greeting.name_any(), PatchParams::apply(MANAGER).force());
    maps.patch(&name, &ours, &Patch::Apply(plan::config_map(greeting))).await.map_err(ReconcileError::ConfigMap)?;
    let status = plan::status(greeting, Time(Timestamp::now()));
    // A status that says nothing new is not written: each write would be seen, and looked at again.
    if status != greeting.status {
        let patch = json!({"apiVersion": "controller.clients.test/v1", "kind": "Greeting", "status": status});
        greetings.patch_status(&name, &ours, &Patch::Apply(patch)).await.map_err(ReconcileError::Status)?;
    }
    Ok(Action::await_change())
}

async fn farewell(maps: &Api<ConfigMap>, greeting: &Greeting) -> Result<Action, ReconcileError> {
    let name = greeting.name_any();
    let patch = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {&name: format!("farewell, {name}")}});
    // Each farewell has an owner of its own, so that none takes another's away.
    let ours = PatchParams::apply(&format!("{MANAGER}-{name}")).force();
    maps.patch(FAREWELLS, &ours, &Patch::Apply(patch)).await.map_err(ReconcileError::Farewell)?;
    Ok(Action::await_change())
}

/// An error with all its causes.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::try_default().await?;
    let (greetings, maps) = (Api::<Greeting>::all(client.clone()), Api::<ConfigMap>::all(client.clone()));
    let mut out = std::io::stdout();
    writeln!(out, "watching greetings")?;
    Controller::new(greetings, watcher::Config::default())
        .owns(maps, watcher::Config::default())
        .shutdown_on_signal()
        .run(reconcile, |_, _, _| Action::requeue(RETRY), Arc::new(client))
        .for_each(|result| {
            let line = match result {
                Ok((object, _)) => format!("reconciled {}", object.name),
                // It went between the look and the reconciliation: nothing is left to do.
                Err(controller::Error::ObjectNotFound(object)) => format!("gone {}", object.name),
                Err(error) => format!("failed: {}", chain(&error)),
            };
            // Nobody reads on when standard output is closed; that is no reason to stop.
            let _ = writeln!(out, "{line}");
            std::future::ready(())
        })
        .await;
    writeln!(out, "ended")?;
    Ok(())
}
