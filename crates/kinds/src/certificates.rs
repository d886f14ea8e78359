//! `certificates.k8s.io/v1 CertificateSigningRequest`.

use super::{
    columns::column,
    fields::{elements, map_at, report, selectable, size, text, text_or},
    rules,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use orrery_api::k8s::api::certificates::v1::CertificateSigningRequest;
use orrery_machinery::{
    descriptor::{Column, FixedResource, PartOf, SelectableField, Subresource, Text},
    meta::{self, NameRule},
    status::FieldError,
    table,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["csr"],
        subresources: SUBRESOURCES,
        prepare_create: |object| {
            if let Some(object) = object.as_object_mut() {
                object.remove("status");
            }
        },
        prepare_update,
        validate,
        validate_part: Some(|_, object, old| validate(object, Some(old))),
        columns: COLUMNS,
        selectable_fields: SELECTABLE,
        ..super::cluster_wide::<CertificateSigningRequest>("certificatesigningrequest")
    }
}

const SELECTABLE: &[SelectableField] = &[selectable!("spec.signerName", ["spec"]["signerName"])];

const fn part(name: &'static str, does: PartOf) -> Subresource {
    let [group, version, kind] =
        [Text::Borrowed("certificates.k8s.io"), Text::Borrowed("v1"), Text::Borrowed("CertificateSigningRequest")];
    Subresource::part(name, does, group, version, kind)
}

/// Who approves writes the decision, who signs the certificate and how that failed.
const SUBRESOURCES: &[Subresource] =
    &[part("approval", |old, sent| approval(old, &sent)), part("status", |old, sent| status(old, &sent))];

fn is_decision(condition: &Value) -> bool {
    matches!(text(&condition["type"]), "Approved" | "Denied")
}

/// Whoever approves writes all conditions; those that stay for ever are a matter of validation.
fn approval(old: &Value, sent: &Value) -> Value {
    let mut kept = with_metadata_of(old, sent);
    set_conditions(&mut kept, elements(&sent["status"]["conditions"]).cloned().collect());
    kept
}

/// Decisions are not whoever signs to make or to take back.
fn status(old: &Value, sent: &Value) -> Value {
    let mut kept = with_metadata_of(old, sent);
    let conditions = merged(&old["status"]["conditions"], &sent["status"]["conditions"]);
    match sent["status"].as_object() {
        Some(status) => drop(kept.as_object_mut().map(|kept| kept.insert("status".to_owned(), status.clone().into()))),
        None => drop(kept.as_object_mut().map(|kept| kept.remove("status"))),
    }
    set_conditions(&mut kept, conditions);
    kept
}

fn with_metadata_of(old: &Value, sent: &Value) -> Value {
    let mut kept = old.clone();
    *meta::metadata_mut(&mut kept) = sent["metadata"].as_object().cloned().unwrap_or_default();
    kept
}

/// Decisions as `decisions` has them, all else as `others` has it.
fn merged(decisions: &Value, others: &Value) -> Vec<Value> {
    let decided = elements(decisions).filter(|condition| is_decision(condition));
    decided.chain(elements(others).filter(|condition| !is_decision(condition))).cloned().collect()
}

fn set_conditions(request: &mut Value, conditions: Vec<Value>) {
    let Some(status) = request.as_object_mut().and_then(|request| map_at(request, "status")) else { return };
    if conditions.is_empty() {
        status.remove("conditions");
    } else {
        status.insert("conditions".into(), conditions.into());
    }
}

/// What was asked for, and what came of it, is no business of a plain update.
fn prepare_update(old: &Value, new: &mut Value) {
    let Some(request) = new.as_object_mut() else { return };
    for field in ["spec", "status"] {
        match old.get(field) {
            Some(value) => drop(request.insert(field.to_owned(), value.clone())),
            None => drop(request.remove(field)),
        }
    }
}

