//! The paths of a resource with their operations.

use super::schemas::{self, gvk, reference};
use crate::descriptor::{Does, ResourceDescriptor, Storage, Subresource};
use serde_json::{Map, Value, json};

/// `/api/v1` or `/apis/GROUP/VERSION`.
pub(super) fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// The paths of `descriptor`, whose schema is called `schema`.
pub(super) fn of(descriptor: &ResourceDescriptor, schema: &str) -> Map<String, Value> {
    let resource = Resource { descriptor, schema };
    let root = root(&descriptor.group, &descriptor.version);
    let plural = &descriptor.plural;
    let collection = if descriptor.namespaced {
        format!("{root}/namespaces/{{namespace}}/{plural}")
    } else {
        format!("{root}/{plural}")
    };
    let mut paths = Map::new();
    if descriptor.storage == Storage::Review {
        paths.insert(collection, resource.item(&[("post", resource.write("post"))], false));
        return paths;
    }
    let list = resource.operation("list", &read_parameters(), &format!("{schema}List"));
    if descriptor.namespaced {
        paths.insert(format!("{root}/{plural}"), json!({"get": list}));
    }
    if descriptor.storage == Storage::Computed {
        paths.insert(collection.clone(), resource.item(&[("get", list)], false));
        let get = resource.operation("get", &[], schema);
        paths.insert(format!("{collection}/{{name}}"), resource.item(&[("get", get)], true));
        return paths;
    }
    let operations = [
        ("get", list),
        ("post", resource.write("post")),
        ("delete", resource.operation("deletecollection", &read_parameters(), schemas::STATUS)),
    ];
    paths.insert(collection.clone(), resource.item(&operations, false));
    let object = format!("{collection}/{{name}}");
    let operations = [
        ("get", resource.operation("get", &[], schema)),
        ("put", resource.write("put")),
        ("patch", resource.patch()),
        ("delete", resource.delete()),
    ];
    paths.insert(object.clone(), resource.item(&operations, true));
    for subresource in &descriptor.subresources {
        let item = match subresource.does {
            Does::Part(_) => {
                let operations = [
                    ("get", resource.operation("get", &[], schema)),
                    ("put", resource.write("put")),
                    ("patch", resource.patch()),
                ];
                resource.item(&operations, true)
            }
            Does::Scale(_) | Does::Handled => resource.subresource(subresource),
        };
        paths.insert(format!("{object}/{}", subresource.name), item);
    }
    paths
}

/// What operations are made for.
struct Resource<'a> {
    descriptor: &'a ResourceDescriptor,
    schema: &'a str,
}

