//! Apply.

use super::{
    Resource, Writer,
    conflict::Conflicts,
    entries, kubectl,
    managers::{Kept, Manager, Managers, Operation},
    prune::prune,
    settle::{Failure, reconcile_all, settle},
    stripped,
    tracking::{empty_object, id_of, write_down},
};
use crate::typed::{extract::field_set, is_equal, merge::merge, validate::validate};
use orrery_machinery::status::ApiError;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The manager of what was there before the first apply, where nobody had been tracked.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// A configuration to apply.
#[derive(Clone, Copy)]
pub struct Apply<'a> {
    /// The object as it is stored, in the version of the request; none when there is none yet.
    pub live: Option<&'a Value>,
    /// The configuration.
    pub config: &'a Value,
    /// Whether to take fields that others own.
    pub force: bool,
    /// What is written.
    pub resource: Resource<'a>,
    /// Who writes.
    pub writer: Writer<'a>,
}

/// What apply makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The object with its `metadata.managedFields`. Defaults are not filled in yet: nobody owns them.
    pub object: Value,
    /// Whether it differs from the stored one in more than its managed fields.
    pub is_changed: bool,
}

/// Merges a configuration into the stored object.
///
/// # Errors
/// 400 when the configuration is of another kind or not of its type, or has managed fields; 409 when others own what it sets;
/// 500 when the stored object cannot be understood.
pub fn apply(request: &Apply<'_>) -> Result<Applied, ApiError> {
    let resource = &request.resource;
    check(request.config, resource)?;
    let nothing = empty_object(resource);
    let live = request.live.unwrap_or(&nothing);
    let source = entries::entries_of(live).map(Vec::as_slice).unwrap_or_default();
    let mut managers =
        entries::read(source, true).map_err(|error| broken(format!("failed to decode managed fields: {error}")))?;
    if managers.is_empty() && request.live.is_some() {
        let before = Writer { manager: BEFORE_FIRST_APPLY, ..request.writer };
        write_down(&mut managers, &nothing, live, resource, &before)
            .map_err(|failure| answer(failure, "failed to create manager for existing fields: "))?;
    }
    let is_kubectl = request.writer.manager == kubectl::MANAGER;
    let again = is_kubectl.then(|| managers.clone());
    let merged = match (attempt(request, live, managers, request.force), again) {
        (Err(Failure::Conflicts(conflicts)), Some(managers)) => retry(request, live, managers, conflicts)?,
        (outcome, _) => outcome.map_err(|failure| answer(failure, ""))?,
    };
    let Merged { mut object, managers, is_changed } = merged;
    if is_kubectl {
        kubectl::sync_last_applied(&mut object, request.config);
    }
    let plan = entries::plan(managers);
    entries::put_entries(&mut object, entries::write(plan, Cow::Borrowed(source)));
    Ok(Applied { object, is_changed })
}

/// Applies with force where all conflicts come from what kubectl had applied on the client's side.
fn retry<'a>(
    request: &Apply<'a>,
    live: &'a Value,
    managers: Managers<'a>,
    conflicts: Conflicts,
) -> Result<Merged<'a>, ApiError> {
    let allowed = kubectl::allowed(live, &request.resource);
    let allowed = allowed.as_ref().map(|applied| applied.fields(live, &request.resource));
    let Some(Some(allowed)) = allowed else { return Err(conflicts.into()) };
    let rest = conflicts.without(&allowed);
    if !rest.is_empty() {
        return Err(rest.into());
    }
    attempt(request, live, managers, true).map_err(|failure| answer(failure, ""))
}

/// An object and its owners after an apply.
struct Merged<'a> {
    object: Value,
    managers: Managers<'a>,
    is_changed: bool,
}

