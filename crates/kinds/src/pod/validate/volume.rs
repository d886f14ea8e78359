//! The rules of volumes.

use super::projection;
use crate::{
    core::persistent_volume_claim as claim,
    fields::{elements, is_set, one_of, report, size, text},
    quantity, rules,
};
use orrery_machinery::{meta, status::FieldError};
use serde_json::Value;
use std::collections::BTreeSet;

/// Checks the volumes of a pod; their names.
pub(super) fn check<'a>(volumes: &'a Value, at: &str, errors: &mut Vec<FieldError>) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (index, volume) in elements(volumes).enumerate() {
        let field = format!("{at}[{index}]");
        match text(&volume["name"]) {
            "" => errors.push(FieldError::required(format!("{field}.name"), "")),
            name => {
                report(errors, &format!("{field}.name"), &volume["name"], &meta::dns_label_problems(name));
                if !names.insert(name) {
                    errors.push(FieldError::duplicate(format!("{field}.name"), &volume["name"]));
                }
            }
        }
        source(volume, &field, errors);
    }
    names
}

/// Exactly one source, with what it cannot do without.
fn source(volume: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let mut sources = volume.as_object().into_iter().flatten().filter(|(key, value)| *key != "name" && is_set(value));
    let Some((kind, source)) = sources.next() else {
        errors.push(FieldError::required(field, "must specify a volume type"));
        return;
    };
    for (extra, _) in sources {
        errors.push(FieldError::forbidden(format!("{field}.{extra}"), "may not specify more than 1 volume type"));
    }
    let field = format!("{field}.{kind}");
    for name in needed(kind) {
        rules::required(errors, &format!("{field}.{name}"), &source[*name]);
    }
    match kind.as_str() {
        "secret" | "configMap" => {
            projection::mode(&source["defaultMode"], &format!("{field}.defaultMode"), errors);
            projection::items(source, &field, errors);
        }
        "downwardAPI" => {
            projection::mode(&source["defaultMode"], &format!("{field}.defaultMode"), errors);
            projection::downward(source, &field, errors);
        }
        "projected" => projection::projected(source, &field, errors),
        "emptyDir" => {
            let limit = &source["sizeLimit"];
            if is_set(limit) && !quantity::check(&mut Vec::new(), "", limit) {
                let why = "SizeLimit field must be a valid resource quantity";
                errors.push(FieldError::forbidden(format!("{field}.sizeLimit"), why));
            }
        }
        "ephemeral" => ephemeral(source, &field, errors),
        "csi" => {
            let driver = |name: &str| meta::dns_subdomain_problems(&name.to_lowercase());
            rules::optional_name(errors, &format!("{field}.driver"), &source["driver"], driver);
        }
        "hostPath" => {
            projection::no_way_back(&source["path"], &format!("{field}.path"), errors);
            let types =
                ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
            one_of(errors, &format!("{field}.type"), &source["type"], &types);
        }
        "nfs" if !text(&source["path"]).is_empty() && !text(&source["path"]).starts_with('/') => {
            errors.push(FieldError::invalid(format!("{field}.path"), &source["path"], "must be an absolute path"));
        }
        "image" => {
            let policies = ["Always", "IfNotPresent", "Never"];
            one_of(errors, &format!("{field}.pullPolicy"), &source["pullPolicy"], &policies);
        }
        _ => {}
    }
}

/// The fields without which a source says nothing.
fn needed(kind: &str) -> &'static [&'static str] {
    match kind {
        "secret" => &["secretName"],
        "configMap" => &["name"],
        "persistentVolumeClaim" => &["claimName"],
        "csi" => &["driver"],
        "hostPath" => &["path"],
        "nfs" => &["server", "path"],
        "iscsi" => &["targetPortal", "iqn"],
        "rbd" => &["monitors", "image"],
        "cephfs" => &["monitors"],
        "glusterfs" => &["endpoints", "path"],
        "gcePersistentDisk" => &["pdName"],
        "awsElasticBlockStore" => &["volumeID"],
        "azureFile" => &["secretName", "shareName"],
        "azureDisk" => &["diskName", "diskURI"],
        "gitRepo" => &["repository"],
        "image" => &["reference"],
        "vsphereVolume" => &["volumePath"],
        "ephemeral" => &["volumeClaimTemplate"],
        _ => &[],
    }
}

fn ephemeral(source: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let template = &source["volumeClaimTemplate"];
    if !is_set(template) {
        return;
    }
    let field = format!("{field}.volumeClaimTemplate");
    // Names and owners of the claim follow from the pod.
    for (name, value) in template["metadata"].as_object().into_iter().flatten() {
        let allowed = matches!(name.as_str(), "labels" | "annotations" | "creationTimestamp");
        if !allowed && is_set(value) && size(value) + text(value).len() > 0 {
            let why = "may not be set";
            errors.push(FieldError::forbidden(format!("{field}.metadata.{name}"), why));
        }
    }
    errors.extend(meta::validate_labels(&template["metadata"]["labels"], &format!("{field}.metadata.labels")));
    claim::check_spec(&template["spec"], &format!("{field}.spec"), errors);
}
