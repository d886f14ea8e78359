//! `v1 Service`.

mod addresses;
mod change;
mod ports;

use crate::{
    columns::{column, labels_text, load_balancer_text},
    fields::{
        default_text, elements, is_set, map_at, maps_in, one_of, report, selectable, set_default, size, text, text_or,
    },
    rules,
};
use orrery_api::k8s::api::core::v1::Service;
use orrery_machinery::{
    descriptor::{Column, FixedResource, SelectableField, Subresource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::{Value, json};

const SUBRESOURCES: &[Subresource] = &[Subresource::handled(
    "proxy",
    ("", "v1", "ServiceProxyOptions"),
    &["create", "delete", "get", "patch", "update"],
)];

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["svc"],
        categories: &["all"],
        has_status: true,
        subresources: SUBRESOURCES,
        create_on_update: true,
        default,
        validate,
        warnings,
        validate_part: Some(validate_part),
        prepare_create: change::both_address_fields,
        prepare_update: change::prepare,
        columns: COLUMNS,
        selectable_fields: SELECTABLE,
        ..crate::namespaced::<Service>("service")
    }
}

const SELECTABLE: &[SelectableField] =
    &[selectable!("spec.clusterIP", ["spec"]["clusterIP"]), selectable!("spec.type", ["spec"]["type"])];

const COLUMNS: &[Column] = &[
    column("Type", 0, "How the service is reached.", |object, _| text(&object["spec"]["type"]).into()),
    column("Cluster-IP", 0, "The service's address within the cluster.", |object, _| {
        text_or(&object["spec"]["clusterIP"], "<none>")
    }),
    column("External-IP", 0, "The service's addresses for the world.", |object, _| external_address(object).into()),
    column("Port(s)", 0, "The service's ports.", |object, _| ports_text(object).into()),
    column("Selector", 1, "What picks the pods.", |object, _| labels_text(&object["spec"]["selector"])),
];

