//! `PodSecurity`: holds pods to the standard that their namespace's labels name
//! (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>).
//!
//! `pod-security.kubernetes.io/enforce` refuses pods; `warn` warns of pods, and of what makes pods; `audit` notes both in the audit
//! log. The levels are `privileged` (everything goes), `baseline` and `restricted`.

mod baseline;
mod restricted;

use crate::forbidden;
use orrery_apiserver::{AdmissionRequest, Operation, Plugin, Review};
use orrery_machinery::{meta, status::ApiError};
use serde_json::Value;

const PREFIX: &str = "pod-security.kubernetes.io/";

/// The plugin.
pub(crate) struct PodSecurity;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Privileged,
    Baseline,
    Restricted,
}

impl Level {
    fn of(namespace: &Value, mode: &str) -> Self {
        match meta::label(namespace, &format!("{PREFIX}{mode}")) {
            None | Some("privileged") => Self::Privileged,
            Some("baseline") => Self::Baseline,
            // What is no level is taken for the strictest one, as upstream does.
            Some(_) => Self::Restricted,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }

    /// What in the pod's spec goes beyond the level.
    fn violations(self, spec: &Value) -> Vec<String> {
        match self {
            Self::Privileged => Vec::new(),
            Self::Baseline => baseline::violations(spec),
            Self::Restricted => {
                let mut found = baseline::violations(spec);
                found.extend(restricted::violations(spec));
                found
            }
        }
    }

    /// `PodSecurity "restricted:latest": ...`; none when the spec keeps to the level.
    fn complaint(self, namespace: &Value, mode: &str, spec: &Value) -> Option<String> {
        let violations = self.violations(spec);
        let version = meta::label(namespace, &format!("{PREFIX}{mode}-version")).unwrap_or("latest");
        (!violations.is_empty())
            .then(|| format!("violate PodSecurity \"{}:{version}\": {}", self.name(), violations.join(", ")))
    }
}

#[async_trait::async_trait]
impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        let part = matches!(request.subresource, "" | "ephemeralcontainers");
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        writes && part && template(request).is_some()
    }

    async fn check(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        review: &mut Review,
    ) -> Result<(), ApiError> {
        let (Some(path), Some(object)) = (template(request), object) else { return Ok(()) };
        let Some(spec) = object.pointer(path) else { return Ok(()) };
        // What was let in may be labelled and told of.
        if request.old.is_some_and(|old| old.pointer(path) == Some(spec)) {
            return Ok(());
        }
        let Some(namespace) = request.reader.get("", "namespaces", "", request.namespace).await? else { return Ok(()) };
        let is_pod = request.resource.is("", "pods");
        if is_pod && let Some(complaint) = Level::of(&namespace, "enforce").complaint(&namespace, "enforce", spec) {
            return Err(forbidden(request, &complaint.replacen("violate", "violates", 1)));
        }
        if let Some(complaint) = Level::of(&namespace, "audit").complaint(&namespace, "audit", spec) {
            review.annotations.push((format!("{PREFIX}audit-violations"), format!("would {complaint}")));
        }
        if let Some(complaint) = Level::of(&namespace, "warn").complaint(&namespace, "warn", spec) {
            review.warnings.push(format!("would {complaint}"));
        }
        Ok(())
    }
}

/// Where the kind has the spec of pods; none for kinds that make none.
fn template(request: &AdmissionRequest<'_>) -> Option<&'static str> {
    match (&*request.resource.group, &*request.resource.plural) {
        ("", "pods") => Some("/spec"),
        ("", "replicationcontrollers")
        | ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => Some("/spec/template/spec"),
        ("", "podtemplates") => Some("/template/spec"),
        ("batch", "cronjobs") => Some("/spec/jobTemplate/spec/template/spec"),
        _ => None,
    }
}

/// All containers of a pod's spec.
fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    lists.into_iter().flat_map(move |list| spec[list].as_array().into_iter().flatten())
}

fn name(object: &Value) -> &str {
    object["name"].as_str().unwrap_or_default()
}

/// `container "a"` or `containers "a", "b"`; none when there are none.
fn named<'a>(containers: impl Iterator<Item = &'a Value>) -> Option<String> {
    plural("container", containers.map(name))
}

/// `word "a"` or `words "a", "b"`.
fn plural<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: Vec<String> = names.map(|name| format!("{name:?}")).collect();
    match names.as_slice() {
        [] => None,
        [one] => Some(format!("{word} {one}")),
        many => Some(format!("{word}s {}", many.join(", "))),
    }
}