/// In full, because the age stands first.
const COLUMNS: &[Column] = &[
    table::NAME,
    table::AGE,
    column("SignerName", 0, "Who is to sign.", |object, _| text_or(&object["spec"]["signerName"], "<none>")),
    column("Requestor", 0, "Who asks.", |object, _| text(&object["spec"]["username"]).into()),
    column("RequestedDuration", 0, "How long the certificate is to last.", |object, _| {
        let seconds = object["spec"]["expirationSeconds"].as_i64();
        seconds.map_or_else(|| "<none>".into(), |seconds| table::human_duration(seconds).into())
    }),
    column("Condition", 0, "What has become of it.", |object, _| condition(object).into()),
];

fn condition(request: &Value) -> String {
    let has = |kind: &str| elements(&request["status"]["conditions"]).any(|condition| condition["type"] == kind);
    let mut state = match () {
        () if has("Denied") => "Denied",
        () if has("Approved") => "Approved",
        () => "Pending",
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !text(&request["status"]["certificate"]).is_empty() {
        state.push_str(",Issued");
    }
    state
}

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::PathSegment);
    let spec = &object["spec"];
    if old.is_none() {
        self::spec(spec, &mut errors);
    }
    conditions(&object["status"]["conditions"], &mut errors);
    let certificate = &object["status"]["certificate"];
    if !text(certificate).is_empty() && !is_pem(text(certificate), "CERTIFICATE") {
        let why = "must contain at least one CERTIFICATE PEM block";
        errors.push(FieldError::invalid("status.certificate", &json!("<certificate data>"), why));
    }
    if let Some(old) = old {
        change(object, old, &mut errors);
    }
    errors
}

fn spec(spec: &Value, errors: &mut Vec<FieldError>) {
    if !is_pem(text(&spec["request"]), "CERTIFICATE REQUEST") {
        let why = "PEM block type must be CERTIFICATE REQUEST";
        errors.push(FieldError::invalid("spec.request", &spec["request"], why));
    }
    let usages = &spec["usages"];
    if size(usages) == 0 {
        errors.push(FieldError::required("spec.usages", ""));
    }
    let mut seen = BTreeSet::new();
    for (index, usage) in elements(usages).enumerate() {
        let field = format!("spec.usages[{index}]");
        if !USAGES.contains(&text(usage)) {
            errors.push(FieldError::not_supported(field.as_str(), usage, &USAGES));
        }
        if !seen.insert(text(usage)) {
            errors.push(FieldError::duplicate(field, usage));
        }
    }
    signer(&spec["signerName"], errors);
    let seconds = &spec["expirationSeconds"];
    if seconds.as_i64().is_some_and(|seconds| seconds < 600) {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(FieldError::invalid("spec.expirationSeconds", seconds, why));
    }
}

fn signer(signer: &Value, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.signerName";
    if !rules::required(errors, FIELD, signer) {
        return;
    }
    let Some((domain, path)) = text(signer).split_once('/').filter(|(_, path)| !path.contains('/')) else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.push(FieldError::invalid(FIELD, signer, why));
        return;
    };
    let mut problems = meta::dns_subdomain_problems(domain);
    if problems.is_empty() && !domain.contains('.') {
        problems.push("should be a domain with at least two segments separated by dots".to_owned());
    }
    let path_problems = path.split('.').flat_map(meta::dns_subdomain_problems);
    problems.extend(path_problems.take(1));
    report(errors, FIELD, signer, &problems);
}

fn is_pem(base64: &str, kind: &str) -> bool {
    let bytes = STANDARD.decode(base64).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.contains(&format!("-----BEGIN {kind}-----")) && text.contains(&format!("-----END {kind}-----"))
}

fn conditions(conditions: &Value, errors: &mut Vec<FieldError>) {
    let mut seen = BTreeSet::new();
    for (index, condition) in elements(conditions).enumerate() {
        let field = format!("status.conditions[{index}]");
        let (kind, status) = (&condition["type"], &condition["status"]);
        rules::required(errors, &format!("{field}.type"), kind);
        let known = matches!(text(kind), "Approved" | "Denied" | "Failed");
        let statuses: &[&str] = if known { &["True"] } else { &["True", "False", "Unknown"] };
        rules::required_one_of(errors, &format!("{field}.status"), status, statuses);
        let other = match text(kind) {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if seen.contains(other) {
            let why = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(format!("{field}.type"), kind, why));
        }
        if !seen.insert(text(kind)) {
            errors.push(FieldError::duplicate(format!("{field}.type"), kind));
        }
    }
}

