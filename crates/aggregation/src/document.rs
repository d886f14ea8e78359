//! Discovery of another server in the form of this one.

use serde_json::{Map, Value, json};

/// The resources of an `APIResourceList` as `APIResourceDiscovery`, sub-resources below their resource.
pub(crate) fn resources(list: &Value, group: &str, version: &str) -> Vec<Value> {
    let all = list["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let name = |resource: &Value| resource["name"].as_str().unwrap_or_default().to_owned();
    let kind = |resource: &Value| {
        let or = |field: &str, other: &str| {
            resource[field].as_str().filter(|text| !text.is_empty()).unwrap_or(other).to_owned()
        };
        json!({"group": or("group", group), "version": or("version", version), "kind": resource["kind"]})
    };
    let whole = all.iter().filter(|resource| !name(resource).contains('/'));
    let mut resources: Vec<Value> = whole
        .map(|resource| {
            let own = name(resource);
            let mut found = json!({
                "resource": own, "responseKind": kind(resource), "singularResource": resource["singularName"],
                "scope": if resource["namespaced"] == true { "Namespaced" } else { "Cluster" }, "verbs": resource["verbs"],
            });
            for field in ["shortNames", "categories"] {
                if resource[field].is_array() {
                    found[field] = resource[field].clone();
                }
            }
            let below = all.iter().filter_map(|other| {
                let part = name(other).strip_prefix(&format!("{own}/"))?.to_owned();
                Some(json!({"subresource": part, "responseKind": kind(other), "verbs": other["verbs"]}))
            });
            let below: Vec<Value> = below.collect();
            if !below.is_empty() {
                found["subresources"] = below.into();
            }
            found
        })
        .collect();
    for resource in &mut resources {
        drop_nulls(resource);
    }
    resources
}

fn drop_nulls(value: &mut Value) {
    if let Value::Object(fields) = value {
        *fields = std::mem::take(fields).into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>();
    }
}

/// What tells one content of another server's OpenAPI v3 document from another, in its index.
pub(crate) fn openapi_hash(index: &Value, group: &str, version: &str) -> Option<String> {
    let url = index["paths"][format!("apis/{group}/{version}")]["serverRelativeURL"].as_str()?;
    let hash = url.split_once("hash=").map_or("", |(_, hash)| hash);
    // It becomes part of a URL.
    Some(hash.chars().filter(char::is_ascii_alphanumeric).take(128).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_form_becomes_the_new_one() {
        let list = json!({"resources": [
            {"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder", "verbs": ["get"],
                "shortNames": ["fl"]},
            {"name": "flunders/status", "singularName": "", "namespaced": true, "kind": "Flunder", "verbs": ["update"]},
            {"name": "flunders/scale", "group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ["get"]},
        ]});
        let kind = json!({"group": "w.io", "version": "v1", "kind": "Flunder"});
        let expected = json!([{
            "resource": "flunders", "responseKind": kind, "singularResource": "flunder", "scope": "Namespaced",
            "verbs": ["get"], "shortNames": ["fl"],
            "subresources": [
                {"subresource": "status", "responseKind": kind, "verbs": ["update"]},
                {"subresource": "scale", "verbs": ["get"],
                    "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"}},
            ],
        }]);
        assert_eq!(Value::from(resources(&list, "w.io", "v1")), expected);
        assert_eq!(resources(&json!({"resources": 5}), "w.io", "v1"), [Value::Null; 0]);
    }

    #[test]
    fn a_hash_is_letters_and_digits_whatever_the_other_server_says() {
        let index =
            json!({"paths": {"apis/w.io/v1": {"serverRelativeURL": "/openapi/v3/apis/w.io/v1?hash=AB12&x=\"y\""}}});
        assert_eq!(openapi_hash(&index, "w.io", "v1").unwrap(), "AB12xy");
        assert_eq!(openapi_hash(&index, "w.io", "v2"), None);
    }
}
