//! `v1 ConfigMap` and `v1 Secret`.

use super::fields::{default_text, size, text};
use super::fields::{existing_map, map_at, selectable};
use base64::{Engine, engine::general_purpose::STANDARD};
use orrery_api::k8s::api::core::v1::{ConfigMap, Secret};
use orrery_machinery::{
    descriptor::{Column, FixedResource, SelectableField},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::{Value, json};

/// All values together, in bytes.
const SIZE_LIMIT: usize = 1024 * 1024;

pub(super) fn config_map() -> FixedResource {
    FixedResource {
        short_names: &["cm"],
        validate: validate_config_map,
        columns: CONFIG_MAP_COLUMNS,
        ..super::namespaced::<ConfigMap>("configmap")
    }
}

pub(super) fn secret() -> FixedResource {
    FixedResource {
        default: default_secret,
        validate: validate_secret,
        columns: SECRET_COLUMNS,
        selectable_fields: SECRET_SELECTABLE,
        ..super::namespaced::<Secret>("secret")
    }
}

const DATA: Column = Column {
    name: "Data",
    kind: "string",
    priority: 0,
    description: "The number of entries.",
    cell: |object, _| (size(&object["data"]) + size(&object["binaryData"])).into(),
};

const CONFIG_MAP_COLUMNS: &[Column] = &[DATA];

const SECRET_COLUMNS: &[Column] = &[
    Column {
        name: "Type",
        kind: "string",
        priority: 0,
        description: "Used to facilitate programmatic handling of secret data.",
        cell: |object, _| text(&object["type"]).into(),
    },
    DATA,
];

const SECRET_SELECTABLE: &[SelectableField] = &[selectable!("type", ["type"])];

/// `stringData` is for writing only: it goes over `data`.
fn default_secret(object: &mut Value) {
    let Some(secret) = object.as_object_mut() else { return };
    default_text(secret, "type", "Opaque");
    let readable = existing_map(secret, "stringData").is_some_and(|map| map.values().all(Value::is_string));
    if !readable {
        return;
    }
    let Some(Value::Object(plain)) = secret.remove("stringData") else { return };
    let Some(data) = map_at(secret, "data") else { return };
    data.extend(plain.iter().map(|(key, value)| (key.clone(), STANDARD.encode(text(value)).into())));
}

fn validate_config_map(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    let mut total = 0;
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        config_key("data", key, &mut errors);
        if object["binaryData"].get(key).is_some() {
            let why = "duplicate of key present in binaryData";
            errors.push(FieldError::invalid(format!("data[{key}]"), &key.as_str().into(), why));
        }
        total += text(value).len();
    }
    for (key, value) in object["binaryData"].as_object().into_iter().flatten() {
        config_key("binaryData", key, &mut errors);
        total += decoded_length(value);
    }
    if total > SIZE_LIMIT {
        errors.push(FieldError::too_long("", SIZE_LIMIT));
    }
    immutable(object, old, &["data", "binaryData"], &mut errors);
    errors
}

fn validate_secret(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    let mut total = 0;
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        config_key("data", key, &mut errors);
        total += decoded_length(value);
    }
    if total > SIZE_LIMIT {
        errors.push(FieldError::too_long("data", SIZE_LIMIT));
    }
    secret_type(object, &mut errors);
    if let Some(old) = old
        && object["type"] != old["type"]
    {
        errors.push(FieldError::invalid("type", &object["type"], "field is immutable"));
    }
    immutable(object, old, &["data"], &mut errors);
    errors
}

/// What each well-known type has to carry.
fn secret_type(object: &Value, errors: &mut Vec<FieldError>) {
    let data = &object["data"];
    let mut need = |keys: &[&str]| {
        let missing = keys.iter().filter(|key| data.get(**key).is_none());
        errors.extend(missing.map(|key| FieldError::required(format!("data[{key}]"), "")));
    };
    match text(&object["type"]) {
        "kubernetes.io/tls" => need(&["tls.crt", "tls.key"]),
        "kubernetes.io/ssh-auth" => need(&["ssh-privatekey"]),
        "kubernetes.io/dockercfg" => docker_file(data, ".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => docker_file(data, ".dockerconfigjson", errors),
        "kubernetes.io/basic-auth" if data.get("username").or(data.get("password")).is_none() => {
            need(&["username", "password"]);
        }
        "kubernetes.io/service-account-token" => {
            const ACCOUNT: &str = "kubernetes.io/service-account.name";
            if meta::annotation(object, ACCOUNT).unwrap_or_default().is_empty() {
                errors.push(FieldError::required(format!("metadata.annotations[{ACCOUNT}]"), ""));
            }
        }
        _ => {}
    }
}

fn docker_file(data: &Value, key: &str, errors: &mut Vec<FieldError>) {
    let Some(value) = data.get(key) else {
        errors.push(FieldError::required(format!("data[{key}]"), ""));
        return;
    };
    let bytes = STANDARD.decode(text(value)).unwrap_or_default();
    if serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes).is_err() {
        errors.push(FieldError::invalid(
            format!("data[{key}]"),
            &json!("<secret contents redacted>"),
            "it is not a JSON object",
        ));
    }
}

