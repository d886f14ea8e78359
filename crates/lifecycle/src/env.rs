//! The environment of a container.
//!
//! The image's variables come first, then `envFrom`, then `env` in order; a later one of the same name wins. `$(NAME)`
//! in a value, in `command` and in `args` stands for a variable set before; `$$` stands for `$`; a reference to what is
//! not set stays as it is written (<https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/>).

use crate::pod::{ContainerView, PodView};
use crate::size;
use orrery_api::k8s::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, ResourceFieldSelector};
use orrery_api::units::{Bytes, MilliCpu};
use std::collections::{BTreeMap, BTreeSet};

/// Text values of a ConfigMap or Secret.
pub type Values = BTreeMap<String, String>;

/// A ConfigMap or a Secret of the pod's namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The ConfigMap of this name.
    ConfigMap(String),
    /// The Secret of this name.
    Secret(String),
}

impl Source {
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::ConfigMap(name) => format!("configmap {name:?}"),
            Self::Secret(name) => format!("secret {name:?}"),
        }
    }
}

/// Facts that fields of a pod are resolved with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// The pod's address, once its machine was admitted.
    pub pod_ip: Option<String>,
    /// The host's address.
    pub host_ip: String,
}

/// Everything outside of the pod that variables are made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownValues {
    /// The ConfigMaps and Secrets that exist.
    pub sources: BTreeMap<Source, Values>,
    /// What [`crate::services::variables`] made.
    pub services: Values,
}

/// Why a container's environment cannot be made. Shown as `CreateContainerConfigError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// A ConfigMap or Secret is not there.
    #[error("{0} not found")]
    SourceMissing(String),
    /// It is there without the key.
    #[error("couldn't find key {key} in {source_name}")]
    KeyMissing {
        /// The key.
        key: String,
        /// What it was looked for in.
        source_name: String,
    },
    /// A reference to a variable that is not set, where there has to be a value.
    #[error("missing value for {0:?}")]
    Unset(String),
    /// A field that cannot be given to a container.
    #[error("field {0} is not supported by this Spherelet")]
    Field(String),
}

/// The ConfigMaps and Secrets that the environment of `container` names.
#[must_use]
pub fn sources(container: &ContainerView) -> BTreeSet<Source> {
    let mut found = BTreeSet::new();
    for from in &container.env_from {
        found.extend(from.config_map_ref.as_ref().map(|r| Source::ConfigMap(r.name.clone())));
        found.extend(from.secret_ref.as_ref().map(|r| Source::Secret(r.name.clone())));
    }
    for value_from in container.env.iter().filter_map(|variable| variable.value_from.as_ref()) {
        found.extend(value_from.config_map_key_ref.as_ref().map(|r| Source::ConfigMap(r.name.clone())));
        found.extend(value_from.secret_key_ref.as_ref().map(|r| Source::Secret(r.name.clone())));
    }
    found
}

/// The complete environment of `container` by name. `image` are the image's variables as `NAME=value`; `known` holds
/// every source that exists.
///
/// # Errors
/// When a source or key that is not optional is missing.
pub fn resolve(
    pod: &PodView,
    container: &ContainerView,
    image: &[String],
    known: &KnownValues,
    addresses: &Addresses,
) -> Result<BTreeMap<String, String>, EnvError> {
    let mut result: BTreeMap<String, String> =
        image.iter().filter_map(|line| line.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    // Only what the pod itself set may be referred to, not what came with the image.
    let mut own = known.services.clone();
    let known = &known.sources;
    for from in &container.env_from {
        let config_map = from.config_map_ref.as_ref().map(|r| (Source::ConfigMap(r.name.clone()), r.optional));
        let secret = from.secret_ref.as_ref().map(|r| (Source::Secret(r.name.clone()), r.optional));
        let Some((source, optional)) = config_map.or(secret) else { continue };
        match known.get(&source) {
            Some(values) => {
                own.extend(values.iter().map(|(key, value)| {
                    (format!("{}{key}", from.prefix.as_deref().unwrap_or_default()), value.clone())
                }));
            }
            None if optional == Some(true) => {}
            None => return Err(EnvError::SourceMissing(source.describe())),
        }
    }
    for variable in &container.env {
        if let Some(value) = value_of(pod, container, variable, known, addresses, &own)? {
            own.insert(variable.name.clone(), value);
        }
    }
    result.extend(own);
    Ok(result)
}

fn value_of(
    pod: &PodView,
    container: &ContainerView,
    variable: &EnvVar,
    known: &BTreeMap<Source, Values>,
    addresses: &Addresses,
    own: &BTreeMap<String, String>,
) -> Result<Option<String>, EnvError> {
    let Some(from) = &variable.value_from else {
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), own)));
    };
    let EnvVarSource { config_map_key_ref, field_ref, file_key_ref, resource_field_ref, secret_key_ref } = from;
    if let Some(reference) = field_ref {
        return field(pod, reference, addresses).map(Some);
    }
    if let Some(reference) = resource_field_ref {
        return resource(pod, Some(container), reference).map(Some);
    }
    if let Some(reference) = config_map_key_ref {
        return key_of(&Source::ConfigMap(reference.name.clone()), &reference.key, reference.optional, known);
    }
    if let Some(reference) = secret_key_ref {
        return key_of(&Source::Secret(reference.name.clone()), &reference.key, reference.optional, known);
    }
    Err(EnvError::Field(if file_key_ref.is_some() { "valueFrom.fileKeyRef" } else { "valueFrom" }.to_owned()))
}

