//! What the table has to say of kinds that everybody knows.

use super::*;
use orrery_machinery::shape::{Key, ListKind, PatchStrategy, Scalar, View};

/// The type at a path of `kind`; `[]` leads to the elements of a list.
fn at<'a>(shape: &'a Shape, path: &str) -> View<'a> {
    path.split('.').fold(shape.view(), |view, step| match step {
        "[]" => view.element().unwrap_or_else(|| panic!("{path}: no list at {step}")),
        name => view.child(name).unwrap_or_else(|| panic!("{path}: no {name}")),
    })
}

fn list_at(shape: &Shape, path: &str) -> ListKind {
    at(shape, path).atom().list.as_ref().unwrap_or_else(|| panic!("{path} is no list")).kind.clone()
}

fn keys(keys: &[(&'static str, Option<&str>)]) -> ListKind {
    let key = |(name, default): &(&'static str, Option<&str>)| Key {
        name: (*name).into(),
        default: default.map(|text| serde_json::from_str(text).unwrap()),
    };
    ListKind::Map(keys.iter().map(key).collect())
}

#[test]
fn lists_of_pods_are_told_apart_as_upstream_tells_them() {
    let pod = of("", "v1", "Pod").unwrap();
    let table = [
        ("spec.containers", keys(&[("name", Some(r#""""#))])),
        ("spec.containers.[].ports", keys(&[("containerPort", Some("0")), ("protocol", Some(r#""TCP""#))])),
        ("spec.containers.[].env", keys(&[("name", Some(r#""""#))])),
        ("spec.containers.[].volumeMounts", keys(&[("mountPath", Some(r#""""#))])),
        ("spec.containers.[].command", ListKind::Atomic),
        ("spec.imagePullSecrets", keys(&[("name", Some(r#""""#))])),
        ("spec.tolerations", ListKind::Atomic),
        (
            "spec.topologySpreadConstraints",
            keys(&[("topologyKey", Some(r#""""#)), ("whenUnsatisfiable", Some(r#""""#))]),
        ),
        ("metadata.finalizers", ListKind::Set),
        ("metadata.ownerReferences", keys(&[("uid", Some(r#""""#))])),
        ("metadata.managedFields", ListKind::Atomic),
        ("status.conditions", keys(&[("type", Some(r#""""#))])),
    ];
    for (path, expected) in table {
        assert_eq!(list_at(&pod, path), expected, "{path}");
    }
    let atomic = |path: &str| at(&pod, path).atom().map.as_ref().unwrap().atomic;
    assert!(atomic("spec.nodeSelector") && !atomic("metadata.labels") && !atomic("spec.securityContext"));
    assert!(atomic("metadata.ownerReferences.[]"));
}

#[test]
fn services_and_deployments_merge_as_upstream_says() {
    let service = of("", "v1", "Service").unwrap();
    assert_eq!(list_at(&service, "spec.ports"), keys(&[("port", Some("0")), ("protocol", Some(r#""TCP""#))]));
    let deployment = of("apps", "v1", "Deployment").unwrap();
    let spec = at(&deployment, "spec").atom().map.as_ref().unwrap();
    assert!(spec.field("strategy").unwrap().patch.as_ref().unwrap().retain_keys);
    assert!(spec.field("selector").unwrap().always && spec.field("template").unwrap().always);
    assert!(!spec.field("replicas").unwrap().always);
    let pod_spec = at(&deployment, "spec.template.spec").atom().map.as_ref().unwrap();
    let volumes = pod_spec.field("volumes").unwrap().patch.as_deref().unwrap();
    assert_eq!((volumes.strategy, volumes.retain_keys), (Some(PatchStrategy::Merge), true));
    assert_eq!(volumes.merge_key.as_deref(), Some("name"));
    let budget = of("policy", "v1", "PodDisruptionBudget").unwrap();
    let selector = at(&budget, "spec").atom().map.as_ref().unwrap().field("selector").unwrap();
    assert_eq!(selector.patch.as_ref().unwrap().strategy, Some(PatchStrategy::Replace));
    // A claim's reference is atomic elsewhere, and granular in a volume.
    let volume = of("", "v1", "PersistentVolume").unwrap();
    assert!(!at(&volume, "spec.claimRef").atom().map.as_ref().unwrap().atomic);
}

#[test]
fn quantities_times_and_ports_may_be_any_scalar_and_schemas_anything() {
    let pod = of("", "v1", "Pod").unwrap();
    let scalar = |path: &str| at(&pod, path).atom().scalar;
    assert_eq!(scalar("spec.containers.[].resources.limits.cpu"), Some(Scalar::Untyped));
    assert_eq!(scalar("metadata.creationTimestamp"), Some(Scalar::Untyped));
    assert_eq!(scalar("spec.containers.[].livenessProbe.httpGet.port"), Some(Scalar::Untyped));
    assert_eq!(scalar("spec.nodeName"), Some(Scalar::String));
    let definition = of("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
    let schema = at(&definition, "spec.versions.[].schema.openAPIV3Schema");
    // Schemas are recursive.
    let deep = at(&definition, "spec.versions.[].schema.openAPIV3Schema.properties.a.properties.b.properties.c");
    assert_eq!(deep.atom(), schema.atom());
}

#[test]
fn every_kind_has_metadata_and_every_list_key_is_a_field() {
    let (mut count, mut with_spec) = (0, 0);
    for (group, version, kind) in kinds() {
        let shape = of(group, version, kind).unwrap();
        count += 1;
        with_spec += usize::from(shape.view().child("spec").is_some());
        if !kind.ends_with("Options")
            && !matches!(kind, "WatchEvent" | "APIGroup" | "APIGroupList" | "APIVersions" | "APIResourceList")
        {
            assert!(shape.view().child("metadata").is_some(), "{group}/{version} {kind}");
        }
    }
    assert!(count > 300 && with_spec > 50, "{count} kinds, {with_spec} with a spec");
    for (_, atom) in TABLE.shapes.iter() {
        let Some(list) = &atom.list else { continue };
        let ListKind::Map(keys) = &list.kind else { continue };
        let element = TABLE.shapes.get(list.element).map.as_ref().expect("elements with keys are objects");
        for key in keys {
            assert!(element.field(&key.name).is_some(), "{} of {element:?}", key.name);
        }
    }
}

#[test]
fn the_table_is_small() {
    let text = include_str!("shapes.txt");
    assert!(text.len() < 200_000, "{} bytes", text.len());
    assert_eq!(kinds().count(), text.lines().filter(|line| line.starts_with("kind ")).count());
}
