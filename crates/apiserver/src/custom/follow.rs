//! The task that follows definitions: accepts their names, serves what they define, and empties those that are deleted.
//!
//! It is level-triggered: each pass reads all definitions, plans their statuses, writes those that differ, and replaces the
//! registry's table when other resources are to be served. Any pass may be the last one before a crash.

use super::{CLEANUP, GROUP, PLURAL, names, resource};
use crate::{
    object,
    registry::{Change, Context, Registry, WriteOptions, key},
    server::ApiServer,
};
use orrery_machinery::{descriptor::ResourceDescriptor, meta, status::ApiError};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long to wait before a pass is repeated that failed or has objects to wait for.
const RETRY: Duration = Duration::from_millis(500);

/// The running task; ends when this is dropped.
pub(crate) struct Follower {
    _end: DropGuard,
}

impl Follower {
    /// Brings the table up to date, and keeps it so until the follower is dropped.
    ///
    /// # Errors
    /// When definitions cannot be read.
    pub(crate) async fn start(server: &Arc<ApiServer>) -> Result<Self, ApiError> {
        let end = CancellationToken::new();
        if server.registry.resource(GROUP, "v1", PLURAL).is_some() {
            let mut served = Served::default();
            served.pass(&server.registry).await?;
            let task = follow(Arc::downgrade(server), served);
            let ended = end.clone();
            tokio::spawn(async move { ended.run_until_cancelled_owned(task).await });
        }
        Ok(Self { _end: end.drop_guard() })
    }
}

