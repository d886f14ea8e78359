//! What a query says about a verb.

use super::key;
use crate::{
    envelope::{self, Stored},
    http::query::Query,
};
use ::http::{HeaderMap, header};
use orrery_machinery::{
    descriptor::ResourceDescriptor,
    selector::{FieldSelector, LabelSelector},
    status::{ApiError, FieldError, Target},
};
use orrery_merge::apply;
use orrery_store::{Entry, Revision};
use serde_json::{Value, json};

/// What to do about fields that are unknown or stand twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// Options of a write.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteOptions {
    /// Nothing is stored.
    pub(crate) dry_run: bool,
    pub(crate) validation: FieldValidation,
    /// Who owns what is written: as the client says, else from its user agent.
    pub(crate) manager: String,
    /// Whether the client named the manager.
    pub(crate) manager_given: bool,
    /// For apply: whether to take fields that others own.
    pub(crate) force: Option<bool>,
}

impl WriteOptions {
    pub(crate) fn parse(query: &Query, headers: &HeaderMap) -> Result<Self, ApiError> {
        let given = query.get("fieldManager");
        let errors = apply::validate_manager(given, "fieldManager");
        if !errors.is_empty() {
            return Err(option_error(&errors));
        }
        let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("");
        let force = if query.get("force").is_empty() { None } else { Some(query.flag("force")?) };
        let validation = match query.get("fieldValidation") {
            "" | "Warn" => FieldValidation::Warn,
            "Strict" => FieldValidation::Strict,
            "Ignore" => FieldValidation::Ignore,
            other => {
                let supported = ["Ignore", "Strict", "Warn"];
                return Err(option_error(&[FieldError::not_supported("fieldValidation", &other.into(), &supported)]));
            }
        };
        Ok(Self {
            dry_run: dry_run(query.all("dryRun"))?,
            validation,
            manager: if given.is_empty() { apply::manager_of(agent) } else { given.to_owned() },
            manager_given: !given.is_empty(),
            force,
        })
    }

    /// Checks what only patches have.
    pub(crate) fn check_patch(&self, is_apply: bool) -> Result<(), ApiError> {
        let given = if self.manager_given { self.manager.as_str() } else { "" };
        let errors = apply::validate_patch_options(is_apply, self.force, given);
        if errors.is_empty() {
            return Ok(());
        }
        Err(ApiError::invalid("PatchOptions", Target { group: "meta.k8s.io", resource: "", name: "" }, &errors))
    }
}

fn option_error(errors: &[FieldError]) -> ApiError {
    ApiError::invalid("Options", Target { group: "meta.k8s.io", resource: "", name: "" }, errors)
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>) -> Result<bool, ApiError> {
    let mut dry = false;
    for value in values {
        match value {
            "All" => dry = true,
            "" => {}
            other => return Err(option_error(&[FieldError::not_supported("dryRun", &other.into(), &["All"])])),
        }
    }
    Ok(dry)
}

/// How a resource version is to be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    Exact,
    NotOlderThan,
}

/// Which objects are meant.
#[derive(Clone)]
pub(crate) struct Selection {
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
}

impl Selection {
    pub(crate) fn parse(query: &Query, resource: &ResourceDescriptor) -> Result<Self, ApiError> {
        Ok(Self {
            labels: LabelSelector::parse(query.get("labelSelector"))?,
            fields: FieldSelector::parse(query.get("fieldSelector"), resource)?,
        })
    }

    /// Whether every object is meant.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// Whether the object of an entry is meant. Most objects need not be decoded for that.
    pub(crate) fn picks(&self, resource: &ResourceDescriptor, entry: &Entry) -> Result<bool, ApiError> {
        if self.is_everything() {
            return Ok(true);
        }
        let stored = Stored::read(&entry.value).filter(|stored| stored.is_as_served(resource));
        let place = key::parts(&entry.key);
        if let Some(picked) = stored.and_then(|stored| stored.is_selected(resource, place, &self.labels, &self.fields))
        {
            return Ok(picked);
        }
        let object = envelope::decode(resource, entry)?;
        Ok(self.labels.matches(&object) && self.fields.matches(&object))
    }
}

/// Options of a list or watch.
#[derive(Clone)]
pub(crate) struct ListOptions {
    pub(crate) selection: Selection,
    /// None when unset; 0 means "any".
    pub(crate) version: Option<Revision>,
    pub(crate) version_match: Option<Match>,
    pub(crate) limit: Option<usize>,
    pub(crate) continue_token: String,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) bookmarks: bool,
    pub(crate) initial_events: Option<bool>,
}

