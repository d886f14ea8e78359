//! ConfigMaps and Secrets as files, on their own and projected.

use crate::pods::{Place, holds};
use base64::{Engine, prelude::BASE64_STANDARD};
use orrery_harness::{Context, Outcome, Test, ensure, run, same, test};
use serde_json::{Value, json};

/// What the files come from, and through which kind of volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    ConfigMap,
    Secret,
    ProjectedConfigMap,
    ProjectedSecret,
}

use Source::{ConfigMap, ProjectedConfigMap, ProjectedSecret, Secret};

impl Source {
    pub(super) fn is_secret(self) -> bool {
        matches!(self, Secret | ProjectedSecret)
    }

    /// Makes the object that it comes from.
    pub(super) async fn create(self, context: &Context, place: &Place, name: &str, data: &Value) -> Outcome {
        let object = self.object(name, data);
        let objects = if self.is_secret() { place.secrets(context) } else { place.config_maps(context) };
        objects.create(&object).await.map(drop)
    }

    /// The object that it comes from, with texts as `data`.
    pub(super) fn object(self, name: &str, data: &Value) -> Value {
        let texts = if self.is_secret() { "stringData" } else { "data" };
        json!({ "metadata": { "name": name }, texts: data })
    }

    /// A volume `name` of the object `object`; `options` are of the source, `mode` of the volume.
    pub(super) fn volume(self, name: &str, object: &str, options: &Value, mode: Option<u32>) -> Value {
        let mut source = options.clone();
        let key = if self == Secret { "secretName" } else { "name" };
        source[key] = object.into();
        let mut volume = match self {
            ConfigMap => json!({ "configMap": source }),
            Secret => json!({ "secret": source }),
            ProjectedConfigMap => json!({ "projected": { "sources": [{ "configMap": source }] } }),
            ProjectedSecret => json!({ "projected": { "sources": [{ "secret": source }] } }),
        };
        volume["name"] = name.into();
        if let Some(mode) = mode {
            let kind = match self {
                ConfigMap => "configMap",
                Secret => "secret",
                ProjectedConfigMap | ProjectedSecret => "projected",
            };
            volume[kind]["defaultMode"] = mode.into();
        }
        volume
    }
}

/// How a pod mounts a volume and what it is to see.
#[derive(Debug, Clone, Copy)]
struct Case {
    source: Source,
    /// Whether the key is mapped to a path below.
    mapped: bool,
    item_mode: Option<u32>,
    default_mode: Option<u32>,
    user: Option<u32>,
    group: Option<u32>,
    shows: &'static str,
}

const fn case(source: Source) -> Case {
    Case { source, mapped: false, item_mode: None, default_mode: None, user: None, group: None, shows: "644" }
}

const fn mapped(source: Source) -> Case {
    Case { mapped: true, ..case(source) }
}

const fn with_mode(source: Source) -> Case {
    Case { default_mode: Some(0o400), shows: "400", ..case(source) }
}

const fn with_item_mode(source: Source) -> Case {
    Case { mapped: true, item_mode: Some(0o400), shows: "400", ..case(source) }
}

const fn as_user(case: Case) -> Case {
    Case { user: Some(1000), ..case }
}

