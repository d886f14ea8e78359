//! `pods/eviction`: deletes a pod if the disruption budgets allow it.
//!
//! The budget is charged in the transaction that deletes the pod, or asks for its deletion, so two evictions never share the last
//! disruption that is allowed.

use crate::{
    admission::Review,
    http::{ResponseBody, body, dispatch::ResourceRequest, respond},
    object,
    registry::{Context, DeleteOptions, Deletion, WriteOptions, check_object, parse_body},
    server::ApiServer,
};
use ::http::Response;
use orrery_machinery::{
    descriptor::ResourceDescriptor,
    meta,
    selector::LabelSelector,
    status::{ApiError, Target},
};
use serde_json::{Value, json};
use std::sync::Arc;

const GROUP: &str = "policy";
const BUDGETS: &str = "poddisruptionbudgets";
/// So many pods may be on their way out under one budget before its controller has caught up.
const MOST_DISRUPTED: usize = 2000;
/// How often an eviction that meets other writes is judged anew.
const ATTEMPTS: usize = 8;

/// Evicts the pod.
pub(super) async fn evict(
    server: &Arc<ApiServer>,
    resource: &Arc<ResourceDescriptor>,
    request: ResourceRequest,
) -> Result<Response<ResponseBody>, ApiError> {
    let ResourceRequest { user, path, query, parts, body, .. } = request;
    let eviction = parse_body(&parts.headers, &body::read(body, &server.limits).await?)?;
    check_object(&eviction, "Eviction")?;
    let context = Context {
        caller: Some((&user, &server.authorizer)),
        resource,
        namespace: path.namespace,
        name: path.name,
        subresource: String::new(),
        options: WriteOptions::parse(&query, &parts.headers)?,
    };
    let named = meta::name(&eviction);
    if !named.is_empty() && named != context.name {
        let why = format!("name in URL does not match name in Eviction object: {} != {named}", context.name);
        return Err(ApiError::bad_request(why));
    }
    let mut options = DeleteOptions::parse(Some(&eviction["deleteOptions"]), &query)?;
    options.dry_run |= context.options.dry_run;
    for _ in 0..ATTEMPTS {
        let pod = server.registry.get(&context).await?;
        let budget = budget_of(server, &context, &pod).await?;
        let review = Review { also: budget.into_iter().collect(), ..Review::default() };
        let prepare = |pod: &mut Value| set_disrupted(pod, &object::now_text());
        let deletion = Deletion { options: &options, seen: Some(meta::resource_version(&pod)), prepare: &prepare };
        if server.registry.delete_once(&context, &deletion, &review).await?.is_some() {
            let status =
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
            return Ok(respond::json(201, &status));
        }
    }
    Err(ApiError::conflict(context.target(&context.name), "the pod or its budget keeps changing; please try again"))
}

/// The pod's budget, charged; none when the pod needs none.
async fn budget_of(server: &ApiServer, context: &Context<'_>, pod: &Value) -> Result<Option<Value>, ApiError> {
    let phase = object::text(pod, "/status/phase");
    if matches!(phase, "Succeeded" | "Failed" | "Pending") || meta::is_deleting(pod) {
        return Ok(None);
    }
    let budgets = server.registry.reader.list(GROUP, BUDGETS, &context.namespace).await?;
    let mut of_pod = budgets.into_iter().filter(|b| LabelSelector::from_object(&b["spec"]["selector"]).matches(pod));
    let Some(budget) = of_pod.next() else { return Ok(None) };
    if of_pod.next().is_some() {
        let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Err(ApiError::internal(why));
    }
    charge(budget, pod, &object::now_text())
}

