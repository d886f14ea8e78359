//! `ExpressionRules`: refuses webhook configurations and policies whose expressions do not compile. Upstream does this as part
//! of their validation; here, the kinds know no CEL.

use crate::{matching::GROUP, webhook::CONDITIONS};
use orrery_apiserver::{AdmissionRequest, Operation, Plugin, Review};
use orrery_machinery::status::{ApiError, FieldError, Target};
use orrery_schema::admission::{check_match_conditions, check_mutating, check_validating};
use serde_json::Value;

/// The plugin.
pub(crate) struct ExpressionRules;

#[async_trait::async_trait]
impl Plugin for ExpressionRules {
    fn name(&self) -> &'static str {
        "ExpressionRules"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        writes && request.subresource.is_empty() && request.resource.group == GROUP
    }

    async fn check(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        _review: &mut Review,
    ) -> Result<(), ApiError> {
        let Some(object) = object else { return Ok(()) };
        let (is, was) = (problems(&request.resource.plural, object), request.old);
        // What was accepted once may stay as it is.
        let stays = was.is_some_and(|was| was["spec"] == object["spec"] && was["webhooks"] == object["webhooks"]);
        if is.is_empty() || stays {
            return Ok(());
        }
        let target = Target { group: GROUP, resource: &request.resource.plural, name: request.name };
        Err(ApiError::invalid(&request.resource.kind, target, &is))
    }
}

fn problems(plural: &str, object: &Value) -> Vec<FieldError> {
    match plural {
        "mutatingwebhookconfigurations" | "validatingwebhookconfigurations" => {
            let hooks = object["webhooks"].as_array().into_iter().flatten().enumerate();
            let check = |(index, hook): (usize, &Value)| {
                let at = format!("webhooks[{index}].matchConditions");
                check_match_conditions(&hook["matchConditions"], CONDITIONS, &at)
            };
            hooks.flat_map(check).collect()
        }
        "mutatingadmissionpolicies" => check_mutating(&object["spec"], "spec"),
        "validatingadmissionpolicies" => check_validating(&object["spec"], "spec"),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_expression_is_checked_where_it_stands() {
        let wrong = json!([{"name": "c", "expression": "object."}]);
        for (plural, object, field) in [
            (
                "validatingwebhookconfigurations",
                json!({"webhooks": [{}, {"matchConditions": wrong}]}),
                "webhooks[1].matchConditions[0].expression",
            ),
            (
                "validatingadmissionpolicies",
                json!({"spec": {"validations": [{"expression": "1"}]}}),
                "spec.validations[0].expression",
            ),
            (
                "mutatingadmissionpolicies",
                json!({"spec": {"mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "true"}}]}}),
                "spec.mutations[0].jsonPatch.expression",
            ),
        ] {
            let errors = problems(plural, &object);
            assert_eq!(errors.iter().map(|error| &*error.field).collect::<Vec<_>>(), [field], "{errors:?}");
        }
        assert!(problems("validatingadmissionpolicybindings", &wrong).is_empty());
    }
}