fn external_address(service: &Value) -> String {
    let spec = &service["spec"];
    let own: Vec<&str> = elements(&spec["externalIPs"]).map(text).collect();
    match text(&spec["type"]) {
        "ClusterIP" | "NodePort" if own.is_empty() => "<none>".to_owned(),
        "ClusterIP" | "NodePort" => own.join(","),
        "LoadBalancer" => {
            let given = load_balancer_text(&service["status"]);
            let all: Vec<&str> =
                Some(given.as_str()).filter(|given| !given.is_empty()).into_iter().chain(own).collect();
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        "ExternalName" => text(&spec["externalName"]).to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

fn ports_text(service: &Value) -> String {
    let one = |port: &Value| {
        let (number, protocol) = (port["port"].as_i64().unwrap_or_default(), text(&port["protocol"]));
        match port["nodePort"].as_i64() {
            Some(node) if node > 0 => format!("{number}:{node}/{protocol}"),
            Some(_) | None => format!("{number}/{protocol}"),
        }
    };
    let all: Vec<String> = elements(&service["spec"]["ports"]).map(one).collect();
    if all.is_empty() { "<none>".to_owned() } else { all.join(",") }
}

/// Whether the service can be reached from outside of the cluster.
fn is_external(spec: &Value) -> bool {
    matches!(text(&spec["type"]), "LoadBalancer" | "NodePort")
        || (text(&spec["type"]) == "ClusterIP" && size(&spec["externalIPs"]) > 0)
}

fn default(object: &mut Value) {
    let Some(service) = object.as_object_mut() else { return };
    let Some(spec) = map_at(service, "spec") else { return };
    default_text(spec, "sessionAffinity", "None");
    default_text(spec, "type", "ClusterIP");
    let lasts = |config: &Value| is_set(&config["clientIP"]["timeoutSeconds"]);
    match text(&spec["sessionAffinity"]) {
        "None" => drop(spec.remove("sessionAffinityConfig")),
        "ClientIP" if !spec.get("sessionAffinityConfig").is_some_and(lasts) => {
            spec.insert("sessionAffinityConfig".into(), json!({"clientIP": {"timeoutSeconds": 10_800}}));
        }
        _ => {}
    }
    for port in maps_in(spec, "ports") {
        default_text(port, "protocol", "TCP");
        let unset = port.get("targetPort").is_none_or(|target| target.is_null() || *target == 0 || target == "");
        if let Some(number) = port.get("port").filter(|number| unset && number.is_number()).cloned() {
            port.insert("targetPort".into(), number);
        }
    }
    let own = spec.get("externalIPs").is_some_and(|addresses| size(addresses) > 0);
    let external = matches!(text(&spec["type"]), "LoadBalancer" | "NodePort") || (spec["type"] == "ClusterIP" && own);
    if external {
        default_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(text(&spec["type"]), "NodePort" | "LoadBalancer" | "ClusterIP") {
        set_default(spec, "internalTrafficPolicy", "Cluster");
    }
    let balanced = spec["type"] == "LoadBalancer";
    if balanced {
        set_default(spec, "allocateLoadBalancerNodePorts", true);
    }
    if let Some(status) = map_at(service, "status")
        && let Some(balancer) = map_at(status, "loadBalancer")
        && balanced
    {
        for ingress in maps_in(balancer, "ingress") {
            if ingress.get("ip").is_some_and(|ip| !text(ip).is_empty()) {
                set_default(ingress, "ipMode", "VIP");
            }
        }
    }
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::Dns1035Label);
    if let Some(old) = old {
        change::check(&object["spec"], &old["spec"], &mut errors);
    }
    let spec = &object["spec"];
    if size(&spec["ports"]) == 0 && !is_headless(spec) && text(&spec["type"]) != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    by_type(spec, &mut errors);
    ports::check(spec, &mut errors);
    rules::labels(&mut errors, "spec.selector", &spec["selector"]);
    affinity(spec, &mut errors);
    addresses::check(spec, &mut errors);
    let types = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    rules::required_one_of(&mut errors, "spec.type", &spec["type"], &types);
    only_for_load_balancers(spec, &mut errors);
    traffic(spec, &mut errors);
    errors
}

fn warnings(object: &Value, _old: Option<&Value>) -> Vec<String> {
    let spec = &object["spec"];
    let mut warnings = Vec::new();
    if is_headless(spec) {
        if size(&spec["externalIPs"]) > 0 {
            warnings.push("spec.externalIPs is ignored when spec.clusterIP is \"None\"".to_owned());
        }
        if !matches!(text(&spec["sessionAffinity"]), "" | "None") {
            warnings.push("spec.SessionAffinity is ignored for headless services".to_owned());
        }
    }
    if !text(&spec["externalName"]).is_empty() && text(&spec["type"]) != "ExternalName" {
        warnings.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
    warnings
}

fn is_headless(spec: &Value) -> bool {
    spec["clusterIP"] == "None" || spec["clusterIPs"][0] == "None"
}

fn by_type(spec: &Value, errors: &mut Vec<FieldError>) {
    match text(&spec["type"]) {
        kind @ ("LoadBalancer" | "NodePort") if is_headless(spec) => {
            let why = format!("may not be set to 'None' for {kind} services");
            errors.push(FieldError::invalid("spec.clusterIPs[0]", &"None".into(), &why));
        }
        "ExternalName" => {
            let why = "may not be set for ExternalName services";
            for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if is_set(&spec[field]) && spec[field] != json!([]) {
                    errors.push(FieldError::forbidden(format!("spec.{field}"), why));
                }
            }
            let name = text(&spec["externalName"]);
            match name.strip_suffix('.').unwrap_or(name) {
                "" => errors.push(FieldError::required("spec.externalName", "")),
                name => {
                    let problems = meta::dns_subdomain_problems(name);
                    report(errors, "spec.externalName", &name.into(), &problems);
                }
            }
        }
        _ => {}
    }
}

fn affinity(spec: &Value, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.sessionAffinityConfig";
    rules::required_one_of(errors, "spec.sessionAffinity", &spec["sessionAffinity"], &["ClientIP", "None"]);
    let config = &spec["sessionAffinityConfig"];
    match text(&spec["sessionAffinity"]) {
        "ClientIP" => {
            let seconds = &config["clientIP"]["timeoutSeconds"];
            match seconds.as_i64() {
                None => {
                    let why = "when session affinity type is ClientIP";
                    errors.push(FieldError::required(format!("{FIELD}.clientIP.timeoutSeconds"), why));
                }
                Some(1..=86_400) => {}
                Some(_) => {
                    let why = "must be greater than 0 and less than 86400";
                    errors.push(FieldError::invalid(format!("{FIELD}.clientIP.timeoutSeconds"), seconds, why));
                }
            }
        }
        "None" if is_set(config) => {
            errors.push(FieldError::forbidden(FIELD, "must not be set when session affinity is None"));
        }
        _ => {}
    }
}

fn only_for_load_balancers(spec: &Value, errors: &mut Vec<FieldError>) {
    const WHY: &str = "may only be used when `type` is 'LoadBalancer'";
    let balanced = spec["type"] == "LoadBalancer";
    let ranges = &spec["loadBalancerSourceRanges"];
    if size(ranges) > 0 {
        // Upstream spells it so.
        const FIELD: &str = "spec.LoadBalancerSourceRanges";
        if !balanced {
            errors.push(FieldError::forbidden(FIELD, WHY));
        }
        for (index, range) in elements(ranges).enumerate() {
            let problems = rules::cidr_problems(text(range).trim());
            report(errors, &format!("{FIELD}[{index}]"), range, &problems);
        }
    }
    if !balanced && is_set(&spec["allocateLoadBalancerNodePorts"]) {
        errors.push(FieldError::forbidden("spec.allocateLoadBalancerNodePorts", WHY));
    }
    let class = &spec["loadBalancerClass"];
    if !balanced && is_set(class) {
        errors.push(FieldError::forbidden("spec.loadBalancerClass", WHY));
    } else if is_set(class) {
        report(errors, "spec.loadBalancerClass", class, &meta::qualified_name_problems(text(class)));
    }
}

fn traffic(spec: &Value, errors: &mut Vec<FieldError>) {
    let policies = ["Cluster", "Local"];
    let outside = &spec["externalTrafficPolicy"];
    if is_external(spec) {
        rules::required_one_of(errors, "spec.externalTrafficPolicy", outside, &policies);
    } else if !text(outside).is_empty() {
        let why = "may only be set for externally-accessible services";
        errors.push(FieldError::invalid("spec.externalTrafficPolicy", outside, why));
    }
    let check = &spec["healthCheckNodePort"];
    let checked = spec["type"] == "LoadBalancer" && outside == "Local";
    if check.as_i64().unwrap_or_default() != 0 {
        if checked {
            crate::fields::port_number(errors, "spec.healthCheckNodePort", check);
        } else {
            let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.push(FieldError::invalid("spec.healthCheckNodePort", check, why));
        }
    }
    if matches!(text(&spec["type"]), "NodePort" | "LoadBalancer" | "ClusterIP") {
        let inside = &spec["internalTrafficPolicy"];
        rules::required_one_of(errors, "spec.internalTrafficPolicy", inside, &policies);
    }
    let distributions = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    one_of(errors, "spec.trafficDistribution", &spec["trafficDistribution"], &distributions);
}

fn validate_part(part: &str, object: &Value, old: &Value) -> Vec<FieldError> {
    if part != "status" {
        return validate(object, Some(old));
    }
    let mut errors = meta::validate(object, Some(old), true, NameRule::Dns1035Label);
    let ingress = &object["status"]["loadBalancer"]["ingress"];
    if size(ingress) > 0 && object["spec"]["type"] != "LoadBalancer" {
        let why = "may only be used when `spec.type` is \"LoadBalancer\"";
        errors.push(FieldError::forbidden("status.loadBalancer.ingress", why));
    } else {
        load_balancer_status(&object["status"], &mut errors);
    }
    errors
}

/// Checks what a load balancer says of itself in a status.
pub(crate) fn load_balancer_status(status: &Value, errors: &mut Vec<FieldError>) {
    for (index, ingress) in elements(&status["loadBalancer"]["ingress"]).enumerate() {
        let field = format!("status.loadBalancer.ingress[{index}]");
        rules::optional_name(errors, &format!("{field}.ip"), &ingress["ip"], rules::ip_problems);
        one_of(errors, &format!("{field}.ipMode"), &ingress["ipMode"], &["Proxy", "VIP"]);
        let host = &ingress["hostname"];
        rules::optional_name(errors, &format!("{field}.hostname"), host, meta::dns_subdomain_problems);
        if rules::ip_problems(text(host)).is_empty() {
            let why = "must be a DNS name, not an IP address";
            errors.push(FieldError::invalid(format!("{field}.hostname"), host, why));
        }
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