const fn of_group(source: Source) -> Case {
    Case { default_mode: Some(0o440), user: Some(1000), group: Some(1001), shows: "440", ..case(source) }
}

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-storage] ConfigMap binary data should be reflected in volume [NodeConformance] [Conformance]",
        run!(binary),
    ),
    test(
        "[sig-storage] ConfigMap should be consumable from pods in volume [NodeConformance] [Conformance]",
        run!(consumed, case(ConfigMap)),
    ),
    test(
        "[sig-storage] ConfigMap should be consumable from pods in volume as non-root [NodeConformance] [Conformance]",
        run!(consumed, as_user(case(ConfigMap))),
    ),
    test(
        "[sig-storage] ConfigMap should be consumable from pods in volume with defaultMode set [LinuxOnly] [NodeConformance] [Conformance]",
        run!(consumed, with_mode(ConfigMap)),
    ),
    test(
        "[sig-storage] ConfigMap should be consumable from pods in volume with mappings [NodeConformance] [Conformance]",
        run!(consumed, mapped(ConfigMap)),
    ),
    test(
        "[sig-storage] ConfigMap should be consumable from pods in volume with mappings and Item mode set [LinuxOnly] [NodeConformance] [Conformance]",
        run!(consumed, with_item_mode(ConfigMap)),
    ),
    test(
        "[sig-storage] ConfigMap should be consumable from pods in volume with mappings as non-root [NodeConformance] [Conformance]",
        run!(consumed, as_user(mapped(ConfigMap))),
    ),
    test(
        "[sig-storage] ConfigMap should be consumable in multiple volumes in the same pod [NodeConformance] [Conformance]",
        run!(twice, ConfigMap),
    ),
    test(
        "[sig-storage] Projected configMap should be consumable from pods in volume [NodeConformance] [Conformance]",
        run!(consumed, case(ProjectedConfigMap)),
    ),
    test(
        "[sig-storage] Projected configMap should be consumable from pods in volume as non-root [NodeConformance] [Conformance]",
        run!(consumed, as_user(case(ProjectedConfigMap))),
    ),
    test(
        "[sig-storage] Projected configMap should be consumable from pods in volume with defaultMode set [LinuxOnly] [NodeConformance] [Conformance]",
        run!(consumed, with_mode(ProjectedConfigMap)),
    ),
    test(
        "[sig-storage] Projected configMap should be consumable from pods in volume with mappings [NodeConformance] [Conformance]",
        run!(consumed, mapped(ProjectedConfigMap)),
    ),
    test(
        "[sig-storage] Projected configMap should be consumable from pods in volume with mappings and Item mode set [LinuxOnly] [NodeConformance] [Conformance]",
        run!(consumed, with_item_mode(ProjectedConfigMap)),
    ),
    test(
        "[sig-storage] Projected configMap should be consumable from pods in volume with mappings as non-root [NodeConformance] [Conformance]",
        run!(consumed, as_user(mapped(ProjectedConfigMap))),
    ),
    test(
        "[sig-storage] Projected configMap should be consumable in multiple volumes in the same pod [NodeConformance] [Conformance]",
        run!(twice, ProjectedConfigMap),
    ),
    test(
        "[sig-storage] Secrets should be consumable from pods in volume [NodeConformance] [Conformance]",
        run!(consumed, case(Secret)),
    ),
    test(
        "[sig-storage] Secrets should be consumable from pods in volume as non-root with defaultMode and fsGroup set [LinuxOnly] [NodeConformance] [Conformance]",
        run!(consumed, of_group(Secret)),
    ),
    test(
        "[sig-storage] Secrets should be consumable from pods in volume with defaultMode set [LinuxOnly] [NodeConformance] [Conformance]",
        run!(consumed, with_mode(Secret)),
    ),
    test(
        "[sig-storage] Secrets should be consumable from pods in volume with mappings [NodeConformance] [Conformance]",
        run!(consumed, mapped(Secret)),
    ),
    test(
        "[sig-storage] Secrets should be consumable from pods in volume with mappings and Item Mode set [LinuxOnly] [NodeConformance] [Conformance]",
        run!(consumed, with_item_mode(Secret)),
    ),
    test(
        "[sig-storage] Secrets should be consumable in multiple volumes in a pod [NodeConformance] [Conformance]",
        run!(twice, Secret),
    ),
    test(
        "[sig-storage] Projected secret should be consumable from pods in volume [NodeConformance] [Conformance]",
        run!(consumed, case(ProjectedSecret)),
    ),
    test(
        "[sig-storage] Projected secret should be consumable from pods in volume as non-root with defaultMode and fsGroup set [LinuxOnly] [NodeConformance] [Conformance]",
        run!(consumed, of_group(ProjectedSecret)),
    ),
    test(
        "[sig-storage] Projected secret should be consumable from pods in volume with defaultMode set [LinuxOnly] [NodeConformance] [Conformance]",
        run!(consumed, with_mode(ProjectedSecret)),
    ),
    test(
        "[sig-storage] Projected secret should be consumable from pods in volume with mappings [NodeConformance] [Conformance]",
        run!(consumed, mapped(ProjectedSecret)),
    ),
    test(
        "[sig-storage] Projected secret should be consumable from pods in volume with mappings and Item Mode set [LinuxOnly] [NodeConformance] [Conformance]",
        run!(consumed, with_item_mode(ProjectedSecret)),
    ),
    test(
        "[sig-storage] Projected secret should be consumable in multiple volumes in a pod [NodeConformance] [Conformance]",
        run!(twice, ProjectedSecret),
    ),
    test(
        "[sig-storage] Secrets should be able to mount in a volume regardless of a different secret existing with same name in different namespace [NodeConformance] [Conformance]",
        run!(of_its_own_namespace),
    ),
    test(
        "[sig-storage] Projected combined should project all components that make up the projection API [Projection] [NodeConformance] [Conformance]",
        run!(combined),
    ),
];