fn attempt<'a>(
    request: &Apply<'a>,
    live: &'a Value,
    mut managers: Managers<'a>,
    force: bool,
) -> Result<Merged<'a>, Failure> {
    let (resource, other) = (&request.resource, |text: String| Failure::Other(text));
    reconcile_all(&mut managers, live, resource)?;
    let view = resource.shape.view();
    let merged = merge(live, request.config, view).map_err(|e| other(format!("failed to merge config: {e}")))?;
    let set = field_set(request.config, view).map_err(|e| other(format!("failed to get field set: {e}")))?;
    let id = id_of(&request.writer, Operation::Apply, resource.api_version);
    let last = managers.take(&id);
    managers.put(Manager {
        id: id.clone(),
        api_version: resource.api_version.into(),
        time: last.as_ref().and_then(|last| last.time.clone()),
        set: resource.ignored.filter(set),
        kept: Kept::Nothing,
    });
    let object = match &last {
        Some(last) => {
            prune(merged, &managers, &id, last, resource).map_err(|e| other(format!("failed to prune fields: {e}")))?
        }
        None => merged,
    };
    let is_changed = !is_same_object(live, &object);
    // An object that stays the same takes nothing from anybody, but versions may be gone.
    if is_changed || managers.iter().any(|manager| manager.api_version != resource.api_version) {
        settle(&mut managers, live, &object, resource, Some(&id), force)?;
    }
    if let Some(mut own) = managers.take(&id) {
        own.set = own.set.difference(stripped());
        if is_changed {
            own.time = Some(request.writer.now.into());
        }
        let same_fields = last.as_ref().filter(|last| last.set == own.set);
        own.kept = same_fields.map_or(Kept::Nothing, |last| match last.kept {
            kept if last.time == own.time && last.api_version == own.api_version => kept,
            kept => kept.fields_only(),
        });
        if !own.set.is_empty() {
            managers.put(own);
        }
    }
    Ok(Merged { object, managers, is_changed })
}

/// Whether the two are the same but for `metadata.managedFields`, which `merged` does not have.
fn is_same_object(live: &Value, merged: &Value) -> bool {
    let (Some(live), Some(merged)) = (live.as_object(), merged.as_object()) else { return is_equal(live, merged) };
    let is_same_metadata = |live: &Map<String, Value>, merged: &Map<String, Value>| {
        let mut others = live.iter().filter(|(name, _)| *name != "managedFields");
        let count = live.len() - usize::from(live.contains_key("managedFields"));
        count == merged.len()
            && others.all(|(name, value)| merged.get(name).is_some_and(|other| is_equal(value, other)))
    };
    live.len() == merged.len()
        && live.iter().all(|(name, value)| match (value, merged.get(name)) {
            (_, None) => false,
            (Value::Object(live), Some(Value::Object(merged))) if name == "metadata" => is_same_metadata(live, merged),
            (value, Some(other)) => is_equal(value, other),
        })
}

fn check(config: &Value, resource: &Resource<'_>) -> Result<(), ApiError> {
    let text = |name: &str| config.get(name).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if (api_version, kind) != (resource.api_version, resource.kind) {
        return Err(ApiError::bad_request(format!("invalid object type: {}", group_version_kind(api_version, kind))));
    }
    if config.get("metadata").and_then(|metadata| metadata.get("managedFields")).is_some_and(Value::is_array) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    validate(config, resource.shape.view()).map_err(|problems| {
        let meta = |name: &str| config["metadata"][name].as_str().unwrap_or_default();
        let gvk = group_version_kind(api_version, kind);
        let whose = format!("{}/{}; {gvk}", meta("namespace"), meta("name"));
        ApiError::bad_request(format!("failed to create typed patch object ({whose}): {problems}"))
    })
}

/// As upstream shows a group, version and kind: `apps/v1, Kind=Deployment`, `/v1, Kind=Pod`.
fn group_version_kind(api_version: &str, kind: &str) -> String {
    let slash = if api_version.contains('/') { "" } else { "/" };
    format!("{slash}{api_version}, Kind={kind}")
}

fn answer(failure: Failure, what: &str) -> ApiError {
    match failure {
        Failure::Conflicts(conflicts) => conflicts.into(),
        Failure::Other(error) => broken(format!("{what}{error}")),
    }
}

/// 500 without a reason, as upstream answers errors that have none.
fn broken(message: String) -> ApiError {
    ApiError { code: 500, reason: "", message, details: None }
}
