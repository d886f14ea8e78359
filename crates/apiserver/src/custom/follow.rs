//! The task that follows definitions: accepts their names, serves what they define, and empties those that are deleted.
//!
//! It is level-triggered: each pass reads all definitions, plans their statuses, writes those that differ, and replaces the
//! registry's table when other resources are to be served. Any pass may be the last one before a crash. What fails for one
//! definition is told, leaves the others alone, and is tried again.

use crate::{
    envelope, object,
    registry::{Change, Context, Registry, WriteOptions, key, store_error},
    server::ApiServer,
};
use orrery_machinery::{descriptor::ResourceDescriptor, meta, status::ApiError};
use orrery_schema::custom::{self, CLEANUP, GROUP, PLURAL};
use orrery_store::RangeRequest;
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
            (Ok(_), Ok(Waiting::Again)) => tokio::time::sleep(RETRY).await,
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
#[derive(Clone, Copy)]
enum Waiting {
    /// Nothing: the next change of a definition is the next reason to look.
    Nothing,
    /// Objects of deleted definitions that take their time, or what failed.
    Again,
}

/// What came of one definition.
struct Made {
    /// The spec and the accepted names: what is served follows from them.
    of: (Value, Value),
    /// Whether it was being deleted.
    is_deleting: bool,
    resources: Vec<Arc<ResourceDescriptor>>,
    /// Ended when what is served is another or gone: then watches of its objects end.
    lives: CancellationToken,
}

/// What came of each definition, by its uid.
#[derive(Default)]
struct Served {
    made: HashMap<String, Made>,
}

impl Served {
    async fn pass(&mut self, registry: &Registry) -> Result<Waiting, ApiError> {
        let Some(kind) = registry.resource(GROUP, "v1", PLURAL) else { return Ok(Waiting::Nothing) };
        let mut waiting = Waiting::Nothing;
        let mut failed = |name: &str, error: &ApiError| {
            let error = &error.message;
            tracing::warn!(definition = name, error, "a custom resource could not be brought up to date; trying again");
            waiting = Waiting::Again;
        };
        let request = RangeRequest { prefix: key::prefix(GROUP, PLURAL, ""), ..RangeRequest::default() };
        let page = registry.store.range(request).await.map_err(store_error)?;
        let mut definitions = Vec::new();
        for entry in &page.entries {
            match envelope::decode_stored(entry) {
                Ok(definition) => definitions.push(definition),
                Err(error) => failed(key::parts(&entry.key).1, &error),
            }
        }
        // Who came first has the names.
        definitions.sort_by_key(|definition| meta::creation_timestamp(definition).to_owned());
        for index in 0..definitions.len() {
            let status = status(&definitions[index], &definitions, &object::now_text());
            if status == definitions[index]["status"] {
                continue;
            }
            match write_status(registry, &kind, &definitions[index], &status).await {
                Ok(Some(written)) => definitions[index] = written,
                Ok(None) => {}
                Err(error) => failed(meta::name(&definitions[index]), &error),
            }
        }
        self.serve(registry, &definitions);
        for definition in definitions.iter().filter(|definition| meta::is_deleting(definition)) {
            match self.empty(registry, &kind, definition).await {
                Ok(true) => {}
                Ok(false) => waiting = Waiting::Again,
                Err(error) => {
                    let (name, error) = (meta::name(definition), &error.message);
                    tracing::warn!(
                        definition = name,
                        error,
                        "a deleted custom resource cannot be emptied; trying again"
                    );
                    waiting = Waiting::Again;
                }
            }
        }
        Ok(waiting)
    }

    /// Serves what the established definitions define.
    fn serve(&mut self, registry: &Registry, definitions: &[Value]) {
        let (mut current, mut changed, mut ended) = (HashMap::new(), false, Vec::new());
        for definition in definitions.iter().filter(|definition| is_established(definition)) {
            let id = meta::uid(definition).to_owned();
            let of = (definition["spec"].clone(), definition["status"]["acceptedNames"].clone());
            let is_deleting = meta::is_deleting(definition);
            let made = match self.made.remove(&id) {
                Some(known) if known.of == of && known.is_deleting == is_deleting => known,
                known => {
                    changed = true;
                    let lives = match known {
                        // While it is being deleted, watchers are told what becomes of its objects.
                        Some(known) if known.of == of => known.lives,
                        Some(known) => {
                            ended.push(known.lives);
                            CancellationToken::new()
                        }
                        None => CancellationToken::new(),
                    };
                    Made { of, is_deleting, resources: descriptors(definition), lives }
                }
            };
            current.insert(id, made);
        }
        let gone = std::mem::replace(&mut self.made, current);
        if changed || !gone.is_empty() {
            let lives = self.made.values().flat_map(|made| made.resources.iter().map(|one| (one, &made.lives)));
            registry.serve_also(lives.map(|(resource, lives)| (Arc::clone(resource), lives.clone())));
        }
        ended.extend(gone.into_values().map(|made| made.lives));
        for life in ended {
            life.cancel();
        }
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
        let served = self.made.get(meta::uid(definition)).map_or(&[][..], |made| &made.resources);
        // The stored version is the one that can be read without asking others.
        let stored = served.iter().find(|resource| resource.is_stored_as_served());
        if let Some(resource) = stored.or(served.first()) {
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

/// The descriptors of a definition. A version that cannot be served is left out and told.
fn descriptors(definition: &Value) -> Vec<Arc<ResourceDescriptor>> {
    let made = custom::descriptors(definition).into_iter().filter_map(|made| {
        let told = |why| tracing::error!(definition = meta::name(definition), why, "a version is not served");
        made.map_err(told).ok().map(Arc::new)
    });
    made.collect()
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
    let custom::Verdict { accepted, conflict } = custom::judge(definition, all.iter());
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