fn decoded_length(base64: &Value) -> usize {
    let text = text(base64);
    text.len() / 4 * 3 - text.bytes().rev().take_while(|byte| *byte == b'=').count().min(text.len() / 4 * 3)
}

fn config_key(field: &str, key: &str, errors: &mut Vec<FieldError>) {
    let mut problem = |why: &str| errors.push(FieldError::invalid(format!("{field}[{key}]"), &key.into(), why));
    if key.len() > 253 {
        problem("must be no more than 253 bytes");
    }
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        problem(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
             'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
        );
    }
    if key == "." || key.starts_with("..") {
        problem(&if key.len() > 2 { "must not start with '..'".to_owned() } else { format!("must not be '{key}'") });
    }
}

/// Once `immutable` is set, it stays and so does the content.
fn immutable(object: &Value, old: Option<&Value>, content: &[&str], errors: &mut Vec<FieldError>) {
    const WHY: &str = "field is immutable when `immutable` is set";
    let Some(old) = old.filter(|old| old["immutable"] == json!(true)) else { return };
    if object["immutable"] != json!(true) {
        errors.push(FieldError::forbidden("immutable", WHY));
    }
    let changed = content.iter().filter(|field| object[**field] != old[**field]);
    errors.extend(changed.map(|field| FieldError::forbidden(*field, WHY)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(extra: &Value) -> Value {
        let mut object = json!({"metadata": {"name": "a", "namespace": "n"}});
        object.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        object
    }

    fn fields(errors: Vec<FieldError>) -> Vec<String> {
        errors.into_iter().map(|e| e.field).collect()
    }

    #[test]
    fn the_text_of_a_secret_is_folded_into_its_data() {
        let mut secret = object(&json!({"data": {"a": "eA==", "b": "eQ=="}, "stringData": {"b": "new"}}));
        default_secret(&mut secret);
        assert_eq!(secret["data"], json!({"a": "eA==", "b": "bmV3"}));
        assert_eq!((secret.get("stringData"), &secret["type"]), (None, &json!("Opaque")));
    }

    #[test]
    fn keys_are_file_names() {
        let table = [("a.b-C_1", true), ("a b", false), ("..", false), ("..a", false), (".", false), ("a/b", false)];
        for (key, fine) in table {
            let errors = validate_config_map(&object(&json!({"data": {key: "v"}})), None);
            assert_eq!(errors.is_empty(), fine, "{key}");
        }
        let both = object(&json!({"data": {"k": "v"}, "binaryData": {"k": "dg=="}}));
        assert_eq!(fields(validate_config_map(&both, None)), ["data[k]"]);
        let large = object(&json!({"data": {"k": "v".repeat(SIZE_LIMIT + 1)}}));
        assert_eq!(validate_config_map(&large, None)[0].message, "Too long: may not be more than 1048576 bytes");
    }

    #[test]
    fn what_is_immutable_stays() {
        let old = object(&json!({"immutable": true, "data": {"k": "v"}}));
        let new = object(&json!({"data": {"k": "w"}}));
        assert_eq!(fields(validate_config_map(&new, Some(&old))), ["immutable", "data"]);
        assert_eq!(fields(validate_config_map(&old, Some(&old))), [""; 0]);
        let typed = |kind: &str| object(&json!({"type": kind}));
        assert_eq!(fields(validate_secret(&typed("b"), Some(&typed("a")))), ["type"]);
    }

    #[test]
    fn each_type_of_secret_carries_what_it_has_to() {
        let table = [
            (json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}), vec!["data[tls.key]"]),
            (json!({"type": "kubernetes.io/basic-auth", "data": {"password": "eA=="}}), vec![]),
            (json!({"type": "kubernetes.io/basic-auth"}), vec!["data[username]", "data[password]"]),
            (json!({"type": "kubernetes.io/dockerconfigjson"}), vec!["data[.dockerconfigjson]"]),
            (json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "e30="}}), vec![]),
            (
                json!({"type": "kubernetes.io/service-account-token"}),
                vec!["metadata.annotations[kubernetes.io/service-account.name]"],
            ),
            (json!({"type": "my/own"}), vec![]),
        ];
        for (secret, expected) in table {
            assert_eq!(fields(validate_secret(&object(&secret), None)), expected, "{secret}");
        }
    }

    #[test]
    fn entries_are_counted() {
        let object = object(&json!({"data": {"a": "1"}, "binaryData": {"b": "Mg==", "c": "Mw=="}}));
        assert_eq!((DATA.cell)(&object, 0), json!(3));
    }
}
