//! `v1 Namespace`.

use super::fields::{map_at, selectable, set_default, text};
use orrery_api::k8s::api::core::v1::Namespace;
use orrery_machinery::{
    descriptor::{Column, Does, FixedResource, SelectableField, Subresource, Text},
    meta::{self, NameRule},
};
use serde_json::{Value, json};

/// The label that lets a selector pick a namespace by its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["ns"],
        has_status: true,
        subresources: SUBRESOURCES,
        prepare_update: keep_finalizers,
        prepare_delete: end,
        default,
        validate: |object, old| meta::validate(object, old, false, NameRule::DnsLabel),
        prepare_create: |object| object_status(object),
        columns: COLUMNS,
        selectable_fields: SELECTABLE,
        ..super::cluster_wide::<Namespace>("namespace")
    }
}

/// Only the controller that empties a namespace takes its finalizers away, through this.
const SUBRESOURCES: &[Subresource] = &[Subresource {
    name: Text::Borrowed("finalize"),
    kind: Text::Borrowed("Namespace"),
    kind_group: Text::Borrowed(""),
    kind_version: Text::Borrowed("v1"),
    verbs: &["update"],
    does: Does::Part(|old, sent| finalize(old, &sent)),
}];

fn finalize(old: &Value, sent: &Value) -> Value {
    let mut kept = old.clone();
    let finalizers = sent["spec"]["finalizers"].clone();
    if let Some(spec) = kept.as_object_mut().and_then(|namespace| map_at(namespace, "spec")) {
        spec.insert("finalizers".into(), if finalizers.is_null() { json!([]) } else { finalizers });
    }
    if let (Some(status), Some(namespace)) =
        (sent.get("status").filter(|status| !status.is_null()), kept.as_object_mut())
    {
        namespace.insert("status".into(), status.clone());
    }
    kept
}

/// A namespace that ends says so, and has no grace period: it takes as long as its content does.
fn end(object: &mut Value) {
    let Some(namespace) = object.as_object_mut() else { return };
    if let Some(metadata) = map_at(namespace, "metadata") {
        metadata.remove("deletionGracePeriodSeconds");
    }
    if let Some(status) = map_at(namespace, "status") {
        status.insert("phase".into(), "Terminating".into());
    }
}

fn keep_finalizers(old: &Value, new: &mut Value) {
    let finalizers = &old["spec"]["finalizers"];
    if !finalizers.is_null()
        && let Some(spec) = new.as_object_mut().and_then(|namespace| map_at(namespace, "spec"))
    {
        spec.insert("finalizers".into(), finalizers.clone());
    }
}

const SELECTABLE: &[SelectableField] = &[selectable!("status.phase", ["status"]["phase"])];

const COLUMNS: &[Column] = &[Column {
    name: "Status",
    kind: "string",
    priority: 0,
    description: "The status of the namespace",
    cell: |object, _| text(&object["status"]["phase"]).into(),
}];

/// The name's label always stands, and the finalizer until the namespace is being deleted: then only the controller
/// that empties it takes the finalizer away.
fn default(object: &mut Value) {
    let (name, deleting) = (meta::name(object).to_owned(), meta::is_deleting(object));
    let Some(namespace) = object.as_object_mut() else { return };
    if !name.is_empty()
        && let Some(labels) = map_at(namespace, "metadata").and_then(|metadata| map_at(metadata, "labels"))
    {
        labels.insert(NAME_LABEL.into(), name.into());
    }
    if !deleting && let Some(spec) = map_at(namespace, "spec") {
        set_default(spec, "finalizers", json!(["kubernetes"]));
    }
}

fn object_status(object: &mut Value) {
    if let Some(namespace) = object.as_object_mut() {
        namespace.insert("status".into(), json!({"phase": "Active"}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_born_active_with_its_finalizer_and_label() {
        let mut namespace = json!({"metadata": {"name": "demo", "labels": {"a": "b"}}, "status": {"phase": "Gone"}});
        default(&mut namespace);
        object_status(&mut namespace);
        assert_eq!(namespace["metadata"]["labels"], json!({"a": "b", NAME_LABEL: "demo"}));
        assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));
        assert_eq!(namespace["status"], json!({"phase": "Active"}));
    }

    #[test]
    fn a_dying_namespace_does_not_get_its_finalizer_back() {
        let mut namespace =
            json!({"metadata": {"name": "demo", "deletionTimestamp": "2024-01-01T00:00:00Z"}, "spec": {}});
        default(&mut namespace);
        assert_eq!(namespace["spec"], json!({}));
    }

    #[test]
    fn a_namespaces_name_is_a_dns_label() {
        let errors = (descriptor().validate)(&json!({"metadata": {"name": "a.b"}}), None);
        assert!(errors[0].message.contains("a lowercase RFC 1123 label must"), "{}", errors[0].message);
    }
}