async fn consumed(context: &Context, case: Case) -> Outcome {
    let place = Place::new(context).await?;
    case.source.create(context, &place, "source", &json!({ "data-1": "value-1", "data-2": "value-2" })).await?;
    let (path, options) = if case.mapped {
        let mut item = json!({ "key": "data-2", "path": "path/to/data-2" });
        if let Some(mode) = case.item_mode {
            item["mode"] = mode.into();
        }
        ("path/to/data-2", json!({ "items": [item] }))
    } else {
        ("data-1", json!({}))
    };
    let text = format!("cat /etc/source/{path}; echo; stat -L -c %a /etc/source/{path}; ls /etc/source");
    let mut pod = place.runs("reader", &text);
    pod["spec"]["volumes"] = json!([case.source.volume("v", "source", &options, case.default_mode)]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "v", "mountPath": "/etc/source" }]);
    pod["spec"]["securityContext"] = json!({ "runAsUser": case.user, "fsGroup": case.group });
    let said = place.said(&pod).await?;
    let (value, shown) = if case.mapped { ("value-2", "path") } else { ("value-1", "data-1\ndata-2") };
    same!(said.trim_end(), format!("{value}\n{}\n{shown}", case.shows), "what the container saw");
    Ok(())
}

async fn twice(context: &Context, source: Source) -> Outcome {
    let place = Place::new(context).await?;
    source.create(context, &place, "source", &json!({ "data-1": "value-1" })).await?;
    let mut pod = place.runs("reader", "cat /etc/one/data-1; cat /etc/two/data-1");
    pod["spec"]["volumes"] =
        json!([source.volume("a", "source", &json!({}), None), source.volume("b", "source", &json!({}), None)]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([
        { "name": "a", "mountPath": "/etc/one", "readOnly": true },
        { "name": "b", "mountPath": "/etc/two", "readOnly": true },
    ]);
    same!(place.said(&pod).await?, "value-1value-1", "what the container saw");
    Ok(())
}

async fn binary(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let bytes = BASE64_STANDARD.encode([0xde, 0xca, 0xfe, 0xba, 0xd0, 0xfe, 0xff]);
    let map = json!({ "metadata": { "name": "source" }, "data": { "text": "plain" }, "binaryData": { "raw": bytes } });
    place.config_maps(context).create(&map).await?;
    let mut pod = place.runs("reader", "cat /etc/source/text; echo; base64 /etc/source/raw");
    pod["spec"]["volumes"] = json!([ConfigMap.volume("v", "source", &json!({}), None)]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "v", "mountPath": "/etc/source" }]);
    same!(place.said(&pod).await?.trim_end(), format!("plain\n{bytes}"), "what the container saw");
    Ok(())
}

async fn of_its_own_namespace(context: &Context) -> Outcome {
    let (place, other) = (Place::new(context).await?, Place::new(context).await?);
    Secret.create(context, &place, "same", &json!({ "data-1": "ours" })).await?;
    Secret.create(context, &other, "same", &json!({ "data-1": "theirs" })).await?;
    let mut pod = place.runs("reader", "cat /etc/source/data-1");
    pod["spec"]["volumes"] = json!([Secret.volume("v", "same", &json!({}), None)]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "v", "mountPath": "/etc/source" }]);
    let said = place.said(&pod).await?;
    ensure!(said == "ours", "the container saw {said:?}");
    Ok(())
}

async fn combined(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    ConfigMap.create(context, &place, "map", &json!({ "configmap-data": "configmap-value-1" })).await?;
    Secret.create(context, &place, "hidden", &json!({ "secret-data": "secret-value-1" })).await?;
    let mut pod = place.runs("reader", "cat /all/podname; echo; cat /all/secret-data; echo; cat /all/configmap-data");
    let name = json!({ "path": "podname", "fieldRef": { "fieldPath": "metadata.name" } });
    pod["spec"]["volumes"] = json!([{ "name": "v", "projected": { "sources": [
        { "downwardAPI": { "items": [name] } }, { "secret": { "name": "hidden" } }, { "configMap": { "name": "map" } },
    ] } }]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "v", "mountPath": "/all" }]);
    holds(&place.said(&pod).await?, &["reader\n", "secret-value-1\n", "configmap-value-1"])
}
