//! The roles and bindings that every cluster has, and the roles that gather the rules of others.

use super::Authorizer;
use crate::{
    config::ConfigError,
    http::query::Query,
    registry::{Change, Context, DeleteOptions, Registry, WriteOptions},
    server::ApiServer,
};
use orrery_auth::rbac::{
    Aggregated, GROUP, Rule,
    bootstrap::{self, Bootstrap, Step, reconcile},
};
use orrery_machinery::{descriptor::ResourceDescriptor, meta, status::ApiError};
use serde_json::{Value, json};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long the first round of gathering rules may take; the rest is done while the server runs.
const SETTLE: Duration = Duration::from_secs(5);

/// Sees to it that the roles and bindings that every cluster has are there, as far as their kinds are served.
pub(crate) async fn create_bootstrap(registry: &Registry) -> Result<(), ConfigError> {
    for Bootstrap { plural, object } in bootstrap::objects() {
        let Some(resource) = registry.resource(GROUP, "v1", plural) else { continue };
        let name = format!("{plural}/{}", meta::name(&object));
        let done = ensure(registry, &resource, object).await;
        done.map_err(|source| ConfigError::Bootstrap { name, source })?;
    }
    Ok(())
}

fn context<'a>(resource: &'a ResourceDescriptor, object: &Value) -> Context<'a> {
    Context {
        caller: None,
        resource,
        namespace: meta::namespace(object).to_owned(),
        name: meta::name(object).to_owned(),
        subresource: String::new(),
        options: WriteOptions { manager: "kube-apiserver".to_owned(), ..WriteOptions::default() },
    }
}

async fn ensure(registry: &Registry, resource: &ResourceDescriptor, expected: Value) -> Result<(), ApiError> {
    let context = context(resource, &expected);
    let existing = match registry.get(&context).await {
        Ok(existing) => Some(existing),
        Err(error) if error.code == 404 => None,
        Err(error) => return Err(error),
    };
    match reconcile(existing.as_ref(), &expected) {
        Step::Keep => Ok(()),
        Step::Create(object) => registry.create_if_missing(resource, object).await.map(drop),
        Step::Update(_) => {
            // Planned anew on what is there at the moment of the write.
            let change = |old: &Value| {
                let object = match reconcile(Some(old), &expected) {
                    Step::Update(new) => new,
                    Step::Keep | Step::Create(_) | Step::Replace(_) => old.clone(),
                };
                Ok(Change::of(object))
            };
            registry.change(&context, change).await.map(drop)
        }
        Step::Replace(object) => {
            registry.delete(&context, &DeleteOptions::parse(None, &Query::default())?).await?;
            registry.create_if_missing(resource, object).await.map(drop)
        }
    }
}

/// Has each role that gathers the rules of others hold them, before the first request is answered.
pub(crate) async fn settle(registry: &Registry, authorizer: &Authorizer) {
    let mut changes = authorizer.rbac().changes();
    let settled = async {
        loop {
            changes.mark_unchanged();
            let stale = authorizer.rbac().aggregate();
            if stale.is_empty() {
                return;
            }
            write_all(registry, stale).await;
            if changes.changed().await.is_err() {
                return;
            }
        }
    };
    if tokio::time::timeout(SETTLE, settled).await.is_err() {
        tracing::warn!("roles that gather the rules of others are not complete yet");
    }
}

/// Keeps on doing so whenever a role changes, for as long as the server lives.
pub(crate) async fn run(server: Weak<ApiServer>, mut changes: tokio::sync::watch::Receiver<orrery_store::Revision>) {
    while changes.changed().await.is_ok() {
        let Some(server) = server.upgrade() else { return };
        let stale = server.authorizer.rbac().aggregate();
        write_all(&server.registry, stale).await;
    }
}

async fn write_all(registry: &Registry, stale: Vec<Aggregated>) {
    for role in stale {
        let name = role.name.clone();
        if let Err(error) = write(registry, role).await {
            // The next change of a role tries again.
            tracing::warn!(role = name, error = error.message, "cannot write the rules that a role gathers");
        }
    }
}

async fn write(registry: &Registry, role: Aggregated) -> Result<(), ApiError> {
    let Some(resource): Option<Arc<ResourceDescriptor>> = registry.resource(GROUP, "v1", "clusterroles") else {
        return Ok(());
    };
    let context = context(&resource, &json!({"metadata": {"name": role.name}}));
    let rules: Vec<Value> = role.rules.iter().map(Rule::to_json).collect();
    let change = |old: &Value| {
        let mut object = old.clone();
        object["rules"] = json!(rules);
        Ok(Change::of(object))
    };
    registry.change(&context, change).await.map(drop)
}
