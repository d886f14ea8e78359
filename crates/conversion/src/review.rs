//! What a webhook is asked, and what of its answer is believed.

use orrery_machinery::meta;
use serde_json::{Value, json};

const API_VERSION: &str = "apiextensions.k8s.io/v1";

/// Group, version and kind of an object, such as `stable.example.com/v1, Kind=CronTab`.
pub(crate) fn kind_of(object: &Value) -> String {
    format!("{}, Kind={}", text(object, "apiVersion"), text(object, "kind"))
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

/// The question: these objects, in the version `to`.
pub(crate) fn ask(uid: &str, to: &str, objects: &[Value]) -> Value {
    json!({"apiVersion": API_VERSION, "kind": "ConversionReview",
        "request": {"uid": uid, "desiredAPIVersion": to, "objects": objects}})
}

/// The objects of an answer to the question `uid`.
///
/// # Errors
/// When it is none, or tells of a failure.
pub(crate) fn read(body: &[u8], uid: &str) -> Result<Vec<Value>, String> {
    let mut review: Value = serde_json::from_slice(body).map_err(|error| format!("failed: {error}"))?;
    let said = (text(&review, "apiVersion"), text(&review, "kind"));
    if said != (API_VERSION, "ConversionReview") {
        return Err(format!(
            "failed: expected webhook response of {API_VERSION}, Kind=ConversionReview, got {}",
            kind_of(&review)
        ));
    }
    let response = &mut review["response"];
    if !response.is_object() {
        return Err("failed: no response provided".to_owned());
    }
    if response["uid"] != uid {
        return Err(format!("failed: expected response.uid={uid:?}, got {:?}", text(response, "uid")));
    }
    let result = &response["result"];
    if result["status"] != "Success" {
        let message = text(result, "message");
        return Err(match (message, text(result, "status")) {
            ("", "") => "failed: response.result.status was '', not 'Success'".to_owned(),
            ("", status) => format!("failed: response.result.status was '{status}', not 'Success'"),
            (message, _) => format!("failed: {message}"),
        });
    }
    match response["convertedObjects"].take() {
        Value::Array(objects) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

/// The converted objects with the metadata that a conversion may not change: all but labels and annotations.
///
/// # Errors
/// When there are not as many as were asked about, or one of them is another object.
pub(crate) fn settle(asked: &[Value], converted: Vec<Value>, to: &str) -> Result<Vec<Value>, String> {
    if converted.len() != asked.len() {
        return Err(format!("returned {} objects, expected {}", converted.len(), asked.len()));
    }
    let settled = asked.iter().zip(converted).enumerate().map(|(index, (original, converted))| {
        one(original, converted, to).map_err(|why| format!("returned invalid converted object at index {index}: {why}"))
    });
    settled.collect()
}

fn one(original: &Value, mut converted: Value, to: &str) -> Result<Value, String> {
    if !converted.is_object() {
        return Err("it is no object".to_owned());
    }
    let version = text(&converted, "apiVersion");
    if version != to {
        return Err(format!("invalid groupVersion (expected {to}, received {version})"));
    }
    let (kind, expected) = (text(&converted, "kind"), text(original, "kind"));
    if kind != expected {
        return Err(format!("invalid kind (expected {expected}, received {kind})"));
    }
    for (what, of) in [("UID", meta::uid as fn(&Value) -> &str), ("name", meta::name), ("namespace", meta::namespace)] {
        if of(original) != of(&converted) {
            return Err(format!("must have the same {what}: {} != {}", of(original), of(&converted)));
        }
    }
    let mut metadata = original["metadata"].as_object().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        let strings = |value: &Value| value.as_object().is_some_and(|map| map.values().all(Value::is_string));
        match converted["metadata"].get(field) {
            None | Some(Value::Null) => drop(metadata.remove(field)),
            Some(value) if strings(value) => drop(metadata.insert(field.to_owned(), value.clone())),
            Some(_) => return Err(format!("invalid metadata: {field} are no map of texts")),
        }
    }
    converted["metadata"] = metadata.into();
    Ok(converted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: &str, metadata: &Value) -> Value {
        let mut object = json!({"apiVersion": version, "kind": "CronTab", "metadata": {"name": "a", "uid": "1"}});
        for (field, value) in metadata.as_object().unwrap() {
            object["metadata"][field] = value.clone();
        }
        object
    }

    #[test]
    fn labels_and_annotations_are_the_webhooks_all_else_of_the_metadata_is_not() {
        let original = object("x.io/v1", &json!({"labels": {"a": "1"}, "annotations": {"b": "2"}, "generation": 3}));
        let sent = object("x.io/v2", &json!({"labels": {"c": "3"}, "generation": 9, "finalizers": ["f"]}));
        let settled = settle(&[original], vec![sent], "x.io/v2").unwrap();
        assert_eq!(settled, [object("x.io/v2", &json!({"labels": {"c": "3"}, "generation": 3}))]);
    }

    #[test]
    fn an_answer_that_is_no_conversion_is_refused_in_upstreams_words() {
        let original = object("x.io/v1", &json!({}));
        let refused =
            |converted: Vec<Value>| settle(std::slice::from_ref(&original), converted, "x.io/v2").unwrap_err();
        assert_eq!(refused(vec![]), "returned 0 objects, expected 1");
        let at = |why: &str| format!("returned invalid converted object at index 0: {why}");
        let version = refused(vec![original.clone()]);
        assert_eq!(version, at("invalid groupVersion (expected x.io/v2, received x.io/v1)"));
        let mut other = object("x.io/v2", &json!({}));
        other["kind"] = "Other".into();
        assert_eq!(refused(vec![other]), at("invalid kind (expected CronTab, received Other)"));
        let renamed = object("x.io/v2", &json!({"name": "b"}));
        assert_eq!(refused(vec![renamed]), at("must have the same name: a != b"));
        let labels = object("x.io/v2", &json!({"labels": {"a": 1}}));
        assert_eq!(refused(vec![labels]), at("invalid metadata: labels are no map of texts"));
    }

    #[test]
    fn only_a_successful_answer_to_the_question_is_read() {
        let answer = |response: Value| {
            json!({"apiVersion": API_VERSION, "kind": "ConversionReview", "response": response}).to_string()
        };
        let read = |response: Value| read(answer(response).as_bytes(), "7");
        let success = json!({"uid": "7", "result": {"status": "Success"}, "convertedObjects": [1, 2]});
        assert_eq!(read(success).unwrap().len(), 2);
        for (response, words) in [
            (json!({"uid": "8", "result": {"status": "Success"}}), "expected response.uid=\"7\", got \"8\""),
            (json!({"uid": "7", "result": {"status": "Failure", "message": "no such field"}}), "failed: no such field"),
            (json!({"uid": "7", "result": {"status": "Failure"}}), "result.status was 'Failure'"),
            (json!(null), "no response provided"),
        ] {
            let why = read(response).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
        assert!(super::read(b"{}", "7").unwrap_err().contains("expected webhook response of apiextensions.k8s.io/v1"));
    }
}