impl Resource<'_> {
    /// A path's item: its operations, and the parameters in the path itself.
    fn item(&self, operations: &[(&str, Value)], named: bool) -> Value {
        let mut item: Map<String, Value> =
            operations.iter().map(|(method, operation)| ((*method).to_owned(), operation.clone())).collect();
        let mut parameters = Vec::new();
        if named {
            parameters.push(path_parameter("name", &format!("name of the {}", self.descriptor.kind)));
        }
        if self.descriptor.namespaced {
            parameters.push(path_parameter("namespace", "object name and auth scope, such as for teams and projects"));
        }
        item.insert("parameters".into(), parameters.into());
        item.into()
    }

    fn operation(&self, action: &str, parameters: &[Value], answer: &str) -> Value {
        let descriptor = self.descriptor;
        let ok = json!({"description": "OK", "content": {"application/json": {"schema": reference(answer)}}});
        json!({
            "tags": [tag(descriptor)],
            "description": format!("{action} {}", descriptor.kind),
            "operationId": operation_id(descriptor, action),
            "parameters": parameters,
            "responses": {"200": ok, "401": {"description": "Unauthorized"}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk(descriptor, ""),
        })
    }

    /// `post` or `put` of a whole object.
    fn write(&self, action: &str) -> Value {
        let mut operation = self.operation(action, &write_parameters(), self.schema);
        operation["requestBody"] = json!({"required": true, "content": {"*/*": {"schema": reference(self.schema)}}});
        operation
    }

    fn patch(&self) -> Value {
        let mut operation = self.operation("patch", &write_parameters(), self.schema);
        let body = json!({"schema": reference(schemas::PATCH)});
        operation["requestBody"] = json!({
            "required": true,
            "content": {"application/json-patch+json": body, "application/merge-patch+json": body},
        });
        operation
    }

    fn delete(&self) -> Value {
        let parameters = [
            query("dryRun", "string", DRY_RUN),
            query("gracePeriodSeconds", "integer", "Seconds before the object should be deleted; zero means at once."),
            query("propagationPolicy", "string", "How dependents are deleted: Orphan, Background or Foreground."),
        ];
        let mut operation = self.operation("delete", &parameters, schemas::STATUS);
        operation["requestBody"] = json!({"content": {"*/*": {"schema": reference(schemas::DELETE_OPTIONS)}}});
        operation
    }

    /// A sub-resource beyond `status`: its methods and kind, without a schema of its own.
    fn subresource(&self, subresource: &Subresource) -> Value {
        let kind = json!({
            "group": subresource.kind_group, "version": subresource.kind_version, "kind": subresource.kind,
        });
        let operation = |verb: &&&str| {
            let (method, action) = match **verb {
                "create" => ("post", "connect"),
                "update" => ("put", "put"),
                "patch" => ("patch", "patch"),
                "delete" => ("delete", "delete"),
                _ => ("get", "connect"),
            };
            let mut operation = self.operation(action, &[], schemas::STATUS);
            let text = json!({"description": "OK", "content": {"*/*": {"schema": {"type": "string"}}}});
            operation["responses"]["200"] = text;
            operation["operationId"] =
                format!("{}{}", operation_id(self.descriptor, method), capitalized(&subresource.name)).into();
            operation["x-kubernetes-group-version-kind"] = kind.clone();
            (method, operation)
        };
        let operations: Vec<(&str, Value)> = subresource.verbs.iter().map(|verb| operation(&verb)).collect();
        self.item(&operations, true)
    }
}

const DRY_RUN: &str = "When present, indicates that modifications should not be persisted. The only value is All: all dry \
    run stages will be processed.";

fn query(name: &str, kind: &str, description: &str) -> Value {
    json!({"name": name, "in": "query", "description": description, "schema": {"type": kind, "uniqueItems": true}})
}

fn path_parameter(name: &str, description: &str) -> Value {
    json!({
        "name": name, "in": "path", "required": true, "description": description,
        "schema": {"type": "string", "uniqueItems": true},
    })
}

fn write_parameters() -> [Value; 3] {
    [
        query("dryRun", "string", DRY_RUN),
        query("fieldManager", "string", "The name of who makes these changes; at most 128 printable characters."),
        query(
            "fieldValidation",
            "string",
            "What to do with unknown or duplicate fields: Ignore drops them, Warn (the default) also sends a warning for \
             each, Strict refuses the request.",
        ),
    ]
}

fn read_parameters() -> [Value; 6] {
    [
        query("continue", "string", "Where to go on, from the page before."),
        query("fieldSelector", "string", "Only objects whose fields are so."),
        query("labelSelector", "string", "Only objects whose labels are so."),
        query("limit", "integer", "At most so many objects."),
        query("resourceVersion", "string", "How fresh the answer has to be."),
        query("watch", "boolean", "Send changes as they happen."),
    ]
}

/// `core_v1`, `rbacAuthorization_v1`.
fn tag(descriptor: &ResourceDescriptor) -> String {
    let group = descriptor.group.strip_suffix(".k8s.io").unwrap_or(&descriptor.group);
    let mut parts = if group.is_empty() { "core" } else { group }.split('.');
    let first = parts.next().unwrap_or_default().to_owned();
    let name = parts.fold(first, |name, part| name + &capitalized(part));
    format!("{name}_{}", descriptor.version)
}

/// `createCoreV1NamespacedPod`.
fn operation_id(descriptor: &ResourceDescriptor, action: &str) -> String {
    let verb = match action {
        "post" => "create",
        "put" => "replace",
        "get" => "read",
        "deletecollection" => "deleteCollection",
        other => other,
    };
    let tag: String = tag(descriptor).split('_').map(capitalized).collect();
    let scope = if descriptor.namespaced { "Namespaced" } else { "" };
    format!("{verb}{tag}{scope}{}", descriptor.kind)
}

fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
