//! What a webhook answers.

use crate::{matching::text, reason};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use orrery_machinery::status::ApiError;
use serde_json::Value;

/// A well-formed answer.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answer {
    /// The status of a refusal, null when there is none given.
    pub(super) denial: Option<Value>,
    /// Operations of JSON Patch.
    pub(super) patch: Option<Value>,
    pub(super) warnings: Vec<String>,
    /// Key within the webhook, and value.
    pub(super) annotations: Vec<(String, String)>,
}

/// Reads the answer to the question `uid`.
pub(super) fn read(body: &[u8], uid: &str, mutating: bool) -> Result<Answer, String> {
    let review: Value = serde_json::from_slice(body).map_err(|error| format!("couldn't get version/kind; {error}"))?;
    let response = &review["response"];
    if !response.is_object() {
        return Err("webhook response was absent".to_owned());
    }
    if response["uid"] != uid {
        return Err(format!("expected response.uid={uid:?}, got {:?}", text(response, "uid")));
    }
    let (version, kind) = (text(&review, "apiVersion"), text(&review, "kind"));
    if (version, kind) != ("admission.k8s.io/v1", "AdmissionReview") {
        return Err(format!(
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {version}, Kind={kind}"
        ));
    }
    let patch = patch(response, mutating)?;
    let annotations = response["auditAnnotations"].as_object().into_iter().flatten();
    let warnings = response["warnings"].as_array().into_iter().flatten();
    Ok(Answer {
        denial: (response["allowed"] != true).then(|| response["status"].clone()),
        patch,
        warnings: warnings.filter_map(|warning| Some(warning.as_str()?.to_owned())).collect(),
        annotations: annotations.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect(),
    })
}

fn patch(response: &Value, mutating: bool) -> Result<Option<Value>, String> {
    let (patch, kind) = (text(response, "patch"), &response["patchType"]);
    if !mutating {
        return match (patch.is_empty(), kind.is_null()) {
            (false, _) => Err("validating webhook may not return response.patch".to_owned()),
            (true, false) => Err("validating webhook may not return response.patchType".to_owned()),
            (true, true) => Ok(None),
        };
    }
    match (patch.is_empty(), kind.as_str()) {
        (true, None) => Ok(None),
        (false, None) => Err("webhook returned response.patch but not response.patchType".to_owned()),
        (true, Some(_)) => Err("webhook returned response.patchType but not response.patch".to_owned()),
        (false, Some("JSONPatch")) => {
            let bytes = BASE64_STANDARD.decode(patch).map_err(|error| format!("response.patch: {error}"))?;
            let patch = serde_json::from_slice(&bytes).map_err(|error| format!("response.patch: {error}"))?;
            Ok(Some(patch))
        }
        (false, Some(kind)) => Err(format!("webhook returned invalid response.patchType of {kind:?}")),
    }
}

/// The refusal of a request, with the status that the hook gave.
pub(super) fn denied(hook: &str, status: &Value) -> ApiError {
    let why = match (text(status, "message"), text(status, "reason")) {
        ("", "") => " without explanation".to_owned(),
        ("", reason) => format!(": {reason}"),
        (message, _) => format!(": {message}"),
    };
    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    // A refusal never looks like a success.
    let code = code.filter(|code| (400..600).contains(code)).unwrap_or(403);
    let default = if code == 403 { "Forbidden" } else { "" };
    ApiError {
        code,
        reason: reason::known(text(status, "reason")).unwrap_or(default),
        message: format!("admission webhook {hook:?} denied the request{why}"),
        details: status["details"].is_object().then(|| status["details"].clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn review(response: &Value) -> Vec<u8> {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
            .to_string()
            .into_bytes()
    }

    #[test]
    fn an_answer_is_for_the_question_and_of_the_right_kind() {
        let encoded = BASE64_STANDARD.encode("[]");
        for (response, mutating, problem) in [
            (json!({"uid": "b", "allowed": true}), false, "expected response.uid=\"a\", got \"b\""),
            (json!(null), false, "webhook response was absent"),
            (json!({"uid": "a", "patch": encoded}), false, "validating webhook may not return response.patch"),
            (json!({"uid": "a", "patchType": ""}), false, "validating webhook may not return response.patchType"),
            (json!({"uid": "a", "patch": encoded}), true, "webhook returned response.patch but not response.patchType"),
            (json!({"uid": "a", "patch": encoded, "patchType": "Merge"}), true, "invalid response.patchType"),
            (json!({"uid": "a", "patchType": "JSONPatch"}), true, "response.patchType but not response.patch"),
            (json!({"uid": "a", "patch": "!", "patchType": "JSONPatch"}), true, "response.patch: "),
        ] {
            let error = read(&review(&response), "a", mutating).unwrap_err();
            assert!(error.contains(problem), "{response}: {error}");
        }
        let beta = json!({"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview",
            "response": {"uid": "a", "allowed": true}});
        assert!(read(beta.to_string().as_bytes(), "a", true).unwrap_err().contains("v1beta1"));
        assert!(read(b"<html>", "a", true).is_err());
        let fine = json!({"uid": "a", "allowed": true, "patch": encoded, "patchType": "JSONPatch",
            "warnings": ["w"], "auditAnnotations": {"k": "v"}});
        let expected = Answer {
            denial: None,
            patch: Some(json!([])),
            warnings: vec!["w".into()],
            annotations: vec![("k".into(), "v".into())],
        };
        assert_eq!(read(&review(&fine), "a", true), Ok(expected));
    }

    #[test]
    fn a_refusal_has_the_status_that_the_hook_gave_and_is_403_without() {
        for (status, code, reason, message) in [
            (json!(null), 403, "Forbidden", "admission webhook \"h\" denied the request without explanation"),
            (json!({"message": "no"}), 403, "Forbidden", "admission webhook \"h\" denied the request: no"),
            (json!({"reason": "Invalid", "code": 422}), 422, "Invalid", "denied the request: Invalid"),
            (json!({"message": "no", "code": 200}), 403, "Forbidden", "denied the request: no"),
            (json!({"message": "no", "code": 418, "reason": "Teapot"}), 418, "", "denied the request: no"),
        ] {
            let error = denied("h", &status);
            assert_eq!((error.code, error.reason), (code, reason), "{status}");
            assert!(error.message.ends_with(message), "{}", error.message);
        }
    }
}