/// The budget once the pod is charged to it; none when an unready pod may go without.
fn charge(mut budget: Value, pod: &Value, now: &str) -> Result<Option<Value>, ApiError> {
    let status = &budget["status"];
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    let (healthy, desired) = (number("currentHealthy"), number("desiredHealthy"));
    if !is_ready(pod) {
        let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
        if always || (healthy >= desired && desired > 0) {
            return Ok(None);
        }
    }
    let name = meta::name(&budget);
    let target = Target { group: GROUP, resource: BUDGETS, name };
    if number("observedGeneration") < meta::generation(&budget) {
        return Err(refused(&format!("The disruption budget {name} is still being processed by the server."), 10));
    }
    let allowed = number("disruptionsAllowed");
    if allowed < 0 {
        return Err(ApiError::forbidden(target, "pdb disruptions allowed is negative"));
    }
    if status["disruptedPods"].as_object().is_some_and(|pods| pods.len() > MOST_DISRUPTED) {
        return Err(ApiError::forbidden(
            target,
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    if allowed == 0 {
        let why = format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently");
        return Err(refused(&why, 0));
    }
    budget["status"]["disruptionsAllowed"] = json!(allowed - 1);
    budget["status"]["disruptedPods"][meta::name(pod)] = json!(now);
    Ok(Some(budget))
}

fn refused(why: &str, retry_seconds: u32) -> ApiError {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    let mut error = ApiError::too_many_requests(message, retry_seconds);
    let mut details = json!({"causes": [{"reason": "DisruptionBudget", "message": why}]});
    if retry_seconds > 0 {
        details["retryAfterSeconds"] = json!(retry_seconds);
    }
    error.details = Some(details);
    error
}

fn is_ready(pod: &Value) -> bool {
    object::list(pod, "/status/conditions").iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// Says on the pod why it goes.
fn set_disrupted(pod: &mut Value, now: &str) {
    let mut conditions = object::list(pod, "/status/conditions").to_vec();
    conditions.retain(|condition| condition["type"] != "DisruptionTarget");
    conditions.push(json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastProbeTime": null, "lastTransitionTime": now}));
    if !pod["status"].is_object() {
        pod["status"] = json!({});
    }
    pod["status"]["conditions"] = conditions.into();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(status: &Value) -> Value {
        json!({"metadata": {"name": "b", "generation": 1}, "spec": {}, "status": status})
    }

    fn pod(ready: &str) -> Value {
        json!({"metadata": {"name": "p"}, "status": {"conditions": [{"type": "Ready", "status": ready}]}})
    }

    #[test]
    fn a_budget_is_charged_until_it_is_used_up() {
        let status =
            json!({"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2});
        let charged = charge(budget(&status), &pod("True"), "now").unwrap().unwrap();
        assert_eq!(charged["status"]["disruptionsAllowed"], 0);
        assert_eq!(charged["status"]["disruptedPods"], json!({"p": "now"}));
        let refused = charge(charged, &pod("True"), "now").unwrap_err();
        assert_eq!((refused.code, refused.reason), (429, "TooManyRequests"));
        let cause = "The disruption budget b needs 2 healthy pods and has 3 currently";
        assert_eq!(refused.details.unwrap()["causes"][0]["message"], cause);
    }

    #[test]
    fn a_pod_that_is_not_ready_goes_where_the_others_suffice() {
        let none = json!({"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 2, "desiredHealthy": 2});
        assert_eq!(charge(budget(&none), &pod("False"), "now"), Ok(None));
        let few = json!({"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 2});
        assert_eq!(charge(budget(&few), &pod("False"), "now").unwrap_err().code, 429);
        let mut always = budget(&few);
        always["spec"]["unhealthyPodEvictionPolicy"] = json!("AlwaysAllow");
        assert_eq!(charge(always, &pod("False"), "now"), Ok(None));
    }

    #[test]
    fn a_budget_that_its_controller_has_not_seen_allows_nothing() {
        let refused = charge(budget(&json!({"disruptionsAllowed": 5})), &pod("True"), "now").unwrap_err();
        assert_eq!(refused.details.unwrap()["retryAfterSeconds"], 10);
    }
}
