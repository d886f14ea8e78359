//! `Priority`: resolves a pod's priority class to a number, and keeps one class the default.

use crate::forbidden;
use orrery_apiserver::{AdmissionRequest, Operation, Plugin, Review};
use orrery_machinery::{meta, status::ApiError};
use serde_json::{Value, json};

const GROUP: &str = "scheduling.k8s.io";
const CLASSES: &str = "priorityclasses";

/// The plugin.
pub(crate) struct Priority;

#[async_trait::async_trait]
impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        match request.operation {
            Operation::Create => request.is("", "pods") || request.is(GROUP, CLASSES),
            Operation::Update => request.is(GROUP, CLASSES),
            Operation::Delete | Operation::Connect => false,
        }
    }

    async fn change(&self, request: &AdmissionRequest<'_>, pod: &mut Value, _: &mut Review) -> Result<bool, ApiError> {
        if !request.is("", "pods") {
            return Ok(false);
        }
        let asked = pod["spec"]["priorityClassName"].as_str().unwrap_or_default().to_owned();
        let class = if asked.is_empty() {
            default_class(request).await?
        } else {
            let found = request.reader.get(GROUP, CLASSES, "", &asked).await?;
            Some(found.ok_or_else(|| forbidden(request, &format!("no PriorityClass with name {asked} was found")))?)
        };
        let value = class.as_ref().and_then(|class| class["value"].as_i64()).unwrap_or(0);
        let policy = class.as_ref().and_then(|class| class["preemptionPolicy"].as_str());
        let policy = policy.unwrap_or("PreemptLowerPriority").to_owned();
        let spec = &mut pod["spec"];
        let given = spec["priority"].as_i64();
        // Without a class, 0 is what defaulting writes, not what somebody asked for.
        if let Some(given) = given.filter(|given| *given != value && !(asked.is_empty() && *given == 0)) {
            let why = format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
                 computed {value} from the given PriorityClass name"
            );
            return Err(forbidden(request, &why));
        }
        let given = spec["preemptionPolicy"].as_str().filter(|given| *given != policy);
        if let Some(given) = given.filter(|given| !(asked.is_empty() && *given == "PreemptLowerPriority")) {
            let why = format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
                 controller computed {policy} from the given PriorityClass name"
            );
            return Err(forbidden(request, &why));
        }
        if let Some(class) = &class {
            spec["priorityClassName"] = json!(meta::name(class));
        }
        spec["priority"] = json!(value);
        spec["preemptionPolicy"] = json!(policy);
        Ok(false)
    }

    async fn check(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        _: &mut Review,
    ) -> Result<(), ApiError> {
        if !request.is(GROUP, CLASSES) || object.is_none_or(|class| class["globalDefault"] != true) {
            return Ok(());
        }
        match default_class(request).await? {
            Some(other) if meta::name(&other) != request.name => {
                let name = meta::name(&other);
                let why = format!("PriorityClass {name} is already marked as default. Only one default can exist");
                Err(forbidden(request, &why))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The class of pods that name none; the lowest where several say so.
async fn default_class(request: &AdmissionRequest<'_>) -> Result<Option<Value>, ApiError> {
    let classes = request.reader.list(GROUP, CLASSES, "").await?;
    let defaults = classes.into_iter().filter(|class| class["globalDefault"] == true);
    Ok(defaults.min_by_key(|class| class["value"].as_i64().unwrap_or(0)))
}
