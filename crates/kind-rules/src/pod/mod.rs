//! `v1 Pod`.
//!
//! * `defaults`: what is filled in, and the status that a new pod has.
//! * `validate`: the rules, among them those that follow from a pod being a virtual machine (`validate/boundary.rs`).
//! * `warnings`: what its author should know.
//! * `parts`: what is changed by itself.
//! * `columns`, `state`: the table.

mod columns;
mod defaults;
mod parts;
mod qos;
mod state;
mod validate;
mod warnings;

pub use defaults::fill_in_template;
pub use validate::{
    port_name_problems, template as validate_template, template_with_claims as validate_template_with_claims,
    tolerations as validate_tolerations,
};

pub use warnings::of_template as template_warnings;

use crate::fields::{selectable, selectable_flag, text};
use orrery_api::k8s::api::core::v1::Pod;
use orrery_machinery::descriptor::{FixedResource, PartOf, SelectableField, Subresource, Text};

/// The pod.
#[must_use]
pub fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["po"],
        categories: &["all"],
        has_status: true,
        subresources: SUBRESOURCES,
        counts_generation: true,
        default: defaults::fill_in,
        validate: validate::pod,
        warnings: warnings::of_pod,
        validate_part: Some(validate::part),
        prepare_create: defaults::prepare_create,
        columns: columns::COLUMNS,
        selectable_fields: SELECTABLE,
        ..crate::namespaced::<Pod>("pod")
    }
}

const SUBRESOURCES: &[Subresource] = &[
    Subresource::handled("attach", ("", "v1", "PodAttachOptions"), &["create", "get"]),
    Subresource::handled("binding", ("", "v1", "Binding"), &["create"]),
    part("ephemeralcontainers", |old, sent| parts::ephemeral_containers(old, &sent)),
    Subresource::handled("eviction", ("policy", "v1", "Eviction"), &["create"]),
    Subresource::handled("exec", ("", "v1", "PodExecOptions"), &["create", "get"]),
    Subresource::handled("log", ("", "v1", "Pod"), &["get"]),
    Subresource::handled("portforward", ("", "v1", "PodPortForwardOptions"), &["create", "get"]),
    Subresource::handled("proxy", ("", "v1", "PodProxyOptions"), &["create", "delete", "get", "patch", "update"]),
    part("resize", |old, sent| parts::resize(old, &sent)),
];

const fn part(name: &'static str, does: PartOf) -> Subresource {
    Subresource::part(name, does, Text::Borrowed(""), Text::Borrowed("v1"), Text::Borrowed("Pod"))
}

const SELECTABLE: &[SelectableField] = &[
    selectable!("spec.nodeName", ["spec"]["nodeName"]),
    selectable!("spec.restartPolicy", ["spec"]["restartPolicy"]),
    selectable!("spec.schedulerName", ["spec"]["schedulerName"]),
    selectable!("spec.serviceAccountName", ["spec"]["serviceAccountName"]),
    selectable_flag("spec.hostNetwork", |pod| pod["spec"]["hostNetwork"].as_bool().unwrap_or_default().to_string()),
    selectable!("status.phase", ["status"]["phase"]),
    SelectableField { path: "status.podIP", value: |pod| first_address(pod).to_owned() },
    selectable!("status.nominatedNodeName", ["status"]["nominatedNodeName"]),
];

/// The first of `status.podIPs`, else `status.podIP`; empty for none.
fn first_address(pod: &serde_json::Value) -> &str {
    match text(&pod["status"]["podIPs"][0]["ip"]) {
        "" => text(&pod["status"]["podIP"]),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_machinery::selector::FieldSelector;
    use serde_json::json;

    #[test]
    fn a_pod_is_selected_by_its_host_and_phase() {
        let pod = json!({
            "metadata": {"name": "a", "namespace": "n"},
            "spec": {"nodeName": "host-1"},
            "status": {"phase": "Running", "podIP": "10.0.0.2"},
        });
        for (text, expected) in [
            ("spec.nodeName=host-1,status.phase!=Failed", true),
            ("spec.nodeName=", false),
            ("status.podIP=10.0.0.2,spec.hostNetwork=false", true),
        ] {
            assert_eq!(FieldSelector::parse(text, &descriptor().into()).unwrap().matches(&pod), expected, "{text}");
        }
    }
}