/// A decision stays, and so does a certificate.
fn change(object: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    for kind in ["Approved", "Denied", "Failed"] {
        let of_kind =
            |request: &Value| elements(&request["status"]["conditions"]).filter(|c| c["type"] == kind).count();
        if of_kind(object) < of_kind(old) {
            let why = format!("updates may not remove a condition of type {kind:?}");
            errors.push(FieldError::forbidden("status.conditions", &why));
        } else if of_kind(object) > of_kind(old) && kind != "Failed" && !text(&old["status"]["certificate"]).is_empty()
        {
            let why = format!("updates may not add a condition of type {kind:?}");
            errors.push(FieldError::forbidden("status.conditions", &why));
        }
    }
    let (now, before) = (&object["status"]["certificate"], &old["status"]["certificate"]);
    if !text(before).is_empty() && now != before {
        let why = "updates may not set certificate content if it is already set";
        errors.push(FieldError::forbidden("status.certificate", why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};

    fn pem(kind: &str) -> String {
        STANDARD.encode(format!("-----BEGIN {kind}-----\nMA==\n-----END {kind}-----\n"))
    }

    fn rules() -> Rules {
        let spec = json!({
            "request": pem("CERTIFICATE REQUEST"), "usages": ["client auth"], "signerName": "example.com/client",
            "username": "u",
        });
        Rules::new(descriptor(), json!({"metadata": {"name": "r"}, "spec": spec}))
    }

    #[test]
    fn a_request_follows_upstreams_rules() {
        let rules = rules();
        rules.fine(&[("/spec/expirationSeconds", json!(600))]);
        for (at, value, field, text) in [
            ("request", json!("eA=="), "request", "PEM block type must be CERTIFICATE REQUEST"),
            ("usages", json!([]), "usages", "Required value"),
            ("usages", json!(["flying"]), "usages[0]", "supported values: \"any\""),
            ("signerName", json!("client"), "signerName", "of the form 'example.com/signer-name'"),
            ("signerName", json!("com/client"), "signerName", "at least two segments"),
            ("expirationSeconds", json!(599), "expirationSeconds", "less than 600 seconds (10 minutes)"),
        ] {
            rules.one_error(&format!("/spec/{at}"), &value, &format!("spec.{field}"), text);
        }
    }

    #[test]
    fn who_approves_decides_and_who_signs_does_the_rest() {
        let old = rules().filled();
        let condition = |kind: &str| json!({"type": kind, "status": "True"});
        let mut sent = old.clone();
        sent["spec"]["username"] = "other".into();
        sent["status"] =
            json!({"conditions": [condition("Approved"), condition("Failed")], "certificate": pem("CERTIFICATE")});
        let approved = approval(&old, &sent);
        assert_eq!(
            (&approved["spec"], &approved["status"]),
            (&old["spec"], &json!({"conditions": [condition("Approved"), condition("Failed")]}))
        );
        let signed = status(&old, &sent);
        assert_eq!(signed["status"]["conditions"], json!([condition("Failed")]));
        assert_eq!(validate(&signed, Some(&old)), []);
        assert_eq!(
            validate(&old, Some(&approved))[0].message,
            "Forbidden: updates may not remove a condition of type \"Approved\""
        );
        let mut both = approved.clone();
        both["status"]["conditions"] = json!([condition("Approved"), condition("Denied")]);
        assert!(validate(&both, Some(&approved))[0].message.contains("mutually exclusive"));
        let mut update = old.clone();
        update["spec"]["request"] = "x".into();
        prepare_update(&old, &mut update);
        assert_eq!(update, old);
    }

    #[test]
    fn the_table_reads_as_upstreams() {
        let expected = ["Name", "Age", "SignerName", "Requestor", "RequestedDuration", "Condition"];
        assert_eq!(headings(descriptor()), expected);
        let mut request = rules().with(&[("/spec/expirationSeconds", json!(3600))]);
        request["status"] = json!({"conditions": [{"type": "Approved"}], "certificate": "x"});
        assert_eq!(
            json!(cells(descriptor(), &request)[2..]),
            json!(["example.com/client", "u", "60m", "Approved,Issued"])
        );
    }
}