fn key_of(
    source: &Source,
    key: &str,
    optional: Option<bool>,
    known: &BTreeMap<Source, Values>,
) -> Result<Option<String>, EnvError> {
    let optional = optional == Some(true);
    match known.get(source).map(|values| values.get(key)) {
        Some(Some(value)) => Ok(Some(value.clone())),
        Some(None) | None if optional => Ok(None),
        Some(None) => Err(EnvError::KeyMissing { key: key.to_owned(), source_name: source.describe() }),
        None => Err(EnvError::SourceMissing(source.describe())),
    }
}

/// A field of the pod.
pub(crate) fn field(pod: &PodView, reference: &ObjectFieldSelector, addresses: &Addresses) -> Result<String, EnvError> {
    let path = reference.field_path.as_str();
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let values = match map {
            "metadata.labels" => &pod.labels,
            "metadata.annotations" => &pod.annotations,
            _ => return Err(EnvError::Field(path.to_owned())),
        };
        return Ok(values.get(key).cloned().unwrap_or_default());
    }
    match path {
        "metadata.name" => Ok(pod.name.clone()),
        "metadata.namespace" => Ok(pod.namespace.to_string()),
        "metadata.uid" => Ok(pod.uid.to_string()),
        "spec.nodeName" => Ok(pod.node_name.clone()),
        "spec.serviceAccountName" => Ok(pod.service_account.clone()),
        "status.podIP" | "status.podIPs" => Ok(addresses.pod_ip.clone().unwrap_or_default()),
        "status.hostIP" | "status.hostIPs" => Ok(addresses.host_ip.clone()),
        _ => Err(EnvError::Field(path.to_owned())),
    }
}

/// A limit or request of a container: of `own` when the reference names none.
pub(crate) fn resource(
    pod: &PodView,
    own: Option<&ContainerView>,
    reference: &ResourceFieldSelector,
) -> Result<String, EnvError> {
    let unsupported = || EnvError::Field(format!("resourceFieldRef {}", reference.resource));
    let all = || pod.containers.iter().chain(&pod.init_containers);
    let container = match &reference.container_name {
        None => own.ok_or_else(unsupported)?,
        Some(name) => all().find(|c| &c.name == name).ok_or_else(unsupported)?,
    };
    let divisor = reference.divisor.as_ref().map_or("1", |q| if q.0 == "0" || q.0.is_empty() { "1" } else { &q.0 });
    // A limit that is not set stands for all that the machine has.
    let machine = size::machine_size(pod);
    let whole_cpu = MilliCpu(u64::from(machine.vcpus) * 1000);
    let cpu = |amount: MilliCpu| {
        MilliCpu::from_quantity(divisor).ok().filter(|d| d.0 > 0).map(|d| amount.0.div_ceil(d.0).to_string())
    };
    let memory = |amount: Bytes| {
        Bytes::from_quantity(divisor).ok().filter(|d| d.0 > 0).map(|d| amount.0.div_ceil(d.0).to_string())
    };
    match reference.resource.as_str() {
        "limits.cpu" => cpu(container.cpu_limit.unwrap_or(whole_cpu)),
        "requests.cpu" => cpu(container.cpu_request.unwrap_or_default()),
        "limits.memory" => memory(container.memory_limit.unwrap_or(machine.memory)),
        "requests.memory" => memory(container.memory_request.unwrap_or_default()),
        _ => None,
    }
    .ok_or_else(unsupported)
}

/// `text` with each `$(NAME)` replaced by its value in `variables`, of which none may be missing.
///
/// # Errors
/// When a variable is not set.
pub fn expand_strictly(text: &str, variables: &BTreeMap<String, String>) -> Result<String, EnvError> {
    let mut unset = None;
    let expanded = replace(text, |name| {
        let value = variables.get(name).cloned();
        if value.is_none() {
            unset.get_or_insert_with(|| name.to_owned());
        }
        value
    });
    unset.map_or(Ok(expanded), |name| Err(EnvError::Unset(name)))
}

/// `text` with each `$(NAME)` replaced by its value in `variables`; what is not set stays as it is written.
#[must_use]
pub fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    replace(text, |name| variables.get(name).cloned())
}

