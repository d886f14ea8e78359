//! The OpenAPI v2 document, made from those of v3. Old clients read it; it says the same with fewer words: what v2 cannot
//! express is left out.

use super::Document;
use serde_json::{Map, Value, json};

/// All of the server in one document.
#[must_use]
pub fn v2_document(documents: &[Document]) -> Value {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for document in documents {
        for (path, item) in document.content["paths"].as_object().into_iter().flatten() {
            paths.insert(path.clone(), path_item(item));
        }
        for (name, schema) in document.content["components"]["schemas"].as_object().into_iter().flatten() {
            definitions.entry(name.clone()).or_insert_with(|| definition(schema));
        }
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": paths,
        "definitions": definitions,
        "securityDefinitions": {
            "BearerToken": {
                "type": "apiKey", "in": "header", "name": "authorization", "description": "Bearer Token authentication",
            },
        },
        "security": [{"BearerToken": []}],
    })
}

fn path_item(item: &Value) -> Value {
    let entries = item.as_object().into_iter().flatten();
    let converted = entries.map(|(name, value)| {
        let value = match name.as_str() {
            "parameters" => value.as_array().into_iter().flatten().map(parameter).collect(),
            _ => operation(value),
        };
        (name.clone(), value)
    });
    Value::Object(converted.collect())
}

fn operation(operation: &Value) -> Value {
    let mut new = operation.as_object().cloned().unwrap_or_default();
    let mut parameters: Vec<Value> = operation["parameters"].as_array().into_iter().flatten().map(parameter).collect();
    if let Some(body) = new.remove("requestBody") {
        let content = body["content"].as_object();
        let schema = content.and_then(|content| content.values().next()).map(|media| plain(&media["schema"]));
        let required = body["required"].as_bool().unwrap_or(false);
        parameters.push(json!({"name": "body", "in": "body", "required": required, "schema": schema}));
        let media: Vec<&String> = content.into_iter().flatten().map(|(media, _)| media).collect();
        new.insert("consumes".into(), json!(media));
    }
    new.insert("parameters".into(), parameters.into());
    let responses = operation["responses"].as_object().into_iter().flatten().map(|(code, response)| {
        let mut converted = json!({"description": response["description"]});
        if let Some(media) = response["content"].as_object().and_then(|content| content.values().next()) {
            converted["schema"] = plain(&media["schema"]);
        }
        (code.clone(), converted)
    });
    new.insert("responses".into(), Value::Object(responses.collect()));
    new.insert("produces".into(), json!(["application/json"]));
    new.insert("schemes".into(), json!(["https"]));
    Value::Object(new)
}

/// In v2 the type of a parameter stands beside its name.
fn parameter(parameter: &Value) -> Value {
    let mut new = parameter.as_object().cloned().unwrap_or_default();
    if let Some(Value::Object(schema)) = new.remove("schema") {
        new.extend(schema);
    }
    Value::Object(new)
}

/// The schema of a kind. One that preserves unknown fields is any object: a client that sees some fields refuses all others,
/// `metadata` included.
fn definition(schema: &Value) -> Value {
    if schema[PRESERVES] != true {
        return plain(schema);
    }
    let mut any = json!({"type": "object"});
    if let Some(kinds) = schema.get(KINDS) {
        any[KINDS] = kinds.clone();
    }
    any
}

/// That fields are kept which the schema does not name.
const PRESERVES: &str = "x-kubernetes-preserve-unknown-fields";
/// Which kinds a schema is of.
const KINDS: &str = "x-kubernetes-group-version-kind";

/// What of a v3 schema v2 has too: no alternatives, no nullable, references to `definitions`.
fn plain(schema: &Value) -> Value {
    match schema {
        Value::Object(map) => {
            // v3 wraps a reference that has something beside it.
            if let Some([only]) = map.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
                let mut merged = plain(only);
                let description = map.get("description");
                if let (Some(merged), Some(description)) = (merged.as_object_mut(), description) {
                    merged.insert("description".into(), description.clone());
                }
                return merged;
            }
            let preserves = map.get(PRESERVES).is_some_and(|value| *value == true);
            let kept = map.iter().filter(|(name, _)| match name.as_str() {
                "anyOf" | "oneOf" | "not" | "nullable" => false,
                "properties" | "items" => !preserves,
                _ => true,
            });
            let converted = kept.map(|(name, value)| match (name.as_str(), value) {
                ("$ref", Value::String(target)) => {
                    (name.clone(), target.replace("#/components/schemas/", "#/definitions/").into())
                }
                // Names of properties are no keywords.
                ("properties", Value::Object(properties)) => {
                    let converted = properties.iter().map(|(name, schema)| (name.clone(), plain(schema)));
                    (name.clone(), Value::Object(converted.collect()))
                }
                ("default" | "enum" | "example" | "required", value) => (name.clone(), value.clone()),
                (_, value) => (name.clone(), plain(value)),
            });
            Value::Object(converted.collect())
        }
        Value::Array(list) => list.iter().map(plain).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{descriptor::test_descriptor, openapi::documents};
    use std::sync::Arc;

    #[test]
    fn the_one_document_has_what_the_many_have() {
        let v2 = v2_document(&documents(&[Arc::new(test_descriptor().into())]));
        assert_eq!(v2["swagger"], "2.0");
        assert_eq!(v2["definitions"]["io.test.v1.Widget"]["x-kubernetes-group-version-kind"][0]["kind"], "Widget");
        let post = &v2["paths"]["/apis/test.io/v1/namespaces/{namespace}/widgets"]["post"];
        let parameters = post["parameters"].as_array().unwrap();
        let body = parameters.iter().find(|parameter| parameter["in"] == "body").unwrap();
        assert_eq!(body["schema"]["$ref"], "#/definitions/io.test.v1.Widget");
        assert!(parameters.iter().any(|parameter| parameter["name"] == "dryRun" && parameter["type"] == "string"));
        let text = v2.to_string();
        assert!(!text.contains("#/components/schemas/") && !text.contains("requestBody"));
        for reference in text.split("\"#/definitions/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(v2["definitions"].get(reference).is_some(), "{reference}");
        }
    }

    #[test]
    fn what_preserves_unknown_fields_names_none() {
        let inner =
            json!({"type": "object", "description": "d", PRESERVES: true, "properties": {"a": {"type": "string"}}});
        let outer = json!({"type": "object", KINDS: [{"kind": "A"}], "properties": {"spec": inner}});
        assert_eq!(definition(&outer)["properties"]["spec"].get("properties"), None);
        assert_eq!(definition(&outer)["properties"]["spec"]["description"], "d");
        let mut whole = outer;
        whole[PRESERVES] = true.into();
        assert_eq!(definition(&whole), json!({"type": "object", KINDS: [{"kind": "A"}]}));
    }

    #[test]
    fn what_v2_cannot_say_is_left_out() {
        let schema = json!({"type": "object", "nullable": true, "oneOf": [{}], "properties": {"not": {"type": "string"}},
            "allOf": [{"type": "object"}, {"required": ["a"]}]});
        let plain = plain(&schema);
        assert_eq!((plain.get("nullable"), plain.get("oneOf")), (None, None));
        assert_eq!(plain["properties"]["not"]["type"], "string");
        let wrapped = json!({"description": "d", "allOf": [{"$ref": "#/components/schemas/X"}]});
        assert_eq!(super::plain(&wrapped), json!({"$ref": "#/definitions/X", "description": "d"}));
    }
}