async fn follow(server: Weak<ApiServer>, mut served: Served) {
    loop {
        let Some(strong) = server.upgrade() else { return };
        let store = Arc::clone(&strong.registry.store);
        // The watch begins before the pass, so that nothing between the two is missed.
        let watch = match store.current_revision().await {
            Ok(from) => store.watch(&key::prefix(GROUP, PLURAL, ""), from).await,
            Err(error) => Err(error),
        };
        let outcome = served.pass(&strong.registry).await;
        drop(strong);
        match (watch, outcome) {
            (Ok(mut watch), Ok(Waiting::Nothing)) => {
                // Progress is no change; anything else is a reason to look.
                while let Some(orrery_store::WatchEvent::Progress(_)) = watch.next().await {}
            }
            (Ok(_), Ok(Waiting::Objects)) => tokio::time::sleep(RETRY).await,
            (_, Err(error)) => {
                tracing::warn!(error = error.message, "custom resources could not be brought up to date; trying again");
                tokio::time::sleep(RETRY).await;
            }
            (Err(error), Ok(_)) => {
                tracing::warn!(%error, "definitions of custom resources cannot be watched; trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// What a pass leaves open.
enum Waiting {
    /// Nothing: the next change of a definition is the next reason to look.
    Nothing,
    /// Objects of deleted definitions that take their time.
    Objects,
}

/// Descriptors of each definition, by its name and resource version.
#[derive(Default)]
struct Served {
    descriptors: HashMap<(String, String), Vec<Arc<ResourceDescriptor>>>,
}

impl Served {
    async fn pass(&mut self, registry: &Registry) -> Result<Waiting, ApiError> {
        let Some(kind) = registry.resource(GROUP, "v1", PLURAL) else { return Ok(Waiting::Nothing) };
        let mut definitions = registry.reader.list(GROUP, PLURAL, "").await?;
        // Who came first has the names.
        definitions.sort_by_key(|definition| meta::creation_timestamp(definition).to_owned());
        for index in 0..definitions.len() {
            let status = status(&definitions[index], &definitions, &object::now_text());
            if status != definitions[index]["status"]
                && let Some(written) = write_status(registry, &kind, &definitions[index], &status).await?
            {
                definitions[index] = written;
            }
        }
        let mut current = HashMap::new();
        for definition in definitions.iter().filter(|definition| is_established(definition)) {
            let id = (meta::name(definition).to_owned(), meta::resource_version(definition).to_owned());
            let known = self.descriptors.remove(&id);
            let made = || resource::descriptors(definition).into_iter().map(Arc::new).collect();
            current.insert(id, known.unwrap_or_else(made));
        }
        let changed = !self.descriptors.is_empty() || registry.served_also() != current.values().flatten().count();
        self.descriptors = current;
        if changed {
            registry.serve_also(self.descriptors.values().flatten().cloned());
        }
        let mut waiting = Waiting::Nothing;
        for definition in definitions.iter().filter(|definition| meta::is_deleting(definition)) {
            if !self.empty(registry, &kind, definition).await? {
                waiting = Waiting::Objects;
            }
        }
        Ok(waiting)
    }

    /// Deletes the objects of a definition; whether none are left, and the definition may go.
    async fn empty(
        &self,
        registry: &Registry,
        kind: &ResourceDescriptor,
        definition: &Value,
    ) -> Result<bool, ApiError> {
        if !meta::finalizers(definition).contains(&CLEANUP) {
            return Ok(true);
        }
        let id = (meta::name(definition).to_owned(), meta::resource_version(definition).to_owned());
        if let Some(resource) = self.descriptors.get(&id).and_then(|served| served.first()) {
            registry.delete_all(&context(resource, "")).await?;
            if !registry.reader.list(&resource.stored.group, &resource.stored.plural, "").await?.is_empty() {
                return Ok(false);
            }
        }
        let change = |old: &Value| {
            let mut new = old.clone();
            let others = meta::finalizers(old).into_iter().filter(|finalizer| *finalizer != CLEANUP);
            let others: Vec<Value> = others.map(Value::from).collect();
            object::set_meta(&mut new, "finalizers", Some(others.into()));
            Ok(Change::of(new))
        };
        match registry.change(&context(kind, meta::name(definition)), change).await {
            Err(error) if error.code != 404 => Err(error),
            Ok(_) | Err(_) => Ok(true),
        }
    }
}

fn context<'a>(resource: &'a ResourceDescriptor, name: &str) -> Context<'a> {
    Context {
        caller: None,
        resource,
        namespace: String::new(),
        name: name.to_owned(),
        subresource: String::new(),
        options: WriteOptions::default(),
    }
}

/// Writes a definition's status; none when it was changed or deleted meanwhile, which the next pass looks at.
async fn write_status(
    registry: &Registry,
    kind: &ResourceDescriptor,
    definition: &Value,
    status: &Value,
) -> Result<Option<Value>, ApiError> {
    let context = Context { subresource: "status".to_owned(), ..context(kind, meta::name(definition)) };
    let change = |_: &Value| {
        let mut new = definition.clone();
        new["status"] = status.clone();
        Ok(Change::of(new))
    };
    match registry.change(&context, change).await {
        Ok(written) => Ok(Some(written.object)),
        Err(error) if matches!(error.code, 404 | 409) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_established(definition: &Value) -> bool {
    condition(definition, "Established").is_some_and(|condition| condition["status"] == "True")
}

fn condition<'a>(definition: &'a Value, kind: &str) -> Option<&'a Value> {
    object::list(definition, "/status/conditions").iter().find(|condition| condition["type"] == kind)
}

/// The status that a definition should have.
fn status(definition: &Value, all: &[Value], now: &str) -> Value {
    let mut new = definition.clone();
    if !new["status"].is_object() {
        new["status"] = json!({});
    }
    if meta::is_deleting(definition) {
        let message = "CustomResource deletion is in progress";
        set_condition(&mut new, "Terminating", true, "InstanceDeletionInProgress", message, now);
        return new["status"].take();
    }
    let names::Verdict { accepted, conflict } = names::judge(definition, all.iter());
    new["status"]["acceptedNames"] = accepted;
    match conflict {
        None => {
            set_condition(&mut new, "NamesAccepted", true, "NoConflicts", "no conflicts found", now);
            let message = "the initial names have been accepted";
            set_condition(&mut new, "Established", true, "InitialNamesAccepted", message, now);
        }
        Some((reason, message)) => {
            set_condition(&mut new, "NamesAccepted", false, reason, &message, now);
            // What is served stays served.
            if !is_established(definition) {
                let message = "not all names are accepted";
                set_condition(&mut new, "Established", false, "NotAccepted", message, now);
            }
        }
    }
    new["status"].take()
}

fn set_condition(definition: &mut Value, kind: &str, holds: bool, reason: &str, message: &str, now: &str) {
    let status = if holds { "True" } else { "False" };
    let present = condition(definition, kind);
    if present.is_some_and(|c| c["status"] == status && c["reason"] == reason && c["message"] == message) {
        return;
    }
    let since = present.filter(|c| c["status"] == status).map(|c| c["lastTransitionTime"].clone());
    let condition = json!({"type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since.unwrap_or_else(|| now.into())});
    let mut conditions = object::list(definition, "/status/conditions").to_vec();
    match conditions.iter_mut().find(|c| c["type"] == kind) {
        Some(found) => *found = condition,
        None => conditions.push(condition),
    }
    definition["status"]["conditions"] = conditions.into();
}