impl ListOptions {
    pub(crate) fn parse(query: &Query, resource: &ResourceDescriptor, watch: bool) -> Result<Self, ApiError> {
        let version_match = match query.get("resourceVersionMatch") {
            "" => None,
            "Exact" => Some(Match::Exact),
            "NotOlderThan" => Some(Match::NotOlderThan),
            other => {
                let supported = ["Exact", "NotOlderThan"];
                let error = FieldError::not_supported("resourceVersionMatch", &other.into(), &supported);
                return Err(option_error(&[error]));
            }
        };
        let initial_events =
            if query.get("sendInitialEvents").is_empty() { None } else { Some(query.flag("sendInitialEvents")?) };
        let options = Self {
            selection: Selection::parse(query, resource)?,
            version: parse_version(query.get("resourceVersion"))?,
            version_match,
            limit: query.number::<usize>("limit")?.filter(|limit| *limit > 0),
            continue_token: query.get("continue").to_owned(),
            timeout_seconds: query.number("timeoutSeconds")?,
            bookmarks: query.flag("allowWatchBookmarks")?,
            initial_events,
        };
        let errors = if watch { options.watch_errors() } else { options.list_errors() };
        if errors.is_empty() { Ok(options) } else { Err(option_error(&errors)) }
    }

    fn list_errors(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if self.version_match.is_some() && self.version.is_none() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            errors.push(FieldError::forbidden("resourceVersionMatch", why));
        }
        if self.version_match.is_some() && !self.continue_token.is_empty() {
            let why = "resourceVersionMatch is forbidden when continue is provided";
            errors.push(FieldError::forbidden("resourceVersionMatch", why));
        }
        if self.version_match == Some(Match::Exact) && self.version == Some(Revision(0)) {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            errors.push(FieldError::forbidden("resourceVersionMatch", why));
        }
        if self.initial_events.is_some() {
            errors.push(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
        errors
    }

    fn watch_errors(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        match self.initial_events {
            None if self.version_match.is_some() => {
                let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                errors.push(FieldError::forbidden("resourceVersionMatch", why));
            }
            Some(_) if self.version_match != Some(Match::NotOlderThan) => {
                let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
                errors.push(FieldError::forbidden("resourceVersionMatch", why));
            }
            None | Some(_) => {}
        }
        if !self.continue_token.is_empty() {
            errors.push(FieldError::forbidden("continue", "continue is forbidden for watch"));
        }
        errors
    }
}

fn parse_version(text: &str) -> Result<Option<Revision>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(|version| Some(Revision(version))).map_err(|_| {
        let why = "must be a resource version that this server gave out";
        option_error(&[FieldError::invalid("resourceVersion", &text.into(), why)])
    })
}

/// What becomes of the objects that a deleted one owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// They are deleted afterwards.
    Background,
    /// They are deleted first.
    Foreground,
    /// They stay, without an owner.
    Orphan,
}

/// Options of a deletion, from the body and the query.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeleteOptions {
    /// None when the client does not say; then the finalizers that are there decide, or the kind.
    pub(crate) propagation: Option<Propagation>,
    pub(crate) grace_seconds: Option<i64>,
    pub(crate) uid: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) dry_run: bool,
}

impl DeleteOptions {
    pub(crate) fn parse(body: Option<&Value>, query: &Query) -> Result<Self, ApiError> {
        let none = json!({});
        let body = body.unwrap_or(&none);
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let mut errors = Vec::new();
        let propagation = propagation(body, query, &mut errors)?;
        let grace_seconds = match body["gracePeriodSeconds"].as_i64() {
            Some(seconds) => Some(seconds),
            None => query.number("gracePeriodSeconds")?,
        };
        if grace_seconds.is_some_and(|seconds| seconds < 0) {
            let why = "must be greater than or equal to 0";
            errors.push(FieldError::invalid("gracePeriodSeconds", &json!(grace_seconds), why));
        }
        if !errors.is_empty() {
            return Err(ApiError::invalid(
                "DeleteOptions",
                Target { group: "meta.k8s.io", resource: "", name: "" },
                &errors,
            ));
        }
        let listed = body["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(Self {
            propagation,
            grace_seconds,
            uid: text("/preconditions/uid"),
            version: text("/preconditions/resourceVersion"),
            dry_run: dry_run(listed.chain(query.all("dryRun")))?,
        })
    }
}

/// The propagation policy, in its present form or the old one (`orphanDependents`).
fn propagation(body: &Value, query: &Query, errors: &mut Vec<FieldError>) -> Result<Option<Propagation>, ApiError> {
    let policy = body["propagationPolicy"].as_str().unwrap_or(query.get("propagationPolicy"));
    let orphan = match body["orphanDependents"].as_bool() {
        None if query.get("orphanDependents").is_empty() => None,
        None => Some(query.flag("orphanDependents")?),
        given => given,
    };
    let of_policy = match policy {
        "" => None,
        "Background" => Some(Propagation::Background),
        "Foreground" => Some(Propagation::Foreground),
        "Orphan" => Some(Propagation::Orphan),
        other => {
            let supported = ["Background", "Foreground", "Orphan"];
            errors.push(FieldError::not_supported("propagationPolicy", &other.into(), &supported));
            None
        }
    };
    if orphan.is_some() && !policy.is_empty() {
        let why = "orphanDependents and deletionPropagation cannot be both set";
        errors.push(FieldError::invalid("propagationPolicy", &policy.into(), why));
    }
    let of_flag = orphan.map(|orphan| if orphan { Propagation::Orphan } else { Propagation::Background });
    Ok(of_policy.or(of_flag))
}