fn replace(text: &str, mut value_of: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        rest = if let Some(after) = from.strip_prefix("$$") {
            out.push('$');
            after
        } else if let Some((name, after)) = from.strip_prefix("$(").and_then(|inner| inner.split_once(')')) {
            match value_of(name) {
                Some(value) => out.push_str(&value),
                None => out.push_str(&from[..name.len() + 3]),
            }
            after
        } else {
            out.push('$');
            &from[1..]
        };
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::test_pod;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn variables() -> BTreeMap<String, String> {
        [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "$(A)".to_owned())].into()
    }

    #[test]
    fn references_expand_as_kubernetes_expands_them() {
        let table = [
            ("plain", "plain"),
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$(B)", "$(A)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(NONE)", "$(NONE)"),
            ("$A ${A}", "$A ${A}"),
            ("$(A", "$(A"),
            ("$", "$"),
            ("$$", "$"),
            ("$()", "$()"),
        ];
        for (text, expected) in table {
            assert_eq!(expand(text, &variables()), expected, "{text}");
        }
    }

    fn resolved(container: &Value) -> Result<BTreeMap<String, String>, EnvError> {
        let pod = test_pod(&json!({
            "metadata": { "labels": { "app": "web" }, "annotations": { "note": "n" } },
            "spec": { "containers": [container] }
        }));
        let sources = [
            (Source::ConfigMap("c".into()), Values::from([("k".into(), "from-map".into())])),
            (Source::Secret("s".into()), Values::from([("p".into(), "hidden".into())])),
        ]
        .into();
        let known = KnownValues { sources, services: Values::from([("WEB_PORT".into(), "80".into())]) };
        let addresses = Addresses { pod_ip: Some("10.244.0.7".into()), host_ip: "127.0.0.1".into() };
        resolve(&pod, &pod.containers[0], &["PATH=/bin".into(), "A=image".into()], &known, &addresses)
    }

    fn with_env(env: &Value) -> Result<BTreeMap<String, String>, EnvError> {
        resolved(&json!({ "name": "a", "image": "i", "env": env, "resources": { "limits": { "memory": "64Mi" } } }))
    }

    #[test]
    fn values_come_from_every_supported_source() {
        let from = |path: &str| json!({ "fieldRef": { "fieldPath": path } });
        let table = [
            (json!({ "value": "v" }), "v"),
            (json!({ "valueFrom": from("metadata.name") }), "hello"),
            (json!({ "valueFrom": from("metadata.namespace") }), "demo"),
            (json!({ "valueFrom": from("metadata.labels['app']") }), "web"),
            (json!({ "valueFrom": from("metadata.annotations['note']") }), "n"),
            (json!({ "valueFrom": from("metadata.labels['none']") }), ""),
            (json!({ "valueFrom": from("spec.nodeName") }), "host-1"),
            (json!({ "valueFrom": from("status.podIP") }), "10.244.0.7"),
            (json!({ "valueFrom": from("status.hostIP") }), "127.0.0.1"),
            (json!({ "valueFrom": { "configMapKeyRef": { "name": "c", "key": "k" } } }), "from-map"),
            (json!({ "valueFrom": { "secretKeyRef": { "name": "s", "key": "p" } } }), "hidden"),
            (json!({ "valueFrom": { "resourceFieldRef": { "resource": "limits.memory", "divisor": "1Mi" } } }), "64"),
            (json!({ "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu" } } }), "1"),
        ];
        for (source, expected) in table {
            let mut variable = json!({ "name": "X" });
            variable.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
            assert_eq!(with_env(&json!([variable])).unwrap()["X"], expected, "{variable}");
        }
    }

    #[test]
    fn later_variables_win_and_may_refer_to_earlier_ones_of_the_pod() {
        let env = with_env(&json!([{ "name": "A", "value": "1" }, { "name": "B", "value": "$(A)-$(PATH)" }])).unwrap();
        assert_eq!((env["A"].as_str(), env["B"].as_str(), env["PATH"].as_str()), ("1", "1-$(PATH)", "/bin"));
        let container =
            json!({ "name": "a", "image": "i", "envFrom": [{ "prefix": "P_", "configMapRef": { "name": "c" } }] });
        assert_eq!(resolved(&container).unwrap()["P_k"], "from-map");
    }

    #[test]
    fn what_is_missing_is_an_error_unless_it_is_optional() {
        let key = |optional: bool| {
            json!([{ "name": "X", "valueFrom": {
            "configMapKeyRef": { "name": "c", "key": "none", "optional": optional } } }])
        };
        let map = |optional: bool| {
            json!([{ "name": "X", "valueFrom": {
            "secretKeyRef": { "name": "none", "key": "k", "optional": optional } } }])
        };
        assert_eq!(with_env(&key(false)).unwrap_err().to_string(), "couldn't find key none in configmap \"c\"");
        assert_eq!(with_env(&map(false)).unwrap_err().to_string(), "secret \"none\" not found");
        assert!(!with_env(&key(true)).unwrap().contains_key("X"));
        assert!(!with_env(&map(true)).unwrap().contains_key("X"));
    }

    proptest! {
        #[test]
        fn text_without_a_dollar_is_left_alone(text in "[^$]{0,40}") {
            prop_assert_eq!(expand(&text, &variables()), text);
        }

        #[test]
        fn any_text_expands_without_panic(text in "[$()AB é]{0,40}") {
            let _ = expand(&text, &variables());
        }
    }
}
